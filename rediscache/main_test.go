package rediscache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rediscache"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret = "a secret of these tests, for nothing else"
	list   = "https://marketplace.example|production|app-1"
	wait   = time.Minute
)

// soon is a context that lives for as long as anything may take.
func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	t.Cleanup(cancel)
	return ctx
}

// within is a context that lives that long.
func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// replica returns a Cache as one replica has it. Its lease does not run out
// while a slow machine runs a test.
func (s *server) replica(t testing.TB, change ...func(*rediscache.Config)) *rediscache.Cache {
	t.Helper()
	cfg := rediscache.Config{Client: s.client(t), Secret: secret, Lease: time.Minute}
	for _, f := range change {
		f(&cfg)
	}
	c := rediscache.New(cfg)
	require.NoError(t, c.Validate())
	require.NoError(t, c.Join(list))
	return c
}

// lead acquires the lease.
func lead(t testing.TB, c *rediscache.Cache, above uint64) uint64 {
	t.Helper()
	l, err := c.Lease(soon(t), true, above)
	require.NoError(t, err)
	require.True(t, l.Held)
	require.GreaterOrEqual(t, l.Term, above)
	return l.Term
}

// text is a Publication of a change and a whole index that are those.
func text(change, whole string) rolegate.Publication {
	return rolegate.Publication{Change: []byte(change), Whole: func(w io.Writer) error {
		_, err := io.WriteString(w, whole)
		return err
	}}
}

func publish(t testing.TB, c *rediscache.Cache, term uint64, from rolegate.Version, change, whole string) rolegate.Version {
	t.Helper()
	v, err := c.Publish(soon(t), term, from, text(change, whole))
	require.NoError(t, err)
	require.Equal(t, term, v.Term)
	return v
}

// follow follows once, and returns the change, or the whole index.
func follow(t testing.TB, c *rediscache.Cache, after rolegate.Version) (v rolegate.Version, change, whole string) {
	t.Helper()
	u, err := c.Follow(soon(t), after)
	require.NoError(t, err)
	if u.Whole == nil {
		return u.Version, string(u.Change), ""
	}
	defer u.Whole.Close()
	b, err := io.ReadAll(u.Whole)
	require.NoError(t, err)
	return u.Version, "", string(b)
}

// index is something of that many bytes that cannot be made shorter.
func index(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	return b
}

// large is a Publication of a whole index.
func large(b []byte) rolegate.Publication {
	return rolegate.Publication{Change: b, Whole: func(w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader(b))
		return err
	}}
}

// keys are those there are.
func (s *server) keys(t testing.TB) []string {
	t.Helper()
	keys, err := s.client(t).Keys(soon(t), "*").Result()
	require.NoError(t, err)
	return keys
}

func key(t testing.TB, c *rediscache.Cache, name string) string {
	t.Helper()
	return rediscache.Key(c, name)
}

// set changes a field of the state, as whoever can write to Redis can.
func (s *server) set(t testing.TB, c *rediscache.Cache, values ...any) {
	t.Helper()
	require.NoError(t, s.client(t).HSet(soon(t), key(t, c, "state"), values...).Err())
}

// soonest is for table entries that have no t.
var soonest = context.Background()

func errFirst(errs ...error) error { return errors.Join(errs...) }

func versionID(term, number uint64) string { return fmt.Sprintf("%d-%d", term, number) }
