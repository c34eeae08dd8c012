// Package panics turns panics in code that is not rolegate's own into errors.
// It imports nothing of rolegate.
package panics

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// An Error is a panic that was recovered. Its text has the type of the panic's
// value and not the value, which may say more than a log should know.
type Error struct {
	Who   string // whose code panicked: "the source"
	Type  string // the type of the value, such as "*errors.errorString"
	Stack []byte // where: for the log
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("%s panicked with a %s", e.Who, e.Type) }

// Of makes the error for a value that recover has returned.
func Of(who string, v any) *Error {
	return &Error{Who: who, Type: fmt.Sprintf("%T", v), Stack: debug.Stack()}
}

// Into recovers from a panic and sets *err to it. Call it by defer itself, not
// from within a deferred func: defer panics.Into(&err, "the source").
func Into(err *error, who string) {
	if v := recover(); v != nil {
		*err = Of(who, v)
	}
}

// ErrEnded is in the chain of the error that [Call] returns for a func that has
// ended its goroutine.
var ErrEnded = errors.New("ended its goroutine")

// Call calls f in a goroutine of its own and waits for it. A panic becomes an
// [*Error], and so does the end of the goroutine (runtime.Goexit, as by
// t.FailNow): whoever waits must not wait for ever.
func Call(who string, f func() error) (err error) {
	err = fmt.Errorf("%s %w", who, ErrEnded)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer Into(&err, who)
		err = f()
	}()
	<-ended
	return err
}
