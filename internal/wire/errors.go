package wire

import (
	"compress/flate"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"

	"github.com/rolegate/rolegate"
)

// Wrap returns err in a form that can be printed: its text scrubbed, and
// nothing below it in the chain that has a secret in its own. errors.Is works
// for all that err has in its chain, errors.As for what can be shown, and for
// [net.Error]. An *url.Error at the top is taken off: our own text says where,
// without the query.
func (s *Secrets) Wrap(err error) error {
	for {
		u, ok := err.(*url.Error)
		if !ok || u == nil || u.Err == nil {
			break
		}
		err = u.Err
	}
	e := &cleanError{
		text:  s.clean(fmt.Sprint(err), maxErrorRunes),
		is:    func(target error) bool { return errors.Is(err, target) },
		shown: s.showable(err),
	}
	var n net.Error
	if errors.As(err, &n) {
		return &cleanNetError{cleanError: e, timeout: n.Timeout()}
	}
	return e
}

// A cleanError stands for an error that may have secrets in it. It has the
// original only inside a function, where no verb of fmt and no encoder looks.
type cleanError struct {
	text  string
	is    func(target error) bool
	shown []error
}

func (e *cleanError) Error() string        { return e.text }
func (e *cleanError) GoString() string     { return fmt.Sprintf("%q", e.text) }
func (e *cleanError) Is(target error) bool { return e.is(target) }
func (e *cleanError) Unwrap() []error      { return e.shown }

// A cleanNetError is a cleanError that answers for the [net.Error] in it.
type cleanNetError struct {
	*cleanError
	timeout bool
}

func (e *cleanNetError) Timeout() bool   { return e.timeout }
func (e *cleanNetError) Temporary() bool { return e.timeout }

var _ net.Error = (*cleanNetError)(nil)

// showable returns the errors of err's chain that have no secret in any of
// their forms, nor below them: err itself, or else the topmost ones under it.
func (s *Secrets) showable(err error) []error {
	if err == nil {
		return nil
	}
	if s.isShowable(err) {
		return []error{err}
	}
	var out []error
	for _, below := range unwrap(err) {
		out = append(out, s.showable(below)...)
	}
	return out
}

func (s *Secrets) isShowable(err error) bool {
	if _, isURL := err.(*url.Error); isURL {
		return false
	}
	// %#v shows fields that %v may not.
	if s.has(fmt.Sprintf("%v\n%+v\n%#v", err, err, err)) {
		return false
	}
	for _, below := range unwrap(err) {
		if below != nil && !s.isShowable(below) {
			return false
		}
	}
	return true
}

func unwrap(err error) []error {
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return []error{e.Unwrap()}
	case interface{ Unwrap() []error }:
		return e.Unwrap()
	}
	return nil
}

// Failure says in one word why a request brought no whole reply; inBody, if its
// headers were there.
func Failure(err error, inBody bool) rolegate.Failure {
	switch {
	case inBody && errors.Is(err, io.ErrUnexpectedEOF):
		// Shorter than announced. A connection that was reset has an error of
		// its own.
		return FailureMalformed
	case isTimeout(err):
		return rolegate.FailureTimeout
	case inBody && isCorrupt(err):
		return FailureMalformed
	}
	return FailureNetwork
}

// isTimeout reports whether err is somebody's deadline.
func isTimeout(err error) bool {
	var n net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}

// isCorrupt reports whether err says that a compressed body is none.
func isCorrupt(err error) bool {
	var corrupt flate.CorruptInputError
	return errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.As(err, &corrupt)
}
