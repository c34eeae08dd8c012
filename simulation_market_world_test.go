package rolegate_test

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"
)

// This file is a marketplace as marketplaces are, made at random: it is written to
// while it is read, and what it means of each user is known over time.

// mktRules are what kind of marketplace it is.
type mktRules struct {
	users    int
	page     int // rows that a page has at most
	capped   bool
	includes bool // the cursor is inclusive
	shuffles bool // the rows of a page
	ties     bool // batches have one sequence
	quiet    bool // a role that is taken away raises no sequence
	strings  bool // ids are strings
	empty    string
	first    int64 // sequence
	rate     float64
	latency  time.Duration

	errors     float64
	kinds      []mktFault
	retryAfter time.Duration
	perSecond  int // requests that are allowed, 0: any number

	lag     time.Duration // of one server
	servers int           // behind the address
	mixed   bool          // each request meets another of them, not each refresh

	tokenLife time.Duration
	refusal   int // how a token that ran out is spelled

	every, resync, expire time.Duration
}

func mktOne[T any](rng *rand.Rand, of ...T) T { return of[rng.IntN(len(of))] }

func newMktRules(rng *rand.Rand) mktRules {
	r := mktRules{
		users: 25 + rng.IntN(45), page: 12 + rng.IntN(25), capped: rng.IntN(2) == 0,
		includes: rng.IntN(3) == 0, shuffles: rng.IntN(3) == 0, ties: rng.IntN(2) == 0, quiet: rng.IntN(3) == 0, strings: rng.IntN(3) == 0,
		empty: mktOne(rng, "[]", "[]", "[]", "null", `""`, "{}"), first: mktOne[int64](rng, 1, 1, 1000, 1<<50),
		rate: mktOne(rng, 0, 0.02, 0.1, 1, 5, 20, 50, 100), latency: mktOne[time.Duration](rng, 2, 20, 60, 250, 800) * time.Millisecond,
		servers: 2 + rng.IntN(3), mixed: rng.IntN(2) == 0,
		refusal: rng.IntN(len(mktRefusals)),
		every:   time.Minute, resync: 10 * time.Minute, expire: time.Hour,
	}
	if rng.IntN(2) == 0 {
		r.errors = mktOne(rng, 0.01, 0.01, 0.05, 0.2)
		for k := range mktFaults {
			if rng.IntN(2) == 0 {
				r.kinds = append(r.kinds, k)
			}
		}
		r.retryAfter = mktOne[time.Duration](rng, 0, 0, 1, 10) * time.Second
		if len(r.kinds) == 0 {
			r.errors = 0
		}
	}
	if rng.IntN(5) == 0 {
		r.perSecond = 1 + rng.IntN(20)
	}
	if rng.IntN(3) == 0 {
		r.lag = mktOne(rng, time.Second, 5*time.Second, 40*time.Second, 3*time.Minute, 10*time.Minute)
	}
	if rng.IntN(2) == 0 {
		r.tokenLife = time.Duration(2+rng.IntN(60)) * time.Minute
	}
	if rng.IntN(4) == 0 {
		r.every, r.resync, r.expire = 30*time.Second, 5*time.Minute, 25*time.Minute
	}
	// A list that is written to by the page while a page is read cannot be read.
	r.rate = min(r.rate, float64(r.page)/3/r.latency.Seconds())
	if r.perSecond > 0 {
		r.rate = min(r.rate, float64(r.page*r.perSecond)/6)
	}
	if r.errors > 0 && slices.Contains(r.kinds, mktTooMany) {
		// Whoever is told so often that there were too many requests sends as few: a
		// tenth less for each time, a tenth of a request a second more in each second.
		pace := math.Sqrt(float64(len(r.kinds)) / r.errors)
		r.rate = min(r.rate, float64(r.page)*pace/6)
	}
	return r
}

// mktThing is what a request asks for: to be listed, or a role.
const mktThings = 3

var mktCodes = [mktThings]string{1: "teacher", 2: "admin"}

const mktOrg = 7

// A mktSpelling is how a record is written.
type mktSpelling uint8

const (
	mktClear mktSpelling = iota

	// Odd, and none of it matters.
	mktOddText // half a surrogate in a name
	mktOddRole // roles that are null or have no organisation
	mktOddKey  // keys that nobody knows, twice

	// Invalid: its user may not enter.
	mktNoRoles
	mktTwice
	mktNumber
	mktOddAccount

	mktNobody // the id cannot be read: whose it is nobody can know

	mktSpellings
)

func (s mktSpelling) valid() bool { return s < mktNoRoles }

// A mktRow is a user as the list has them.
type mktRow struct {
	id, seq  int64
	account  string
	roles    uint8 // a bit for each thing
	spelling mktSpelling
	cleared  bool // the roles are not shown
}

// A mktPerson is what the marketplace means of one user, and since when.
type mktPerson struct {
	mktRow
	listed bool
	twin   *mktPerson // who they were before they were made anew
	late   bool       // a transaction about them is under way
	below  bool       // the row came to be seen below others

	moved   moment // when the row last got another sequence
	changed moment // when anything about them last changed

	repaired moment // when the row last came to be valid again
	sent     int64  // the sequence that an incremental refresh has shown
	blurred  bool   // shown without roles, which are not lost

	// When they last got and lost each thing. It is quiet if only a full refresh
	// shows it.
	gained, lost             [mktThings]moment
	quietlyGained, quietLoss [mktThings]bool
	agreed                   [mktThings]bool // the gate has known it since it last changed
}

func (p *mktPerson) has(th int) bool {
	return p.listed && p.spelling.valid() && (th == 0 || p.roles&(1<<th) != 0)
}

// A mktDeed is something that happens later.
type mktDeed struct {
	at moment
	do func(at moment)
}

type mktVersion struct {
	since moment
	rows  []mktRow
}

// A mktWorld is the marketplace. Its methods need mu unless they say otherwise; the
// goroutine that holds it never waits for time.
type mktWorld struct {
	seed  uint64
	rules mktRules
	began time.Time

	mu       sync.Mutex
	rng      *rand.Rand // of what happens
	people   []*mktPerson
	hot      []*mktPerson // who have changed lately
	sequence int64
	changes  int
	due      float64 // of touches
	touched  moment
	next     moment // when somebody changes something
	deeds    []mktDeed
	removals []moment
	rows     []mktRow // by sequence, nil if they have to be sorted
	versions []mktVersion
	lastSeq  moment // when whoever had the highest sequence last went

	tied, cleared moment // until when there is a batch that cannot be read past, and no roles are shown

	token        string
	tokenEnds    moment
	tokens       int
	window       moment // a second
	inWindow     int
	widestTie    int
	hidesTies    bool
	counts       map[string]int
	pulls        [2][]*mktPull // full, incremental
	clearedSince moment
	known        moment // when the gate has had its first list
}

func newMktWorld(seed uint64, rules mktRules) *mktWorld {
	w := &mktWorld{
		seed: seed, rules: rules, began: time.Now(), rng: rand.New(rand.NewPCG(seed, 11)),
		sequence: rules.first - 1, counts: map[string]int{}, tied: simEver, cleared: simEver, clearedSince: simEver, known: simForever, lastSeq: simEver, widestTie: 1,
	}
	for range rules.users {
		w.arrives(simEver, uint8(w.rng.IntN(1<<mktThings)))
	}
	w.hot, w.changes, w.next = nil, 0, 10*time.Second
	return w
}

func (w *mktWorld) now() moment { return time.Since(w.began) }

// change changes what the marketplace means of p, and notes what p has got and lost.
// The row gets that sequence; 0 is the next, and -1 is the one it has.
func (w *mktWorld) change(at moment, p *mktPerson, seq int64, f func()) {
	var had [mktThings]bool
	for th := range mktThings {
		had[th] = p.has(th)
	}
	f()
	if seq == 0 {
		w.sequence++
		seq = w.sequence
	}
	shown := seq > 0
	if shown {
		p.seq, p.moved, p.below = seq, at, false
		w.changes++
	}
	p.changed = at
	for th := range mktThings {
		switch has := p.has(th); {
		case has && !had[th]:
			p.gained[th], p.quietlyGained[th], p.agreed[th] = at, !shown, false
		case had[th] && !has:
			p.lost[th], p.quietLoss[th], p.agreed[th] = at, !shown || th > 0 && w.cleared == simForever, false
		case !has && !shown:
			p.quietLoss[th] = true // the record that would have shown an earlier loss is gone
		}
	}
	w.hot = append(w.hot, p)
	w.rows = nil
}

func (w *mktWorld) arrives(at moment, roles uint8) *mktPerson {
	n := len(w.people)
	p := &mktPerson{mktRow: mktRow{id: 1542135022016057000 + int64(n)*3, account: "a" + strconv.Itoa(n)}}
	for th := range mktThings {
		p.gained[th], p.lost[th] = simEver, simEver
	}
	w.people = append(w.people, p)
	w.change(at, p, 0, func() { p.listed, p.roles = true, roles })
	return p
}

// leaves takes p off the list, unless too many have left lately.
func (w *mktWorld) leaves(at moment, p *mktPerson) bool {
	w.removals = slices.DeleteFunc(w.removals, func(was moment) bool { return was < at-40*time.Minute })
	if len(w.removals) >= 6 {
		return false
	}
	w.removals = append(w.removals, at)
	if p.seq == w.highest() {
		w.lastSeq = at
	}
	w.change(at, p, -1, func() { p.listed = false })
	return true
}

func (w *mktWorld) highest() (seq int64) {
	for _, p := range w.people {
		if p.listed {
			seq = max(seq, p.seq)
		}
	}
	return seq
}

// some returns a listed user that no transaction under way changes.
func (w *mktWorld) some() *mktPerson {
	for {
		if p := w.people[w.rng.IntN(len(w.people))]; p.listed && !p.late {
			return p
		}
	}
}

// advance lets happen what has happened by then.
func (w *mktWorld) advance(now moment) {
	for {
		at, deed := w.next, -1
		for i, d := range w.deeds {
			if d.at < at {
				at, deed = d.at, i
			}
		}
		if at > now {
			break
		}
		w.touch(at)
		if deed < 0 {
			w.happen(at)
			w.keep(at)
			w.next = at + time.Duration(w.rng.ExpFloat64()*float64(25*time.Second))
			continue
		}
		do := w.deeds[deed].do
		w.deeds = slices.Delete(w.deeds, deed, deed+1)
		do(at)
		w.keep(at)
	}
	w.touch(now)
	w.keep(now)
}

// keep remembers what the list is, for the server that lags.
func (w *mktWorld) keep(at moment) {
	if w.rules.lag == 0 || w.rows != nil {
		return
	}
	w.versions = append(w.versions, mktVersion{at, w.sorted()})
	for len(w.versions) > 1 && w.versions[1].since < at-w.rules.lag-time.Minute {
		w.versions = w.versions[1:]
	}
}

// touch has users written who stay as they are.
func (w *mktWorld) touch(at moment) {
	w.due += w.rules.rate * (at - w.touched).Seconds()
	w.touched = at
	n := int(w.due)
	w.due -= float64(n)
	if most := 3 * w.rules.users; n > most { // who comes last counts
		w.sequence += int64(n - most)
		w.changes += n - most
		n = most
	}
	for range n {
		p := w.some()
		w.sequence++
		w.changes++
		p.seq, p.moved, p.below, w.rows = w.sequence, at, false, nil
		if w.rules.lag > 0 {
			p.agreed = [mktThings]bool{}
		}
	}
}

func (w *mktWorld) later(at moment, do func(at moment)) { w.deeds = append(w.deeds, mktDeed{at, do}) }

func (w *mktWorld) seconds(from, to int) time.Duration {
	return time.Duration(from+w.rng.IntN(to-from)) * time.Second
}

// happen has somebody change something.
func (w *mktWorld) happen(at moment) {
	listed := 0
	for _, p := range w.people {
		if p.listed {
			listed++
		}
	}
	switch dice := w.rng.IntN(100); {
	case dice < 12 && listed < w.rules.users*5/4:
		w.counts["users added"]++
		w.arrives(at, uint8(w.rng.IntN(1<<mktThings)))
	case dice < 24 && listed > w.rules.users*3/4:
		if w.leaves(at, w.some()) {
			w.counts["users removed"]++
		}
	case dice < 45:
		w.counts["roles given"]++
		p, roles := w.some(), uint8(w.rng.IntN(1<<mktThings))
		w.change(at, p, 0, func() { p.roles |= roles })
	case dice < 65:
		w.counts["roles taken"]++
		p, roles := w.some(), uint8(w.rng.IntN(1<<mktThings))
		seq := int64(0)
		if w.rules.quiet {
			seq = -1
		}
		w.change(at, p, seq, func() { p.roles &^= roles })
	case dice < 73:
		w.spell(at)
	case dice < 80 && w.rules.ties:
		w.tie(at, 2+w.rng.IntN(min(w.rules.page-4, listed/3)))
	case dice < 88:
		w.transact(at)
	case dice < 92:
		old := w.some()
		if roles := old.roles; old.spelling == mktClear && w.leaves(at, old) {
			w.counts["users made anew"]++
			p := w.arrives(at, roles)
			p.account, p.twin = old.account, old
		}
	case dice < 94 && w.rules.page+5 < listed && w.tied < at-25*time.Minute:
		// A batch that cannot be read past, until somebody writes the rows again.
		w.counts["batches that cannot be read past"]++
		w.tied = simForever
		in := w.tie(at, w.rules.page+3)
		w.later(at+w.seconds(60, 420), func(at moment) {
			w.tied = at
			for _, p := range in {
				if p.listed && !p.late {
					w.change(at, p, 0, func() {})
				}
			}
		})
	case dice < 96 && w.rules.lag == 0 && w.cleared < at-40*time.Minute:
		w.clear(at)
	}
}

// spell writes a record in another way, for a while.
func (w *mktWorld) spell(at moment) {
	p := w.some()
	if p.spelling != mktClear {
		return
	}
	how := mktSpelling(1 + w.rng.IntN(int(mktSpellings)-1))
	if w.rules.lag > 0 { // two servers that say it in two ways leave it in doubt
		how = 1 + how%3
	}
	if how == mktNobody { // it looks as if the user were gone
		w.removals = append(w.removals, at)
	}
	w.counts["odd records"]++
	seq := int64(0)
	if how == mktNobody && w.rng.IntN(2) == 0 {
		seq = -1
	}
	w.change(at, p, seq, func() { p.spelling = how })
	if how == mktNobody {
		for th := range mktThings {
			p.quietLoss[th] = true
		}
	}
	var repair func(at moment)
	repair = func(at moment) {
		switch {
		case p.late:
			w.later(at+time.Minute, repair)
		case p.listed:
			w.change(at, p, 0, func() { p.spelling, p.repaired = mktClear, at })
		}
	}
	w.later(at+w.seconds(60, 1500), repair)
}

// tie gives so many users one sequence.
func (w *mktWorld) tie(at moment, n int) (in []*mktPerson) {
	w.counts["batches"]++
	w.sequence++
	n = min(n, w.rules.users/2)
	for range n {
		p := w.some()
		if !slices.Contains(in, p) {
			in = append(in, p)
			w.change(at, p, w.sequence, func() {})
		}
	}
	w.widestTie = max(w.widestTie, len(in))
	return in
}

// mktLookBack is how long a transaction may take, as the gate is set.
const mktLookBack = 2 * time.Minute

// transact begins a transaction that gives a user roles, or takes them.
func (w *mktWorld) transact(at moment) {
	w.counts["late commits"]++
	p := w.some()
	p.late = true
	w.sequence++
	seq, roles, takes := w.sequence, uint8(w.rng.IntN(1<<mktThings)), w.seconds(1, 100)
	if w.rng.IntN(4) == 0 {
		takes = w.seconds(130, 400)
	}
	w.later(at+takes, func(now moment) {
		w.change(now, p, seq, func() { p.late, p.roles = false, roles })
		p.below = true
		if takes < mktLookBack-time.Second && w.rules.lag == 0 && at >= w.known {
			return // it was not under way when the gate got its first list
		}
		for th := range mktThings {
			if p.gained[th] == now {
				p.quietlyGained[th] = true
			}
			if p.lost[th] == now {
				p.quietLoss[th] = true
			}
		}
	})
}

// clear has the list show nobody's roles for some minutes.
func (w *mktWorld) clear(at moment) {
	w.counts["lists without roles"]++
	w.cleared, w.clearedSince, w.rows = simForever, at, nil
	for _, p := range w.people {
		for th := 1; th < mktThings; th++ {
			p.quietLoss[th] = p.quietLoss[th] || p.lost[th] > at-5*time.Minute // it may not have been shown yet
		}
	}
	w.later(at+w.seconds(30, 500), func(at moment) {
		w.cleared, w.rows = at, nil
		for _, p := range w.people {
			if !p.blurred {
				continue
			}
			p.blurred = false
			for th := 1; th < mktThings; th++ {
				if p.has(th) {
					p.gained[th], p.quietlyGained[th], p.agreed[th] = at, true, false
				}
			}
		}
	})
}

// sorted returns the list, by sequence.
func (w *mktWorld) sorted() []mktRow {
	if w.rows == nil {
		w.rows = make([]mktRow, 0, len(w.people))
		for _, p := range w.people {
			if p.listed {
				row := p.mktRow
				row.cleared = w.cleared == simForever
				w.rows = append(w.rows, row)
			}
		}
		slices.SortFunc(w.rows, func(a, b mktRow) int { return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.id, b.id)) })
	}
	return w.rows
}

// lagging returns the list as the server that lags has it.
func (w *mktWorld) lagging(now moment) []mktRow {
	rows := w.versions[0].rows
	for _, v := range w.versions {
		if v.since <= now-w.rules.lag {
			rows = v.rows
		}
	}
	return rows
}

// page returns the rows of a page.
func (w *mktWorld) page(rows []mktRow, after int64, limit int, rng *rand.Rand) []mktRow {
	if w.rules.capped {
		limit = min(limit, w.rules.page)
	}
	if !w.rules.includes && after < math.MaxInt64 {
		after++
	}
	from, _ := slices.BinarySearchFunc(rows, after, func(r mktRow, seq int64) int { return cmp.Compare(r.seq, seq) })
	rows = rows[from:]
	rows = rows[:min(limit, len(rows))]
	if w.rules.shuffles {
		rows = slices.Clone(rows)
		rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	}
	return rows
}

// encode writes a page.
func (w *mktWorld) encode(rows []mktRow) []byte {
	if len(rows) == 0 {
		return fmt.Appendf(nil, `{"code":200,"status":"success","message":"请求成功","data":%s}`, w.rules.empty)
	}
	b := append(make([]byte, 0, 64+256*len(rows)), `{"code":200,"status":"success","message":"请求成功","data":[`...)
	for i := range rows {
		if i > 0 {
			b = append(b, ',')
		}
		b = w.record(b, &rows[i])
	}
	return append(b, `]}`...)
}

func (w *mktWorld) id(b []byte, n int64) []byte {
	if w.rules.strings {
		return append(strconv.AppendInt(append(b, '"'), n, 10), '"')
	}
	return strconv.AppendInt(b, n, 10)
}

func (w *mktWorld) record(b []byte, r *mktRow) []byte {
	b = append(b, `{"userId":`...)
	if r.spelling == mktNobody {
		b = append(b, `"n/a"`...)
	} else {
		b = w.id(b, r.id)
	}
	b = append(b, `,"account":`...)
	if r.spelling == mktOddAccount {
		b = append(b, `{}`...)
	} else {
		b = strconv.AppendQuote(b, r.account)
	}
	switch r.spelling {
	case mktOddText:
		b = append(b, `,"nickname":"\ud83d","email":7`...)
	case mktOddKey:
		b = append(b, `,"grade":[{"a":1}],"grade":null`...)
	case mktTwice:
		b = append(b, `,"userId":`...)
		b = w.id(b, r.id)
	default:
		b = append(b, `,"nickname":"老师","email":"","gender":1`...)
	}
	b = append(b, `,"lastSequence":`...)
	b = w.id(b, r.seq)
	if r.spelling == mktNoRoles {
		return append(b, '}')
	}
	b = append(b, `,"roleList":`...)
	if r.spelling != mktNumber && (r.cleared || r.roles>>1 == 0 && r.id%2 == 0 && r.spelling != mktOddRole) {
		return append(b, `null}`...)
	}
	b = append(b, '[')
	if r.spelling == mktOddRole {
		b = append(b, `null,{"orgId":null,"roleCode":"janitor"},`...)
	}
	if r.spelling == mktNumber {
		b = append(b, `{"orgId":7,"roleCode":12},`...)
	}
	for th := 1; th < mktThings; th++ {
		if r.roles&(1<<th) != 0 {
			b = append(append(append(b, `{"orgId":7,"roleCode":"`...), mktCodes[th]...), `"},`...)
		}
	}
	if b[len(b)-1] == ',' {
		b = b[:len(b)-1]
	}
	return append(b, `]}`...)
}
