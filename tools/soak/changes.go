package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rolegate/rolegate/rolegatetest"
)

// firstID is above 2^53: a float64 would mix neighbours up. Every other id is a
// stranger's.
const firstID = 1542135022016057001

// orgs is how many organisations there are.
const orgs = 40

// recents is how many of the users who were changed last are asked about more.
const recents = 256

// A town is the users, and what happens to them.
type town struct {
	market *rolegatetest.Marketplace
	truth  *truth
	keep   func() int64

	users []*user // the first fixed of them never change
	fixed int
	boss  *user // an admin who never changes, who reads the status

	recent [recents]atomic.Pointer[user]

	rnd     *rand.Rand
	spoiled []spoiling
	backups []backup
	backed  time.Time
	changes atomic.Uint64
	undone  atomic.Uint64 // restored backups
	bads    atomic.Uint64 // bad records
}

// A spoiling is a record that is bad for some time.
type spoiling struct {
	who   *user
	also  *user // somebody whose id is in it as well, nil for nobody
	until time.Time
}

type backup struct {
	market *rolegatetest.Backup
	states []state // of those who change
}

func newTown(seed uint64, m *rolegatetest.Marketplace, t *truth, keep func() int64, users int) *town {
	w := &town{market: m, truth: t, keep: keep, fixed: users * 2 / 3, rnd: rand.New(rand.NewPCG(seed, 1))}
	for i := range users {
		s := w.draw()
		if i == 0 {
			s = s.with(1, admin)
		}
		u := newUser(firstID+2*int64(i), s)
		w.users = append(w.users, u)
		m.Put(w.record(u.id, s))
	}
	w.boss = w.users[0]
	for i := range w.recent {
		w.recent[i].Store(w.someone())
	}
	return w
}

// draw makes up what a user may be.
func (w *town) draw() state {
	s := state{listed: true}
	for range w.rnd.IntN(4) {
		s = s.with(1+w.rnd.Int64N(orgs), roleSet(1+w.rnd.IntN(1<<len(roleCodes)-1)))
	}
	return s
}

func (w *town) record(id int64, s state) rolegatetest.User {
	return rolegatetest.User{
		ID: id, Account: fmt.Sprint("account", id), Email: fmt.Sprint(id, "@example.com"), Nickname: "王芳",
		ThirdUserID: fmt.Sprint(id % 1_000_000), Grants: s.grants(),
	}
}

// someone is a user who changes.
func (w *town) someone() *user { return w.users[w.fixed+w.rnd.IntN(len(w.users)-w.fixed)] }

func (w *town) isSpoiled(u *user) bool {
	return slices.ContainsFunc(w.spoiled, func(s spoiling) bool { return s.who == u || s.also == u })
}

// say has the marketplace say s of the user, by doing do.
func (w *town) say(u *user, s state, do func()) {
	done := u.begin(s, w.keep())
	do()
	done()
	w.recent[w.changes.Add(1)%recents].Store(u)
}

// live lets things happen until ctx ends.
func (w *town) live(ctx context.Context) {
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	nextUndo := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		at := time.Now()
		for len(w.spoiled) > 0 && at.After(w.spoiled[0].until) {
			w.fix()
		}
		if at.Sub(w.backed) > 300*time.Millisecond {
			w.backUp(at)
		}
		if at.After(nextUndo) {
			nextUndo = at.Add(time.Duration(1500+w.rnd.IntN(3000)) * time.Millisecond)
			w.undo()
			continue
		}
		for range 2 {
			if u := w.someone(); !w.isSpoiled(u) {
				w.happen(u)
			}
		}
	}
}

// happen does something to a user.
func (w *town) happen(u *user) {
	s := u.last()
	org := 1 + w.rnd.Int64N(orgs)
	if len(s.orgs) > 0 && w.rnd.IntN(3) > 0 {
		org = s.orgs[w.rnd.IntN(len(s.orgs))].org
	}
	role := roleSet(1) << w.rnd.IntN(len(roleCodes))
	switch n := w.rnd.IntN(100); {
	case n < 30:
		next := w.draw()
		w.say(u, next, func() { w.market.Put(w.record(u.id, next)) })
	case n < 52:
		w.say(u, state{}, func() { w.market.Revoke(u.id) })
	case n < 70:
		w.say(u, s.with(org, s.in(org)|role), func() { w.market.Grant(u.id, org, role.codes()...) })
	case n < 87:
		if s.listed {
			w.say(u, s.with(org, s.in(org)&^role), func() { w.market.Take(u.id, org, role.codes()...) })
		}
	case n < 91:
		w.market.Touch(u.id)
	case n < 94:
		w.together()
	case n < 97 && s.listed && len(w.spoiled) < 30:
		w.spoil(u)
	case s.listed:
		w.respell(u)
	}
}

// together puts several users on the list with one sequence.
func (w *town) together() {
	var done []func()
	var records []rolegatetest.User
	for range 2 + w.rnd.IntN(15) {
		u := w.someone()
		if w.isSpoiled(u) || slices.ContainsFunc(records, func(r rolegatetest.User) bool { return r.ID == u.id }) {
			continue
		}
		s := w.draw()
		done = append(done, u.begin(s, w.keep()))
		records = append(records, w.record(u.id, s))
	}
	w.market.PutTied(records...)
	for _, f := range done {
		f()
	}
}

// respell sends the record of a user in a way that is to change nothing, for
// good. The user is touched, so that a refresh sees it.
func (w *town) respell(u *user) {
	spelling := []func(string) string{
		nil,
		func(r string) string { return r + "," + r },
		func(r string) string { return strings.Replace(r, "王芳", `\u738b\u82b3`, 1) },
		func(r string) string { return strings.Replace(r, "{", `{"vip":{"userId":1,"a":[{}]},`, 1) },
		func(r string) string { // grants that are none
			return strings.Replace(r, `"roleList":[`, `"roleList":[{"orgId":0,"roleCode":"admin"},{"orgId":-3,"roleCode":"teacher"},{"orgId":5,"roleCode":""}`+separator(r), 1)
		},
	}[w.rnd.IntN(5)]
	w.market.Respell(u.id, spelling)
	w.market.Touch(u.id)
}

// separator is a comma, if there is a grant to come after it.
func separator(record string) string {
	if strings.Contains(record, `"roleList":[]`) {
		return ""
	}
	return ","
}

// spoil makes the record of a user bad: they are shut out by every pull that sees
// it, and by every full refresh; or, with a null for roles, are without any.
func (w *town) spoil(u *user) {
	edit := func(from, to string) func(string) string {
		return func(r string) string { return strings.Replace(r, from, to, 1) }
	}
	s := spoiling{who: u, until: time.Now().Add(time.Duration(200+w.rnd.IntN(3000)) * time.Millisecond)}
	id := fmt.Sprint(u.id)
	spoiled := state{bad: true}
	var spelling func(string) string
	switch w.rnd.IntN(9) {
	case 0: // whichever of the two is meant, neither is admitted
		if also := w.someone(); also != u && !w.isSpoiled(also) {
			s.also = also
			spelling = func(r string) string { return fmt.Sprintf(`{"userId":%d,`, also.id) + strings.TrimPrefix(r, "{") }
		}
	case 1:
		spelling = edit(`"roleList":`, `"roleList":[],"roleList":`)
	case 2: // a listed user without roles
		spoiled = state{listed: true}
		spelling = edit(`"roleList":[`, `"roleList":null,"was":[`)
	case 3:
		spelling = edit(`"roleList":`, `"rolelist":`)
	case 4:
		spelling = func(r string) string { return strings.Replace(r, `"roleList":[`, `"roleList":[7`+separator(r), 1) }
	case 5: // the gate does not use accounts
		spoiled = u.last()
		spelling = edit(`"account":"`, "\"account\":\"\xff")
	case 6:
		spelling = edit(`"userId":`, `"userid":`)
	case 7: // nobody can tell whose it is
		spelling = func(r string) string { return strings.ReplaceAll(r, id, "99999999999999999999") }
	case 8:
		spelling = func(string) string { return `{"userId":` + id + `}` }
	}
	if spelling == nil {
		return
	}
	w.bads.Add(1)
	w.spoiled = append(w.spoiled, s)
	var done func()
	if s.also != nil {
		// If this record is not sent, as by a lie, nothing denies the user.
		done = s.also.begin(state{unsure: true}, w.keep())
	}
	w.say(u, spoiled, func() {
		w.market.Respell(u.id, spelling)
		if w.rnd.IntN(2) == 0 {
			w.market.Touch(u.id)
		}
	})
	if done != nil {
		done()
	}
}

// fix ends the first of the bad records.
func (w *town) fix() {
	s := w.spoiled[0]
	w.spoiled = w.spoiled[1:]
	var done func()
	if s.also != nil {
		done = s.also.begin(w.listed(s.also.id), w.keep())
	}
	w.say(s.who, w.listed(s.who.id), func() {
		w.market.Raw(s.who.id, "")
		w.market.Touch(s.who.id)
		if s.also != nil {
			w.market.Touch(s.also.id)
		}
	})
	if done != nil {
		done()
	}
}

// listed reads from the marketplace what a user is.
func (w *town) listed(id int64) state {
	u, ok := w.market.User(id)
	s := state{listed: ok}
	for _, g := range u.Grants {
		s = s.with(g.OrgID, s.in(g.OrgID)|roleSet(1)<<slices.Index(roleCodes, g.RoleCode))
	}
	return s
}

func (w *town) backUp(at time.Time) {
	w.backed = at
	b := backup{market: w.market.Backup()}
	for _, u := range w.users[w.fixed:] {
		b.states = append(b.states, w.listed(u.id))
	}
	w.backups = append(w.backups, b)
	if len(w.backups) > 10 {
		w.backups = w.backups[1:]
	}
}

// undo restores a backup, as an operator does: sequences are given out a second
// time, and whoever was changed since is as before.
func (w *town) undo() {
	if len(w.backups) == 0 {
		return
	}
	for len(w.spoiled) > 0 {
		w.fix()
	}
	n := w.rnd.IntN(len(w.backups))
	b := w.backups[n]
	w.backups = w.backups[:n+1] // those made since are of another past
	w.undone.Add(1)
	told := w.truth.lie(w.keep())
	w.truth.restore()
	var done []func()
	for i, u := range w.users[w.fixed:] {
		if s := b.states[i]; !s.equal(u.last()) {
			done = append(done, u.begin(s, w.keep()))
		}
	}
	w.market.Restore(b.market)
	for _, f := range done {
		f()
	}
	told()
}
