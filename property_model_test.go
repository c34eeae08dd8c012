package rolegate_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
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

// A propSource is the list of users. It answers the refreshes that a step of the
// story expects, and no other: those that the gate makes by itself find it away,
// and so change nothing.
type propSource struct {
	style propStyle

	mu       sync.Mutex
	rows     []rolegate.Record // by sequence
	sequence int64             // the highest given out
	expected []propPull
}

// A propStyle is what a source sends to an incremental refresh.
type propStyle string

const (
	propAfter     propStyle = "only what comes after the cursor"
	propInclusive propStyle = "what has the cursor's sequence too"
	propTelltale  propStyle = "its last record, if the cursor is above all it has"
)

// A propPull is what one refresh meets.
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

// sends is what a refresh gets.
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

// A propGate is what a gate may know: it changes only with a refresh that
// succeeds, and with a restart.
type propGate struct {
	listed    bool                       // whether there is a list
	users     map[int64]propUser         // who may enter, the held ones included
	invalid   map[int64]bool             // who may not because of a bad record
	held      map[int64]propHold         // who is gone from the list
	looks     []time.Time                // full refreshes that are evidence of what is held, the last three
	roles     map[int64][]rolegate.Grant // of those who are listed, which are gone and count still
	rolesAt   map[int64]propLost         // of each of them
	lately    propLately
	cursor    int64
	asks      *refresh.Cursor // from where increments go on; it has tests of its own
	contact   time.Time
	verified  time.Time // the last full refresh whose removals are all applied
	refreshed time.Time // the last full refresh

	// What is stored is at least as new as this.
	stored        bool
	storedCursor  int64
	storedContact time.Time
}

// A propHold is a user who is gone from the list: since a full refresh of when, and the last
// one that listed them.
type propHold struct{ since, listed time.Time }

// A propLost is a user who has lost roles that count still: when the last of them went, and until
// when the rest is known.
type propLost struct{ since, known time.Time }

// A propLately is what was taken away within half an hour, and when: who is gone, who has
// lost all their roles, and who has lost which role altogether. What was held does not
// count.
type propLately struct {
	users, bare map[int64]time.Time
	roles       map[propRole]time.Time
	sizes       []propSize // of the list, when something was taken away
}

type propSize struct {
	at    time.Time
	users int
}

type propRole struct {
	id   int64
	code string
}

// recent copies what counts still.
func (l propLately) recent(now time.Time) propLately {
	r := propLately{maps.Clone(l.users), maps.Clone(l.bare), maps.Clone(l.roles), slices.Clone(l.sizes)}
	if r.users == nil {
		r = propLately{map[int64]time.Time{}, map[int64]time.Time{}, map[propRole]time.Time{}, nil}
	}
	r.sizes = slices.DeleteFunc(r.sizes, func(s propSize) bool { return now.Sub(s.at) >= 30*time.Minute })
	maps.DeleteFunc(r.users, func(_ int64, at time.Time) bool { return now.Sub(at) >= 30*time.Minute })
	maps.DeleteFunc(r.bare, func(_ int64, at time.Time) bool { return now.Sub(at) >= 30*time.Minute })
	maps.DeleteFunc(r.roles, func(_ propRole, at time.Time) bool { return now.Sub(at) >= 30*time.Minute })
	return r
}

// any reports whether anything was taken away at that moment.
func (l propLately) any(now time.Time) bool {
	at := slices.Concat(slices.Collect(maps.Values(l.users)), slices.Collect(maps.Values(l.bare)), slices.Collect(maps.Values(l.roles)))
	return slices.ContainsFunc(at, now.Equal)
}

// propSaid is what one refresh says of a user.
type propSaid struct {
	user     propUser
	sequence int64
	bad      bool
}

// propRead reads the records of one pull. after is where an incremental one asks
// from, and repeats says which good records tell it nothing new. ok is false if
// the records make the refresh fail.
func propRead(records []rolegate.Record, after int64, repeats func(r rolegate.Record, after int64) bool) (said map[int64]propSaid, sequences map[int64]int64, ok bool) {
	said, sequences = map[int64]propSaid{}, map[int64]int64{}
	for _, r := range records {
		if r.Sequence < after {
			return nil, nil, false // the source was set back
		}
		if r.Bad == nil && repeats(r, after) {
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

// repeats reports whether a record of an incremental refresh says nothing new: what
// is older than what was read lately of the user; what was known before one was
// found gone from the list; and what was read of one with an invalid record.
func (g *propGate) repeats(r rolegate.Record, after int64) bool {
	seen, ok := g.asks.Seen(r.UserID)
	_, listed := g.users[r.UserID]
	_, held := g.held[r.UserID]
	switch {
	case ok && r.Sequence < seen:
		return true
	case g.invalid[r.UserID]:
		return ok && r.Sequence == seen || r.Sequence <= after
	default:
		outdated := g.asks.Outdated(r.UserID, r.Sequence)
		return ok && r.Sequence == seen && (!listed || held) || !listed && outdated
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

// apply takes over what a refresh said. The removal of a user that it names is
// held no more.
func (g *propGate) apply(said map[int64]propSaid) {
	for id, s := range said {
		delete(g.held, id)
		if s.bad {
			delete(g.users, id)
			g.invalid[id] = true
		} else {
			g.users[id] = s.user
			delete(g.invalid, id)
		}
	}
}

// clone copies it, maps included.
func (g *propGate) clone() propGate {
	c := *g
	c.users, c.invalid, c.held, c.roles = maps.Clone(g.users), maps.Clone(g.invalid), maps.Clone(g.held), maps.Clone(g.roles)
	return c
}

// A propOutcome is how a refresh ends.
type propOutcome string

const (
	propDone   propOutcome = "done"
	propHeld   propOutcome = "held" // a full refresh counts, but for removals
	propFailed propOutcome = "failed"
)

// refresh is an incremental refresh: it adds and changes, and removes nobody but by
// a bad record.
func (g *propGate) refresh(after int64, news []rolegate.Record, broken bool, now time.Time) propOutcome {
	said, sequences, ok := propRead(news, after, g.repeats)
	if !ok {
		g.asks.Regressed(clock.Read())
	}
	if broken || !ok {
		return propFailed
	}
	before := g.clone()
	g.apply(said)
	complete := g.asks.Highest() <= after // else it shows the highest that is known, or knows nothing
	for _, r := range news {
		complete = complete || r.Sequence >= g.asks.Highest() && g.asks.Moves(r.Sequence)
	}
	g.asks.Page(clock.Read(), sequences, true)
	if complete {
		g.asks.Done(clock.Read(), after)
		g.contact = now
	} else {
		g.asks.Regressed(clock.Read())
	}
	g.guardRoles(&before, said, now, func(int64) bool { return false })
	if !g.holds() {
		g.looks = nil
	}
	g.cursor = g.asks.Highest()
	if !reflect.DeepEqual(before.users, g.users) || !reflect.DeepEqual(before.invalid, g.invalid) || !reflect.DeepEqual(before.held, g.held) {
		g.store()
	}
	return propDone
}

// A propFull is what a full refresh meets.
type propFull struct {
	started time.Time
	at      clock.Instant
	list    []rolegate.Record
	tail    *refresh.Tail
	broken  bool
	accept  string // what an operator has seen: see propGate.shown
}

// full reads the whole list into nothing, and decides about who is gone.
func (g *propGate) full(w propFull) propOutcome {
	if w.broken {
		return propFailed
	}
	said, _, _ := propRead(w.list, 0, func(r rolegate.Record, _ int64) bool {
		return !w.tail.Add(r.UserID, r.Sequence)
	})
	for _, r := range w.list {
		if r.Bad != nil && r.UserID > 0 {
			w.tail.Add(r.UserID, r.Sequence)
		} else if r.UserID <= 0 && r.Sequence > 0 {
			w.tail.Shown(r.Sequence)
		}
	}
	next := propGate{
		listed: true, users: map[int64]propUser{}, invalid: map[int64]bool{}, held: map[int64]propHold{},
		asks: g.asks, contact: w.started, verified: w.started, refreshed: w.started,
	}
	next.apply(said)
	if err := g.asks.Older(w.at, w.tail, true, func() bool { return g.onlyGone(&next) }); err != nil {
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
	if g.listed {
		accepted := w.accept != "" && w.accept == g.shown()
		next.looks = slices.Clone(g.looks)
		if n := len(next.looks); n == 0 || w.started.Sub(next.looks[n-1]) >= 54*time.Second { // a minute, less 10 %
			next.looks = append(next.looks, w.started)
			next.looks = next.looks[max(0, len(next.looks)-3):]
		}
		next.lately = g.lately.recent(w.started)
		held := g.guard(&next, w.started, accepted)
		next.guardRoles(g, nil, w.started, func(id int64) bool { return accepted || next.believes(g.rolesAt[id].since, w.started) })
		for id, hold := range held {
			next.users[id], next.held[id] = g.users[id], hold
		}
	}
	next.cursor = g.asks.Full(w.at, clock.Read(), w.tail, g.gone(&next))
	if next.holds() {
		next.verified = g.verified
		if known := next.rolesAll().known; len(next.held) == 0 && known.After(next.verified) {
			next.verified = known
		}
	} else {
		next.looks = nil
	}
	*g = next
	g.store()
	if g.holds() {
		return propHeld
	}
	return propDone
}

// gone returns those who were known, if only by a bad record, and are not listed.
func (g *propGate) gone(next *propGate) (ids []int64) {
	known := maps.Clone(g.invalid)
	for id := range g.users {
		if known == nil {
			known = map[int64]bool{}
		}
		known[id] = true
	}
	for id := range known {
		if _, listed := next.users[id]; !listed && !next.invalid[id] {
			ids = append(ids, id)
		}
	}
	return ids
}

// onlyGone reports whether nothing but that some users are gone lies between
// two lists.
func (g *propGate) onlyGone(next *propGate) bool {
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
	few := gone <= 10 || propTooMany(gone, len(next.users), len(g.users))
	return few && len(next.users) == len(g.users)-gone
}

func (g *propGate) holds() bool { return len(g.held)+len(g.roles) > 0 }

// shown is what is held, as an operator sees it; "" for nothing.
func (g *propGate) shown() string {
	if !g.holds() {
		return ""
	}
	return fmt.Sprint(slices.Sorted(maps.Keys(g.held)), g.roles) // fmt sorts a map
}

// believes reports whether what was first seen then has been seen for long enough,
// and often enough.
func (g *propGate) believes(since, now time.Time) bool {
	seen := 0
	for _, at := range g.looks {
		if !at.Before(since) {
			seen++
		}
	}
	return seen >= 3 && now.Sub(since) >= 15*time.Minute
}

// guard returns who is gone and must wait for more full refreshes to agree.
func (g *propGate) guard(next *propGate, started time.Time, accepted bool) map[int64]propHold {
	wait := map[int64]propHold{}
	out := 0 // for certain
	for id := range g.users {
		_, there := next.users[id]
		hold, again := g.held[id]
		switch {
		case there:
		case next.invalid[id]: // is never held
			out++
		case again && (accepted || next.believes(hold.since, started)):
			out++
		case again:
			wait[id] = hold
		default:
			wait[id] = propHold{since: started, listed: g.refreshed}
		}
	}
	lately := 0
	for id := range next.lately.users {
		_, goes := wait[id]
		if _, listed := next.users[id]; !goes && !listed {
			lately++
		}
	}
	if propTooMany(len(wait), len(g.users)-out, len(g.users)) {
		return wait
	}
	if sizes := next.lately.sizes; len(sizes) > 0 && len(wait) > 0 && propTooMany(min(len(wait)+lately, sizes[0].users-len(next.users)), math.MaxInt, len(g.users)+lately) {
		return wait
	}
	for id := range wait {
		next.lately.users[id] = started
	}
	return nil
}

// propCursor is the cursor of a gate that has just been opened.
func propCursor() *refresh.Cursor { return refresh.NewCursor(2*time.Minute, time.Minute) }

// propTooMany is what the shrink guard does not let go at once.
func propTooMany(gone, left, of int) bool {
	return gone > 0 && (gone >= left || gone >= 10 && 100*gone > 30*of)
}

// propReal are the grants that were not dropped.
func propReal(grants []rolegate.Grant) []rolegate.Grant {
	return slices.DeleteFunc(slices.Clone(grants), func(g rolegate.Grant) bool { return g == (rolegate.Grant{}) })
}

// guardRoles gives users back what they have lost in a refresh that may be broken. said
// is what an incremental refresh has said, nil for a full refresh; believed is whether enough
// full refreshes have seen what was held of a user before.
func (g *propGate) guardRoles(before *propGate, said map[int64]propSaid, now time.Time, believed func(id int64) bool) {
	lost, again := map[int64][]rolegate.Grant{}, map[int64][]rolegate.Grant{}
	had := 0
	for id, u := range before.users {
		v, is := g.users[id]
		if !is {
			continue
		}
		if len(propReal(u.grants)) > 0 {
			had++
		}
		if _, spoken := said[id]; said != nil && !spoken {
			continue
		}
		for _, grant := range propReal(u.grants) {
			switch {
			case slices.Contains(v.grants, grant):
			case said != nil && slices.Contains(before.roles[id], grant):
				again[id] = append(again[id], grant)
			default:
				lost[id] = append(lost[id], grant)
			}
		}
	}
	if said != nil {
		g.lately = before.lately
		if len(lost) > 0 {
			g.lately = before.lately.recent(now)
		}
	}
	everything, losers := 0, map[string]map[int64]bool{}
	for id, grants := range lost {
		left := propReal(g.users[id].grants)
		if len(left) == 0 {
			everything++
		}
		codes := map[string]bool{}
		for _, grant := range grants {
			codes[grant.RoleCode] = true
		}
		for code := range codes {
			if !slices.ContainsFunc(left, func(other rolegate.Grant) bool { return other.RoleCode == code }) {
				if losers[code] == nil {
					losers[code] = map[int64]bool{}
				}
				losers[code][id] = true
			}
		}
	}
	bare := 0
	for id := range g.lately.bare {
		_, loses := lost[id]
		if u, listed := g.users[id]; listed && !loses && len(propReal(u.grants)) == 0 {
			bare++
		}
	}
	mass := everything >= 2 && propTooMany(everything, had, had)
	if everything > 0 && (everything >= 2 || everything+bare >= 10) {
		mass = mass || propTooMany(everything+bare, math.MaxInt, had+bare)
	}
	gone := map[string]bool{}
	for code, users := range losers {
		n := len(users)
		for role := range g.lately.roles {
			if _, loses := lost[role.id]; role.code == code && !loses {
				n++
			}
		}
		gone[code] = n >= 10
	}
	somebody := map[string]bool{}
	for _, u := range g.users {
		for _, grant := range u.grants {
			somebody[grant.RoleCode] = true
		}
	}
	roles, news, still := map[int64][]rolegate.Grant{}, map[int64]bool{}, map[int64]bool{}
	for id, grants := range lost {
		all, guarded := len(propReal(g.users[id].grants)) == 0, false
		for _, grant := range grants {
			was := slices.Contains(before.roles[id], grant)
			switch {
			case !(mass && all || gone[grant.RoleCode] && !somebody[grant.RoleCode]):
				if losers[grant.RoleCode][id] {
					g.lately.roles[propRole{id, grant.RoleCode}] = now
				}
				continue
			case !(was && believed(id)):
				roles[id] = append(roles[id], grant)
				news[id], still[id] = news[id] || !was, still[id] || was
			}
			guarded = true
		}
		if all && !guarded {
			g.lately.bare[id] = now
		}
	}
	if g.lately.any(now) {
		g.lately.sizes = append(g.lately.sizes, propSize{now, len(before.users)})
	}
	for id, grants := range again {
		roles[id], still[id] = append(roles[id], grants...), true
	}
	for id, grants := range before.roles {
		if _, spoken := said[id]; said != nil && !spoken {
			roles[id], still[id] = grants, true
		}
	}
	g.roles, g.rolesAt = nil, nil
	if len(roles) == 0 {
		return
	}
	g.roles, g.rolesAt = map[int64][]rolegate.Grant{}, map[int64]propLost{}
	for id, grants := range roles {
		u, at := g.users[id], propLost{now, before.refreshed}
		if still[id] {
			at.known = before.rolesAt[id].known
			if !news[id] {
				at.since = before.rolesAt[id].since
			}
		}
		u.grants = propGrants(slices.Concat(u.grants, grants))
		g.users[id], g.roles[id], g.rolesAt[id] = u, propGrants(grants), at
	}
}

// rolesAll are the two times of all users who have lost roles that count still.
func (g *propGate) rolesAll() (all propLost) {
	for _, at := range g.rolesAt {
		if all.known.IsZero() || at.known.Before(all.known) {
			all.known = at.known
		}
		if at.since.After(all.since) {
			all.since = at.since
		}
	}
	return all
}

// store notes that what is known now will be stored.
func (g *propGate) store() { g.stored, g.storedCursor, g.storedContact = true, g.cursor, g.contact }

// restart is a new gate that finds the stored index, or not.
func (g *propGate) restart(usable bool, now time.Time) {
	g.stored = g.stored && usable
	if !g.stored || now.Sub(g.refreshed) > propExpireAfter {
		*g = propGate{stored: g.stored, refreshed: g.refreshed}
	}
	all := g.rolesAll() // these are what is stored
	for id := range g.rolesAt {
		g.rolesAt[id] = all
	}
	g.asks, g.lately = propCursor(), propLately{}
}

const (
	propEvery       = 20 * time.Minute
	propExpireAfter = time.Hour
	propMaxAge      = 10 * time.Minute // of the policy that has one
)

// find finds a user by number.
func (g *propGate) find(id int64) (int64, rolegate.Reason) {
	if _, ok := g.users[id]; ok {
		return id, rolegate.ReasonGranted
	}
	return 0, rolegate.ReasonNotAuthorized
}

// findAccount finds a user by account. Several share it: nobody enters by
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
	case now.Sub(g.refreshed) > propExpireAfter:
		return rolegate.ReasonExpired
	}
	return rolegate.ReasonGranted
}

// knownFor is up to when revocations are known that could concern a user.
func (g *propGate) knownFor(id int64) time.Time {
	if hold, held := g.held[id]; held {
		return hold.listed
	}
	if len(g.roles[id]) > 0 {
		return g.rolesAt[id].known
	}
	return g.refreshed
}
