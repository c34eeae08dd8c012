//go:build drill

package rolegate_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
)

// TestSimulationOfReplicas lets five gates that share a store run beside the
// marketplace of TestSimulation, kills them, and takes the store from them in
// every way. Each is asked every second what the one there is asked, and what it
// answers is checked by the same checker. Beyond that, see simGroup.watch.
//
// A seed repeats the marketplace's days, the requests and what goes wrong when.
// Who leads at that moment is up to the gates' own jitter, which has no seed.
func TestSimulationOfReplicas(t *testing.T) {
	t.Parallel()
	length := simDays
	if simUnderRaceDetector() {
		length = 3 * time.Hour
	}
	for _, seed := range simSeeds(t) {
		t.Run(fmt.Sprintf("%v/ROLEGATE_SEED=%d", length, seed), func(t *testing.T) {
			t.Parallel()
			g := simulateGroup(t, simGroupRules{simRules: simRules{seed: seed, length: length}})
			g.requireRight(t)
			if length == simDays {
				for k := range simStoreTroubles {
					assert.Positive(t, g.world.counts[k.String()], k)
				}
				assert.Positive(t, g.world.counts["calm seconds"])
			}
		})
	}
}

const (
	simReplicas = 5
	simDays     = simDay / 2
)

// What replicas may do wrong beyond what one gate may.
const (
	simTooYoung   simWrong = "told an age below the truth"
	simWentBack   simWrong = "went back to an older list"
	simManyWalk   simWrong = "more than one walked while nothing was wrong"
	simOutOfStep  simWrong = "did not follow within a second while nothing was wrong"
	simNotInGroup simWrong = "neither leads nor follows although nothing is wrong"
)

// simGroupRules say how a simulation of replicas is run, and what of them is
// broken.
type simGroupRules struct {
	simRules
	cache  func(*simReplica) rolegate.SharedCache // what a replica has in place of its fakeCache
	source func(*simReplica, rolegate.Source) rolegate.Source
}

// A simReplica is one of the gates.
type simReplica struct {
	*simGate
	number   int
	cache    *fakeCache
	skew     time.Duration // of its wall clock
	walked   moment        // when the walk began that its list is of, as far as it has told
	contact  moment        // and the pull that it has seen last
	verified moment        // by the age that it tells
}

// A simGroup is replicas, their store, and the world beside them.
type simGroup struct {
	*simulation
	rules    simGroupRules
	store    *fakeStore
	chaos    *rand.Rand
	replicas []*simReplica
	started  int
	troubles []simStoreTrouble
	deck     []int  // the kinds that are next
	end      func() // of the last trouble
	next     moment // when it ends, or the next begins
	within   bool   // a trouble
	restore  func() // of the last backup of the store

	walks  []simBegunWalk
	leader *simReplica // in the second before, if all was well
	led    moment      // what contact it had
}

type simBegunWalk struct {
	at     moment
	number int
}

func simulateGroup(t *testing.T, rules simGroupRules) (g *simGroup) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		g = &simGroup{
			simulation: newSimulation(rules.simRules, nil), rules: rules, store: newFakeStore(),
			chaos: rand.New(rand.NewPCG(rules.seed, 3)), next: 20 * time.Minute,
		}
		g.due, g.simulation.lastTrouble = g.dueInGroup, g.lastTrouble
		g.run(t)
	})
	return g
}

func (g *simGroup) run(t *testing.T) {
	w := g.world
	w.backUp()
	g.restore = g.store.backUp()
	for range simReplicas {
		g.start(t)
	}
	defer func() {
		for _, r := range g.replicas {
			require.NoError(t, r.gate.Close())
		}
	}()
	g.goOn(func() {
		g.trouble(t)
		if g.chaos.IntN(1800) == 0 && !g.within {
			g.restore = g.store.backUp()
		}
		for _, r := range g.replicas {
			if g.rules.each != nil && w.tick%(5*time.Second) == 0 {
				g.rules.each(r.gate)
			}
			g.ask(r.simGate)
			g.watch(r)
		}
		g.watchTogether()
	}, func() {
		gate := g.any().gate
		go func() { _ = gate.RefreshAll(t.Context()) }()
	})
	for _, r := range g.replicas {
		g.countWalks(r.simGate)
	}
}

// start starts a replica. It does not wait for its list: it may be cut off.
func (g *simGroup) start(t *testing.T) *simReplica {
	g.started++
	r := &simReplica{number: g.started, cache: g.store.replica(), walked: simEver, contact: simEver, verified: simEver}
	switch g.chaos.IntN(6) {
	case 0:
		r.skew = -time.Hour
	case 1:
		r.skew = time.Hour
	case 2:
		r.skew = -20 * time.Second
	}
	cfg := quiet(rolegate.Config{Source: simMarked{simSource{g.world}, g, r.number}, UpstreamSync: g.world.sync, Cache: r.cache, StartEmpty: true})
	if g.rules.cache != nil {
		cfg.Cache = g.rules.cache(r)
	}
	if g.rules.source != nil {
		cfg.Source = g.rules.source(r, cfg.Source)
	}
	cfg = rolegate.WithClock(cfg, func() (mono, wall int64) {
		mono, wall = rolegate.ReadClock()
		return mono, wall + int64(r.skew)
	})
	if g.rules.config != nil {
		g.rules.config(&cfg)
	}
	r.simGate = g.open(t, cfg)
	g.replicas = append(g.replicas, r)
	return r
}

// kill ends a replica as a crash does: it cannot tell the store. Another takes
// its place.
func (g *simGroup) kill(t *testing.T, r *simReplica) {
	for i := range g.replicas {
		if g.replicas[i] == r {
			g.replicas = append(g.replicas[:i], g.replicas[i+1:]...)
			break
		}
	}
	r.cache.set(func(c *fakeCache) { c.broken = errSimCut })
	g.countWalks(r.simGate)
	require.NoError(t, r.gate.Close())
	g.start(t)
}

func (g *simGroup) any() *simReplica { return g.replicas[g.chaos.IntN(len(g.replicas))] }

// leading is the replica that leads, or any if none does.
func (g *simGroup) leading() *simReplica {
	for _, r := range g.replicas {
		if r.gate.Status().Replica.Role == rolegate.ReplicaLeader {
			return r
		}
	}
	return g.any()
}

// watch checks what only a replica can do wrong. What its list is of says the
// list itself: see simMarked.
func (g *simGroup) watch(r *simReplica) {
	status := r.gate.Status()
	now := g.world.now()
	if status.Users == 0 {
		return
	}
	walked, contact := r.marker(simWalkMarker), r.marker(simContactMarker)
	if walked == simEver {
		return // the list has expired meanwhile
	}
	// Read after the ages: the list may have become younger meanwhile, not older.
	if status.VerifiedAge < now-walked-simClockSlack || status.ContactAge < now-contact-simClockSlack {
		g.sayOf(r, simTooYoung, fmt.Sprintf("verified age %v, really %v; contact age %v, really %v", status.VerifiedAge, now-walked, status.ContactAge, now-contact))
	}
	if status.VerifiedAge > now-walked+10*time.Second && status.Held.Users == 0 {
		g.world.counts["told ages above the truth"]++
	}
	verified := now - status.VerifiedAge
	if verified < r.verified-simClockSlack {
		g.sayOf(r, simWentBack, fmt.Sprintf("from one verified at %v to one at %v", r.verified, verified))
	}
	r.walked, r.contact, r.verified = walked, contact, max(verified, r.verified)
	g.world.counts["seconds as "+string(status.Replica.Role)]++
}

// simClockSlack is by how much an age may be wrong: two readings of a clock that
// was set are told from two that were not by a second.
const simClockSlack = time.Second + 100*time.Millisecond

// watchTogether checks the group while nothing has been wrong for long: one
// leads and walks, and the others follow within a second.
func (g *simGroup) watchTogether() {
	leader, at := g.leader, g.led
	g.leader = nil
	if !g.calm() {
		return
	}
	g.world.counts["calm seconds"]++
	lead := 0
	for _, r := range g.replicas {
		switch r.gate.Status().Replica.Role {
		case rolegate.ReplicaLeader:
			lead++
			g.leader, g.led = r, r.contact
		case rolegate.ReplicaStandalone:
			g.sayOf(r, simNotInGroup, "it is alone")
		}
		if leader != nil && r.contact < at {
			g.sayOf(r, simOutOfStep, fmt.Sprintf("the leader had contact at %v, and this has it from %v", at, r.contact))
		}
	}
	if lead != 1 {
		g.sayOf(g.replicas[0], simNotInGroup, fmt.Sprintf("%d lead", lead))
	}
	if walkers := g.walkersSince(g.calmSince()); len(walkers) > 1 {
		g.sayOf(g.replicas[0], simManyWalk, fmt.Sprint(walkers))
	}
}

// walkersSince are the replicas that have begun walks since then, each once for
// as long as no other did.
func (g *simGroup) walkersSince(since moment) (numbers []int) {
	g.world.mu.Lock()
	defer g.world.mu.Unlock()
	for i := len(g.walks) - 1; i >= 0 && g.walks[i].at > since; i-- {
		numbers = append(numbers, g.walks[i].number)
	}
	if len(numbers) > 0 && g.walks[len(g.walks)-1].at > g.world.tick-time.Second {
		g.world.counts["walks in calm seconds"]++
	}
	return slices.Compact(numbers)
}

func (g *simGroup) sayOf(r *simReplica, wrong simWrong, what string) {
	g.wrong[wrong]++
	if len(g.told) >= 10 && wrong != g.rules.until {
		return
	}
	status := r.gate.Status()
	g.told = append(g.told, fmt.Sprintf("at %v, replica %d, %s: %s: %s; opened at %v; the store: %q; %v", g.world.now(), r.number,
		status.Replica.Role, wrong, what, r.opened, status.Cache.Error, g.lastTrouble()))
}
