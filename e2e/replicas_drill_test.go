//go:build drill

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/rolegatetest"
)

// Time is compressed in the drill: a replica pulls changes every two seconds instead
// of every minute, and the whole list every ten seconds instead of every ten minutes.
const (
	drillRefresh = 2 * time.Second
	drillResync  = 10 * time.Second
	drillLease   = 5 * time.Second

	drillReplicas = 10
	drillUsers    = 100_000

	// drillLatency is how long a page takes at least, so that a full refresh of a
	// hundred pages takes a good part of a second.
	drillLatency = 5 * time.Millisecond
)

const (
	// grantWithin is how long a request may take that the gate grants, whatever
	// becomes of Redis: far less than any call to Redis may take, or the replicas
	// wait for each other. What the machine makes of it comes on top: see
	// watch.lateness.
	grantWithin = 500 * time.Millisecond

	// refusalWithin is the same for one that it refuses: OnDeny.Wait comes first.
	refusalWithin = time.Second + grantWithin
)

// howLong says for how long the drill is calm, and how often something is done
// again: little where others wait for it, much by hand. ROLEGATE_E2E_CALM is a
// duration.
func howLong(t testing.TB) (calm time.Duration, times int) {
	t.Helper()
	calm, times = time.Minute, 5
	if inCI {
		calm, times = 10*time.Second, 2
	}
	if text := os.Getenv("ROLEGATE_E2E_CALM"); text != "" {
		var err error
		calm, err = time.ParseDuration(text)
		require.NoError(t, err, "ROLEGATE_E2E_CALM")
	}
	return calm, times
}

// A drill is ten replicas, Redis, a marketplace, and whoever watches them.
type drill struct {
	life    testing.TB // of the whole drill
	market  *market
	redis   *redisServer
	apps    []*process
	watch   *watch
	gone    int64 // how many users were revoked
	changed int64 // how many were changed
	spread  []time.Duration
}

func newDrill(t testing.TB, program string) *drill {
	t.Helper()
	buildExample(t)
	return &drill{
		life:   t,
		market: openMarket(t, drillUsers, drillLatency),
		redis:  startRedis(t, program),
		watch:  newWatch(t),
	}
}

// start starts a replica, also again.
func (d *drill) start(t testing.TB, name string, l *link) *process {
	t.Helper()
	a := startApp(t, name, l.addr, d.market,
		"ROLEGATE_REFRESH="+drillRefresh.String(), "ROLEGATE_RESYNC="+drillResync.String(), "ROLEGATE_REDIS_LEASE="+drillLease.String())
	a.link = l
	d.life.Cleanup(a.kill)
	return a
}

// up waits until replicas serve the list, and watches them.
func (d *drill) up(t testing.TB, apps ...*process) {
	t.Helper()
	for _, a := range apps {
		a.awaitServing(t)
	}
	for _, a := range apps {
		require.Eventually(t, func() bool {
			s, ok := a.status(t.Context())
			return ok && s.State == "ready"
		}, patience, 100*time.Millisecond, a.last())
		d.watch.begin(a)
	}
}

// statuses are what all replicas say of themselves; false if one does not.
func (d *drill) statuses(t testing.TB) ([]status, bool) {
	t.Helper()
	all := make([]status, len(d.apps))
	said := make([]bool, len(d.apps))
	var wg sync.WaitGroup
	for i, a := range d.apps {
		wg.Go(func() { all[i], said[i] = a.status(t.Context()) })
	}
	wg.Wait()
	for _, ok := range said {
		if !ok {
			return all, false
		}
	}
	return all, true
}

// inStep waits until all replicas reach Redis and go by the same full refresh, and
// returns the one that has made the last.
func (d *drill) inStep(t testing.TB) *process {
	t.Helper()
	var told string
	require.Eventually(t, func() bool {
		all, ok := d.statuses(t)
		told = ""
		for i, s := range all {
			ok = ok && s.Replica.Connected && s.Replica.Base.Equal(all[0].Replica.Base)
			told += fmt.Sprintf("%s: connected %v base %v cursor %d; ", d.apps[i].name, s.Replica.Connected, s.Replica.Base, s.Cursor)
		}
		return ok
	}, patience, 200*time.Millisecond, "not in step: %s", &lazily{&told})
	fulls := d.market.seen(time.Time{})
	for _, w := range slices.Backward(fulls) {
		for _, a := range d.apps {
			if a.name == w.who {
				return a
			}
		}
	}
	t.Fatal("none of them has refreshed")
	return nil
}

// A lazily is a text that is read when it is printed.
type lazily struct{ text *string }

func (l *lazily) String() string { return *l.text }

// change changes so many users at the marketplace, and waits until all replicas
// have told of it. It returns how much later than the first each of the others
// did.
func (d *drill) change(t testing.TB, users int) (spread []time.Duration) {
	t.Helper()
	before := make([]int, len(d.apps))
	for i, a := range d.apps {
		before[i] = len(a.publishes(0))
	}
	role := fmt.Sprintf("role-%d", d.changed%7) // another one when a user's turn comes again
	all := make([]rolegatetest.User, users)
	for i := range all {
		id := pupils + (d.changed*7919)%(drillUsers-2001)
		d.changed++
		all[i] = marketUser(id, role)
	}
	begun := time.Now()
	d.market.Put(all...)
	everywhere := func() bool {
		for i, a := range d.apps {
			if len(a.publishes(before[i])) == 0 {
				return false
			}
		}
		return true
	}
	require.Eventually(t, everywhere, patience, 20*time.Millisecond, "a change did not reach everybody")
	var first time.Time
	for i, a := range d.apps {
		if at := a.publishes(before[i])[0]; first.IsZero() || at.Before(first) {
			first = at
		}
	}
	for i, a := range d.apps {
		if at := a.publishes(before[i])[0]; !at.Equal(first) {
			spread = append(spread, at.Sub(first))
		}
	}
	assert.Less(t, first.Sub(begun), patience)
	return spread
}

// revoke takes a user off the list, and waits until nobody admits them. From
// then on, nobody may ever again. It returns a user that nobody has been asked
// about before.
func (d *drill) revoke(t testing.TB, by ...*process) int64 {
	t.Helper()
	user := leaving + d.gone
	d.gone++
	for _, a := range by {
		code, err := a.ask(t.Context(), user, "/grades")
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, code, a.name)
	}
	d.market.Revoke(user)
	var wg sync.WaitGroup
	for _, a := range by { // all at once: each refusal may take a second
		wg.Go(func() {
			assert.Eventually(t, func() bool {
				code, err := a.ask(t.Context(), user, "/grades")
				return err == nil && code == http.StatusForbidden
			}, patience, 100*time.Millisecond, a.last())
		})
	}
	wg.Wait()
	d.watch.forbid(user)
	return user
}

// others are all replicas but one.
func (d *drill) others(but *process) (apps []*process) {
	for _, a := range d.apps {
		if a != but {
			apps = append(apps, a)
		}
	}
	return apps
}

// replace puts a replica in the place of one that is gone.
func (d *drill) replace(gone, by *process) {
	for i, a := range d.apps {
		if a == gone {
			d.apps[i] = by
		}
	}
}

// check says what was wrong since then.
func (d *drill) check(t testing.TB, since time.Time) {
	t.Helper()
	late := d.watch.lateness(since)
	grant, refusal, n := d.watch.tookAtMost(since)
	t.Logf("%d requests; the slowest grant took %v, the slowest refusal %v; the machine accounts for %v", n, grant.Round(time.Millisecond), refusal.Round(time.Millisecond), late.Round(time.Millisecond))
	assert.Empty(t, d.watch.faults())
	assert.Less(t, grant, grantWithin+late, "a request waited")
	assert.Less(t, refusal, refusalWithin+late, "a refusal waited")
}
