package rolegate_test

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/refresh"
)

// This file is the model of TestProperties: a list, and what the rules of pulls say
// that a gate may know of it, in plain maps.

// A propSource is the list of users. It answers the pulls that a step of the
// story expects, and no other: those that the gate makes by itself find it away,
// and so change nothing.
type propSource struct {
	style propStyle

	mu       sync.Mutex
	rows     []rolegate.Record // by sequence
	sequence int64             // the highest given out
	expected []propPull
}

// A propStyle is what a source sends to an incremental pull.
type propStyle string

const (
	propAfter     propStyle = "only what comes after the cursor"
	propInclusive propStyle = "what has the cursor's sequence too"
	propTelltale  propStyle = "its last record, if the cursor is above all it has"
)

// A propPull is what one pull meets.
type propPull struct {
	breaksAfter int    // records; -1: it does not
	then        func() // is called at its end
}

var errPropBroken = errors.New("the connection broke")

// CacheKey says which list it is.
func (s *propSource) CacheKey() string { return "properties" }

// Pull implements rolegate.Source.
func (s *propSource) Pull(_ context.Context, after int64, yield func(rolegate.Record)) error {
	s.mu.Lock()
	if len(s.expected) == 0 {
		s.mu.Unlock()
		return errAway
	}
	this := s.expected[0]
	s.expected = s.expected[1:]
	rows := s.sends(after)
	s.mu.Unlock()
	if this.breaksAfter >= 0 {
		rows = rows[:min(this.breaksAfter, len(rows))]
	}
	for _, r := range rows {
		yield(r)
	}
	if this.breaksAfter >= 0 {
		return errPropBroken
	}
	if this.then != nil {
		this.then()
	}
	return nil
}

// sends is what a pull gets.
func (s *propSource) sends(after int64) (rows []rolegate.Record) {
	for _, r := range s.rows {
		if r.Sequence > after || s.style == propInclusive && r.Sequence == after {
			rows = append(rows, r)
		}
	}
	if last := len(s.rows) - 1; s.style == propTelltale && last >= 0 && s.sequence < after {
		rows = append(rows, s.rows[last])
	}
	return rows
}

// expect sets what the next pulls meet, and returns what it was before.
func (s *propSource) expect(pulls ...propPull) (before []propPull) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, s.expected = s.expected, pulls
	return before
}

// put gives a record the next sequence and replaces what the list had of its
// user.
func (s *propSource) put(r rolegate.Record) {
	s.remove(r.UserID)
	s.add(r, 1)
}

// add adds a record, of which there may be others of the same user, so much
// above the highest sequence.
func (s *propSource) add(r rolegate.Record, above int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sequence += above
	r.Sequence = s.sequence
	s.rows = append(slices.Clip(s.rows), r)
}

func (s *propSource) remove(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows = slices.DeleteFunc(slices.Clone(s.rows), func(r rolegate.Record) bool { return r.UserID == id && id > 0 })
}

// edit changes the record of a user in place: its sequence stays as it is.
func (s *propSource) edit(id int64, change func(*rolegate.Record)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows = slices.Clone(s.rows)
	for i := range s.rows {
		if s.rows[i].UserID == id {
			change(&s.rows[i])
		}
	}
}

// A propUser is what is known of one user.
type propUser struct {
	account string
	grants  []rolegate.Grant // those that count, sorted, each once
}

// A propGate is what a gate may know: it changes only with a pull that
// succeeds, and with a restart.
type propGate struct {
	listed   bool                // whether there is a list
	users    map[int64]propUser  // who may enter, the held ones included
	barred   map[int64]bool      // who may not because of a bad record
	held     map[int64]time.Time // who is gone from the list, since a walk of when
	cursor   int64
	asks     *refresh.Cursor // from where increments go on; it has tests of its own
	contact  time.Time
	verified time.Time // the last walk whose removals are all applied
	walked   time.Time // the last walk

	// What is stored is at least as new as this.
	stored        bool
	storedCursor  int64
	storedContact time.Time
}

// propSaid is what one pull says of a user.
type propSaid struct {
	user     propUser
	sequence int64
	bad      bool
}

// propRead reads the records of one pull. after is where an incremental one asks
// from, and repeats says which good records tell it nothing new. ok is false if
// the records make the pull fail.
func propRead(records []rolegate.Record, after int64, repeats func(rolegate.Record) bool) (said map[int64]propSaid, sequences map[int64]int64, ok bool) {
	said, sequences = map[int64]propSaid{}, map[int64]int64{}
	for _, r := range records {
		if r.Sequence < after {
			return nil, nil, false // the source was set back
		}
		if r.Bad == nil && repeats(r) {
			continue
		}
		if r.UserID > 0 {
			sequences[r.UserID] = max(sequences[r.UserID], r.Sequence)
		}
		before, again := said[r.UserID]
		switch {
		case r.Bad != nil:
			if r.UserID > 0 { // it denies its own user, whatever else is said of them
				said[r.UserID] = propSaid{bad: true}
			}
		case again && (before.bad || before.sequence > r.Sequence):
			// The higher sequence counts; of equal ones the later.
		default:
			said[r.UserID] = propSaid{user: propUser{r.Account, propGrants(r.Grants)}, sequence: r.Sequence}
		}
	}
	return said, sequences, true
}

// repeats reports whether a record of an incremental pull says nothing new: what
// is older than what was read lately of the user; what was read lately of one who
// is gone from the list since; and what was read of one who is barred.
func (g *propGate) repeats(r rolegate.Record) bool {
	seen, ok := g.asks.Seen(r.UserID)
	_, listed := g.users[r.UserID]
	_, held := g.held[r.UserID]
	switch {
	case ok && r.Sequence < seen:
		return true
	case g.barred[r.UserID]:
		return ok && r.Sequence == seen || r.Sequence <= g.cursor
	default:
		return ok && r.Sequence == seen && (!listed || held)
	}
}

// propGrants has one zero grant for all that name no organisation.
func propGrants(all []rolegate.Grant) (grants []rolegate.Grant) {
	for _, g := range all {
		if g.OrgID <= 0 {
			g = rolegate.Grant{}
		}
		grants = append(grants, g)
	}
	slices.SortFunc(grants, func(a, b rolegate.Grant) int {
		return cmp.Or(cmp.Compare(a.OrgID, b.OrgID), cmp.Compare(a.RoleCode, b.RoleCode))
	})
	return slices.Compact(grants)
}

// apply takes over what a pull said. Of whom it says something, no removal is
// held any more.
func (g *propGate) apply(said map[int64]propSaid) {
	for id, s := range said {
		delete(g.held, id)
		if s.bad {
			delete(g.users, id)
			g.barred[id] = true
		} else {
			g.users[id] = s.user
			delete(g.barred, id)
		}
	}
}

// clone copies it, maps included.
func (g *propGate) clone() propGate {
	c := *g
	c.users, c.barred, c.held = maps.Clone(g.users), maps.Clone(g.barred), maps.Clone(g.held)
	return c
}

// A propOutcome is how a pull ends.
type propOutcome string

const (
	propDone   propOutcome = "done"
	propHeld   propOutcome = "held" // a walk counts, but for removals
	propFailed propOutcome = "failed"
)

// refresh is an incremental pull: it adds and changes, and removes nobody but by
// a bad record.
func (g *propGate) refresh(after int64, news []rolegate.Record, broken bool, now time.Time) propOutcome {
	said, sequences, ok := propRead(news, after, g.repeats)
	if broken || !ok {
		return propFailed
	}
	before := g.clone()
	g.apply(said)
	g.asks.Page(clock.Read(), sequences)
	g.asks.Done(clock.Read())
	g.cursor, g.contact = g.asks.Highest(), now
	if !reflect.DeepEqual(before.users, g.users) || !reflect.DeepEqual(before.barred, g.barred) || !reflect.DeepEqual(before.held, g.held) {
		g.store()
	}
	return propDone
}

// A propWalk is what a walk meets.
type propWalk struct {
	started time.Time
	at      clock.Instant
	list    []rolegate.Record
	tail    *refresh.Tail
	broken  bool
	accept  bool
}

// walk reads the whole list into nothing, and decides about who is gone.
func (g *propGate) walk(w propWalk) propOutcome {
	said, _, _ := propRead(w.list, 0, func(rolegate.Record) bool { return false })
	if w.broken {
		return propFailed
	}
	for _, r := range w.list {
		if r.UserID > 0 {
			w.tail.Add(r.UserID, r.Sequence)
		}
	}
	next := propGate{
		listed: true, users: map[int64]propUser{}, barred: map[int64]bool{}, held: map[int64]time.Time{},
		asks: g.asks, contact: w.started, verified: w.started, walked: w.started,
	}
	next.apply(said)
	if err := g.asks.Older(w.at, w.tail, func() bool { return g.lessThanTen(&next) }); err != nil {
		return propFailed
	}
	if g.listed {
		if g.contact.After(next.contact) {
			next.contact = g.contact
		}
		g.asks.Missed(w.tail, func(id int64) bool {
			now, is := next.users[id]
			before, was := g.users[id]
			return is && !(was && reflect.DeepEqual(now, before))
		})
	}
	next.cursor = g.asks.Full(w.at, clock.Read(), w.tail)
	if g.listed && !w.accept {
		for id, since := range g.brake(&next, w.started) {
			next.users[id], next.held[id] = g.users[id], since
		}
	}
	if len(next.held) > 0 {
		next.verified = g.verified
	}
	*g = next
	g.store()
	if len(g.held) > 0 {
		return propHeld
	}
	return propDone
}

// lessThanTen reports whether nothing but that some users are gone lies between
// two lists.
func (g *propGate) lessThanTen(next *propGate) bool {
	if !g.listed {
		return true
	}
	gone := 0
	for id, u := range g.users {
		now, there := next.users[id]
		if there && !reflect.DeepEqual(now, u) {
			return false
		}
		if !there {
			gone++
		}
	}
	return gone <= 10 && len(next.users) == len(g.users)-gone
}

// brake returns who is gone and must wait for a second walk, a minute later, and
// when a walk missed him first.
func (g *propGate) brake(next *propGate, started time.Time) map[int64]time.Time {
	wait := map[int64]time.Time{}
	out := 0 // for certain
	for id := range g.users {
		_, there := next.users[id]
		first, again := g.held[id]
		switch {
		case there:
		case next.barred[id]: // is never held
			out++
		case again && started.Sub(first) >= 54*time.Second: // a minute, less 10 %
			out++
		case again:
			wait[id] = first
		default:
			wait[id] = started
		}
	}
	everybody := len(wait) >= len(g.users)-out
	tooMany := len(wait) >= 10 && 100*len(wait) > 30*len(g.users)
	if !everybody && !tooMany {
		return nil
	}
	return wait
}

// propCursor is the cursor of a gate that has just been opened.
func propCursor() *refresh.Cursor { return refresh.NewCursor(2*time.Minute, time.Minute) }

// store notes that what is known now will be stored.
func (g *propGate) store() { g.stored, g.storedCursor, g.storedContact = true, g.cursor, g.contact }

// restart is a new gate that finds the stored index, or not.
func (g *propGate) restart(usable bool, now time.Time) {
	g.stored = g.stored && usable
	if !g.stored || now.Sub(g.verified) > propExpireAfter {
		*g = propGate{stored: g.stored, verified: g.verified}
	}
	g.asks = propCursor()
}

const (
	propEvery       = 20 * time.Minute
	propExpireAfter = time.Hour
	propMaxAge      = 10 * time.Minute // of the policy that has one
)

// find finds a user by his number.
func (g *propGate) find(id int64) (int64, rolegate.Reason) {
	if _, ok := g.users[id]; ok {
		return id, rolegate.ReasonGranted
	}
	return 0, rolegate.ReasonNotAuthorized
}

// findAccount finds a user by his account. Several share it: nobody enters by
// it, but one who is held takes it from nobody who is listed.
func (g *propGate) findAccount(account string) (int64, rolegate.Reason) {
	var listed, held []int64
	for id, u := range g.users {
		_, isHeld := g.held[id]
		switch {
		case u.account != account:
		case isHeld:
			held = append(held, id)
		default:
			listed = append(listed, id)
		}
	}
	switch {
	case account == "":
		return 0, rolegate.ReasonNoIdentity
	case len(listed) == 1:
		return listed[0], rolegate.ReasonGranted
	case len(listed) == 0 && len(held) == 1:
		return held[0], rolegate.ReasonGranted
	case len(listed)+len(held) == 0:
		return 0, rolegate.ReasonNotAuthorized
	}
	return 0, rolegate.ReasonAmbiguous
}

// ambiguous counts the accounts that several users share.
func (g *propGate) ambiguous() (n int) {
	users := map[string]int{}
	for _, u := range g.users {
		users[u.account]++
	}
	for account, of := range users {
		if account != "" && of > 1 {
			n++
		}
	}
	return n
}

// grants counts the grants of all users.
func (g *propGate) grants() (n int) {
	for _, u := range g.users {
		n += len(u.grants)
		if len(u.grants) > 0 && u.grants[0] == (rolegate.Grant{}) {
			n-- // it was dropped
		}
	}
	return n
}

// serves says why nobody may enter, or rolegate.ReasonGranted.
func (g *propGate) serves(now time.Time) rolegate.Reason {
	switch {
	case !g.listed:
		return rolegate.ReasonNotReady
	case now.Sub(g.verified) > propExpireAfter:
		return rolegate.ReasonExpired
	}
	return rolegate.ReasonGranted
}

// knownFor is up to when revocations are known that could concern a user.
func (g *propGate) knownFor(id int64) time.Time {
	if _, held := g.held[id]; held {
		return g.verified
	}
	return g.walked
}
