package panics_test

import (
	"errors"
	"io"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/internal/panics"
)

func TestCall(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		f    func() error
		want string
	}{
		{"no error", func() error { return nil }, ""},
		{"an error", func() error { return io.EOF }, "EOF"},
		{"a panic with a secret", func() error { panic("token=abc") }, "the source panicked with a string"},
		{"a panic with an error", func() error { panic(io.EOF) }, "the source panicked with a *errors.errorString"},
		{"a panic with nil", func() error { panic(nil) }, "the source panicked with a *runtime.PanicNilError"},
		{"the end of the goroutine", func() error { runtime.Goexit(); return nil }, "the source ended its goroutine"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := panics.Call("the source", c.f)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			assert.EqualError(t, err, c.want)
		})
	}
}

func TestIntoKeepsTheErrorWithoutAPanic(t *testing.T) {
	t.Parallel()
	f := func() (err error) {
		defer panics.Into(&err, "f")
		return io.EOF
	}
	assert.Equal(t, io.EOF, f())
}

func TestTheStackSaysWhere(t *testing.T) {
	t.Parallel()
	err := panics.Call("the source", func() error { return breaks() })
	var p *panics.Error
	require.True(t, errors.As(err, &p))
	assert.Contains(t, string(p.Stack), "panics_test.breaks")
}

func breaks() error { panic("here") }
