package rolegate_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/clock"
	_ "github.com/rolegate/rolegate/internal/rapidseed"
)

// TestProperties tells random stories of a list, its faults, pulls and restarts,
// and compares after each step all that a gate decides, and says of itself, with
// a model in plain maps. A story that goes wrong is made as short as possible.
//
// There are more stories with -rapid.checks=1000, and longer ones with
// -rapid.steps=100.
func TestProperties(t *testing.T) {
	t.Parallel()
	for _, style := range []propStyle{propAfter, propInclusive, propTelltale} {
		t.Run("a source that sends "+string(style), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(story *rapid.T) { propTell(t, story, style) })
		})
	}
}

// A propWrong is what was wrong, and the story that has led there.
type propWrong string

// propTell tells one story, in a bubble of its own.
func propTell(t *testing.T, story *rapid.T, style propStyle) {
	m := &propMachine{source: &propSource{style: style}, cache: &memoryCache{}}
	var end any
	synctest.Test(t, func(*testing.T) {
		defer func() { end = recover() }() // a panic must not leave the bubble
		defer func() { _ = m.gate.Close() }()
		m.begin(story)
		story.Repeat(map[string]func(*rapid.T){
			"":              m.check,
			"grant":         m.grant,
			"change":        m.change,
			"rename":        m.rename,
			"revoke":        m.revoke,
			"spoil":         m.spoil,
			"double":        m.double,
			"back up":       m.backUp,
			"restore":       m.restore,
			"refresh":       m.refresh,
			"refresh again": m.refresh, // twice as often as others
			"resync":        m.resync,
			"resync again":  m.resync,
			"time passes":   m.wait,
			"restart":       m.restart,
		})
	})
	// rapid tells failures apart by the line that they come from, and so must
	// never see one of these in the place of another.
	switch end := end.(type) {
	case nil:
	case propWrong:
		story.Fatalf("%s", end)
	case error:
		story.Fatalf("panic: %v\n%s", end, m.told())
	default:
		panic(end) // it is rapid's own
	}
}

const propUsers = 24 // who may ever be listed

var (
	propIDs      = rapid.Int64Range(1, propUsers)
	propMany     = rapid.SampledFrom([]int64{1, 2, 5, 10, 11, propUsers})
	propAccounts = rapid.SampledFrom([]string{"", "ann", "bo", "cy"})
	propWaits    = rapid.SampledFrom([]time.Duration{time.Second, 53 * time.Second, time.Minute, 6 * time.Minute, 25 * time.Minute, time.Hour + time.Second})
	propOneGrant = rapid.Custom(func(t *rapid.T) rolegate.Grant {
		return in(rapid.SampledFrom([]int64{1, 2, 0}).Draw(t, "org"), rapid.SampledFrom([]string{"teacher", "homeroom", "admin", "principal"}).Draw(t, "role"))
	})
	propSomeGrants = rapid.SliceOfN(propOneGrant, 0, 4)

	propImplies = map[string][]string{"principal": {"admin"}, "admin": {"teacher"}}
)

// A propPolicy is a policy, and the rules that it consists of.
type propPolicy struct {
	name   string
	rules  []rolesRule
	maxAge time.Duration
	policy *rolegate.Policy
}

// propPolicies makes them anew for a gate.
func propPolicies(gate *rolegate.Gate) []propPolicy {
	all := []propPolicy{
		{name: "teachers", rules: []rolesRule{{op: "any", codes: []string{"teacher"}}}},
		{name: "young teachers", rules: []rolesRule{{op: "any", codes: []string{"teacher"}}}, maxAge: propMaxAge},
		{name: "homeroom teachers", rules: []rolesRule{{op: "all", codes: []string{"teacher", "homeroom"}}}},
		{name: "no admins", rules: []rolesRule{{op: "none", codes: []string{"admin"}}}},
		{name: "homeroom but no principal", rules: []rolesRule{{op: "any", codes: []string{"homeroom", "principal"}}, {op: "none", codes: []string{"principal"}}}},
	}
	for i := range all {
		var options []rolegate.Option
		for _, r := range all[i].rules {
			options = append(options, r.asCheck(nil))
		}
		if all[i].maxAge > 0 {
			options = append(options, rolegate.MaxAge(all[i].maxAge))
		}
		all[i].policy = gate.Policy(options...)
	}
	return all
}

// A propMachine is a list, a gate, and the model of what that may know.
type propMachine struct {
	source   *propSource
	cache    *memoryCache
	gate     *rolegate.Gate
	policies []propPolicy
	model    propGate
	story    []string

	savedRows     []rolegate.Record
	savedSequence int64
}

// begin opens the first gate, on a list that has some users already.
func (m *propMachine) begin(t *rapid.T) {
	n := rapid.SampledFrom([]int64{0, 1, 12, propUsers}).Draw(t, "users")
	m.tell(t, "the list has %d users, teachers in organisation 1, the first with account \"ann\"", n)
	for id := range n {
		r := record(id+1, in(1, "teacher"))
		if id == 0 {
			r.Account = "ann"
		}
		m.source.put(r)
	}
	m.open(t, true)
}

// ---- what happens to the list

func (m *propMachine) grant(t *rapid.T) {
	from, n := propIDs.Draw(t, "from"), propMany.Draw(t, "users")
	account, grants := propAccounts.Draw(t, "account"), propSomeGrants.Draw(t, "grants")
	n = min(n, propUsers-from+1)
	m.tell(t, "users %d to %d are granted %v, the first has account %q", from, from+n-1, grants, account)
	for id := from; id < from+n; id++ {
		m.source.put(rolegate.Record{UserID: id, Account: account, Grants: grants})
		account = ""
	}
}

func (m *propMachine) change(t *rapid.T) {
	id, grants, quiet := propIDs.Draw(t, "user"), propSomeGrants.Draw(t, "grants"), rapid.Bool().Draw(t, "quiet")
	how := "with a new sequence"
	if quiet {
		how = "with the old sequence"
	}
	m.tell(t, "user %d now has %v, %s", id, grants, how)
	m.edit(id, quiet, func(r *rolegate.Record) { r.Grants = grants })
}

func (m *propMachine) rename(t *rapid.T) {
	id, account := propIDs.Draw(t, "user"), propAccounts.Draw(t, "account")
	m.tell(t, "user %d now has account %q", id, account)
	m.edit(id, false, func(r *rolegate.Record) { r.Account = account })
}

// edit changes a user who is listed by one good record.
func (m *propMachine) edit(id int64, quiet bool, change func(*rolegate.Record)) {
	of := slices.IndexFunc(m.source.rows, func(r rolegate.Record) bool { return r.UserID == id && r.Bad == nil })
	switch {
	case of < 0:
	case quiet:
		m.source.edit(id, change)
	default:
		r := m.source.rows[of]
		change(&r)
		m.source.put(r)
	}
}

func (m *propMachine) revoke(t *rapid.T) {
	from, n := propIDs.Draw(t, "from"), propMany.Draw(t, "users")
	n = min(n, propUsers-from+1)
	m.tell(t, "users %d to %d are taken off the list", from, from+n-1)
	for id := from; id < from+n; id++ {
		m.source.remove(id)
	}
}

func (m *propMachine) spoil(t *rapid.T) {
	id, n, named := propIDs.Draw(t, "user"), propMany.Draw(t, "users"), rapid.Bool().Draw(t, "named")
	n = min(n, propUsers-id+1)
	m.tell(t, "the records of users %d to %d become bad, with their ids readable: %v", id, id+n-1, named)
	for ; n > 0; n, id = n-1, id+1 {
		m.source.remove(id)
		r := rolegate.Record{Bad: errors.New("unreadable")}
		if named {
			r.UserID = id
		}
		m.source.put(r)
	}
}

func (m *propMachine) double(t *rapid.T) {
	id, above := propIDs.Draw(t, "user"), rapid.Int64Range(0, 1).Draw(t, "above")
	bad := rapid.SampledFrom([]string{"neither", "the first", "the second"}).Draw(t, "bad")
	first := rolegate.Record{UserID: id, Account: propAccounts.Draw(t, "account"), Grants: propSomeGrants.Draw(t, "grants")}
	second := rolegate.Record{UserID: id, Account: propAccounts.Draw(t, "account"), Grants: propSomeGrants.Draw(t, "grants")}
	m.tell(t, "user %d is listed twice more, as %q %v and, %d above, as %q %v; of these %s is bad",
		id, first.Account, first.Grants, above, second.Account, second.Grants, bad)
	switch bad {
	case "the first":
		first.Bad = errors.New("unreadable")
	case "the second":
		second.Bad = errors.New("unreadable")
	}
	m.source.add(first, 1)
	m.source.add(second, above)
}

func (m *propMachine) backUp(t *rapid.T) {
	m.tell(t, "the list is backed up")
	m.savedRows, m.savedSequence = m.source.rows, m.source.sequence
}

func (m *propMachine) restore(t *rapid.T) {
	m.tell(t, "the list is set back to sequence %d, from %d", m.savedSequence, m.source.sequence)
	m.source.rows, m.source.sequence = m.savedRows, m.savedSequence
}

// ---- what happens to the gate

// fault draws which of so many pulls breaks, 0 for none, and after how many
// records.
func (m *propMachine) fault(t *rapid.T, pulls int) (broken int, meets []propPull) {
	broken = max(0, rapid.IntRange(-4, pulls).Draw(t, "breaks"))
	after := 0
	if broken > 0 {
		after = rapid.IntRange(0, 5).Draw(t, "after")
	}
	meets = []propPull{{breaksAfter: -1}}[:pulls]
	if broken > 0 {
		meets[broken-1].breaksAfter = after
	}
	return broken, meets
}

// propFaultText tells a fault.
func propFaultText(broken int, meets []propPull) string {
	if broken == 0 {
		return "and nothing breaks"
	}
	return fmt.Sprintf("and its refresh number %d breaks after %d records", broken, meets[broken-1].breaksAfter)
}

func (m *propMachine) refresh(t *rapid.T) {
	if !m.model.listed { // then Refresh is a full refresh
		m.full(t, false)
		return
	}
	broken, meets := m.fault(t, 1)
	after := m.model.asks.From()
	m.tell(t, "an incremental refresh from %d, %s", after, propFaultText(broken, meets))
	m.source.expect(meets...)
	err := m.gate.Refresh(context.Background())
	m.settle()
	news := m.source.sends(after)
	if broken > 0 {
		news = news[:min(meets[0].breaksAfter, len(news))]
	}
	want := m.model.refresh(after, news, broken > 0, time.Now())
	m.ended(want, err)
}

func (m *propMachine) resync(t *rapid.T) { m.full(t, rapid.IntRange(0, 3).Draw(t, "accept") == 3) }

func (m *propMachine) full(t *rapid.T, accept bool) {
	broken, meets := m.fault(t, 1)
	m.tell(t, "a full refresh, %s, with AcceptShrink: %v", propFaultText(broken, meets), accept)
	meets[0].then = m.meanwhile(t)
	refresh, shown := m.gate.RefreshAll, ""
	if digest := m.gate.Status().Held.Digest; accept && digest != "" {
		shown = m.model.shown()
		refresh = func(ctx context.Context) error { return m.gate.AcceptShrink(ctx, digest) }
	}
	w := propFull{started: time.Now(), at: clock.Read(), list: m.source.sends(0), tail: m.model.asks.Tail(clock.Read()), broken: broken > 0, accept: shown}
	m.source.expect(meets...)
	err := refresh(context.Background())
	m.settle()
	m.ended(m.model.full(w), err)
}

// meanwhile draws what happens while a full refresh is under way, after it has read the
// list.
func (m *propMachine) meanwhile(t *rapid.T) func() {
	switch id := propIDs.Draw(t, "meanwhile"); rapid.SampledFrom([]string{"nothing", "nothing", "grant", "revoke", "time"}).Draw(t, "happens") {
	case "grant":
		m.tell(t, "  meanwhile user %d is granted teacher", id)
		return func() { m.source.put(record(id, in(1, "teacher"))) }
	case "revoke":
		m.tell(t, "  meanwhile user %d is taken off the list", id)
		return func() { m.source.remove(id) }
	case "time":
		m.tell(t, "  meanwhile a minute passes")
		return func() {
			rest := m.source.expect() // away for what the gate does by itself
			timer := time.NewTimer(time.Minute)
			<-timer.C
			m.source.expect(rest...)
		}
	}
	return nil
}

// settle waits for all that a step has set off, and sends the source away.
func (m *propMachine) settle() {
	synctest.Wait()
	m.source.expect()
}

// ended compares how a refresh has ended.
func (m *propMachine) ended(want propOutcome, err error) {
	got := propDone
	switch {
	case errors.Is(err, rolegate.ErrHeld):
		got = propHeld
	case err != nil:
		got = propFailed
	}
	if got != want {
		m.wrong("the refresh ended as %q (%v), want %q", got, err, want)
	}
}

func (m *propMachine) wait(t *rapid.T) {
	d := propWaits.Draw(t, "time")
	m.tell(t, "%v passes", d)
	after(d)
}

func (m *propMachine) restart(t *rapid.T) {
	state := rapid.SampledFrom([]string{"as it was", "as it was", "as it was", "damaged", "cut short", "lost"}).Draw(t, "cache")
	here := rapid.Bool().Draw(t, "source")
	m.tell(t, "a restart with a stored index that is %s, and the source there: %v", state, here)
	if err := m.gate.Close(); err != nil {
		m.wrong("Close: %v", err)
	}
	if reason := m.gate.Decide(context.Background(), rolegate.UserID(1)).Reason; reason != rolegate.ReasonClosed {
		m.wrong("a closed gate says %v", reason)
	}
	if data, _ := m.cache.stored(); state != "as it was" && len(data) > 0 {
		data = slices.Clone(data)
		at := rapid.IntRange(0, len(data)-1).Draw(t, "at")
		switch state {
		case "damaged":
			data[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
			data = append(data, 0) // or the same bit again, if nothing is stored meanwhile, would fix it
		case "cut short":
			data = data[:at]
		case "lost":
			data = nil
		}
		m.cache.set(func(c *memoryCache) { c.data = data })
	}
	m.model.restart(state == "as it was", time.Now())
	m.open(t, here)
}

// open opens a gate, which makes a full refresh at once, and waits for that to end.
func (m *propMachine) open(t *rapid.T, here bool) {
	if m.model.asks == nil {
		m.model.asks = propCursor()
	}
	if m.model.listed { // it goes on from what was stored
		m.model.asks.Follow(clock.Instant{}, clock.Instant{}, m.model.storedCursor, nil, nil)
	}
	want, w := propFailed, propFull{started: time.Now(), at: clock.Read(), list: m.source.sends(0), tail: m.model.asks.Tail(clock.Read())}
	if here {
		broken, meets := m.fault(t, 1)
		w.broken = broken > 0
		m.tell(t, "  the gate makes a full refresh as it opens, %s", propFaultText(broken, meets))
		m.source.expect(meets...)
	}
	cfg := quiet(rolegate.Config{
		Source: m.source, Cache: m.cache, Aliases: []rolegate.Kind{rolegate.KindAccount}, Implies: propImplies, StartEmpty: true,
		Refresh: rolegate.Refresh{Every: propEvery, ResyncEvery: propEvery, ExpireAfter: propExpireAfter},
	})
	gate, err := rolegate.Open(context.Background(), cfg)
	if err != nil {
		m.wrong("Open: %v", err)
	}
	m.gate, m.policies = gate, propPolicies(gate)
	m.settle()
	if here {
		want = m.model.full(w)
	}
	if want == propFailed && m.model.listed {
		// An increment that changed nobody need not have been stored: what it
		// knew of cursor and contact may be lost, but only that.
		s := gate.Status()
		if s.Cursor < min(m.model.storedCursor, m.model.cursor) || s.Cursor > max(m.model.storedCursor, m.model.cursor) {
			m.wrong("the cursor is %d after the restart, want %d to %d", s.Cursor, m.model.storedCursor, m.model.cursor)
		}
		if s.Contact.Before(m.model.storedContact) || s.Contact.After(m.model.contact) {
			m.wrong("the contact is of %v after the restart, want %v to %v", s.Contact, m.model.storedContact, m.model.contact)
		}
		m.model.cursor, m.model.contact = s.Cursor, s.Contact
		if s.Cursor != m.model.asks.Highest() { // else it remembers what the full refresh has shown
			m.model.asks = propCursor()
		}
		at := clock.Read().At(s.Contact.UnixNano())
		m.model.asks.Follow(at, at, s.Cursor, nil, nil)
		m.model.store()
		if here && !w.broken { // the list was older than what was stored: the gate remembers that
			if w.tail = m.model.asks.Tail(w.at); m.model.full(w) != propFailed {
				m.wrong("the gate took a list for older that is not")
			}
		}
	}
}

// ---- what the gate says

func (m *propMachine) check(*rapid.T) {
	now, model := time.Now(), &m.model
	s := m.gate.Status()
	if !model.listed {
		model = &propGate{listed: false}
	} else if s.ContactAge != now.Sub(model.contact) || s.VerifiedAge != now.Sub(model.verified) {
		m.wrong("contact and verified are %v and %v old, want %v and %v", s.ContactAge, s.VerifiedAge, now.Sub(model.contact), now.Sub(model.verified))
	}
	type counts struct {
		Users, Grants, Ambiguous, Held int
		Cursor                         int64
	}
	got := counts{s.Users, s.Grants, s.Ambiguous[rolegate.KindAccount], s.Held.Users, s.Cursor}
	if want := (counts{len(model.users), model.grants(), model.ambiguous(), len(model.held), model.cursor}); got != want {
		m.wrong("the status has %+v, want %+v", got, want)
	}
	serves := model.serves(now)
	for id := int64(1); id <= propUsers; id++ {
		user, reason := model.find(id)
		m.compare(fmt.Sprintf("user %d", id), rolegate.UserID(id), user, reason, serves)
	}
	for _, account := range []string{"", "ann", "bo", "cy", "nobody"} {
		user, reason := model.findAccount(account)
		m.compare(fmt.Sprintf("account %q", account), identityOf(rolegate.KindAccount, account), user, reason, serves)
	}
}

// compare asks about one identity, which is that user's if reason is
// rolegate.ReasonGranted.
func (m *propMachine) compare(who string, id rolegate.Identity, user int64, reason, serves rolegate.Reason) {
	found := serves == rolegate.ReasonGranted && reason == rolegate.ReasonGranted
	if serves != rolegate.ReasonGranted {
		reason = serves
	}
	_, held := m.model.held[user]
	expect := func(d rolegate.Decision, want rolegate.Reason, what string) {
		switch {
		case d.Reason != want:
			m.wrong("%s: %s in organisation %d: %v, want %v", what, who, d.Org, d.Reason, want)
		case found && (d.User.ID() != user || d.Held != held):
			m.wrong("%s takes %s for user %d, held: %v; want user %d, held: %v", what, who, d.User.ID(), d.Held, user, held)
		}
	}
	if found && time.Since(m.model.knownFor(user)) > propExpireAfter {
		found, reason = false, rolegate.ReasonExpired
	}
	expect(m.gate.Decide(context.Background(), id), reason, "the list")
	for _, p := range m.policies {
		for _, org := range []int64{0, 1, 2, 3} {
			want := reason
			switch {
			case !found && reason != rolegate.ReasonExpired:
			case !found && serves == rolegate.ReasonExpired:
			case !rolesPass(p.rules, m.model.users[user].grants, propImplies, org, false):
				want = rolegate.ReasonRoleMissing
			case p.maxAge > 0 && time.Since(m.model.knownFor(user)) > p.maxAge:
				want = rolegate.ReasonTooOld
			}
			expect(p.policy.Decide(context.Background(), id, org), want, p.name)
		}
	}
}

// tell adds a line to the story.
func (m *propMachine) tell(t *rapid.T, format string, args ...any) {
	t.Helper()
	m.story = append(m.story, fmt.Sprintf(format, args...))
	t.Logf(format, args...)
}

// told is the story so far.
func (m *propMachine) told() string {
	return fmt.Sprintf("The story, with a source that sends %s:\n  %s", m.source.style, strings.Join(m.story, "\n  "))
}

// wrong ends the story.
func (m *propMachine) wrong(format string, args ...any) {
	panic(propWrong(fmt.Sprintf(format, args...) + "\n" + m.told()))
}
