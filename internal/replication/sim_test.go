package replication_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/rolegate/rolegate/internal/replication"
)

// This file is the group: what goes wrong, and what must hold all the same.

// What must never be.
const (
	simAdmitted  = "admitted by what was withdrawn longer ago than is promised"
	simRefused   = "refused what was granted longer ago than is promised"
	simYoung     = "told an age below the truth"
	simOld       = "told an age far above the truth"
	simStoreBack = "the store took an older base"
	simConfirmed = "a base was confirmed that another list was published as"
	simTwice     = "published two bases at once"
	simBack      = "went back to an older base"
	simTooMany   = "refreshed more often than one gate would"
	simUnready   = "had no list, or an expired one, although all was well"
	simLate      = "a demand was not met although all was well"
	simNotBefore = "a demand was met by a refresh that began before it"
)

// What is promised while the marketplace is well, and with the replica nothing
// is wrong; Redis may do what it likes.
const (
	// A refresh begins after 1.1 intervals, or waits for another replica's for as
	// long as the bound says; then it takes its time.
	simShownBound = simEvery*11/10 + simBoundIncremental*12/10 + 15*time.Second
	simQuietBound = simResync*11/10 + simBoundFull*12/10 + 2*simFullTime + 15*time.Second

	simBoundIncremental = 30 * time.Second
	simBoundFull        = 150 * time.Second
	simFullTime         = 60 * time.Second
	simRecovery         = 80 * time.Second // a back-off may be a minute when all is well again
)

type simGroup struct {
	simWorld
	broken    simBreak
	replicas  []*simReplica
	started   int
	began     map[replication.Base]time.Duration
	reads     []simRead
	scratch   []replication.Action
	count     map[string]int
	steps     int
	failures  int
	active    int           // how much is going wrong
	quiet     time.Duration // since when nothing at all does
	fulls     []time.Duration
	incs      []time.Duration
	fullAt    time.Duration // when the last full refresh began
	recently  []string
	pauseNext time.Duration // for how long who publishes next is paused while it does

	suspendNext bool // so is the machine of who refreshes next
	detail      string
	newest      map[*simReplica]time.Duration
	found       map[string]string // the first of each kind
}

func newSim(seed uint64, broken simBreak, rules simRules) *simGroup {
	g := &simGroup{
		simWorld: simWorld{rng: rand.New(rand.NewPCG(seed, 7))}, broken: broken,
		began: map[replication.Base]time.Duration{}, count: map[string]int{}, newest: map[*simReplica]time.Duration{}, found: map[string]string{},
	}
	g.market = simMarket{w: &g.simWorld}
	g.store = simStore{w: &g.simWorld, rules: rules, count: g.count, wrong: func(what string) { g.wrong(g.replicas[0], what) }}
	for user := range simUsers {
		g.market.set(user, uint8(g.rng.IntN(2)*3), true)
	}
	for range 2 + g.rng.IntN(6) {
		g.start()
	}
	g.after(time.Second, g.market.live)
	g.after(5*time.Second, g.watch)
	g.after(g.between(time.Minute, 20*time.Minute), g.trouble)
	g.after(g.between(time.Minute, 20*time.Minute), g.want)
	g.after(time.Minute, g.deny)
	g.after(time.Second, g.backup)
	return g
}

func (g *simGroup) wrong(r *simReplica, what string) {
	if _, ok := g.found[what]; !ok {
		g.trace(func() string { return fmt.Sprintf("WRONG: replica %d %s", r.id, what) })
		g.found[what] = fmt.Sprintf("at %v, replica %d: %s; base of %v, rows of %v; of late: %v %s", g.now, r.id, what, r.own.trueBegan, r.own.upTo,
			g.recently[max(0, len(g.recently)-4):], g.detail)
	}
}

func (g *simGroup) start() *simReplica {
	g.started++
	r := &simReplica{g: g, id: g.started, birth: g.now - g.between(-time.Hour, time.Hour), calm: g.now}
	r.state = replication.New(replication.Config{
		Lease: simLease, Bound: [replication.Kinds]time.Duration{simBoundIncremental, simBoundFull}, DemandBound: 10 * time.Second,
	}, g.rng.Uint64())
	for k, interval := range []time.Duration{simEvery, simResync} {
		r.loops[k] = simLoop{interval: interval, jitter: 1, retry: math.MinInt64}
	}
	g.replicas = append(g.replicas, r)
	r.later(g.between(0, time.Second), func() { r.tell(replication.Event{Type: replication.Tick}) })
	return r
}

func (g *simGroup) any() *simReplica { return g.replicas[g.rng.IntN(len(g.replicas))] }

// holder is who refreshes, or anybody.
func (g *simGroup) holder() *simReplica {
	for _, r := range g.replicas {
		if r.loops[replication.Full].running || r.loops[replication.Incremental].running {
			return r
		}
	}
	return g.any()
}

// transfer is how long a list takes.
func (g *simGroup) transfer() time.Duration {
	if g.rng.IntN(10) == 0 {
		return g.between(0, time.Minute)
	}
	return g.between(0, 800*time.Millisecond)
}

func (g *simGroup) backup() {
	g.store.save()
	g.after(g.between(time.Second, 4*time.Minute), g.backup)
}

// want has somebody demand a full refresh.
func (g *simGroup) want() {
	several := g.rng.IntN(3) == 0
	for _, r := range g.replicas {
		if several || r == g.replicas[0] {
			r.when(func() { r.demand(g.rng.IntN(3) == 0) })
		}
	}
	g.after(g.between(10*time.Second, 40*time.Minute), g.want)
}

// deny has a refusal cause an increment.
func (g *simGroup) deny() {
	r := g.any()
	if r.own.Loaded && !r.loops[replication.Incremental].running {
		r.when(func() { r.increment(func(bool) {}) })
	}
	g.after(g.between(time.Second, 10*time.Minute), g.deny)
}

// upset notes that not all is well from now on, or was until now.
func (g *simGroup) upset() { g.quiet = g.now }

// during has something be wrong for a while.
func (g *simGroup) during(lasts time.Duration, end func()) {
	g.active++
	g.after(lasts, func() { end(); g.active--; g.upset() })
}

// calm is for how long nothing at all has gone wrong.
func (g *simGroup) calm() time.Duration {
	if g.active > 0 {
		return 0
	}
	return g.now - g.quiet
}

// trouble has one thing go wrong.
func (g *simGroup) trouble() {
	if g.frozen > 0 {
		g.after(time.Minute, g.trouble)
		return
	}
	g.upset()
	s, m := &g.store, &g.market
	one := g.any()
	kinds := []func(){
		func() { s.away = true; g.during(g.between(time.Second, 20*time.Minute), func() { s.away = false }) },
		func() {
			s.slow = g.between(50*time.Millisecond, 2*time.Second)
			g.during(g.between(time.Second, 20*time.Minute), func() { s.slow = 0 })
		},
		func() { s.lost = true; g.during(g.between(time.Second, time.Minute), func() { s.lost = false }) },
		func() { s.data = simData{} },
		func() { s.restore(g.between(0, 2*time.Hour)) },
		func() {
			s.away = true
			lost := g.between(0, 20*time.Second)
			g.during(g.between(time.Second, 15*time.Second), func() { s.away = false; s.restore(lost) })
		},
		func() { s.setClock(g.between(-2*time.Hour, 2*time.Hour), g.replicas) },
		func() { s.setClock(g.between(-20*time.Second, 20*time.Second), g.replicas) },
		func() {
			one.cut = true
			g.during(g.between(time.Second, 40*time.Minute), func() { one.cut = false })
		},
		func() { g.pause(g.holder(), g.between(time.Second, 80*time.Minute)) },
		func() { g.pause(one, g.between(time.Second, 20*time.Second)) },
		func() { g.pauseNext = g.between(time.Second, 80*time.Minute) },
		func() { g.kill(one); g.during(g.between(0, time.Minute), func() { g.start() }) },
		func() { g.kill(g.holder()); g.during(g.between(0, time.Minute), func() { g.start() }) },
		func() {
			for len(g.replicas) > 0 {
				g.kill(g.replicas[0])
			}
			for range 2 + g.rng.IntN(6) {
				g.start()
			}
		},
		func() {
			if g.now >= one.paused {
				most := []time.Duration{8 * time.Minute, 2 * time.Hour}[g.rng.IntN(2)]
				one.jumped, one.wrongBy = g.now, max(0, one.own.Began.Age(one.now())-(g.now-one.own.trueBegan))
				one.skew += g.between(-most, most)
			}
		},
		func() { g.suspend(one, false) },
		func() { g.suspendNext = true },
		func() { g.suspend(one, true) },
		func() {
			m.down, m.again = true, []time.Duration{0, 0, 20 * time.Second, time.Minute}[g.rng.IntN(4)]
			g.during(g.between(time.Second, 30*time.Minute), func() { m.down, m.well = false, g.now+m.again })
		},
		func() {
			m.lag = g.between(100*time.Millisecond, simMaxLag)
			g.during(g.between(time.Minute, 20*time.Minute), func() { m.lag, m.well = 0, g.now })
		},
		func() {
			m.slow = g.between(time.Second, simFullTime)
			g.during(g.between(time.Minute, 40*time.Minute), func() { m.slow = 0 })
		},
	}
	n := g.rng.IntN(len(kinds))
	g.note(uint64(n))
	g.trace(func() string { return fmt.Sprintf("TROUBLE %d with replica %d", n, one.id) })
	g.recently = append(g.recently, fmt.Sprintf("%v: %d on %d", g.now, n, one.id))
	g.count[fmt.Sprint("trouble ", n)]++
	kinds[n]()
	next := g.between(10*time.Second, 20*time.Minute)
	if g.rng.IntN(4) == 0 {
		next = g.between(40*time.Minute, 80*time.Minute) // long enough to see that all is as it was
	}
	g.after(next, g.trouble)
}

// setClock sets the store's clock.
func (s *simStore) setClock(by time.Duration, replicas []*simReplica) {
	if s.skew += by; by > 0 {
		s.ahead = s.w.now
		return
	}
	s.old = nil // a backup of before would be too young: see docs/replicas.md
	back := simPutBack{s.w.now, s.data.epoch, nil}
	for _, r := range replicas {
		if r.asked > s.ahead {
			back.known = append(back.known, r)
		}
	}
	s.backs = append(s.backs, back)
}

// unsure reports whether a list is from before the clock was put back, and this
// replica cannot tell, nor has anybody else come yet who can: see simPutBack. Then
// nothing that a replica can read says that the list is older than it looks.
func (s *simStore) unsure(r *simReplica, list *simList) bool {
	return list.unsure || slices.ContainsFunc(s.backs, func(back simPutBack) bool {
		return back.epoch == s.data.epoch && list.trueBegan < back.at && !slices.Contains(back.known, r)
	})
}

func (g *simGroup) pause(r *simReplica, lasts time.Duration) {
	if g.now < r.paused {
		return
	}
	r.paused = g.now + lasts
	g.during(lasts, func() {
		if r.dead {
			return
		}
		r.calm = g.now
		missed := r.missed
		r.missed = nil
		for _, do := range missed {
			r.when(do)
		}
		r.tell(replication.Event{Type: replication.Tick})
	})
}

// suspend has the machine of a replica be suspended: the monotonic clock stands
// still. If it is frozen, as a virtual one can be, the wall clock does so too, until
// it is set right. Then nothing else goes wrong: only the store's clock tells how
// long that was, and no clock tells when, between two readings of that.
func (g *simGroup) suspend(r *simReplica, frozen bool) {
	lasts := g.between(time.Second, 80*time.Minute)
	if s := &g.store; g.now < r.paused || frozen && (r.cut || s.away || s.lost || s.slow > 0) {
		return
	}
	g.pause(r, lasts)
	r.asleep += lasts - time.Microsecond // to wake takes time
	if frozen {
		g.frozen++
		r.froze = g.now + lasts
		r.unaware = true
		r.skew -= lasts
		g.during(lasts+g.between(0, 5*time.Minute), func() {
			g.frozen--
			r.unaware = false
			r.skew += lasts
			r.calm = g.now
		})
	}
}

func (g *simGroup) kill(r *simReplica) {
	r.dead = true
	g.replicas = slices.DeleteFunc(g.replicas, func(other *simReplica) bool { return other == r })
	if len(g.replicas) == 0 {
		return
	}
}

// moved checks that a base has not gone back.
func (g *simGroup) moved(r *simReplica) {
	if began, ok := g.newest[r]; ok && r.own.trueBegan < began {
		g.wrong(r, simBack)
	}
	g.newest[r] = r.own.trueBegan
}

// refreshes counts a refresh that the loop of a replica makes. A demand, of its own
// or of another replica, is one more, and moves the next.
func (g *simGroup) refreshes(r *simReplica, k replication.Kind) {
	all, interval := &g.incs, simEvery
	if k == replication.Full {
		all, interval = &g.fulls, simResync
		before := g.fullAt
		g.fullAt = g.now
		if l := &r.loops[k]; l.demand || l.helps {
			if !l.demand && g.calm() > 2*interval && !g.demanded(before) {
				g.wrong(r, simTooMany+" (for others)")
			}
			g.quiet = max(g.quiet, g.now-simResync)
			*all = nil
			g.count["full refreshes demanded"]++
			return
		}
	}
	g.count[k.String()+" refreshes"]++
	if k == replication.Incremental && r.own.alone {
		r.own.alone = false // who would not wait for the others' full refresh makes one more
		return
	}
	if n := len(*all); n > 0 && g.calm() > 2*interval && g.now-(*all)[n-1] < interval*9/10-5*time.Second-g.market.slow {
		g.wrong(r, simTooMany+" ("+k.String()+")")
	}
	*all = append(*all, g.now)
}

// demanded reports whether somebody waits for a full refresh that begins after
// that.
func (g *simGroup) demanded(after time.Duration) bool {
	return slices.ContainsFunc(g.replicas, func(r *simReplica) bool {
		l := &r.loops[replication.Full]
		return l.demand && l.demanded > after
	})
}

// watch looks at everybody now and then.
func (g *simGroup) watch() {
	for _, r := range g.replicas {
		g.check(r)
		l := &r.loops[replication.Full]
		if l.demand && min(g.now-l.demanded, g.calm()) > 2*simFullTime+simBoundFull {
			g.wrong(r, simLate)
		}
	}
	g.after(5*time.Second, g.watch)
}

// check checks what one replica would answer now.
func (g *simGroup) check(r *simReplica) {
	if r.dead || g.now < r.paused {
		return
	}
	m, own := &g.market, &r.own
	now := r.now()
	well := !m.down && m.lag == 0
	since := max(m.well, r.calm, r.jumped) // since when the bounds of a gate hold
	if !own.Loaded || own.Began.Age(now) > simExpire {
		if well && min(g.now-since-simRecovery, g.calm()) > 2*simBoundFull {
			g.wrong(r, simUnready)
		}
		return
	}
	told, truth := own.Began.Age(now), g.now-own.trueBegan
	toldContact, truthContact := own.Contact.Age(now), g.now-own.upTo
	if r.unaware || own.unsure {
		return // it has nothing to tell it by
	}
	if told < truth-simSlack || toldContact < truthContact-simSlack {
		g.wrong(r, simYoung)
	}
	if min(g.calm(), g.now-r.calm) > simResync+simBoundFull && told > truth+10*time.Second {
		g.wrong(r, simOld)
	}
	// A wall clock that goes forward after the store's clock has been seen to do so may
	// be one that catches up, for a list of before: that costs a refresh.
	certain := own.trueBegan > max(g.store.ahead, r.ahead, r.froze) && r.asked > g.store.ahead
	if r.jumped > 0 && r.jumped == g.quiet && g.calm() > 15*time.Second && certain && told > truth+r.wrongBy+10*time.Second {
		g.wrong(r, simOld)
	}
	for user := range simUsers {
		is, has := m.now[user].may, own.users[user].may
		if is == has {
			continue
		}
		for bit := range simBits {
			switch yes, told := is>>bit&1 != 0, has>>bit&1 != 0; {
			case told && !yes:
				lost := g.now - m.lost[user][bit]
				if lost > simExpire+simMaxLag+simSlack {
					g.wrong(r, simAdmitted+" (expired)")
				}
				bound := simShownBound
				if m.quiet[user][bit] {
					bound = simQuietBound
				}
				if well && g.now-max(m.lost[user][bit], since) > bound+simRecovery*btoi(since > m.lost[user][bit]) {
					g.detail = fmt.Sprint(user, bit, m.lost[user][bit], m.quiet[user][bit], own.users[user], m.now[user])
					g.wrong(r, simAdmitted)
				}
			case yes && !told:
				if well && g.now-max(m.gained[user][bit], since) > simShownBound+simRecovery*btoi(since > m.gained[user][bit]) {
					g.detail = fmt.Sprint(user, bit, m.gained[user][bit], own.users[user], m.now[user], own.cursor)
					g.wrong(r, simRefused)
				}
			}
		}
	}
}

func btoi(b bool) time.Duration {
	if b {
		return 1
	}
	return 0
}

// result says what was wrong.
func (g *simGroup) result() string {
	var all []string
	for _, text := range g.found {
		all = append(all, text)
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}
