package faults_test

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// A motion is how a list is written to while it is read.
type motion struct {
	users   int64
	rate    float64 // changes a second
	latency time.Duration
	cap     int // rows a page
}

func (m motion) String() string {
	return fmt.Sprintf("%d users, %v changes a second, %v a reply, %d a page", m.users, m.rate, m.latency, m.cap)
}

// capacity is how many rows a second can be read.
func (m motion) capacity() float64 { return float64(m.cap) / m.latency.Seconds() }

func (m motion) house(more ...func(*tickSetup)) tickSetup {
	s := listHouse(m.users, more...)
	s.marketplace = rolegatetest.MarketplaceConfig{PageCap: m.cap, Latency: m.latency}
	return s
}

// imports puts new users on the list, so many a second, from that id on, until
// the returned func is called.
func (h *tickHouse) imports(from int64, perSecond float64) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(time.Duration(float64(time.Second) / perSecond))
		defer ticker.Stop()
		for id := from; ; id++ {
			select {
			case <-done:
				return
			case <-ticker.C:
				h.m.Put(tickUser(id, "teacher"))
			}
		}
	}()
	return func() { close(done); <-ended }
}

// The first users of an import enter while it goes on, and not when it ends.
func TestFault61AnImportThatGoesOn(t *testing.T) {
	t.Parallel()
	for _, m := range []motion{
		{100, 16, 250 * time.Millisecond, 1000},
		{100, 50, 60 * time.Millisecond, 1000},
		{500, 50, 60 * time.Millisecond, 100},
		{500, 100, time.Second, 1000},
		{100, 40, time.Second, 20}, // faster than it can be read
	} {
		tickRun(t, m.String(), m.house(), func(t *testing.T, h *tickHouse) {
			const first = 10_000
			stop := h.imports(first, m.rate)
			defer stop()
			// The look-back has to be read first.
			backlog := time.Duration((m.rate*66+1)/m.capacity()*float64(time.Second)) + 2*m.latency
			within(t, tickEvery*11/10+backlog+2*time.Second, "the first user of the import enters", func() bool { return h.allowed(t, first) })
			if m.rate > m.capacity() {
				return
			}
			tickAfter(5 * time.Minute)
			// What was put a whole interval ago counts, and the refreshes of the
			// two minutes that are looked back.
			seen := first + int64(m.rate*(300-66)) - 2*int64(backlog.Seconds()*m.rate)
			assert.True(t, h.allowed(t, seen), "user %d", seen)
			assert.Equal(t, rolegate.StateReady, h.gate.Status().State)
			assert.Empty(t, h.gate.Status().Failures)
			stop2 := h.gate.Status().Contact
			tickAfter(3 * time.Minute)
			assert.True(t, h.gate.Status().Contact.After(stop2), "the contact age moves")
		})
	}
}

// A refresh that takes its time, or never ends, holds up no full refresh and no
// request.
func TestFault62ARefreshThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	for _, m := range []motion{
		{100, 100, time.Second, 50},
		{100, 30, 2 * time.Second, 50},
		{20, 10, 4 * time.Second, 30},
	} {
		tickRun(t, m.String(), m.house(), func(t *testing.T, h *tickHouse) {
			stop := h.imports(10_000, m.rate)
			tickUntil(t, 10*time.Minute, func() bool { return h.gate.Status().Incremental.Running })
			tickAfter(m.latency)
			require.True(t, h.gate.Status().Incremental.Running)
			guarded := h.gate.Require(rolegate.AnyRole("teacher"), rolegate.MaxAge(time.Hour))(tickOK)
			h.answers(t, guarded, tickAlice, 200, 10*time.Millisecond)
			h.answers(t, h.gate.Admit(tickOK), 9_999, 403, 1100*time.Millisecond)
			fresh := h.gate.Require(rolegate.AnyRole("teacher"), rolegate.MaxAge(time.Second))(tickOK)
			h.answers(t, fresh, tickAlice, 0, 3100*time.Millisecond)
			stop()
			began := time.Now()
			require.NoError(t, h.gate.RefreshAll(t.Context()))
			pages := (h.m.Len()+m.cap-1)/m.cap + 3
			assert.LessOrEqual(t, time.Since(began), 2*time.Duration(pages)*m.latency, "it waits for no incremental refresh")
			h.calm(t)
		})
	}
}

// answers sends a request and checks the status, unless that is 0, and how long
// it took.
func (h *tickHouse) answers(t *testing.T, handler http.Handler, user int64, status int, most time.Duration) {
	t.Helper()
	began := time.Now()
	w := tickAsk(t, handler, user)
	assert.LessOrEqual(t, time.Since(began), most)
	if status != 0 {
		assert.Equal(t, status, w.Code)
	}
}

// A full refresh ends, whatever the rate of change, with a bounded number of
// requests, and has everybody.
func TestFault63AListWrittenToWhileItIsRead(t *testing.T) {
	t.Parallel()
	motions := []motion{
		{2500, 0, 100 * time.Millisecond, 1000},
		{2500, 16, 250 * time.Millisecond, 1000},
		{500, 50, 60 * time.Millisecond, 1000},
		{500, 50, 60 * time.Millisecond, 100},
		{300, 20, time.Second, 40},
		{999, 5, time.Second, 100},
		{1000, 5, time.Second, 100},
		{1001, 5, time.Second, 100},
		{11, 2, time.Second, 10},
		{5, 3, time.Second, 10},
	}
	for _, m := range motions {
		for _, inclusive := range []bool{false, true} {
			s := m.house(refreshed(rarely))
			s.marketplace.Inclusive = inclusive
			tickRun(t, fmt.Sprintf("%v, inclusive=%t", m, inclusive), s, func(t *testing.T, h *tickHouse) {
				if m.rate > 0 {
					h.m.Fail(h.m.Writes(m.rate, 1))
				}
				for range 5 {
					sequence, sent := h.m.Sequence(), h.line.count()
					require.NoError(t, h.gate.RefreshAll(t.Context()))
					changes, requests := int(h.m.Sequence()-sequence), h.line.count()-sent
					assert.LessOrEqual(t, requests, (int(m.users)+changes+m.cap-1)/m.cap+3, "%d changes", changes)
					assert.Equal(t, h.m.Len(), h.gate.Status().Users)
				}
				h.calm(t)
				assert.Empty(t, h.gate.Status().Failures)
			})
		}
	}
}

// A list that is never caught up with is told of once, and again when that
// begins anew; what was read counts, and nobody is locked out.
func TestFault64AListThatNeverRests(t *testing.T) {
	t.Parallel()
	const says = "the list is stale"
	for _, m := range []motion{
		{10, 10, time.Second, 5},
		{100, 100, time.Second, 60},
		{100, 30, 2 * time.Second, 50},
	} {
		quick := rolegate.Refresh{Every: 10 * time.Second, StaleAfter: 40 * time.Second, LookBack: 20 * time.Second}
		tickRun(t, m.String(), m.house(refreshed(quick)), func(t *testing.T, h *tickHouse) {
			for episode := 1; episode <= 2; episode++ {
				stop := h.imports(int64(episode)*100_000, m.rate)
				tickAfter(2 * time.Minute)
				s := h.gate.Status()
				assert.Equal(t, rolegate.StateStale, s.State)
				assert.Greater(t, s.ContactAge, s.StaleAfter)
				assert.True(t, h.allowed(t, int64(episode)*100_000), "what was read counts")
				assert.True(t, h.allowed(t, tickAlice))
				assert.Len(t, h.book.warnings(says), episode, "told once")
				stop()
				tickUntil(t, time.Hour, func() bool {
					return h.gate.Status().State == rolegate.StateReady && !h.gate.Status().Incremental.Running
				})
				h.calm(t)
			}
		})
	}
}

// A server that repeats itself is found after one repetition.
func TestFault65AServerThatRepeatsItself(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]rolegatetest.Fault{
		"echoes the sequence of the request": rolegatetest.EchoSequence(),
		"sends the first page always":        rolegatetest.StuckPage(),
		"sends pages that do not move on":    rolegatetest.NoProgress(),
	} {
		for _, c := range []struct {
			users int64
			rows  int
		}{{40, 10}, {100, 100}, {300, 100}, {12, 100}, {1000, 1000}} {
			for _, pull := range tickPulls {
				tickRun(t, fmt.Sprintf("%s, %d users, %d a page: %s", name, c.users, c.rows, pull.name), listHouse(c.users, pagesOf(c.rows), refreshed(rarely)), func(t *testing.T, h *tickHouse) {
					for id := range c.users {
						h.m.Touch(id + 1)
					}
					h.m.Fail(fault)
					sent := h.line.count()
					err := pull.pull(t.Context(), h.gate)
					if err == nil { // then it must be whole
						require.Equal(t, "sends the first page always", name)
						assert.LessOrEqual(t, c.users, int64(c.rows))
					} else {
						var failed *rolegate.PullError
						require.ErrorAs(t, err, &failed)
						assert.Contains(t, []rolegate.Failure{marketplace.FailureCursorLoop, marketplace.FailureCursorTie, rolegate.FailureCursorRegressed}, failed.Failure)
					}
					synctest.Wait()
					assert.LessOrEqual(t, h.line.count()-sent, 6, "found after one repetition")
					h.calm(t)
					assert.Equal(t, int(c.users), h.m.Len())
				})
			}
		}
	}
}
