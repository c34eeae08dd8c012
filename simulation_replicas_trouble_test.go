//go:build drill

package rolegate_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/rolegate/rolegate"
)

// This file is what goes wrong between the replicas of the simulation and their
// store, and by when each must know in spite of it.

// These users are on every list that is pulled. The organisation of the only
// grant of the first is when the walk began that the list is of, and that of
// the second when the last pull began that is in it: what a replica has tells
// its true age by itself.
const (
	simWalkMarker    = simFirstID + 1_000_000
	simContactMarker = simWalkMarker + 1
)

// simMarked is the source of one replica.
type simMarked struct {
	rolegate.Source
	g      *simGroup
	number int
}

func (s simMarked) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	begun := s.g.world.now()
	grants := []rolegate.Grant{{OrgID: int64(begun) + 1, RoleCode: "marker"}}
	if after == 0 {
		s.g.world.mu.Lock()
		s.g.walks = append(s.g.walks, simBegunWalk{begun, s.number})
		s.g.world.mu.Unlock()
		yield(rolegate.Record{UserID: simWalkMarker, Grants: grants})
	}
	yield(rolegate.Record{UserID: simContactMarker, Sequence: after, Grants: grants})
	return s.Source.Pull(ctx, after, yield)
}

// marker reads what simMarked has written.
func (r *simReplica) marker(id int64) moment {
	for _, grant := range r.gate.Decide(context.Background(), rolegate.UserID(id)).User.Grants() {
		return moment(grant.OrgID - 1)
	}
	return simEver
}

// A simStoreTrouble is a time in which not all replicas could use the store, or
// one of them was killed.
type simStoreTrouble struct {
	kind     simStoreTroubleKind
	from, to moment
}

type simStoreTroubleKind int

const (
	simKill        simStoreTroubleKind = iota // of the leader, or of another
	simKillSome                               // of several at once
	simCutOne                                 // one replica cannot reach the store
	simCutSome                                // two or three cannot
	simPaused                                 // the leader cannot, for longer than its lease
	simStoreAway                              // nobody can
	simStoreErrs                              // every call fails at once
	simStoreSlow                              // every call takes long
	simLostReplies                            // what is published is, and nobody says so
	simFlush                                  // the store restarts empty
	simOldStore                               // the store is put back to a backup
	simStoreClock                             // its clock is set
	simStoreTroubles
)

func (k simStoreTroubleKind) String() string {
	return [simStoreTroubles]string{
		"kills", "kills of several", "replicas cut off", "groups cut off", "paused leaders", "stores away", "stores that fail", "slow stores",
		"lost replies", "stores flushed", "stores restored", "store clocks set",
	}[k]
}

// What the promises of a gate grow by in a group, while not all is well there.
const (
	// simFailover is how long nobody may lead who can: the lease of a leader that
	// is gone lasts for ten seconds, then the others look within a second and a
	// fifth, and the one that has it catches up, on a store that may be slow.
	simFailover = fakeLease + 1200*time.Millisecond + 5*time.Second

	// simAlone is until a replica that is cut off goes on by itself: it has five
	// seconds of grace, and looks when a call has timed out, at most 3.2 seconds
	// later. A leader's lease lasts longer than that.
	simAlone = simFailover

	// Then it spreads its first pulls over the time until they are due, and those
	// that are due already, or nearly, over a tenth of Every or ResyncEvery.
	simSpreadIncrement = 6600 * time.Millisecond
	simSpreadWalk      = 66 * time.Second

	// simUnheard is how long a replica waits for news of a leader that renews its
	// lease and publishes nothing.
	simUnheard = 3*time.Minute + 1200*time.Millisecond
)

// slack is by how much longer a replica may take to know.
func (k simStoreTroubleKind) slack(byWalk bool) time.Duration {
	spread := simSpreadIncrement
	if byWalk {
		spread = simSpreadWalk
	}
	switch k {
	case simKill, simKillSome:
		return simFailover
	case simLostReplies:
		return simUnheard + spread
	}
	return simAlone + spread
}

// settled is since when only what is left of it in the schedules of replicas
// that have been alone can be noticed.
func (tr simStoreTrouble) settled(byWalk bool) moment {
	if byWalk {
		return tr.to + simFailover + simSpreadWalk + simBoundQuiet
	}
	return tr.to + simFailover + simSpreadIncrement + simBoundShown
}

// dueInGroup is by when every replica must know of what happened at that
// moment.
func (g *simGroup) dueInGroup(happened moment, within time.Duration, byWalk bool) moment {
	d := g.world.due(happened, within, byWalk)
	var slack time.Duration
	for i := len(g.troubles) - 1; i >= 0; i-- {
		tr := g.troubles[i]
		if tr.to < happened-time.Hour {
			break
		}
		if tr.from < d+slack && tr.settled(byWalk) > happened {
			slack = max(slack, tr.kind.slack(byWalk))
		}
	}
	if slack == 0 {
		return d
	}
	return g.world.due(happened, within+slack, byWalk) + slack
}

// trouble has troubles begin and end.
func (g *simGroup) trouble(t *testing.T) {
	now := g.world.tick
	if now < g.next {
		return
	}
	if g.within {
		g.end()
		g.within = false
		g.troubles[len(g.troubles)-1].to = now
		g.next = now + time.Duration(2*60+g.chaos.IntN(28*60))*time.Second
		if g.chaos.IntN(4) == 0 {
			g.next = now + 50*time.Minute // long enough to see that all is as it was
		}
		return
	}
	kind, lasts := g.begin(t)
	g.world.counts[kind.String()]++
	g.troubles = append(g.troubles, simStoreTrouble{kind: kind, from: now, to: simForever})
	g.within, g.next = true, now+lasts
}

func (g *simGroup) begin(t *testing.T) (kind simStoreTroubleKind, lasts time.Duration) {
	seconds := func(from, to int) time.Duration { return time.Duration(from+g.chaos.IntN(to-from)) * time.Second }
	long := seconds(5, 300)
	if g.chaos.IntN(5) == 0 {
		long = seconds(300, 5000)
	}
	one := g.any()
	if g.chaos.IntN(2) == 0 {
		one = g.leading()
	}
	some := func(n int) []*simReplica {
		all := append([]*simReplica(nil), g.replicas...)
		g.chaos.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		return all[:n]
	}
	g.end = func() {}
	if len(g.deck) == 0 {
		g.deck = g.chaos.Perm(int(simStoreTroubles)) // so that none is left out
	}
	kind, g.deck = simStoreTroubleKind(g.deck[0]), g.deck[1:]
	switch kind {
	case simKill:
		g.kill(t, one)
		return kind, 0
	case simKillSome:
		for _, r := range some(2 + g.chaos.IntN(simReplicas-1)) {
			g.kill(t, r)
		}
		return kind, 0
	case simCutOne:
		g.spoil([]*simReplica{one}, func(c *fakeCache) { c.away = true })
	case simCutSome:
		g.spoil(some(2+g.chaos.IntN(2)), func(c *fakeCache) { c.away = true })
	case simPaused:
		g.spoil([]*simReplica{g.leading()}, func(c *fakeCache) { c.away = true })
		return kind, seconds(8, 40)
	case simStoreAway:
		g.spoil(g.replicas, func(c *fakeCache) { c.away = true })
	case simStoreErrs:
		g.spoil(g.replicas, func(c *fakeCache) { c.broken = errSimCut })
	case simStoreSlow:
		slow := time.Duration(300+g.chaos.IntN(1600)) * time.Millisecond
		g.spoil(g.replicas, func(c *fakeCache) { c.slow = slow })
	case simLostReplies:
		g.spoil(g.replicas, func(c *fakeCache) { c.mute = true })
		return kind, seconds(5, 300)
	case simFlush:
		g.store.flush()
		return kind, 0
	case simOldStore:
		g.restore()
		return kind, 0
	case simStoreClock:
		by := time.Duration(2+g.chaos.IntN(180)) * time.Minute // see TestAgesAreTrueWhenTheClockIsPutBack
		if g.chaos.IntN(2) == 0 {
			by = -by
		}
		if g.chaos.IntN(3) == 0 { // a failover to a machine with another clock
			g.kill(t, one)
		}
		g.store.do(func(s *fakeStore) { s.offset += by })
		return kind, 0
	}
	return kind, long
}

// spoil spoils the way of some replicas to the store, until end. Replicas that
// are started meanwhile have a good one.
func (g *simGroup) spoil(some []*simReplica, how func(*fakeCache)) {
	some = append([]*simReplica(nil), some...)
	for _, r := range some {
		r.cache.set(how)
	}
	g.end = func() {
		for _, r := range some {
			r.cache.set(func(c *fakeCache) { c.away, c.broken, c.slow, c.mute = false, nil, 0, false })
		}
	}
}

// simCalm is how long after a trouble the replicas are as if it had not been: by
// then each has adopted a walk of the leader's that is younger than its own.
const simCalm = 20 * time.Minute

func (g *simGroup) calmSince() moment {
	since := simCalm
	if last := len(g.troubles) - 1; last >= 0 {
		since = g.troubles[last].to + simCalm
	}
	for i := len(g.world.troubles) - 1; i >= 0 && i > len(g.world.troubles)-5; i-- {
		// A leader that cannot reach the marketplace makes way for another, and
		// removals that are held keep the leader's list as old as it was.
		since = max(since, g.world.troubles[i].settled()+2*time.Minute)
	}
	return since
}

// calm reports whether nothing has been wrong for long, with the store or with
// the marketplace.
func (g *simGroup) calm() bool { return g.world.tick > g.calmSince() }

func (g *simGroup) lastTrouble() string {
	said := g.world.lastTrouble()
	if last := len(g.troubles) - 1; last >= 0 {
		said += fmt.Sprintf("; the last of the %v began at %v and ended at %v", g.troubles[last].kind, g.troubles[last].from, g.troubles[last].to)
	}
	return said
}

// CacheKey says which list it is: there is one.
func (simMarked) CacheKey() string { return "the simulation" }
