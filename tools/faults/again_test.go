package faults_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// A page that meets with the network is asked for again in place: nothing else is
// thrown away for it.
func TestFault72APageThatMeetsWithTheNetwork(t *testing.T) {
	t.Parallel()
	const pages, rows = 10, 10
	again := func(r rolegatetest.Request) bool { return r.After%100 >= 40 && r.After%100 < 50 }
	for name, c := range map[string]struct {
		fault rolegatetest.Fault
		ends  rolegate.Failure
	}{
		"429":                       {rolegatetest.HTTPStatus(429), rolegate.FailureHTTPStatus},
		"502":                       {rolegatetest.HTTPStatus(502), rolegate.FailureHTTPStatus},
		"503":                       {rolegatetest.HTTPStatus(503), rolegate.FailureHTTPStatus},
		"504":                       {rolegatetest.HTTPStatus(504), rolegate.FailureHTTPStatus},
		"502 from a proxy, in HTML": {htmlStatus(502), rolegate.FailureHTTPStatus},
		"a reset":                   {rolegatetest.Reset(), marketplace.FailureNetwork},
		"a body that breaks off":    {rolegatetest.Truncated(), marketplace.FailureMalformed},
		"a body that ends early":    {rolegatetest.Unterminated(), marketplace.FailureMalformed},
		"no answer in time":         {rolegatetest.Hang(), rolegate.FailureTimeout},
		"a body that drips":         {rolegatetest.Drip(time.Second), rolegate.FailureTimeout},
	} {
		for _, pull := range tickPulls {
			tickRun(t, name+": "+pull.name, listHouse(pages*rows, pagesOf(rows), refreshed(rarely)), func(t *testing.T, h *tickHouse) {
				if pull.name == "incremental" {
					for id := range int64(pages * rows) {
						h.m.Touch(id + 1)
					}
				}
				quiet, fulls := h.line.count(), h.m.FullRefreshes()
				require.NoError(t, pull.pull(t.Context(), h.gate))
				quiet = h.line.count() - quiet
				for n := 1; n <= 5; n++ {
					if pull.name == "incremental" {
						tickAfter(5 * time.Minute)
						require.NoError(t, h.gate.Refresh(t.Context()))
						for id := range int64(pages * rows) {
							h.m.Touch(id + 1)
						}
					}
					left := n
					h.m.FailWhen(func(r rolegatetest.Request) bool {
						if !again(r) || left == 0 {
							return false
						}
						left--
						return true
					}, c.fault)
					sent := h.line.count()
					require.NoError(t, pull.pull(t.Context(), h.gate), "%d times", n)
					assert.Zero(t, left)
					assert.LessOrEqual(t, h.line.count()-sent, quiet+n+2, "page one is not asked for again")
					h.m.Recover()
				}
				if pull.name == "full refresh" {
					assert.LessOrEqual(t, h.m.FullRefreshes()-fulls, 6)
				}
				assert.Empty(t, h.gate.Status().Failures)
				for id := range int64(pages * rows) {
					h.m.Touch(id + 1)
				}
				sent := h.line.count()
				h.m.FailWhen(again, c.fault)
				refuses(t, pull.pull(t.Context(), h.gate), c.ends)
				assert.LessOrEqual(t, h.line.count()-sent, quiet+6+2, "six times, and no more")
				h.calm(t)
			})
		}
	}
	for _, part := range []float64{0.01, 0.05} {
		for _, fault := range []rolegatetest.Fault{rolegatetest.HTTPStatus(502), rolegatetest.Reset(), rolegatetest.HTTPStatus(429)} {
			tickRun(t, fmt.Sprintf("%v of all", part), listHouse(1000, pagesOf(10), refreshed(rarely)), func(t *testing.T, h *tickHouse) {
				h.m.Fail(rolegatetest.Sometimes(part, 7, fault))
				for range 10 {
					fulls := h.m.FullRefreshes()
					require.NoError(t, h.gate.RefreshAll(t.Context()))
					assert.LessOrEqual(t, h.m.FullRefreshes()-fulls, 3, "a restart is the last resort")
				}
				h.calm(t)
			})
		}
	}
}

// htmlStatus answers as a proxy does whose server is away.
func htmlStatus(status int) rolegatetest.Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, "<html><body><h1>%d %s</h1></body></html>", status, http.StatusText(status))
	}
}

// Retry-After is heeded within bounds, and one refresh takes no longer than a
// budget below ExpireAfter.
func TestFault73RetryAfterInTheMiddleOfAList(t *testing.T) {
	t.Parallel()
	for _, status := range []int{429, 503, 502} {
		for value, wait := range map[string][2]time.Duration{
			"":      {0, 2 * time.Second},
			"0":     {0, 2 * time.Second},
			"3":     {3 * time.Second, 6 * time.Second},
			"120":   {2 * time.Minute, 125 * time.Second},
			"-5":    {0, 2 * time.Second},
			"soon":  {0, 2 * time.Second},
			"date":  {40 * time.Second, 50 * time.Second},
			"99999": {5 * time.Minute, 305 * time.Second},
			"past":  {0, 2 * time.Second},
		} {
			tickRun(t, fmt.Sprintf("%d, %q", status, value), listHouse(40, pagesOf(10), refreshed(rarely)), func(t *testing.T, h *tickHouse) {
				switch value {
				case "date":
					value = time.Now().Add(41 * time.Second).UTC().Format(http.TimeFormat)
				case "past":
					value = time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)
				}
				var headers []string
				if value != "" {
					headers = []string{"Retry-After", value}
				}
				left := true
				h.m.FailWhen(func(r rolegatetest.Request) bool {
					was := left && r.After > 10
					left = left && !was
					return was
				}, rolegatetest.HTTPStatus(status, headers...))
				began := time.Now()
				require.NoError(t, h.gate.RefreshAll(t.Context()))
				took := time.Since(began)
				assert.GreaterOrEqual(t, took, wait[0])
				assert.LessOrEqual(t, took, wait[1])
			})
		}
	}
	for _, after := range []string{"300", "600", "9999999"} {
		tickRun(t, "for ever: "+after, listHouse(40, pagesOf(10)), func(t *testing.T, h *tickHouse) {
			h.m.FailWhen(func(r rolegatetest.Request) bool { return r.After > 10 }, rolegatetest.HTTPStatus(503, "Retry-After", after))
			budget := time.Hour - tickResync
			began := time.Now()
			assert.Error(t, h.gate.RefreshAll(t.Context()))
			assert.LessOrEqual(t, time.Since(began), budget+time.Second)
			h.m.Recover()
			tickUntil(t, 10*time.Minute, func() bool { return h.gate.Status().Full.Consecutive == 0 })
			h.calm(t)
		})
	}
}

// A list is read although fewer requests are allowed than it needs at once.
func TestFault74ALimitOfRequests(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		perSecond int
		after     time.Duration
		pages     int64
	}{
		{20, time.Second, 52}, {20, 0, 52}, {20, time.Second, 300}, {5, time.Second, 52}, {5, 0, 52}, {1, time.Second, 20}, {1, 0, 20}, {50, 0, 300},
	} {
		s := listHouse(c.pages*10, pagesOf(10))
		s.marketplace.Latency = 10 * time.Millisecond
		list := s.list
		s.list = func(m *rolegatetest.Marketplace) {
			list(m)
			m.Fail(rolegatetest.Throttle(c.perSecond, c.after))
		}
		name := fmt.Sprintf("%d a second, Retry-After %v, %d pages", c.perSecond, c.after, c.pages)
		inBubble(t, name, func(t *testing.T) {
			began := time.Now()
			h := tickOpen(t, s)
			took, limit := time.Since(began), time.Duration(c.pages+2)*time.Second/time.Duration(c.perSecond)
			assert.LessOrEqual(t, took, limit*13/10+15*time.Second, "it opens, and has learnt how many are accepted")
			assert.Equal(t, 1, h.m.FullRefreshes()-refusedFulls(h), "and begins once")
			for range 12 {
				tickAfter(5 * time.Minute)
				require.Equal(t, rolegate.StateReady, h.gate.Status().State)
			}
			assert.Empty(t, h.gate.Status().Failures)
			h.calm(t)
		})
	}
}

// refusedFulls is how many first pages were refused.
func refusedFulls(h *tickHouse) (n int) {
	for _, r := range h.m.Requests() {
		if r.BeginsFullRefresh() && r.Status == http.StatusTooManyRequests {
			n++
		}
	}
	return n
}

// MaxRequestsPerSecond is a ceiling for all that the client asks.
func TestFault75ACeilingOfRequests(t *testing.T) {
	t.Parallel()
	for _, perSecond := range []float64{0.5, 1, 2.5, 20} {
		s := listHouse(200, pagesOf(10), func(s *tickSetup) {
			s.alsoClient(func(c *marketplace.Config) { c.MaxRequestsPerSecond = perSecond })
		})
		tickRun(t, fmt.Sprint(perSecond), s, func(t *testing.T, h *tickHouse) {
			for id := range int64(200) {
				h.m.Touch(id + 1)
			}
			h.m.Fail(rolegatetest.Sometimes(0.1, 3, rolegatetest.HTTPStatus(502)))
			done := make(chan error, 2)
			go func() { done <- h.gate.Refresh(t.Context()) }()
			go func() { done <- h.gate.RefreshAll(t.Context()) }()
			require.NoError(t, <-done)
			require.NoError(t, <-done)
			sent := h.m.Requests()
			for i, r := range sent {
				n := 0
				for _, other := range sent[i:] {
					if other.Time.Sub(r.Time) >= 10*time.Second {
						break
					}
					n++
				}
				require.LessOrEqual(t, float64(n), 10*perSecond+1.01)
			}
			h.calm(t)
		})
	}
}

// A connection that is dead, and looks alive, costs one page its time and no more.
func TestFault76AConnectionThatIsDead(t *testing.T) {
	t.Parallel()
	for _, dies := range []int64{1, 3} {
		t.Run(fmt.Sprintf("after %d pages", dies), func(t *testing.T) {
			t.Parallel()
			m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
			for id := range int64(40) {
				m.Put(tickUser(id+1, "teacher"))
			}
			away := silentAfter(t, strings.TrimPrefix(m.Start(t), "http://"), dies)
			gate, _ := tickGate(t, rolegate.Config{Refresh: rarely, Source: marketplace.New(marketplace.Config{
				BaseURL: "http://" + away.address, AppID: m.AppID(), Token: marketplace.StaticToken(m.Token()), PageSize: 10, PageTimeout: 200 * time.Millisecond,
			})})
			for range 3 {
				require.NoError(t, gate.RefreshAll(t.Context()))
				require.NoError(t, gate.Refresh(t.Context()))
			}
			assert.Equal(t, 40, gate.Status().Users)
			assert.Greater(t, away.dials.Load(), int64(1))
		})
	}
}

// A silent is a way to a server that is silent on its first connection after some
// replies, and does not close it.
type silent struct {
	address string
	dials   atomic.Int64
}

func silentAfter(t *testing.T, server string, replies int64) *silent {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &silent{address: ln.Addr().String()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			from, err := ln.Accept()
			if err != nil {
				return
			}
			first := s.dials.Add(1) == 1
			t.Cleanup(func() { _ = from.Close() })
			to, err := net.Dial("tcp", server)
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = to.Close() })
			var requests atomic.Int64
			go pipe(to, from, func() bool { return !first || requests.Add(1) <= replies })
			go pipe(from, to, func() bool { return true })
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	return s
}

// pipe copies as long as pass says so, and then swallows.
func pipe(to, from net.Conn, pass func() bool) {
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			_ = to.Close()
			return
		}
		if pass() {
			_, _ = to.Write(b[:n])
		}
	}
}
