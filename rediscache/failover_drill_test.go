//go:build drill && unix

package rediscache_test

import (
	"context"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
)

// A failure is a Redis that loses its primary.
type failure struct {
	client   redis.UniversalClient
	old, new *server
	strike   func()                                  // the primary goes
	back     func()                                  // and may come back
	then     func(t *testing.T, l *load)             // what else happens
	within   func(lease time.Duration) time.Duration // after which all is as before
}

// The primary goes, in the middle of a full refresh, whose gate goes with it, under
// 2,000 requests a second: no answer is wrong, and soon all is as before.
func TestFailover(t *testing.T) {
	t.Parallel()
	found := programs(t)
	usual := func(lease time.Duration) time.Duration { return lease + 2*time.Second }
	sentinel := func(t *testing.T, program string) *failure {
		f := &failure{within: usual, back: func() {}, then: func(*testing.T, *load) {}}
		f.old, f.new, f.client = startSentinel(t, program)
		f.strike = f.old.kill
		return f
	}
	var all sync.WaitGroup
	for name, prepare := range map[string]func(t *testing.T) *failure{
		"sentinel": func(t *testing.T) *failure { return sentinel(t, found[0]) },
		"sentinel, and the old primary comes back": func(t *testing.T) *failure {
			f := sentinel(t, found[len(found)-1])
			signal := func(s syscall.Signal) { require.NoError(t, f.old.proc.Process.Signal(s)) }
			f.strike, f.back = func() { signal(syscall.SIGSTOP) }, func() { signal(syscall.SIGCONT) }
			f.then = func(t *testing.T, _ *load) { // until the sentinel has made it a replica
				require.Eventually(t, func() bool { return f.old.info("replication", "role") == "slave" }, time.Minute, 50*time.Millisecond)
			}
			return f
		},
		"cluster": func(t *testing.T) *failure { return cluster(t, found[0]) },
	} {
		all.Go(func() { // all at once, however few processors there are
			t.Run(name, func(t *testing.T) { failover(t, prepare(t)) })
		})
	}
	all.Wait()
}

func cluster(t *testing.T, program string) *failure {
	nodes, client := startCluster(t, program)
	f := &failure{client: client, new: nodes[3], back: func() {}, within: func(time.Duration) time.Duration { return 10 * time.Second }}
	// Who owns the slot is known when there is something in it.
	one := newLoad().open(t, client, rolegate.OnDeny{Off: true})
	require.NoError(t, one.Close())
	key := ""
	for _, s := range nodes[:3] {
		if keys := s.has("rolegate:*:state"); len(keys) > 0 {
			f.old, key = s, keys[0]
		}
	}
	require.NotEmpty(t, key)
	require.NoError(t, f.new.ClusterReplicate(t.Context(), f.old.ClusterMyID(t.Context()).Val()).Err())
	require.Eventually(t, func() bool {
		return f.new.info("replication", "master_link_status") == "up" && strings.Contains(f.old.info("replication", "slave0"), "state=online")
	}, time.Minute, 20*time.Millisecond)
	f.strike = f.old.kill
	f.then = func(t *testing.T, l *load) {
		for _, s := range nodes[:3] {
			if s != f.old {
				moveSlot(t, f.new, s, key)
				f.new = s
				break
			}
		}
		took := l.inStep(t, time.Now())
		t.Logf("the slot has moved: in step after %v, with the next full refresh", took.Round(10*time.Millisecond))
	}
	return f
}

func failover(t *testing.T, f *failure) {
	l := newLoad()
	for range 3 {
		l.open(t, f.client, rolegate.OnDeny{})
	}
	stop := l.run()
	defer stop()
	l.inStep(t, time.Time{})
	l.inStep(t, time.Now()) // with the next full refresh: none is due now

	told := map[*replica]int{}
	for _, r := range l.all() {
		told[r] = len(r.log.all())
	}
	gone := l.all()[0]
	l.forget(gone)
	release := l.holdFulls()
	fulls := l.fulls(time.Time{})
	var refresh sync.WaitGroup
	refresh.Go(func() { _ = gone.RefreshAll(context.Background()) }) // it is closed
	require.Eventually(t, func() bool { return l.fulls(time.Time{}) > fulls }, time.Minute, time.Millisecond)
	struck := time.Now()
	f.strike()
	_ = gone.Close() // and cannot give its lease back
	release()
	refresh.Wait()

	require.Eventually(t, func() bool { return f.new.info("replication", "role") == "master" }, time.Minute, 10*time.Millisecond)
	promoted := time.Now()
	alone := l.fulls(struck)
	demanded := make(chan error, 1)
	go func() { demanded <- l.all()[0].RefreshAll(context.Background()) }()
	took := l.inStep(t, promoted)
	assert.NoError(t, <-demanded)
	assert.LessOrEqual(t, took, f.within(loadLease)+links*l.lateness(), "after the new primary")
	f.back()
	l.open(t, f.client, rolegate.OnDeny{}) // another one in the place of the one that is gone
	f.then(t, l)
	l.inStep(t, time.Now())

	lasted, away := time.Since(promoted), promoted.Sub(struck)
	regular := func(d time.Duration) int { return int(d / (loadResync * 9 / 10)) }
	assert.LessOrEqual(t, alone, 2*regular(away), "none was due")
	after := l.fulls(promoted)
	assert.LessOrEqual(t, after, 1+1+regular(lasted)+1, "the demanded one, those that are due, and one more")
	stop()
	l.check(t, told)
	t.Logf("a new primary after %v, and in step %v later; %d full refreshes in the %v since; %d answers, %.0f a second, paced to within %v",
		away.Round(10*time.Millisecond), took.Round(10*time.Millisecond), after, lasted.Round(10*time.Millisecond), l.answers, l.rate(), l.late.Round(time.Millisecond))
}

// lateness is what the machine makes of all that takes time.
func (l *load) lateness() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.late
}
