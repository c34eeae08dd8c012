package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rolegate/rolegate"
)

// This file is what the marketplace has said of each user, and when. All times
// are nanoseconds of the wall clock, which is the one that the gate tells its
// ages by and which both processes share.

// A roleSet is some of the roles that the example knows.
type roleSet uint8

const (
	teacher roleSet = 1 << iota
	homeroom
	principal
	admin
	pupil
)

var roleCodes = []string{"teacher", "homeroom", "principal", "admin", "pupil"}

func (s roleSet) codes() (codes []string) {
	for i, code := range roleCodes {
		if s&(1<<i) != 0 {
			codes = append(codes, code)
		}
	}
	return codes
}

// orgRoles are a user's roles in one organisation, never none.
type orgRoles struct {
	org   int64
	roles roleSet
}

// A state is what the list has of one user. It is never changed. The zero state
// is that of somebody who is not listed.
type state struct {
	listed bool
	bad    bool       // a bad record denies the user, in each pull that sees it
	unsure bool       // likewise, if the record is seen, which is another's
	orgs   []orgRoles // by organisation ascending
}

// in returns the roles that the user has in an organisation.
func (s state) in(org int64) roleSet {
	for _, o := range s.orgs {
		if o.org == org {
			return o.roles
		}
	}
	return 0
}

// anywhere returns the roles that they have in any organisation.
func (s state) anywhere() (all roleSet) {
	for _, o := range s.orgs {
		all |= o.roles
	}
	return all
}

// with returns the state of a listed user with these roles in an organisation.
func (s state) with(org int64, roles roleSet) state {
	next := state{listed: true}
	for _, o := range s.orgs {
		if o.org != org {
			next.orgs = append(next.orgs, o)
		}
	}
	if roles != 0 {
		next.orgs = append(next.orgs, orgRoles{org, roles})
	}
	slices.SortFunc(next.orgs, func(a, b orgRoles) int { return int(a.org - b.org) })
	return next
}

func (s state) grants() (grants []rolegate.Grant) {
	for _, o := range s.orgs {
		for _, code := range o.roles.codes() {
			grants = append(grants, rolegate.Grant{OrgID: o.org, RoleCode: code})
		}
	}
	return grants
}

func (s state) equal(t state) bool {
	return s.listed == t.listed && s.bad == t.bad && s.unsure == t.unsure && slices.Equal(s.orgs, t.orgs)
}

func (s state) String() string {
	switch {
	case s.bad:
		return "a bad record"
	case s.unsure:
		return "in a bad record of another"
	case !s.listed:
		return "not listed"
	case len(s.orgs) == 0:
		return "listed without roles"
	}
	var all []string
	for _, o := range s.orgs {
		all = append(all, fmt.Sprintf("%s in %d", strings.Join(o.roles.codes(), "+"), o.org))
	}
	return strings.Join(all, ", ")
}

// A version is a state that the list had of a user from some moment on: one
// between from, when the change was begun, and sure, when it was done.
type version struct {
	state
	from, sure int64
}

// notYet is when a change is done that is under way.
const notYet = math.MaxInt64

// A user is one user and all that the marketplace has said of them.
type user struct {
	id int64

	mu       sync.Mutex
	versions []version // by from; the first holds since always
	unlisted int64     // when the user was taken off the list first, 0 if never
}

func newUser(id int64, first state) *user {
	return &user{id: id, versions: []version{{state: first, from: math.MinInt64, sure: math.MinInt64}}}
}

// begin notes that the marketplace is about to say s. It must be called before
// anybody can see it, and the func that it returns as soon as everybody does.
// Only one goroutine may change users.
func (u *user) begin(s state, keepSince int64) (done func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	old := 0
	for old+1 < len(u.versions) && u.versions[old+1].sure < keepSince {
		old++ // it was over before what anybody still asks about
	}
	u.versions = append(u.versions[:0:0], u.versions[old:]...)
	u.versions = append(u.versions, version{state: s, from: now(), sure: notYet})
	if !s.listed && u.unlisted == 0 {
		u.unlisted = now()
	}
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.versions[len(u.versions)-1].sure = now()
	}
}

// unlistedBefore reports whether the user was taken off the list before that.
func (u *user) unlistedBefore(at int64) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.unlisted != 0 && u.unlisted < at
}

// last returns what was said last, perhaps by a change that is under way.
func (u *user) last() state {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.versions[len(u.versions)-1].state
}

// ever reports whether f holds for a state that the list may have had of the
// user at some time between from and to.
func (u *user) ever(from, to int64, f func(state) bool) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	until := int64(math.MaxInt64)
	for i := len(u.versions) - 1; i >= 0 && until >= from; i-- {
		v := &u.versions[i]
		if v.from <= to && f(v.state) {
			return true
		}
		until = v.sure
	}
	return false
}

// always reports whether f holds for every state that the list may have had of
// the user between from and to.
func (u *user) always(from, to int64, f func(state) bool) bool {
	return !u.ever(from, to, func(s state) bool { return !f(s) })
}

// tell returns what was said of the user from then on, for a report.
func (u *user) tell(since int64) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	var b strings.Builder
	for i, v := range u.versions {
		if i+1 < len(u.versions) && u.versions[i+1].sure < since {
			continue
		}
		when := "since always"
		if v.from != math.MinInt64 {
			when = "from " + clock(v.from) + " to be seen by " + clock(v.sure)
		}
		fmt.Fprintf(&b, "    %s: %s\n", when, v.state)
	}
	return b.String()
}

// A truth is what the marketplace has said in all.
type truth struct {
	mu       sync.Mutex
	lies     []span
	restored int64 // when a backup was restored last, 0 if never
}

// againWithin is how long a user who was found gone and is in a restored backup may
// be refused: until the second full refresh that lists them, a minute after the
// first, where those before failed.
const againWithin = 2 * time.Minute

// restore notes that a backup is restored.
func (t *truth) restore() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.restored = now()
}

// again reports whether a user who was taken off the list may have come back by a
// backup that was restored not long before.
func (t *truth) again(who *user, at int64) bool {
	t.mu.Lock()
	restored := t.restored
	t.mu.Unlock()
	return restored != 0 && at-restored < int64(againWithin) && who.unlistedBefore(restored)
}

// A span is a time in which the marketplace's answers were no whole list, though
// they looked like one, or in which it was set back to an earlier state. What a
// gate has read then, it may believe until it has refreshed the list again.
type span struct{ from, to int64 }

// lie begins such a time, and ends it when the func that it returns is called.
func (t *truth) lie(keepSince int64) (done func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lies = slices.DeleteFunc(t.lies, func(s span) bool { return s.to < keepSince })
	begun := now()
	t.lies = append(t.lies, span{begun, notYet})
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		for i := range t.lies {
			if t.lies[i].from == begun && t.lies[i].to == notYet {
				t.lies[i].to = now()
				return
			}
		}
	}
}

// lied reports whether any lie was told between from and to.
func (t *truth) lied(from, to int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.ContainsFunc(t.lies, func(s span) bool { return s.from <= to && s.to >= from })
}

func now() int64 { return time.Now().UnixNano() }

// clock writes a time as the example's log does.
func clock(at int64) string {
	if at == notYet {
		return "…"
	}
	return time.Unix(0, at).UTC().Format("15:04:05.000000")
}
