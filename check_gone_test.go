package rolegate_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// What fails because the client has left alarms nobody: it has a reason of its
// own, at debug level. What fails beside that stays what it is.
func TestClientGone(t *testing.T) {
	t.Parallel()
	type find func(*http.Request) (int64, error)
	driver := errors.New("canceling statement due to user request")
	identify := func(f find) (find, []rolegate.Option) { return f, nil }
	inOrg := func(f find) (find, []rolegate.Option) { return nil, []rolegate.Option{rolegate.InOrg(f)} }
	for _, c := range []struct {
		name string
		in   func(find) (find, []rolegate.Option)
		find func(r *http.Request, leave func()) (int64, error)
		want rolegate.Reason
		line string // the level of its line
	}{
		{"the store says so", identify, func(r *http.Request, leave func()) (int64, error) {
			leave()
			return 0, fmt.Errorf("session: %w", r.Context().Err())
		}, rolegate.ReasonClientGone, "DEBUG"},
		{"the store says it in its own words", identify, func(_ *http.Request, leave func()) (int64, error) {
			leave()
			return 0, driver
		}, rolegate.ReasonClientGone, "DEBUG"},
		{"the store fails, and the client waits", identify, func(*http.Request, func()) (int64, error) {
			return 0, context.Canceled
		}, rolegate.ReasonIdentifyFailed, "ERROR"},
		{"the app's own deadline", identify, func(*http.Request, func()) (int64, error) {
			return 0, context.DeadlineExceeded
		}, rolegate.ReasonIdentifyFailed, "ERROR"},
		{"a panic", identify, func(_ *http.Request, leave func()) (int64, error) {
			leave()
			panic("no map")
		}, rolegate.ReasonIdentifyFailed, "ERROR"},
		{"nobody was there anyway", identify, func(_ *http.Request, leave func()) (int64, error) {
			leave()
			return 0, rolegate.ErrNobody
		}, rolegate.ReasonNoIdentity, "INFO"},
		{"a user who is not listed", identify, func(_ *http.Request, leave func()) (int64, error) {
			leave()
			return 9, nil
		}, rolegate.ReasonNotAuthorized, "INFO"},
		{"the organisation is asked for", inOrg, func(_ *http.Request, leave func()) (int64, error) {
			leave()
			return 0, driver
		}, rolegate.ReasonClientGone, "DEBUG"},
		{"the organisation, in a panic", inOrg, func(_ *http.Request, leave func()) (int64, error) {
			leave()
			panic("no map")
		}, rolegate.ReasonOrgUnreadable, "WARN"},
		{"the organisation, and the client waits", inOrg, func(*http.Request, func()) (int64, error) {
			return 0, driver
		}, rolegate.ReasonOrgUnreadable, "WARN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			book := &logBook{}
			cfg := rolegate.Config{Source: rolegatetest.NewStatic(record(1, in(7, "teacher"))), Logger: book.logger(), OnDeny: rolegate.OnDeny{Off: true}}
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			first, options := c.in(func(r *http.Request) (int64, error) { return c.find(r, leave) })
			if first != nil {
				cfg.Identify = rolegate.ByUserID(first)
			}
			gate := openGate(t, cfg)
			r := httptest.NewRequestWithContext(ctx, "GET", "/", nil)
			r.Header.Set("X-User-Id", "1")
			w := httptest.NewRecorder()
			gate.Require(append(options, rolegate.AnyRole("teacher"))...)(never(t)).ServeHTTP(w, r)
			assert.Equal(t, c.want.Status(), w.Code)
			assert.Equal(t, map[rolegate.Reason]uint64{c.want: 1}, gate.Status().Decisions)
			lines := book.lines("rolegate: refused")
			require.Len(t, lines, 1)
			assert.Equal(t, c.want.String(), lines[0]["reason"])
			assert.Equal(t, c.line, lines[0]["level"])
		})
	}
}

// A shadow lets nobody pass for having left.
func TestClientGoneIsNotShadowed(t *testing.T) {
	t.Parallel()
	ctx, leave := context.WithCancel(t.Context())
	gate := openGate(t, rolegate.Config{
		Source: rolegatetest.NewStatic(record(1)), ShadowAdmit: true,
		Identify: rolegate.ByUserID(func(*http.Request) (int64, error) { leave(); return 1, io.EOF }),
	})
	w := httptest.NewRecorder()
	gate.Require(rolegate.AnyRole("teacher"), rolegate.Shadow())(never(t)).ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/", nil))
	assert.Equal(t, rolegate.ReasonClientGone.Status(), w.Code)
	assert.Contains(t, w.Body.String(), "Client Closed Request")
}

// Whoever leaves while a MaxAge waits for a full refresh has not been refused
// for the list's age.
func TestClientGoneDuringMaxAge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		book := &logBook{}
		source := rolegatetest.NewStatic(record(1, in(7, "teacher")))
		gate := openGate(t, rolegate.Config{Source: source, Logger: book.logger()})
		time.Sleep(30 * time.Second)
		defer source.Block()()
		ctx, leave := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, leave)
		r := httptest.NewRequestWithContext(ctx, "GET", "/", nil)
		r.Header.Set("X-User-Id", "1")
		w := httptest.NewRecorder()
		gate.Require(rolegate.AnyRole("teacher"), rolegate.MaxAge(10*time.Second))(never(t)).ServeHTTP(w, r)
		assert.Equal(t, rolegate.ReasonClientGone.Status(), w.Code)
		assert.EqualValues(t, 1, gate.Status().Decisions[rolegate.ReasonClientGone])
		lines := book.lines("rolegate: refused")
		require.Len(t, lines, 1)
		assert.Equal(t, "DEBUG", lines[0]["level"])
	})
}
