package replication_test

import (
	"encoding/binary"
	"math"
	"slices"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/replication"
)

// This file is one replica of the simulation: the loop of a gate without Redis,
// what requests are answered by, and the calls that a shell makes.

// A simOwn is what requests are answered by: a base, and rows on top.
type simOwn struct {
	replication.Own
	users           [simUsers]simRow
	cursor          int64
	first           int64     // the cursor when its base had begun
	listed, before  int64     // the cursor that its base came with, and the base before that
	recent          []simRead // what was read since the base began
	trueBegan, upTo time.Duration
	unsure          bool // see simStore.unsure
	alone           bool // nobody else has it: what others read may leave out what it lacks
}

// A simRead is what one incremental refresh has read, on this replica's clocks.
type simRead struct {
	at       clock.Instant // it has seen no less than there was then
	known    clock.Instant // and no more than there was then
	from, to int64
	complete bool
	counts   bool // nothing was missing before it
	rows     []simRow
	true     time.Duration
}

// A simBreak is what of a replica a mutant breaks.
type simBreak struct {
	event   func(*simReplica, *replication.Event) bool  // false: it does not get there
	action  func(*simReplica, *replication.Action) bool // false: it is not carried out
	back    bool                                        // takes any base
	resurge bool                                        // puts rows on top that are older than the base
	gaps    bool                                        // believes to know what it has missed
	deaf    bool                                        // what another publishes does not move what is due
	begun   bool                                        // does not measure anew when what is under way began
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
	helps    bool  // somebody else's demand
	ran      int64 // when it ran last, on the monotonic clock
}

// A simReplica is a process.
type simReplica struct {
	g       *simGroup
	id      int
	birth   time.Duration
	state   replication.State
	own     simOwn
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
	froze   time.Duration // when both of its clocks last stood still
	unaware bool          // both of its clocks have stood still, and neither was set right yet
	asked   time.Duration // when it last read the store's clock
	ahead   time.Duration // and when it first did after that was put forward

	polling    simPoll
	publishing int // bases at once

	begun []*clock.Instant // when the refreshes began that are under way
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
			if k == int(replication.Incremental) {
				at = r.own.Contact
			}
			due = now.Mono + int64(float64(l.interval)*l.jitter) - int64(at.Age(now))
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
		l.waiting, l.demand, l.helps = false, false, false
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
			unsure = list != nil && g.store.unsure(r, list)
			return true
		}, func(done, _ bool) {
			done = done && base == want
			if done {
				done = r.take(list, at, unsure)
			}
			r.tell(replication.Event{Type: replication.Loaded, At: at, Failed: !done})
		})
	case replication.Confirm:
		r.own.trueBegan, r.own.unsure = g.began[a.Base], false
		r.own.upTo = max(r.own.upTo, r.own.trueBegan)
		r.own.Began, r.own.Contact = a.At, clock.Later(r.own.Contact, a.At)
		g.moved(r)
		r.rest(replication.Full)
		return true
	case replication.Apply:
		for _, e := range a.Entries {
			read := g.reads[binary.LittleEndian.Uint64(e.Rows)]
			r.put(simRead{at: e.At, known: e.Known, from: e.From, to: e.To, complete: e.Complete, rows: read.rows, true: read.true})
		}
		return true
	case replication.Publish:
		r.publish(a.Base, a.At, a.Epoch)
	case replication.Append:
		entry, epoch := a.Entry, a.Epoch
		r.call(func() bool { g.store.append(entry, epoch); return true }, func(bool, bool) {})
	case replication.Shift:
		g.count["shifts"]++
		for _, began := range r.begun {
			if !g.broken.begun {
				*began = a.Shifted(*began)
			}
		}
		if a.UnderWay {
			return false
		}
		r.own.Began, r.own.Contact = a.Shifted(r.own.Began), a.Shifted(r.own.Contact)
		for i := range r.own.recent {
			read := &r.own.recent[i]
			read.at, read.known = a.Shifted(read.at), a.Shifted(read.known)
		}
		return true
	}
	return false
}

// publish publishes what requests are answered by.
func (r *simReplica) publish(b replication.Base, at clock.Instant, epoch string) {
	g := r.g
	list := &simList{users: r.own.users, cursor: r.own.cursor, trueBegan: r.own.trueBegan, upTo: r.own.upTo, unsure: r.own.unsure}
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
				r.own.alone = r.own.alone && r.own.trueBegan != list.trueBegan
			}
			return ok
		}, func(done, ok bool) {
			r.publishing--
			r.tell(replication.Event{Type: replication.Published, At: at, Reply: replication.Reply{Base: base}, Failed: !done, Refused: done && !ok})
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
			if done {
				if r.g.store.ahead > r.asked {
					r.ahead = r.g.now
				}
				r.asked = r.g.now
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
		r.increment(func(failed bool) { r.ran(k, failed, clock.Instant{}) })
		return
	}
	began, at, known := r.begin(), r.g.now, r.own.cursor
	var pages func(cursor int64, list []simRow)
	m := &r.g.market
	pages = func(cursor int64, list []simRow) {
		if m.down {
			r.end(began)
			r.ran(k, true, clock.Instant{})
			return
		}
		rows := m.page(cursor, simUsers/2)
		list = append(list, rows...)
		if len(rows) == simUsers/2 {
			r.later(m.slow/2+r.g.between(5*time.Millisecond, 50*time.Millisecond), func() { pages(rows[len(rows)-1].sequence, list) })
			return
		}
		same := r.takeFull(list, r.end(began), at, known)
		r.ran(k, false, same)
	}
	r.later(r.g.between(5*time.Millisecond, 50*time.Millisecond), func() { pages(0, nil) })
}

// begin notes that a refresh begins. Its beginning is measured anew with all else.
func (r *simReplica) begin() *clock.Instant {
	now := r.now()
	r.begun = append(r.begun, &now)
	return &now
}

// end returns when a refresh has begun that ends now.
func (r *simReplica) end(began *clock.Instant) clock.Instant {
	r.begun = slices.DeleteFunc(r.begun, func(other *clock.Instant) bool { return other == began })
	return *began
}

// takeFull takes the list that a full refresh has read.
func (r *simReplica) takeFull(list []simRow, began clock.Instant, at time.Duration, known int64) (same clock.Instant) {
	if r.own.Loaded && r.own.Began.Mono >= began.Mono {
		return same // another replica's is later
	}
	var next [simUsers]simRow
	var cursor int64
	for _, row := range list {
		if row.sequence >= next[row.user].sequence {
			next[row.user] = row
		}
		cursor = max(cursor, row.sequence)
	}
	before := r.own
	r.replace(next, cursor, began, began, at, at, false)
	r.own.alone, r.own.first = true, known // others may not list what has come since it began
	if before.Loaded && !before.Touched && before.users == r.own.users {
		same = before.Began
	}
	return same
}

// take takes the list of another replica, unless it is no later.
func (r *simReplica) take(list *simList, at clock.Instant, unsure bool) bool {
	if r.own.Loaded && at.Mono <= r.own.Began.Mono && !r.g.broken.back {
		return false
	}
	contact := at.Add(time.Duration(list.contact - list.began))
	r.replace(list.users, list.cursor, at, contact, list.trueBegan, list.upTo, unsure)
	r.own.listed = list.cursor
	r.g.count["loads"]++
	r.rest(replication.Full)
	return true
}

// replace makes that the base, and puts on top what was read since.
func (r *simReplica) replace(users [simUsers]simRow, cursor int64, began, contact clock.Instant, trueBegan, upTo time.Duration, unsure bool) {
	// What was known when the full refresh began, that has seen too.
	recent := r.own.recent
	cursor = max(cursor, r.own.first)
	for _, read := range recent {
		if read.counts && read.known.Mono <= began.Mono {
			cursor = max(cursor, read.to)
		}
	}
	r.own = simOwn{
		first: cursor, listed: cursor, before: r.own.listed,
		Own:   replication.Own{Loaded: true, Began: began, Contact: contact},
		users: users, cursor: cursor, trueBegan: trueBegan, upTo: upTo, unsure: unsure,
	}
	r.g.moved(r)
	for _, read := range recent {
		if read.at.Mono > began.Mono+int64(replication.Margin) || r.g.broken.resurge {
			r.put(read)
		}
	}
	r.g.check(r)
}

// put puts rows on top.
func (r *simReplica) put(read simRead) {
	own := &r.own
	read.counts = read.from <= own.cursor || r.g.broken.gaps
	own.recent = append(own.recent, read)
	for _, row := range read.rows {
		if row.sequence > own.users[row.user].sequence {
			own.users[row.user], own.Touched = row, true
		}
	}
	if !read.counts {
		return // there is something between that it does not know
	}
	own.cursor = max(own.cursor, read.to)
	if read.complete && read.at.Mono > own.Contact.Mono {
		own.Contact, own.upTo = read.at, max(own.upTo, read.true)
		r.rest(replication.Incremental)
	}
}

// increment reads what was added and changed, on this replica.
func (r *simReplica) increment(then func(failed bool)) {
	from, at, begun := r.lookBack(r.now()), r.g.now, r.begin()
	r.later(r.g.between(5*time.Millisecond, 50*time.Millisecond), func() {
		m, began := &r.g.market, r.end(begun)
		if m.down {
			then(true)
			return
		}
		read := simRead{at: began, known: r.now(), from: from, to: from, complete: true, true: at}
		read.rows = m.page(from, simUsers)
		for _, row := range read.rows {
			read.to = max(read.to, row.sequence)
		}
		if r.own.Began.Mono >= began.Mono {
			then(false) // the base is later
			return
		}
		r.put(read)
		r.g.check(r)
		rows := binary.LittleEndian.AppendUint64(nil, uint64(len(r.g.reads)))
		r.g.reads = append(r.g.reads, read)
		r.tell(replication.Event{Type: replication.Read, At: began, Entry: replication.Entry{From: from, To: read.to, Complete: true, Rows: rows}})
		then(false)
	})
}

// lookBack is the cursor that was known two minutes ago. It is one that others know
// too: what this replica alone has seen higher does not help them.
func (r *simReplica) lookBack(now clock.Instant) int64 {
	then := now.Mono - int64(2*time.Minute)
	from := min(r.own.before, r.own.listed)
	if r.own.Began.Mono <= then {
		from = r.own.listed
	}
	for _, read := range r.own.recent {
		if read.counts && read.known.Mono <= then {
			from = max(from, read.to)
		}
	}
	return from
}

// ran ends a refresh that the loop has made.
func (r *simReplica) ran(k replication.Kind, failed bool, same clock.Instant) {
	l := &r.loops[k]
	e := replication.Event{Type: replication.Ran, Kind: k, Failed: failed, SameAs: same}
	if failed {
		r.g.failures++
		l.failed++
		d := min(time.Minute, time.Second<<min(l.failed-1, 10))
		e.Again = r.g.market.again
		l.retry = r.now().Mono + int64(max(e.Again, time.Duration(float64(d)*(0.8+0.4*r.g.rng.Float64()))))
		l.soon = l.soon || l.demand
	} else {
		r.rest(k)
	}
	l.running, l.demand, l.helps, l.ran = false, false, false, r.now().Mono
	r.tell(e)
}

// rest draws when the next refresh of that kind is due: what others publish
// counts too.
func (r *simReplica) rest(k replication.Kind) {
	l := &r.loops[k]
	l.jitter, l.failed, l.retry, l.soon, l.helps = 0.9+0.2*r.g.rng.Float64(), 0, math.MinInt64, false, false
}
