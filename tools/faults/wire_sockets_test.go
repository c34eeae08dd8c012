package faults_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// rawDrip writes head, and then a byte every so often until nobody reads.
func rawDrip(head string, every time.Duration) rawAnswer {
	return func(conn net.Conn) {
		_, err := io.WriteString(conn, head)
		for err == nil {
			<-time.After(every)
			_, err = io.WriteString(conn, " ")
		}
	}
}

// rawSilence writes nothing more after head, until the client gives up.
func rawSilence(head string) rawAnswer {
	return func(conn net.Conn) {
		_, _ = io.WriteString(conn, head)
		_, _ = io.Copy(io.Discard, conn)
	}
}

// Headers that never come, and a body that drips a byte a second, end at the
// page's deadline, which counts from the request to the last byte.
func TestFault06HeadersThatNeverCome(t *testing.T) {
	t.Parallel()
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	const body = head + "Content-Length: 4096\r\n\r\n"
	failed := "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4096\r\n\r\n"
	timeout := rolegate.FailureTimeout
	faults := []rawFault{
		{"nothing at all", rawSilence(""), timeout, "no whole page within"},
		{"headers without an end", rawSilence(head), timeout, "no whole page within"},
		{"headers that drip", rawDrip(head+"X-Slow: ", time.Second), timeout, "no whole page within"},
		{"a body that never comes", rawSilence(body), timeout, "no whole page within"},
		{"a body of a byte a second", rawDrip(body+`{"code":200,"data":[`, time.Second), timeout, "no whole page within"},
		{"and without a length", rawDrip(head+"Connection: close\r\n\r\n", time.Second), timeout, "no whole page within"},
		{"the body of an error", rawDrip(failed, time.Second), rolegate.FailureHTTPStatus, "HTTP status 500"},
		{"a drip after slow headers", func(conn net.Conn) {
			<-time.After(14 * time.Second)
			rawDrip(body, time.Second)(conn)
		}, timeout, "no whole page within"},
	}
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			for _, deadline := range []time.Duration{0, 4 * time.Second} {
				edit := func(c *marketplace.Config) { c.PageTimeout = deadline }
				if deadline == 0 {
					deadline = 15 * time.Second // what 0 stands for
				}
				rawBubble(t, func(w *keepWorld, server *rawServer) {
					server.fail(f.answer)
					for _, pull := range []func() error{
						func() error { return w.gate.Refresh(w.Context()) }, func() error { return w.gate.RefreshAll(w.Context()) },
					} {
						began := time.Now()
						require.Error(w, pull())
						assert.Equal(w, deadline, time.Since(began))
					}
				}, edit)
				rawBubble(t, func(w *keepWorld, server *rawServer) {
					w.keeps(f.want, func() { server.fail(f.answer) }, server.fix, f.says)
				}, edit)
			}
		})
	}
	t.Run("requests do not wait for it", func(t *testing.T) {
		t.Parallel()
		rawBubble(t, func(w *keepWorld, server *rawServer) {
			server.fail(rawSilence(""))
			var pull sync.WaitGroup
			pull.Go(func() { assert.Error(w, w.gate.Refresh(w.Context())) })
			<-time.After(10 * time.Second)
			assert.True(w, w.gate.Status().Incremental.Running)
			began := time.Now()
			w.allowed(w.decisions())
			assert.Equal(w, began, time.Now())
			pull.Wait()
		})
	})
	// With the clock of the machine, deadlines are short, but not too short for
	// a good page on a busy one.
	short := func(c *marketplace.Config) { c.PageTimeout = 1500 * time.Millisecond }
	t.Run("on a real socket", func(t *testing.T) {
		t.Parallel()
		w, server := rawSockets(t, short)
		w.keeps(timeout, func() { server.fail(rawSilence(head)) }, server.fix, "no whole page within 1.5s")
	})
	keepServers(t, []keepFault{{name: "a drip", fault: rolegatetest.Drip(time.Second), want: timeout, says: "no whole page within 1.5s"}}, short)
}

// A redirect to another host is a failure like any other status. Nobody connects
// to that host: the token would go with the request.
func TestFault12RedirectToAnotherHost(t *testing.T) {
	t.Parallel()
	other := rawListen(t)
	var visits atomic.Int64
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := other.Accept()
			if err != nil {
				return
			}
			visits.Add(1)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { // after all that is parallel
		_ = other.Close()
		<-ended
		assert.Zero(t, visits.Load(), "the other host sees no connection at all")
	})
	there := "http://" + other.Addr().String() + "/app/user/list?accessToken=AT-3-s3cr3t%2F%2B&next=keepsBody"
	var faults []rawFault
	var served []keepFault
	for _, status := range []int{300, 301, 302, 303, 305, 307, 308} {
		says := fmt.Sprintf("HTTP status %d", status)
		for kind, location := range map[string]string{
			"another host": there, "another host over TLS": strings.Replace(there, "http:", "https:", 1), "a host without a scheme": strings.TrimPrefix(there, "http:"),
		} {
			faults = append(faults, rawFault{
				fmt.Sprintf("%d to %s", status, kind),
				rawBytes(fmt.Sprintf("HTTP/1.1 %d Elsewhere\r\nLocation: %s\r\nContent-Length: 9\r\n\r\nkeepsBody", status, location)),
				rolegate.FailureHTTPStatus, says,
			})
		}
		served = append(served, keepFault{name: says, want: rolegate.FailureHTTPStatus, says: says,
			fault: func(w http.ResponseWriter, r *http.Request, _ http.Handler) { http.Redirect(w, r, there, status) }})
	}
	t.Run("with a page that is a list", func(t *testing.T) {
		t.Parallel()
		w, server := rawSockets(t)
		page := `{"code":200,"data":[` + keepNewUser + `]}`
		w.keeps(rolegate.FailureHTTPStatus, func() {
			server.fail(rawBytes(fmt.Sprintf("HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: %d\r\n\r\n%s", there, len(page), page)))
		}, server.fix, "HTTP status 302")
		assert.False(t, strings.Contains(w.log.String(), other.Addr().String()), "the other host is not named")
	})
	t.Run("nor is one on the same host followed", func(t *testing.T) {
		t.Parallel()
		w, server := rawSockets(t)
		server.requests.Store(0)
		server.fail(rawBytes("HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n"))
		require.Error(w, w.gate.RefreshAll(w.Context()))
		assert.EqualValues(t, 1, server.requests.Load())
	})
	keepServers(t, served)
	// Last: its fake network reaches nobody, but the real sockets could.
	rawKeeps(t, faults)
}

// A Retry-After under 429 and 503 silences the client: for as long as it says, and
// for five minutes at most, nothing is asked. What cannot be read, or is past,
// leaves the usual back-off.
func TestFault13RetryAfter(t *testing.T) {
	t.Parallel()
	const none, most = time.Duration(0), 5 * time.Minute
	for name, c := range map[string]struct {
		after func(now time.Time) string
		want  time.Duration
	}{
		"seconds":                    {keepRetryAfter("30"), 30 * time.Second},
		"five minutes":               {keepRetryAfter("300"), most},
		"a second more":              {keepRetryAfter("301"), most},
		"ten years in seconds":       {keepRetryAfter("315360000"), most},
		"more seconds than an int64": {keepRetryAfter("99999999999999999999"), most},
		"a date":                     {keepRetryAt(90 * time.Second), 90 * time.Second},
		"a date in ten years":        {keepRetryAt(10 * 365 * 24 * time.Hour), most},
		"zero":                       {keepRetryAfter("0"), none},
		"negative":                   {keepRetryAfter("-30"), none},
		"a date that is past":        {keepRetryAt(-time.Hour), none},
		"a fraction":                 {keepRetryAfter("30.5"), none},
		"words":                      {keepRetryAfter("in a while"), none},
	} {
		for _, line := range []string{"429 Too Many Requests", "503 Service Unavailable"} {
			t.Run(line[:3]+" with "+name, func(t *testing.T) {
				t.Parallel()
				rawBubble(t, func(w *keepWorld, server *rawServer) {
					now := time.Now()
					answer := rawBytes(fmt.Sprintf("HTTP/1.1 %s\r\nDate: %s\r\nRetry-After: %s\r\nContent-Length: 9\r\n\r\nkeepsBody",
						line, now.UTC().Format(http.TimeFormat), c.after(now)))
					if c.want == none {
						w.keeps(rolegate.FailureHTTPStatus, func() { server.fail(answer) }, server.fix, "HTTP status "+line[:3])
						return
					}
					w.isLeftAlone(server, answer, c.want)
				})
			})
		}
	}
	t.Run("a date by a clock that is wrong", func(t *testing.T) {
		t.Parallel()
		rawBubble(t, func(w *keepWorld, server *rawServer) {
			theirs := time.Now().Add(-365 * 24 * time.Hour)
			w.isLeftAlone(server, rawBytes(fmt.Sprintf("HTTP/1.1 503 Service Unavailable\r\nDate: %s\r\nRetry-After: %s\r\nContent-Length: 0\r\n\r\n",
				theirs.UTC().Format(http.TimeFormat), keepRetryAt(time.Minute)(theirs))), time.Minute)
		})
	})
	t.Run("at the start", func(t *testing.T) {
		t.Parallel()
		rawBubble(t, func(w *keepWorld, server *rawServer) {
			server.fail(rawBytes("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n"))
			require.NoError(w, w.gate.Close())
			server.requests.Store(0)
			w.gate = w.open(true)
			<-time.After(119 * time.Second)
			assert.EqualValues(w, 1, server.requests.Load())
			server.fix()
			<-time.After(2 * time.Second)
			w.allowed(w.decisions())
		})
	})
	for name, c := range map[string]struct{ asked, want time.Duration }{
		"ten years": {10 * 365 * 24 * time.Hour, most}, "less than nothing": {-time.Hour, none},
	} {
		t.Run("a source of another kind asks for "+name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				source := rolegatetest.NewStatic(rolegate.Record{UserID: keepAdmin})
				gate, err := rolegate.Open(t.Context(), rolegate.Config{
					Source: source, Aliases: []rolegate.Kind{rolegate.KindAccount}, Logger: slog.New(slog.DiscardHandler),
				})
				require.NoError(t, err)
				defer gate.Close()
				source.Fail(&rolegate.PullError{Failure: rolegate.FailureHTTPStatus, RetryAfter: c.asked, Err: errors.New("HTTP status 503")})
				require.Error(t, gate.Refresh(t.Context()))
				pulls := source.IncrementalRefreshes()
				assert.InDelta(t, max(c.want, time.Second), gate.Status().Incremental.NextIn, float64(200*time.Millisecond))
				source.Recover()
				<-time.After(c.want - time.Millisecond)
				assert.Equal(t, pulls, source.IncrementalRefreshes())
				<-time.After(2 * time.Second)
				assert.Equal(t, pulls+1, source.IncrementalRefreshes())
			})
		})
	}
	t.Run("on a real socket", func(t *testing.T) {
		t.Parallel()
		w, server := rawSockets(t)
		server.fail(rawBytes("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 315360000\r\nContent-Length: 0\r\n\r\n"))
		w.fails(w.gate.Refresh, rolegate.FailureHTTPStatus, []string{"HTTP status 503"})
		status := w.gate.Status()
		for _, next := range []time.Duration{status.Incremental.NextIn, status.Full.NextIn} {
			assert.Greater(w, next, 4*time.Minute)
		}
		assert.LessOrEqual(w, status.Incremental.NextIn, most)
	})
}

func keepRetryAfter(text string) func(time.Time) string {
	return func(time.Time) string { return text }
}

func keepRetryAt(d time.Duration) func(time.Time) string {
	return func(now time.Time) string { return now.Add(d).UTC().Format(http.TimeFormat) }
}

// isLeftAlone requires that an answer keeps everybody from asking for that long,
// and no longer, and that the list stays meanwhile.
func (w *keepWorld) isLeftAlone(server *rawServer, answer rawAnswer, want time.Duration) {
	w.Helper()
	decisions := w.decisions()
	w.allowed(decisions)
	before := w.gate.Status()
	server.fail(answer)
	server.requests.Store(0)
	began := time.Now()
	var failed *rolegate.PullError
	require.ErrorAs(w, w.gate.Refresh(w.Context()), &failed)
	assert.Equal(w, rolegate.FailureHTTPStatus, failed.Failure)
	assert.Equal(w, want, failed.RetryAfter)
	w.tellsNothing(failed)
	for time.Since(began) < want-time.Second {
		var quiet *rolegate.PullError
		require.ErrorAs(w, w.gate.Refresh(w.Context()), &quiet)
		assert.Equal(w, want-time.Since(began), quiet.RetryAfter)
		require.ErrorAs(w, w.gate.RefreshAll(w.Context()), &quiet)
		assert.ErrorContains(w, quiet, "asked to be left alone")
		<-time.After(want / 7)
	}
	<-time.After(want - time.Since(began) - time.Millisecond)
	assert.EqualValues(w, 1, server.requests.Load(), "nothing is asked meanwhile")
	after := w.gate.Status()
	assert.Equal(w, before.Generation, after.Generation)
	assert.Equal(w, before.Cursor, after.Cursor)
	assert.Equal(w, before.Contact, after.Contact)
	assert.Equal(w, before.Verified, after.Verified)
	assert.Equal(w, map[rolegate.Failure]uint64{rolegate.FailureHTTPStatus: 1}, after.Failures)
	assert.Equal(w, decisions, w.decisions())
	server.fix()
	w.m.Grant(900, 7, "teacher")
	<-time.After(2 * time.Second)
	assert.Positive(w, server.requests.Load()-1, "and then it goes on")
	assert.True(w, w.has(900, "teacher"))
	w.goesOn()
	w.tellsNothing(nil)
}
