package replication_test

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/rolegate/rolegate/internal/replication"
)

// This file is the world of the simulation: time, the marketplace and the store.
// Everything that happens is drawn from one seed, in one goroutine, so that a
// seed repeats to the last event.

const (
	simUsers = 24

	simEvery   = time.Minute
	simResync  = 10 * time.Minute
	simExpire  = time.Hour
	simLease   = 10 * time.Second
	simLogCap  = 3
	simMaxLag  = 5 * time.Second
	simEpoch   = int64(1_800_000_000_000_000_000) // of the store's clock
	simSlack   = 2500 * time.Millisecond
	simForever = time.Duration(1 << 62)
)

// A simEvent is something that is going to happen.
type simEvent struct {
	at   time.Duration
	turn uint64      // of two at once the one that was planned first comes first
	who  *simReplica // it happens when that process runs; nil: at once
	do   func()
}

// A simQueue is a heap. container/heap takes half of the simulation's time, for
// the interfaces.
type simQueue []simEvent

func (e *simEvent) before(other *simEvent) bool {
	return e.at < other.at || e.at == other.at && e.turn < other.turn
}

func (q *simQueue) push(e simEvent) {
	*q = append(*q, e)
	all := *q
	i := len(all) - 1
	for ; i > 0 && e.before(&all[(i-1)/2]); i = (i - 1) / 2 {
		all[i] = all[(i-1)/2]
	}
	all[i] = e
}

func (q *simQueue) pop() simEvent {
	all := *q
	first, last := all[0], len(all)-1
	e := all[last]
	all[last] = simEvent{}
	all = all[:last]
	i := 0
	for last > 0 {
		child := 2*i + 1
		if child+1 < last && all[child+1].before(&all[child]) {
			child++
		}
		if child >= last || !all[child].before(&e) {
			all[i] = e
			break
		}
		all[i], i = all[child], child
	}
	*q = all
	return first
}

// A simWorld has the time, and what is in it.
type simWorld struct {
	now    time.Duration
	rng    *rand.Rand
	queue  simQueue
	turn   uint64
	market simMarket
	store  simStore
	frozen int    // machines whose clocks are behind
	digest uint64 // of all that has happened: two runs of a seed have the same
}

func (w *simWorld) after(d time.Duration, do func()) {
	w.turn++
	w.queue.push(simEvent{w.now + d, w.turn, nil, do})
}

func (w *simWorld) run(until time.Duration) {
	for len(w.queue) > 0 && w.queue[0].at <= until {
		e := w.queue.pop()
		w.now = e.at
		if e.who != nil {
			e.who.when(e.do)
		} else {
			e.do()
		}
	}
	w.now = until
}

func (w *simWorld) note(n uint64) { w.digest = (w.digest ^ n ^ uint64(w.now)) * 0x100000001b3 }

// between draws a duration.
func (w *simWorld) between(low, high time.Duration) time.Duration {
	return low + time.Duration(w.rng.Int64N(int64(high-low)+1))
}

// A simRow is what a list says of one user: bits of what they may do, 0 if they
// are not listed.
type simRow struct {
	user     int
	may      uint8
	sequence int64
}

// The bits of what a user may do.
const (
	simListed uint8 = 1 << iota
	simTeacher
	simBits = 2
)

// A simChange is one of the states of a user.
type simChange struct {
	at time.Duration
	simRow
}

// A simMarket is the marketplace.
type simMarket struct {
	w        *simWorld
	sequence int64
	history  [simUsers][]simChange
	now      [simUsers]simRow
	gained   [simUsers][simBits]time.Duration
	lost     [simUsers][simBits]time.Duration
	quiet    [simUsers][simBits]bool // the loss shows only in a full refresh

	down    bool
	again   time.Duration // what it answers then
	lag     time.Duration
	slow    time.Duration // how long a full refresh takes
	well    time.Duration // since when it is
	changes int
}

// set changes a user; what is shown raises the sequence.
func (m *simMarket) set(user int, may uint8, shown bool) {
	row := &m.now[user]
	for bit := range simBits {
		had, has := row.may>>bit&1 != 0, may>>bit&1 != 0
		switch {
		case has && !had:
			m.gained[user][bit] = m.w.now
		case had && !has:
			m.lost[user][bit], m.quiet[user][bit] = m.w.now, !shown
		case !has && may == 0:
			m.quiet[user][bit] = true // the record that would have shown an earlier loss is gone
		}
	}
	if shown {
		m.sequence++
		row.sequence = m.sequence
	}
	row.user, row.may = user, may
	m.history[user] = append(m.history[user], simChange{m.w.now, *row})
	m.changes++
	m.w.note(uint64(user)<<8 | uint64(may))
}

// live makes one change.
func (m *simMarket) live() {
	user := m.w.rng.IntN(simUsers)
	switch may := m.now[user].may; {
	case may == 0, may == simListed && m.w.rng.IntN(2) == 0:
		m.set(user, []uint8{simListed, simListed | simTeacher}[m.w.rng.IntN(2)], true)
	case m.w.rng.IntN(3) == 0:
		m.set(user, 0, false) // a removal has no record
	case may&simTeacher != 0:
		m.set(user, simListed, m.w.rng.IntN(4) > 0)
	}
	m.w.after(m.w.between(time.Second, 40*time.Second), m.live)
}

// view is what the marketplace says of a user: it may lag behind itself.
func (m *simMarket) view(user int) simRow {
	if m.lag == 0 {
		return m.now[user]
	}
	h := m.history[user]
	for i := len(h) - 1; i >= 0; i-- {
		if h[i].at <= m.w.now-m.lag {
			return h[i].simRow
		}
	}
	return simRow{user: user}
}

// page returns the next listed users by sequence, n of them at most.
func (m *simMarket) page(above int64, n int) []simRow {
	var rows []simRow
	for user := range simUsers {
		if r := m.view(user); r.may != 0 && r.sequence > above {
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, func(a, b simRow) int { return int(a.sequence - b.sequence) })
	return rows[:min(n, len(rows))]
}

// A simList is a base as the store has it.
type simList struct {
	users           [simUsers]simRow
	cursor          int64
	began, contact  int64 // by the store's clock
	trueBegan, upTo time.Duration
	unsure          bool // see simStore.unsure
}

// A simEntry is an entry of the log.
type simEntry struct {
	replication.Entry
	id int64
}

// simRules are the rules of the store that a mutant can break.
type simRules struct {
	anyTime    bool // a base may be replaced by an older one
	anyHolder  bool // and by one who does not hold the lease
	noClock    bool // a clock that is put back goes unnoticed
	anyEpoch   bool // times of a clock that was put back since are believed
	manyLeases bool // a lease is granted to everybody
	staleLease bool // also to who does not know what there is
}

// A simStore is the Redis that replicas share.
type simStore struct {
	w     *simWorld
	rules simRules
	away  bool
	lost  bool          // answers are lost, not calls
	slow  time.Duration // of each way
	skew  time.Duration // of its clock
	ahead time.Duration // when that was last put forward
	backs []simPutBack
	data  simData
	old   []simSaved
	count map[string]int
	wrong func(what string) // is told of what must never be
}

// simData is what it has.
type simData struct {
	base    replication.Base
	list    *simList
	log     []simEntry
	lastID  int64
	wanted  int64
	clock   int64 // the highest time that it has told
	epoch   string
	holder  [replication.Kinds]int
	until   [replication.Kinds]int64
	written int
}

// A simPutBack is when the clock was put back, the epoch that it was then, and who can
// tell: they have read it since it was put forward last.
type simPutBack struct {
	at    time.Duration
	epoch string
	known []*simReplica
}

type simSaved struct {
	at   time.Duration
	data simData
}

func (s *simStore) clock() int64 { return simEpoch + int64(s.w.now+s.skew) }

// touch reads the clock. One that was put back makes all times worthless.
func (s *simStore) touch() int64 {
	t := s.clock()
	if t < s.data.clock-int64(time.Second) && !s.rules.noClock {
		s.data = simData{written: s.data.written}
	}
	if s.data.epoch == "" {
		s.data.epoch = simID(t)
	}
	s.data.clock = max(s.data.clock, t)
	return t
}

func (s *simStore) save() {
	d := s.data
	d.log = slices.Clone(d.log)
	s.old = append(s.old, simSaved{s.w.now, d})
	if len(s.old) > 60 {
		s.old = s.old[1:]
	}
}

// restore puts it back to what it was at least that long ago.
func (s *simStore) restore(ago time.Duration) {
	for i := len(s.old) - 1; i >= 0; i-- {
		if s.old[i].at <= s.w.now-ago {
			d := s.old[i].data
			d.log = slices.Clone(d.log)
			s.data = d
			return
		}
	}
	s.data = simData{}
}

func (s *simStore) sync(id int, a *replication.Action) replication.Reply {
	if t := s.touch(); a.Void == s.data.epoch {
		s.data = simData{written: s.data.written, clock: t}
		s.count["epochs voided"]++
	}
	t := s.touch()
	d := &s.data
	after := simNumber(a.Cursor)
	if after > d.lastID {
		after = 0
	}
	r := replication.Reply{Time: t, Epoch: d.epoch, Base: d.base, Cursor: a.Cursor}
	for _, e := range d.log {
		if e.id > after {
			r.Entries, after = append(r.Entries, e.Entry), e.id
		}
	}
	if after != simNumber(a.Cursor) {
		r.Cursor = simID(after)
	}
	if a.Raise {
		d.wanted = max(d.wanted, t)
	}
	r.Wanted = d.wanted
	knows := len(r.Entries) == 0 && a.Known == d.base || s.rules.staleLease
	for k := range d.holder {
		free := d.until[k] <= t || d.until[k] > t+int64(5*time.Minute)
		mine := !free && d.holder[k] == id
		if a.Want[k] && (mine || knows && (free || s.rules.manyLeases)) {
			d.holder[k], d.until[k] = id, t+int64(simLease)
			r.Granted[k] = true
		}
		r.Held[k] = !r.Granted[k] && !free
	}
	return r
}

func (s *simStore) publish(id int, b replication.Base, epoch string, list *simList) (replication.Base, bool) {
	t := s.touch()
	if epoch != s.data.epoch && !s.rules.anyEpoch {
		return b, false
	}
	d := &s.data
	const k = replication.Full
	switch {
	case !s.rules.anyHolder && (d.until[k] <= t || d.holder[k] != id):
		return b, false
	case !s.rules.anyTime && d.base.Began >= b.Began && d.base.Began <= t:
		return b, false
	}
	if d.list != nil && b.Began < d.base.Began && d.base.Began <= t {
		s.wrong(simStoreBack)
	}
	if b.Name == "" || b.Name != d.base.Name {
		d.written++
		s.count["bases written"]++
		b.Name = "base " + simID(int64(d.written)) + " of " + simID(int64(id)) + " at " + simID(int64(s.w.now))
		list.began = b.Began
		d.list = list
	} else {
		s.count["bases confirmed"]++
		if list.users != d.list.users {
			s.wrong(simConfirmed)
		}
		kept := *d.list
		kept.trueBegan, kept.upTo, kept.unsure = list.trueBegan, max(kept.upTo, list.trueBegan), list.unsure
		kept.began, kept.contact = b.Began, max(kept.contact, b.Began)
		d.list = &kept
	}
	d.base = b
	d.log = slices.DeleteFunc(d.log, func(e simEntry) bool { return e.id*1e6 < b.Began })
	return b, true
}

func (s *simStore) append(e replication.Entry, epoch string) {
	t := s.touch()
	if epoch != s.data.epoch && !s.rules.anyEpoch {
		return
	}
	d := &s.data
	d.lastID = max(d.lastID+1, t/1e6)
	d.log = append(d.log, simEntry{e, d.lastID})
	if len(d.log) > simLogCap {
		d.log = d.log[1:]
	}
}

func (s *simStore) release(id int, k replication.Kind, keep time.Duration) {
	t := s.touch()
	d := &s.data
	if d.until[k] > t && d.holder[k] == id {
		d.holder[k], d.until[k] = 0, t+int64(keep)
	}
}

func simNumber(id string) (n int64) {
	for _, c := range id {
		n = n*10 + int64(c-'0')
	}
	return n
}

func simID(n int64) string {
	var b [20]byte
	i := len(b)
	for i--; ; i-- {
		b[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return string(b[i:])
		}
	}
}
