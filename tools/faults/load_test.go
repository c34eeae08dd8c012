package faults_test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"runtime/metrics"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// webStatusOnly is a ResponseWriter that keeps nothing but the status.
type webStatusOnly struct {
	header http.Header
	code   int
}

func (w *webStatusOnly) Header() http.Header         { return w.header }
func (w *webStatusOnly) Write(b []byte) (int, error) { return len(b), nil }
func (w *webStatusOnly) WriteHeader(code int)        { w.code = code }
func (w *webStatusOnly) String() string              { return strconv.Itoa(w.code) }

// ask sends a request with that header to a handler and returns the status.
func (w *webStatusOnly) ask(h http.Handler, r *http.Request, name, value string) int {
	w.header, w.code = http.Header{}, http.StatusOK
	r.Header[name] = []string{value}
	h.ServeHTTP(w, r)
	return w.code
}

// webHeap is the heap's objects in bytes, after the collector has been through.
func webHeap() uint64 {
	runtime.GC()
	runtime.GC()
	return webHeapNow()
}

func webHeapNow() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// Line 55: a million distinct unknown ids. They must cost the marketplace no more
// than OnDeny.PerMinute pulls in any minute, and the gate a bounded memory; and
// known users must pass as before: without a refresh, a wait or an allocation more.
//
// It measures memory, and so does not run beside other tests.
func TestFault55AFloodOfUnknownIDs(t *testing.T) {
	const perMinute, minutes = 30, 10
	for _, kind := range []string{"user ids", "accounts"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				known := webUser(1, webIn(7, "teacher"))
				known.Account = "known"
				source := rolegatetest.NewStatic(known)
				cfg := webConfig(source)
				cfg.OnDeny.PerMinute = perMinute
				cfg.Refresh.Every, cfg.Refresh.ResyncEvery = time.Hour, time.Hour // no other pulls
				ids := webMany
				header, value := "X-User-Id", func(i int) string { return strconv.Itoa(i + 2) }
				nobody, somebody := "0", "1"
				if kind == "accounts" {
					ids = webMany / 10 // of which each takes as long
					header, value = "X-Account", func(i int) string { return fmt.Sprintf("%0200d", i) }
					nobody, somebody = "", "known"
					cfg.Identify = rolegate.ByText(rolegate.KindAccount, func(r *http.Request) (string, error) { return r.Header.Get("X-Account"), nil })
				}
				gate := webOpen(t, cfg)
				h := gate.Require(rolegate.AnyRole("teacher"))(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
				w := new(webStatusOnly)
				r := webRequest(t.Context(), 1)
				calm := testing.AllocsPerRun(1000, func() { w.ask(h, r, header, somebody) })
				require.Equal(t, 401, w.ask(h, r, header, nobody))
				before := webHeap()

				pulls := source.IncrementalRefreshes()
				inMinute := make([]int, 0, 60*minutes)
				for second := range 60 * minutes {
					begun := source.IncrementalRefreshes()
					for i := second * ids / (60 * minutes); i < (second+1)*ids/(60*minutes); i++ {
						if code := w.ask(h, r, header, value(i)); code != 403 {
							t.Fatalf("unknown id %d: %d", i, code)
						}
					}
					now := source.IncrementalRefreshes()
					require.Equal(t, 200, w.ask(h, r, header, somebody))
					require.Equal(t, now, source.IncrementalRefreshes(), "a known user causes no refresh")
					inMinute = append(inMinute, now-begun)
					<-time.After(time.Second)
				}
				for i := range inMinute {
					sum := 0
					for _, n := range inMinute[max(0, i-59) : i+1] {
						sum += n
					}
					require.LessOrEqual(t, sum, perMinute, "in the minute that ends with second %d", i)
				}
				assert.LessOrEqual(t, source.IncrementalRefreshes()-pulls, perMinute*minutes)
				assert.GreaterOrEqual(t, source.IncrementalRefreshes()-pulls, perMinute/2*(minutes+1), "those that it may make, it makes: half at once, and the other half by and by")

				after := webHeap()
				assert.Less(t, after, before+2<<20, "%d ids, and %d bytes", ids, int64(after-before))
				busy := testing.AllocsPerRun(1000, func() { w.ask(h, r, header, somebody) })
				assert.LessOrEqual(t, busy, calm, "allocations of a known user's request")
				assert.EqualValues(t, ids, gate.Status().Decisions[rolegate.ReasonNotAuthorized])
				assert.Equal(t, 1, gate.Status().Users)
				runtime.KeepAlive(gate)
			})
		})
	}
	t.Run("all at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			const waves, each = 8, 9_000
			source := rolegatetest.NewStatic(webUser(1))
			cfg := webConfig(source)
			cfg.OnDeny.Wait = time.Minute
			gate := webOpen(t, cfg)
			h := gate.Admit(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			source.SetDelay(30 * time.Second)
			flood := func(wave int) {
				var waiting sync.WaitGroup
				pulls := source.IncrementalRefreshes()
				for i := range each {
					waiting.Go(func() {
						w, id := new(webStatusOnly), strconv.Itoa(wave*each+i+2)
						if code := w.ask(h, webRequest(t.Context(), 1), "X-User-Id", id); code != 403 {
							t.Errorf("unknown id %s: %d", id, code)
						}
					})
				}
				synctest.Wait()
				begun, w, r := time.Now(), new(webStatusOnly), webRequest(t.Context(), 1)
				for range 1000 {
					require.Equal(t, 200, w.ask(h, r, "X-User-Id", "1"))
				}
				assert.Zero(t, time.Since(begun), "known users wait for none of it")
				assert.LessOrEqual(t, source.IncrementalRefreshes()-pulls, 2, "they all wait for one, beside the one that is due")
				waiting.Wait()
			}
			flood(0) // memory that goroutines had is kept for others
			before := webHeap()
			for wave := range waves {
				flood(wave + 1)
			}
			after := webHeap()
			assert.Less(t, after, before+3<<20, "%d ids that were refused after a refresh, and %d bytes", waves*each, int64(after-before))
			source.SetDelay(0)
		})
	})
}

// Line 56: a user who was refused a second ago and is granted access now must be
// admitted within OnDeny.TTL and one refresh, whether they were unknown or lacked a role.
func TestFault56RefusedAndThenGranted(t *testing.T) {
	t.Parallel()
	const pull = 300 * time.Millisecond
	for _, ttl := range []time.Duration{0, time.Second, 20 * time.Second} {
		for name, before := range map[string][]rolegate.Record{"unknown": nil, "without the role": {webUser(2, webIn(7, "pupil"))}} {
			t.Run(fmt.Sprintf("%s, TTL %v", name, ttl), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					source := rolegatetest.NewStatic(append(before, webUser(1))...)
					cfg := webConfig(source)
					cfg.OnDeny.TTL = ttl
					cfg.Refresh.Every, cfg.Refresh.ResyncEvery = time.Hour, time.Hour // not by these
					gate := webOpen(t, cfg)
					h := gate.Require(rolegate.AnyRole("teacher"))(webAnswer(gate))
					source.SetDelay(pull)
					require.Equal(t, 403, webAsk(h, "GET", "/", 2).Code)
					<-time.After(time.Second / 2)
					require.Equal(t, 403, webAsk(h, "GET", "/", 2).Code)
					<-time.After(time.Second / 2)

					source.Put(webUser(2, webIn(7, "teacher")))
					granted := time.Now()
					limit := ttl
					if limit == 0 {
						limit = 5 * time.Second // the default
					}
					tries := 0
					for webAsk(h, "GET", "/", 2).Code != 200 {
						tries++
						if time.Since(granted) > time.Minute {
							t.Fatal("the user is not admitted at all")
						}
						<-time.After(10 * time.Millisecond)
					}
					assert.LessOrEqual(t, time.Since(granted), limit+pull+10*time.Millisecond)
					if limit > 2*time.Second {
						assert.Positive(t, tries, "the refusal is remembered for a while")
					}
					source.SetDelay(0)
				})
			})
		}
	}
}

// webList is a source of n users that keeps none of them.
type webList struct {
	n    int64
	half func() // called in the middle of a full refresh
}

func (l webList) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	roles := [4]string{"teacher", "homeroom", "pupil", "parent"}
	grants := make([]rolegate.Grant, 0, 3)
	for id := after + 1; id <= l.n; id++ {
		grants = grants[:0]
		for i := range id%3 + 1 {
			grants = append(grants, webIn(id%2000+1, roles[(id+i)%4]))
		}
		yield(rolegate.Record{UserID: 1_500_000_000_000_000_000 + id*7919, Sequence: id, Grants: grants})
		if after == 0 && id == l.n/2 && l.half != nil {
			l.half()
		}
	}
	return ctx.Err()
}

// webMostHeap is how much of the heap a full refresh of so many users may take at most,
// besides the index that serves meanwhile: the list as it is read, the index
// that is made of it, and what the collector has not seen to yet.
const webMostHeap = 200*webMany + 16<<20

// Line 57: a full refresh of a million users while serving. The heap must stay
// bounded, and every request be answered meanwhile: none waits for the full refresh.
//
// It measures memory, and so does not run beside other tests.
func TestFault57AFullRefreshOfAMillionUsersWhileServing(t *testing.T) {
	var answered, refused atomic.Int64
	halves := make(chan int64, 16)
	first := true
	source := webList{n: webMany, half: func() {
		if first {
			first = false
			return
		}
		// The full refresh stands still until a thousand more requests were answered.
		from := answered.Load()
		for answered.Load() < from+1000 {
			runtime.Gosched()
		}
		halves <- answered.Load() - from
	}}
	cfg := webConfig(source)
	cfg.Refresh.Every, cfg.Refresh.ResyncEvery = time.Hour, time.Hour
	empty := webHeap()
	gate := webOpen(t, cfg)
	require.Equal(t, webMany, gate.Status().Users)
	served := webHeap()
	assert.Less(t, served-empty, uint64(60*webMany+2<<20), "the index of %d users", webMany)

	var stop atomic.Bool
	var readers sync.WaitGroup
	for reader := range int64(4) {
		readers.Go(func() {
			h := gate.Require(rolegate.AnyRole("teacher", "homeroom", "pupil", "parent"))(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			w, r := new(webStatusOnly), webRequest(t.Context(), 1)
			for i := reader; !stop.Load(); i += 4 {
				id := 1_500_000_000_000_000_000 + (i%webMany+1)*7919
				if w.ask(h, r, "X-User-Id", strconv.FormatInt(id, 10)) != 200 {
					refused.Add(1)
				}
				answered.Add(1)
				runtime.Gosched()
			}
		})
	}
	var peak atomic.Uint64
	readers.Go(func() {
		for tick := time.NewTicker(time.Millisecond); !stop.Load(); <-tick.C {
			peak.Store(max(peak.Load(), webHeapNow()))
		}
	})
	for range 2 {
		before := answered.Load()
		require.NoError(t, gate.RefreshAll(t.Context()))
		assert.GreaterOrEqual(t, <-halves, int64(1000))
		assert.Greater(t, answered.Load(), before+1000)
	}
	stop.Store(true)
	readers.Wait()
	assert.Zero(t, refused.Load(), "of %d requests", answered.Load())
	assert.Less(t, peak.Load(), served+webMostHeap, "%d MB", peak.Load()>>20)
	t.Logf("index %d MB, peak %d MB", (served-empty)>>20, peak.Load()>>20)
	after := webHeap()
	assert.Less(t, after, served+20*webMany+2<<20, "and it all goes away again")
	runtime.KeepAlive(gate)
}
