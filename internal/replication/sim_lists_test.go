package replication_test

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/refresh"
	"github.com/rolegate/rolegate/internal/replication"
)

// This file is the lists of one replica: what requests are answered by, and how
// refreshes of its own and of others become that. It goes by the rules of
// internal/pull, in the same order, and which rows and lists are believed is decided
// by the cursor of a gate itself.

// A simContent is a list as it is published.
type simContent struct {
	users           [simUsers]simRow
	cursor          int64
	above           map[int64]int64 // see snapshot.Generation
	trueBegan, upTo time.Duration
	asOf            time.Duration // what the server knew that the base was read from
	unsure          bool          // see simStore.unsure

	// blind is whether rows are in it that a replica has asked for which was away, and had
	// made a list by itself since. It looks back to before that, for what may have been
	// committed late, and has not seen who was gone meanwhile.
	blind bool
}

// A simOwn is what requests are answered by: a base, and rows on top.
type simOwn struct {
	replication.Own
	simContent
	elsewhere bool          // another replica has made the base
	rowsUntil clock.Instant // see snapshot.Generation
}

// A simRead is what one incremental refresh has read.
type simRead struct {
	at    int64 // when it asked, on this replica's monotonic clock
	known int64 // when the answer was there
	rows  []simRow
	true  time.Duration
	blind bool // see simContent
}

// A simFull is a full refresh that is under way.
type simFull struct {
	tick    int64
	started clock.Instant
	known   int64 // the highest sequence that was shown meanwhile to who had asked before
}

// A simLists is what a replica has of lists.
type simLists struct {
	own             simOwn
	cursor          *refresh.Cursor
	reads           []simRead // what goes on top of a base that has begun
	began, outdated int64     // pages that were asked for before then have come too late
	underWay        *simFull
	unseen          int // how many incremental refreshes in a row have not shown the highest sequence known
}

const simMargin = int64(replication.Margin)

var errSimDown = errors.New("the marketplace is down")

func simUserID(user int) int64 { return int64(user) + 1 }

// sameUsers reports whether two lists say the same.
func sameUsers(a, b *[simUsers]simRow) bool {
	for user := range a {
		if a[user].may != b[user].may {
			return false
		}
	}
	return true
}

// since returns of each user the row that counts of those that were read after that.
func (l *simLists) since(began int64) (rows [simUsers]simRow) {
	var at [simUsers]int64
	for _, read := range l.reads {
		for _, row := range read.rows {
			has := &rows[row.user]
			if read.at > began && (row.sequence > has.sequence || row.sequence == has.sequence && read.at > at[row.user]) {
				*has, at[row.user] = row, read.at
			}
		}
	}
	return rows
}

// recent returns whose row may have come since a full refresh began.
func (r *simReplica) recent(began int64) (users [simUsers]bool) {
	at := began - 2*simMargin
	mixed := r.own.rowsUntil != (clock.Instant{}) && r.own.rowsUntil.Mono > at
	for user := range users {
		users[user] = mixed
	}
	for _, read := range r.reads {
		for _, row := range read.rows {
			users[row.user] = users[row.user] || read.known > at
		}
	}
	if r.g.broken.hasty {
		return [simUsers]bool{}
	}
	return users
}

// onTop puts on a base that began then what was read since.
func (r *simReplica) onTop(base *simOwn, began int64) (sequences map[int64]int64) {
	if r.g.broken.resurge {
		began = math.MinInt64
		r.reads = r.reads[max(0, len(r.reads)-100):]
	}
	r.reads = slices.DeleteFunc(r.reads, func(read simRead) bool { return read.at <= began })
	sequences = map[int64]int64{}
	for _, read := range r.reads {
		base.blind = base.blind || read.blind
	}
	for user, row := range r.since(began) {
		if row.sequence == 0 {
			continue
		}
		sequences[simUserID(user)] = row.sequence
		if known, ok := base.above[simUserID(user)]; !ok || row.sequence > known {
			base.Touched = base.Touched || base.users[user].may != row.may
			base.users[user] = row
		}
	}
	return sequences
}

// gone returns who is listed no more, but for those whose row has come since the base
// began.
func (r *simReplica) gone(next *simOwn, recent *[simUsers]bool) (ids []int64) {
	for user := range simUsers {
		switch id := simUserID(user); {
		case r.own.users[user].may == 0 || next.users[user].may != 0:
		case recent[user]:
			r.cursor.Doubt(id)
		default:
			ids = append(ids, id)
		}
	}
	return ids
}

// full makes a full refresh.
func (r *simReplica) full() {
	m, at := &r.g.market, r.g.now
	f := &simFull{tick: r.now().Mono, started: r.now()}
	r.underWay = f
	tail, lag := r.cursor.Tail(f.started), m.meets()
	end := func(same clock.Instant, err error) {
		r.underWay = nil
		r.ran(replication.Full, err, same)
	}
	var next [simUsers]simRow
	var pages func(cursor int64)
	pages = func(cursor int64) {
		if m.down {
			end(clock.Instant{}, errSimDown)
			return
		}
		rows := m.page(cursor, simUsers/2, lag)
		for _, row := range rows {
			counts := tail.Add(simUserID(row.user), row.sequence) || r.g.broken.trusts
			if counts && row.sequence >= next[row.user].sequence {
				next[row.user] = row
			}
		}
		if len(rows) == simUsers/2 {
			r.later(m.slow/2+r.g.between(5*time.Millisecond, 50*time.Millisecond), func() { pages(rows[len(rows)-1].sequence) })
			return
		}
		end(r.takeFull(f, tail, &next, at, at-lag))
	}
	r.later(r.g.between(5*time.Millisecond, 50*time.Millisecond), func() { pages(0) })
}

// takeFull takes the list that a full refresh has read, if it is believed.
func (r *simReplica) takeFull(f *simFull, tail *refresh.Tail, users *[simUsers]simRow, at, asOf time.Duration) (same clock.Instant, err error) {
	before := r.own
	if before.elsewhere && before.Began.Mono >= f.started.Mono {
		return same, nil // another replica's is later
	}
	recent := r.recent(f.tick)
	next := simOwn{
		Own:        replication.Own{Loaded: true, Began: f.started, Contact: f.started},
		simContent: simContent{users: *users, above: tail.Above(), trueBegan: at, upTo: at, asOf: asOf},
	}
	r.onTop(&next, f.tick)
	tail.Knew(f.known)
	added, removed := 0, 0
	for user := range simUsers {
		switch was, is := before.users[user].may, next.users[user].may; {
		case is != 0 && is != was:
			added++
		case is != was:
			removed++
		}
	}
	err = r.cursor.Older(f.started, tail, false, func() bool { return !before.Loaded || added == 0 && removed <= 10 })
	if err != nil && !r.g.broken.trusts {
		r.soon(replication.Incremental) // does it know what was known?
		return same, err
	}
	if before.Loaded {
		if before.Contact.Mono-simMargin > f.tick {
			next.Contact, next.upTo = clock.Later(next.Contact, before.Contact), max(next.upTo, before.upTo)
		}
	}
	next.cursor = r.cursor.Full(f.started, r.now(), tail, r.gone(&next, &recent))
	r.cursor.AddGone(next.above)
	if before.Loaded && !before.Touched && !next.Touched && before.cursor == next.cursor && sameUsers(&before.users, &next.users) {
		same = before.Began
	}
	r.began = f.tick
	r.replace(&next)
	if f.started.Age(r.now()) > simEvery/10 {
		r.soon(replication.Incremental) // for what has come since it began
	}
	return same, nil
}

// soon makes a refresh due because of what another has shown.
func (r *simReplica) soon(k replication.Kind) { r.loops[k].soon, r.loops[k].misses = true, true }

// replace has requests see that.
func (r *simReplica) replace(next *simOwn) {
	before := r.own
	r.own = *next
	r.g.moved(r)
	r.g.returned(r, &before.users, min(before.asOf, next.asOf))
	r.g.check(r)
}

// take takes the list of another replica, unless it is no later.
func (r *simReplica) take(list *simList, at clock.Instant, unsure bool) bool {
	if r.own.Loaded && r.own.Began.Mono >= at.Mono && !r.g.broken.back || at.Age(r.now()) > simExpire {
		return false
	}
	began := at.Mono + simMargin
	recent := r.recent(at.Mono)
	contact := clock.Later(at.Add(time.Duration(list.contact-list.began)), at)
	next := simOwn{Own: replication.Own{Loaded: true, Began: at, Contact: contact}, simContent: list.simContent, elsewhere: true}
	next.unsure = unsure
	sequences := r.onTop(&next, began)
	if before := &r.own; before.Loaded && before.Contact.Mono-simMargin > began {
		next.Contact, next.upTo = clock.Later(contact, before.Contact), max(next.upTo, before.upTo)
	}
	r.cursor.Gone(r.gone(&next, &recent))
	r.cursor.Follow(r.now(), contact, list.cursor, list.above, func(id int64) bool { return list.users[id-1].may != 0 })
	r.cursor.Page(r.now(), sequences, true)
	next.cursor = r.cursor.Highest()
	if contact.Mono > began {
		next.rowsUntil = contact
	}
	r.began, r.outdated = began, r.now().Mono
	r.replace(&next)
	r.g.count["loads"]++
	r.rest(replication.Full)
	return true
}

// confirm takes in that a full refresh has found the list as it is.
func (r *simReplica) confirm(at clock.Instant, trueBegan time.Duration) {
	own := &r.own
	if own.Touched || own.Began.Mono >= at.Mono {
		return
	}
	own.Began, own.Contact, own.elsewhere = at, clock.Later(own.Contact, at), true
	own.trueBegan, own.upTo, own.unsure = trueBegan, max(own.upTo, trueBegan), false
	r.began, r.outdated = at.Mono+simMargin, r.now().Mono
	r.reads = slices.DeleteFunc(r.reads, func(read simRead) bool { return read.at <= r.began })
	r.cursor.Confirmed()
	r.g.moved(r)
	r.rest(replication.Full)
}

// repeats reports whether a row says nothing new.
func (r *simReplica) repeats(row simRow) bool {
	id, listed := simUserID(row.user), r.own.users[row.user].may != 0
	seen, ok := r.cursor.Seen(id)
	again := ok && (row.sequence < seen || row.sequence == seen && !listed) || !listed && r.cursor.Outdated(id, row.sequence)
	return again && !r.g.broken.trusts
}

// increment reads what was added and changed, on this replica.
func (r *simReplica) increment(then func(error)) {
	m, at, asked := &r.g.market, r.g.now, r.now()
	above, lag := r.cursor.From(), m.meets()
	sought := int64(0)
	if highest := r.cursor.Highest(); highest > above {
		sought = highest
	}
	r.later(r.g.between(5*time.Millisecond, 50*time.Millisecond), func() {
		now := r.now()
		switch {
		case m.down:
			then(errSimDown)
			return
		case asked.Mono <= max(r.began, r.outdated): // a full refresh has overtaken it
			r.later(time.Duration(max(0, r.began-now.Mono+1)), func() { r.increment(then) })
			return
		}
		read := simRead{at: asked.Mono, known: now.Mono, true: at}
		read.blind = !r.own.elsewhere && above < m.sequence && m.shown[above] < at-3*simLookBack
		e := replication.Entry{From: above, To: above, Complete: true}
		most := int64(0)
		for _, row := range m.page(above, simUsers, lag) {
			most = max(most, row.sequence)
			if !r.repeats(row) {
				read.rows = append(read.rows, row)
				e.To = max(e.To, row.sequence)
			}
		}
		if most < sought && r.cursor.Highest() >= sought { // a server that lags, or who had that is gone
			e.Complete = false
			r.cursor.Regressed(asked)
			r.loops[replication.Incremental].tried = asked
			r.g.incs = nil // to others it is none
			if r.unseen++; r.unseen >= 2 && r.unseen&(r.unseen-1) == 0 {
				r.soon(replication.Full)
			}
		} else {
			r.unseen = 0
		}
		if f := r.underWay; f != nil && read.at <= f.tick {
			f.known = max(f.known, most)
		}
		r.reads = append(r.reads, read)
		r.own.blind = r.own.blind || read.blind
		r.put(read.rows, asked, above, e.Complete, true, at)
		r.g.check(r)
		e.Rows = binary.LittleEndian.AppendUint64(nil, uint64(len(r.g.reads)))
		r.g.reads = append(r.g.reads, read)
		r.tell(replication.Event{Type: replication.Read, At: asked, Entry: e})
		then(nil)
	})
}

// apply puts on top what another replica has read.
func (r *simReplica) apply(e *replication.Entry, read *simRead) {
	at := e.At.Mono - simMargin // so that it counts only if it is later by that
	if at <= r.began && len(read.rows) > 0 {
		return
	}
	moves := e.From <= r.cursor.Highest() || r.g.broken.gaps
	r.reads = append(r.reads, simRead{at, e.Known.Mono, read.rows, read.true, read.blind})
	r.own.blind = r.own.blind || read.blind
	newest := r.since(r.began)
	var rows []simRow
	for _, row := range read.rows {
		known, ok := r.own.above[simUserID(row.user)]
		if newest[row.user] == row && (!ok || row.sequence > known) && !r.repeats(row) {
			rows = append(rows, row)
		}
	}
	r.put(rows, e.At, e.From, e.Complete && moves, moves, read.true)
}

// put puts rows on top, of a refresh that has asked for what is above that.
func (r *simReplica) put(rows []simRow, started clock.Instant, above int64, complete, moves bool, upTo time.Duration) {
	own, before := &r.own, r.own.users
	sequences := map[int64]int64{}
	for _, row := range rows {
		sequences[simUserID(row.user)] = row.sequence
		own.Touched = own.Touched || own.users[row.user].may != row.may
		own.users[row.user] = row
	}
	r.cursor.Page(r.now(), sequences, moves)
	if complete {
		r.cursor.Done(started, above)
		if started.Mono > own.Contact.Mono {
			own.Contact, own.upTo = started, max(own.upTo, upTo)
			r.rest(replication.Incremental)
		}
	}
	own.cursor = r.cursor.Highest()
	r.g.returned(r, &before, own.asOf)
}

// shift measures anew.
func (r *simReplica) shift(by func(clock.Instant) clock.Instant) {
	mono := func(n int64) int64 { return by(clock.Instant{Mono: n}).Mono }
	r.outdated, r.began = r.now().Mono, mono(r.began)
	for i := range r.reads {
		r.reads[i].at, r.reads[i].known = mono(r.reads[i].at), mono(r.reads[i].known)
	}
	if f := r.underWay; f != nil && !r.g.broken.begun {
		f.tick, f.started = mono(f.tick), by(f.started)
	}
	r.own.Began, r.own.Contact = by(r.own.Began), by(r.own.Contact)
	if r.own.rowsUntil != (clock.Instant{}) {
		r.own.rowsUntil = by(r.own.rowsUntil)
	}
	r.loops[replication.Incremental].tried = clock.Instant{}
}
