package rolegate_test

import (
	"bufio"
	"context"
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

// A stream is a request that runs until its context ends.
type stream struct {
	code  int
	ended chan error // the cause
}

func openStream(gate *rolegate.Gate, user int64, options ...rolegate.Option) stream {
	s := stream{ended: make(chan error, 1)}
	begun := make(chan int, 1)
	h := gate.Require(options...)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun <- 200
		<-r.Context().Done()
		s.ended <- context.Cause(r.Context())
	}))
	go func() {
		if w := ask(h, "GET", "/", user); w.Code != 200 {
			begun <- w.Code
		}
	}()
	s.code = <-begun
	return s
}

func (s stream) running() bool {
	synctest.Wait()
	return len(s.ended) == 0
}

func TestEndOnRevoke(t *testing.T) {
	t.Parallel()
	inSeven := rolegate.InOrg(func(*http.Request) (int64, error) { return 7, nil })
	for _, c := range []struct {
		name    string
		options []rolegate.Option
		change  func(t *testing.T, source *rolegatetest.Static, gate *rolegate.Gate)
		ends    bool
	}{
		{"taken off the list", nil, func(t *testing.T, s *rolegatetest.Static, g *rolegate.Gate) {
			s.Remove(1)
			require.NoError(t, g.RefreshAll(t.Context()))
		}, true},
		{"the role is taken away", nil, func(t *testing.T, s *rolegatetest.Static, g *rolegate.Gate) {
			s.Put(record(1, in(7, "pupil")))
			require.NoError(t, g.Refresh(t.Context()))
		}, true},
		{"another role is taken away", nil, func(t *testing.T, s *rolegatetest.Static, g *rolegate.Gate) {
			s.Put(record(1, in(7, "teacher")))
			require.NoError(t, g.Refresh(t.Context()))
		}, false},
		{"the role is taken away in another organisation", []rolegate.Option{inSeven}, func(t *testing.T, s *rolegatetest.Static, g *rolegate.Gate) {
			s.Put(record(1, in(7, "teacher"), in(7, "x")))
			require.NoError(t, g.Refresh(t.Context()))
		}, false},
		{"the role is left in another organisation only", []rolegate.Option{inSeven}, func(t *testing.T, s *rolegatetest.Static, g *rolegate.Gate) {
			s.Put(record(1, in(8, "teacher"), in(7, "x")))
			require.NoError(t, g.Refresh(t.Context()))
		}, true},
		{"a forbidden role is granted", []rolegate.Option{rolegate.NoRole("suspended")}, func(t *testing.T, s *rolegatetest.Static, g *rolegate.Gate) {
			s.Put(record(1, in(7, "teacher"), in(7, "suspended")))
			require.NoError(t, g.Refresh(t.Context()))
		}, true},
		{"a Where is not run again", []rolegate.Option{once()}, func(t *testing.T, s *rolegatetest.Static, g *rolegate.Gate) {
			s.Put(record(2))
			require.NoError(t, g.Refresh(t.Context()))
		}, false},
		{"another user changes", nil, func(t *testing.T, s *rolegatetest.Static, g *rolegate.Gate) {
			s.Put(record(2))
			require.NoError(t, g.Refresh(t.Context()))
		}, false},
		{"the record is bad", nil, func(t *testing.T, s *rolegatetest.Static, g *rolegate.Gate) {
			s.Put(rolegate.Record{UserID: 1, Bad: assert.AnError})
			require.NoError(t, g.Refresh(t.Context()))
		}, true},
		{"the server shuts down", nil, func(t *testing.T, s *rolegatetest.Static, g *rolegate.Gate) { g.EndStreams() }, true},
		{"the gate is closed", nil, func(t *testing.T, s *rolegatetest.Static, g *rolegate.Gate) { require.NoError(t, g.Close()) }, true},
		{"the list expires", nil, func(t *testing.T, s *rolegatetest.Static, g *rolegate.Gate) {
			s.Fail(assert.AnError)
			after(time.Hour + time.Second)
		}, true},
		{"the list is renewed for hours", nil, func(t *testing.T, s *rolegatetest.Static, g *rolegate.Gate) { after(5 * time.Hour) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				source := rolegatetest.NewStatic(append(users(30), record(1, in(7, "teacher"), in(8, "teacher"), in(7, "x")))...)
				gate := openGate(t, rolegate.Config{Source: source})
				s := openStream(gate, 1, append(c.options, rolegate.AnyRole("teacher"), rolegate.EndOnRevoke())...)
				require.Equal(t, 200, s.code)
				require.True(t, s.running())
				c.change(t, source, gate)
				require.Equal(t, !c.ends, s.running())
				if c.ends {
					want := rolegate.ErrRevoked
					if c.name == "the server shuts down" {
						want = http.ErrServerClosed
					}
					assert.ErrorIs(t, <-s.ended, want)
					return
				}
				require.NoError(t, gate.Close()) // ends the others
				<-s.ended
			})
		})
	}
	t.Run("a swap between decision and registration", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(users(30)...)
			gate := openGate(t, rolegate.Config{Source: source})
			// The Where runs after the generation was loaded: whatever it does
			// comes after the decision's list and before the registration.
			revoked := rolegate.Where("revokes meanwhile", func(rolegate.User, *http.Request) bool {
				source.Remove(1)
				return gate.RefreshAll(context.Background()) == nil
			})
			begun := time.Now()
			s := openStream(gate, 1, revoked, rolegate.EndOnRevoke())
			require.Equal(t, 200, s.code)
			assert.ErrorIs(t, <-s.ended, rolegate.ErrRevoked)
			assert.Zero(t, time.Since(begun), "at once, and not when it is looked at next")
		})
	})
	t.Run("a held removal does not end it, an applied one does", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(users(30)...)
			gate := openGate(t, rolegate.Config{Source: source})
			s := openStream(gate, 1, rolegate.AnyRole("teacher"), rolegate.EndOnRevoke())
			source.Set()
			require.ErrorIs(t, gate.RefreshAll(t.Context()), rolegate.ErrHeld)
			require.True(t, s.running())
			after(67 * time.Second)
			assert.ErrorIs(t, <-s.ended, rolegate.ErrRevoked)
		})
	})
}

// once holds the first time only.
func once() rolegate.Option {
	held := false
	return rolegate.Where("once", func(rolegate.User, *http.Request) bool {
		first := !held
		held = true
		return first
	})
}

// A real server and a real event stream: it ends within one swap.
func TestEndOnRevokeEndsAnEventStream(t *testing.T) {
	t.Parallel()
	source := rolegatetest.NewStatic(users(30)...)
	gate := openGate(t, rolegate.Config{Source: source})
	server := httptest.NewServer(gate.Require(rolegate.AnyRole("teacher"), rolegate.EndOnRevoke())(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = fmt.Fprint(w, "data: begun\n\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			_, _ = fmt.Fprintf(w, "data: %v\n\n", context.Cause(r.Context()))
		})))
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	require.NoError(t, err)
	r.Header.Set("X-User-Id", "1")
	resp, err := server.Client().Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	events := bufio.NewScanner(resp.Body)
	require.True(t, events.Scan())
	assert.Equal(t, "data: begun", events.Text())

	source.Remove(1)
	require.NoError(t, gate.RefreshAll(t.Context()))
	require.True(t, events.Scan())
	require.True(t, events.Scan())
	assert.Equal(t, "data: "+rolegate.ErrRevoked.Error(), events.Text())
	assert.True(t, events.Scan())
	assert.False(t, events.Scan(), "and the stream is over")
}

// Shutdown waits for event streams, and knows nothing of connections that were
// taken over. EndStreams ends both, also those that begin while it runs.
// A user whose removal is held keeps a stream until that has been held for too long.
func TestEndOnRevokeOfAHeldUser(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := rolegatetest.NewStatic(users(100)...)
		gate := openGate(t, rolegate.Config{Source: source, Refresh: rolegate.Refresh{ResyncEvery: 10 * minutes, ExpireAfter: 28 * minutes, ShrinkHold: 15 * minutes}})
		early := openStream(gate, 11, rolegate.AnyRole("teacher"), rolegate.EndOnRevoke())
		listed := openStream(gate, 1, rolegate.AnyRole("teacher"), rolegate.EndOnRevoke())
		after(9 * minutes)
		source.Set(users(10)...)
		after(3 * minutes)
		source.Fail(assert.AnError) // nothing confirms that they are gone
		after(16 * minutes)
		late := openStream(gate, 11, rolegate.AnyRole("teacher"), rolegate.EndOnRevoke())
		require.Equal(t, 200, late.code)
		assert.True(t, early.running())
		assert.True(t, late.running())
		after(2 * minutes)
		assert.False(t, early.running())
		assert.False(t, late.running())
		assert.True(t, listed.running())
	})
}

// The end of one stream leaves the others to be ended when the list expires.
func TestEndOnRevokeOfTheLastStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := rolegatetest.NewStatic(users(30)...)
		gate := openGate(t, rolegate.Config{Source: source})
		ctx, leave := context.WithCancel(t.Context())
		h := gate.Require(rolegate.AnyRole("teacher"), rolegate.EndOnRevoke())(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		r := httptest.NewRequestWithContext(ctx, "GET", "/", nil)
		r.Header.Set("X-User-Id", "1")
		go h.ServeHTTP(httptest.NewRecorder(), r)
		synctest.Wait()
		s := openStream(gate, 2, rolegate.AnyRole("teacher"), rolegate.EndOnRevoke())
		source.Fail(assert.AnError)
		after(55 * minutes)
		leave()
		after(10 * minutes)
		assert.False(t, s.running())
	})
}

func TestEndStreams(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(users(30)...)})
	causes := make(chan error, 3)
	live := gate.Require(rolegate.AnyRole("teacher"), rolegate.EndOnRevoke())
	mux := http.NewServeMux()
	mux.Handle("/events", live(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		causes <- context.Cause(r.Context())
	})))
	mux.Handle("/socket", live(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if !assert.NoError(t, err) {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: none\r\n\r\n")
		<-r.Context().Done()
		causes <- context.Cause(r.Context())
	})))
	server := httptest.NewServer(mux)
	defer server.Close()
	server.Config.RegisterOnShutdown(gate.EndStreams)
	for path, status := range map[string]int{"/events": 200, "/socket": 101} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
		require.NoError(t, err)
		r.Header.Set("X-User-Id", "1")
		resp, err := server.Client().Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		require.Equal(t, status, resp.StatusCode)
	}
	patience, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, server.Config.Shutdown(patience), "the streams do not hold it up")
	for range 2 {
		assert.ErrorIs(t, <-causes, http.ErrServerClosed)
	}

	// A request that was under way before it came to the guard.
	assert.Equal(t, 200, ask(mux, "GET", "/events", 1).Code)
	assert.ErrorIs(t, <-causes, http.ErrServerClosed)
	gate.EndStreams()

	assert.Equal(t, 200, ask(gate.Admit(ok(gate)), "GET", "/", 1).Code, "what is no stream is decided as before")
	assert.Equal(t, 403, ask(mux, "GET", "/events", 999).Code)
	(*rolegate.Gate)(nil).EndStreams()
	new(rolegate.Gate).EndStreams()
}
