package replication_test

import (
	"encoding/binary"
	"errors"
	"math"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/refresh"
	"github.com/rolegate/rolegate/internal/replication"
)

// This file is one replica of the simulation: the loop of a gate without Redis, and
// the calls that a shell makes.

// A simBreak is what of a replica a mutant breaks.
type simBreak struct {
	event   func(*simReplica, *replication.Event) bool  // false: it does not get there
	action  func(*simReplica, *replication.Action) bool // false: it is not carried out
	back    bool                                        // takes any base
	resurge bool                                        // puts rows on top that are older than the base
	gaps    bool                                        // believes to know what it has missed
	deaf    bool                                        // what another publishes does not move what is due
	begun   bool                                        // does not measure anew when what is under way began
	hasty   bool                                        // takes who was added since a base began for gone
	trusts  bool                                        // believes every server of the marketplace
}

// A simLoop is when a gate refreshes.
type simLoop struct {
	interval time.Duration
	jitter   float64
	waiting  bool // a Due is out
	running  bool
	failed   int
	retry    int64 // not before this, on the monotonic clock
	demanded time.Duration
	demand   bool
	soon     bool
	helps    bool          // somebody else's demand
	misses   bool          // what incremental refreshes have not shown
	tried    clock.Instant // when the last began that was not complete
	ran      int64         // when it ran last, on the monotonic clock
}

// A simReplica is a process.
type simReplica struct {
	g     *simGroup
	id    int
	birth time.Duration
	state replication.State
	simLists
	loops   [replication.Kinds]simLoop
	dead    bool
	paused  time.Duration // until then
	missed  []func()      // what comes then
	asleep  time.Duration // for how long its machine was suspended in all
	skew    time.Duration // of its wall clock
	cut     bool          // it cannot reach the store
	arrived time.Duration // when its last call got there
	calm    time.Duration // since when nothing is wrong with it
	timer   int64         // when the timer rings, on the monotonic clock; 0 if it is not set
	jumped  time.Duration
	wrongBy time.Duration // by how much it told an age above the truth then
	epoch   string        // of the store, as it knows
	epochAt time.Duration // since when
	froze   time.Duration // when both of its clocks last stood still
	unaware bool          // both of its clocks have stood still, and neither was set right yet

	polling    simPoll
	publishing int // bases at once
}

func (r *simReplica) now() clock.Instant {
	mono := r.g.now - r.birth - r.asleep
	return clock.Instant{Mono: int64(mono), Wall: simEpoch + int64(r.g.now+r.skew)}
}

// later has the process do something when it runs.
func (r *simReplica) later(d time.Duration, do func()) {
	r.g.turn++
	r.g.queue.push(simEvent{r.g.now + d, r.g.turn, r, do})
}

func (r *simReplica) when(do func()) {
	switch {
	case r.dead:
	case r.g.now < r.paused:
		r.missed = append(r.missed, do)
	default:
		do()
	}
}

// tell gives the state an event, and carries out what follows.
func (r *simReplica) tell(e replication.Event) {
	e.Now, e.Own = r.now(), r.own.Own
	if f := r.g.broken.event; f != nil {
		bad := e
		if !f(r, &bad) {
			return
		}
		e = bad
	}
	var actions []replication.Action
	r.state, actions = r.state.Step(e, r.g.scratch[:0])
	r.g.scratch = nil
	r.g.steps++
	r.g.trace(func() string { return r.traceEvent(&e, actions) })
	changed := false
	for _, a := range actions {
		if f := r.g.broken.action; f != nil {
			bad := a
			if !f(r, &bad) {
				continue
			}
			a = bad
		}
		changed = r.do(&a) || changed
	}
	r.g.scratch = actions
	if changed {
		r.g.check(r)
		r.tell(replication.Event{Type: replication.Tick})
		return
	}
	r.plan()
}

// plan has the loop look what is due, and the timer ring.
func (r *simReplica) plan() {
	now := r.now()
	next := r.state.Next()
	for k := range r.loops {
		l := &r.loops[k]
		if l.waiting || l.running || k == int(replication.Incremental) && !r.own.Loaded {
			continue
		}
		due := now.Mono
		if at := r.own.Began; r.own.Loaded && !l.soon {
			interval, sooner := l.interval, r.cursor.Again()
			if k == int(replication.Incremental) {
				at, sooner = r.own.Contact, r.cursor.Doubts()
			}
			if sooner > 0 {
				interval = min(interval, sooner)
			}
			if l.tried != (clock.Instant{}) {
				at = clock.Later(at, l.tried)
			}
			due = now.Mono + int64(float64(interval)*l.jitter) - int64(at.Age(now))
		}
		if r.g.broken.deaf {
			due = l.ran + int64(l.interval)
		}
		due = max(due, l.retry)
		if due > now.Mono {
			next = min(next, due)
			continue
		}
		l.waiting, l.soon = true, false
		r.later(0, func() { r.tell(replication.Event{Type: replication.Due, Kind: replication.Kind(k)}) })
	}
	next = max(next, now.Mono)
	if next == math.MaxInt64 || r.timer != 0 && r.timer <= next {
		return
	}
	r.timer = next
	r.later(time.Duration(next-now.Mono), func() {
		if r.timer == next {
			r.timer = 0
			r.tell(replication.Event{Type: replication.Tick})
		}
	})
}

// demand has somebody wait for a full refresh that begins now or later.
func (r *simReplica) demand(self bool) {
	l := &r.loops[replication.Full]
	if l.running || l.demand {
		return
	}
	l.waiting, l.demand, l.demanded = true, true, r.g.now
	r.g.count["demands"]++
	r.tell(replication.Event{Type: replication.Due, Kind: replication.Full, Demand: true, Self: self})
}

// do carries out one action. It reports whether it has changed what requests see.
func (r *simReplica) do(a *replication.Action) (changed bool) {
	g := r.g
	g.note(uint64(a.Type)<<32 | uint64(a.Kind)<<16 | uint64(r.id))
	switch a.Type {
	case replication.Sync:
		r.poll(a)
	case replication.Run:
		r.refresh(a.Kind)
	case replication.Skip:
		l := &r.loops[a.Kind]
		if l.demand && r.own.trueBegan < l.demanded {
			g.wrong(r, simNotBefore)
		}
		if l.demand {
			g.count["demands met by others"]++
		}
		l.waiting, l.demand, l.helps, l.misses = false, false, false, false
	case replication.Soon:
		g.count["helped"]++
		r.loops[a.Kind].soon, r.loops[a.Kind].helps = true, true
	case replication.Release:
		kind, keep := a.Kind, a.Keep
		r.call(func() bool { g.store.release(r.id, kind, keep); return true }, func(bool, bool) {})
	case replication.Load:
		var list *simList
		var base replication.Base
		want, at, unsure := a.Base, a.At, false
		r.call(func() bool {
			list, base = g.store.data.list, g.store.data.base
			unsure = list != nil && (list.unsure || g.store.unsure(r, list.trueBegan))
			return true
		}, func(done, _ bool) {
			done = done && base == want
			if done {
				done = r.take(list, at, unsure)
			}
			r.tell(replication.Event{Type: replication.Loaded, Failed: !done})
		})
	case replication.Confirm:
		r.confirm(a.At, g.began[a.Base])
		return true
	case replication.Apply:
		for _, e := range a.Entries {
			read := &g.reads[binary.LittleEndian.Uint64(e.Rows)]
			r.own.unsure = r.own.unsure || g.store.unsure(r, read.true)
			r.apply(&e, read)
		}
		return true
	case replication.Publish:
		r.publish(a.Base, a.Epoch)
	case replication.Append:
		entry, epoch := a.Entry, a.Epoch
		r.call(func() bool { g.store.append(entry, epoch); return true }, func(bool, bool) {})
	case replication.Shift:
		g.count["shifts"]++
		r.shift(a.Shifted)
		return true
	}
	return false
}

// publish publishes what requests are answered by.
func (r *simReplica) publish(b replication.Base, epoch string) {
	g := r.g
	list := &simList{simContent: r.own.simContent}
	list.contact = b.Began + (r.own.Contact.Mono - r.own.Began.Mono)
	var base replication.Base
	if r.publishing++; r.publishing > 1 {
		g.wrong(r, simTwice)
	}
	if g.pauseNext > 0 {
		g.upset()
		g.pause(r, g.pauseNext)
		g.pauseNext = 0
	}
	r.later(g.transfer(), func() { // it may be paused meanwhile
		r.call(func() (ok bool) {
			base, ok = g.store.publish(r.id, b, epoch, list)
			if ok {
				g.began[base] = list.trueBegan
			}
			return ok
		}, func(done, ok bool) {
			r.publishing--
			r.tell(replication.Event{Type: replication.Published, Reply: replication.Reply{Base: base}, Failed: !done, Refused: done && !ok})
		})
	})
}

// A simPoll asks the store how things stand. Nothing is asked so often, and one at
// a time: so it makes no garbage.
type simPoll struct {
	action replication.Action
	reply  replication.Reply
	sent   clock.Instant
	do     func() bool
	back   func(done, ok bool)
}

func (r *simReplica) poll(a *replication.Action) {
	p := &r.polling
	if p.do == nil {
		p.do = func() bool { p.reply = r.g.store.sync(r.id, &p.action); return true }
		p.back = func(done, _ bool) {
			if done && p.reply.Epoch != r.epoch {
				r.epoch, r.epochAt = p.reply.Epoch, r.g.now
			}
			r.tell(replication.Event{Type: replication.Synced, Sent: p.sent, Reply: p.reply, Failed: !done})
		}
	}
	p.action, p.sent = *a, r.now()
	r.call(p.do, p.back)
}

// call calls the store, which does something when the call gets there. back is
// told whether there was an answer in time, and what do has returned.
func (r *simReplica) call(do func() bool, back func(done, ok bool)) {
	s := &r.g.store
	way := s.slow + r.g.between(200*time.Microsecond, 3*time.Millisecond)
	if r.cut || s.away {
		fails := replication.Timeout
		if r.g.rng.IntN(2) == 0 {
			fails = way // refused at once
		}
		r.later(fails, func() { back(false, false) })
		return
	}
	sent := r.g.now
	r.arrived = max(r.arrived+1, r.g.now+way) // one call is made after the other
	way = r.arrived - r.g.now
	r.g.after(way, func() {
		if s.away || r.cut && r.g.rng.IntN(2) == 0 {
			r.later(max(0, sent+replication.Timeout-r.g.now), func() { back(false, false) })
			return
		}
		ok := do()
		answer := way
		lost := s.lost || r.cut || r.g.now+way-sent > replication.Timeout
		if lost {
			answer = max(0, sent+replication.Timeout-r.g.now)
		}
		r.later(answer, func() { back(!lost, ok) })
	})
}

// refresh refreshes.
func (r *simReplica) refresh(k replication.Kind) {
	l := &r.loops[k]
	l.waiting, l.running = false, true
	r.g.refreshes(r, k)
	if r.g.suspendNext {
		r.g.suspendNext = false
		r.g.upset()
		r.later(0, func() { r.g.suspend(r, false) })
	}
	if k == replication.Incremental {
		r.increment(func(err error) { r.ran(k, err, clock.Instant{}) })
		return
	}
	r.full()
}

// ran ends a refresh that the loop has made.
func (r *simReplica) ran(k replication.Kind, err error, same clock.Instant) {
	l := &r.loops[k]
	e := replication.Event{Type: replication.Ran, Kind: k, Failed: err != nil, SameAs: same}
	if err != nil {
		r.g.failures++
		l.failed++
		d := min(time.Minute, time.Second<<min(l.failed-1, 10))
		e.Again = r.g.market.again
		if older, ok := errors.AsType[*refresh.OlderError](err); ok {
			r.g.count["lists doubted"]++
			r.g.fulls = nil // another one decides it
			e.Again = older.Again * 21 / 20
		}
		l.retry = r.now().Mono + int64(max(e.Again, time.Duration(float64(d)*(0.8+0.4*r.g.rng.Float64()))))
		l.soon = l.soon || l.demand
	} else {
		r.rest(k)
	}
	l.running, l.demand, l.helps, l.misses, l.ran = false, false, false, false, r.now().Mono
	r.tell(e)
}

// rest draws when the next refresh of that kind is due: what others publish
// counts too.
func (r *simReplica) rest(k replication.Kind) {
	l := &r.loops[k]
	l.jitter, l.failed, l.retry, l.soon, l.helps, l.misses = 0.9+0.2*r.g.rng.Float64(), 0, math.MinInt64, false, false, false
}
