package rolegate_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// rolesSeed makes a failure repeatable: ROLEGATE_SEED=… go test -run …
func rolesSeed(t *testing.T) uint64 {
	t.Helper()
	text, given := os.LookupEnv("ROLEGATE_SEED")
	if !given {
		return rand.Uint64()
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	require.NoError(t, err)
	return seed
}

// TestDecideAgainstANaiveOne compares the index and the compiled checks with
// plain maps and loops, over random lists that change, random hierarchies and
// random policies.
func TestDecideAgainstANaiveOne(t *testing.T) {
	t.Parallel()
	seed := rolesSeed(t)
	const worlds, perWorld = 40, 2500
	var cases atomic.Int64
	t.Cleanup(func() {
		if !t.Failed() {
			assert.EqualValues(t, worlds*perWorld, cases.Load())
		}
	})
	for n := range uint64(worlds) {
		t.Run(fmt.Sprintf("world=%d", n), func(t *testing.T) {
			t.Parallel()
			w := newRolesWorld(t, rand.New(rand.NewPCG(seed, n)), n)
			defer func() {
				if t.Failed() {
					t.Logf("to see it again: ROLEGATE_SEED=%d go test -run '%s'", seed, t.Name())
				}
			}()
			for range perWorld / 500 {
				w.change()
				w.morePolicies(8)
				for range 500 {
					cases.Add(1)
					if w.compare(); t.Failed() {
						return
					}
				}
			}
		})
	}
}

// A rolesRule is a check as a naive person writes it down.
type rolesRule struct {
	op       string // "any", "all", "none", "where", "either"
	codes    []string
	says     bool // "where"
	children []rolesRule
}

// holds says whether a rule holds for somebody who has these roles here, and
// those anywhere at all.
func (r rolesRule) holds(here, everywhere map[string]bool, request bool) bool {
	has := func(code string) bool { return here[code] }
	switch r.op {
	case "any":
		return slices.ContainsFunc(r.codes, has)
	case "all":
		return !slices.ContainsFunc(r.codes, func(code string) bool { return !has(code) })
	case "none":
		return !everywhere[droppedRole] && !slices.ContainsFunc(r.codes, func(code string) bool { return everywhere[code] })
	case "where":
		return r.says && request
	default:
		return slices.ContainsFunc(r.children, func(child rolesRule) bool { return child.holds(here, everywhere, request) })
	}
}

// droppedRole stands for a grant that could not be understood, whatever it was.
const droppedRole = "\x00"

// rolesOf lists what roles these grants come to in each organisation, and in
// all of them.
func rolesOf(grants []rolegate.Grant, implies map[string][]string) (in map[int64]map[string]bool, everywhere map[string]bool) {
	in, everywhere = map[int64]map[string]bool{0: {}}, map[string]bool{}
	for _, g := range grants {
		if g.OrgID <= 0 || g.RoleCode == "" {
			everywhere[droppedRole], in[0][droppedRole] = true, true
			continue
		}
		if in[g.OrgID] == nil {
			in[g.OrgID] = map[string]bool{}
		}
		for todo := []string{g.RoleCode}; len(todo) > 0; todo = append(todo[1:], implies[todo[0]]...) {
			in[g.OrgID][todo[0]], everywhere[todo[0]] = true, true
		}
	}
	for _, here := range in {
		here[droppedRole] = everywhere[droppedRole]
	}
	return in, everywhere
}

// rolesIn returns what rolesOf says of one organisation.
func rolesIn(in map[int64]map[string]bool, org int64) map[string]bool {
	if here, ok := in[org]; ok {
		return here
	}
	return in[0]
}

// rolesPass says whether all rules hold: in that organisation or, if org is 0,
// in one same organisation, whichever, with NoRole looking at all of them.
func rolesPass(rules []rolesRule, grants []rolegate.Grant, implies map[string][]string, org int64, request bool) bool {
	in, everywhere := rolesOf(grants, implies)
	if org > 0 {
		in, everywhere = map[int64]map[string]bool{org: rolesIn(in, org)}, rolesIn(in, org)
	}
	for _, here := range in {
		if !slices.ContainsFunc(rules, func(r rolesRule) bool { return !r.holds(here, everywhere, request) }) {
			return true
		}
	}
	return false
}

// asCheck is the same rule as the package knows it.
func (r rolesRule) asCheck(calls map[*rolesCalls]struct{}) rolegate.Check {
	switch r.op {
	case "any":
		return rolegate.AnyRole(r.codes...)
	case "all":
		return rolegate.AllRoles(r.codes...)
	case "none":
		return rolegate.NoRole(r.codes...)
	case "where":
		count := new(rolesCalls)
		calls[count] = struct{}{}
		return rolegate.Where(fmt.Sprint(r.says), func(rolegate.User, *http.Request) bool {
			count.n++
			return r.says
		})
	default:
		children := make([]rolegate.Check, len(r.children))
		for i, child := range r.children {
			children[i] = child.asCheck(calls)
		}
		return rolegate.Either(children...)
	}
}

type rolesCalls struct{ n int }

type rolesPolicy struct {
	*rolegate.Policy
	rules         []rolesRule
	calls         map[*rolesCalls]struct{}
	inOrg, shadow bool
}

// A rolesWorld is one app with its marketplace, and what the gate ought to
// know of it.
type rolesWorld struct {
	t        *testing.T
	rnd      *rand.Rand
	size     int
	codes    []string
	orgs     []int64
	implies  map[string][]string
	source   *rolegatetest.Static
	gate     *rolegate.Gate
	policies []rolesPolicy

	listed map[int64]rolegate.Record // what the marketplace has
	known  map[int64]rolegate.Record // what the gate has pulled of it
	put    map[int64]bool            // what an incremental refresh will see
}

func newRolesWorld(t *testing.T, rnd *rand.Rand, n uint64) *rolesWorld {
	w := &rolesWorld{
		t: t, rnd: rnd, source: rolegatetest.NewStatic(), implies: map[string][]string{},
		size:   []int{1, 5, 40, 300}[n%4],
		listed: map[int64]rolegate.Record{}, known: map[int64]rolegate.Record{}, put: map[int64]bool{},
	}
	if n%20 == 7 {
		w.size = 5000 // changes of which the most make a new base
	}
	for i := range []int{2, 6, 70, 250}[rnd.IntN(4)] {
		w.codes = append(w.codes, fmt.Sprintf("r%d", i))
	}
	for i := range 1 + rnd.IntN(4) {
		w.orgs = append(w.orgs, []int64{7, 8, 7 + 1<<32, 1<<63 - 1, 1}[i])
	}
	for range rnd.IntN(2 * min(len(w.codes), 10)) {
		// A higher number never includes a lower one: no cycle.
		low := rnd.IntN(len(w.codes))
		high := low + rnd.IntN(len(w.codes)-low)
		if low != high {
			w.implies[w.codes[low]] = append(w.implies[w.codes[low]], w.codes[high])
		}
	}
	if rnd.IntN(10) > 0 { // or of nobody
		w.putSome(w.size)
	}
	async := rnd.IntN(2) == 0
	var release func()
	if async {
		release = w.source.Block()
	}
	w.gate = openGate(t, rolegate.Config{
		Source: w.source, StartEmpty: async, Implies: w.implies,
		Aliases: []rolegate.Kind{rolegate.KindAccount},
		OnDeny:  rolegate.OnDeny{Off: true}, // one request is one decision
		Refresh: rolegate.Refresh{ResyncMin: 24 * time.Hour},
	})
	w.morePolicies(4) // some before there is a list
	if async {
		release()
	}
	w.resync()
	spendFullRefresh(t, w.gate, w.source)
	return w
}

func (w *rolesWorld) anyCode() string { return w.codes[w.rnd.IntN(len(w.codes))] }

func (w *rolesWorld) someCodes(most int) []string {
	codes := make([]string, 1+w.rnd.IntN(most))
	for i := range codes {
		codes[i] = w.anyCode()
	}
	return codes
}

func (w *rolesWorld) anyUser() int64 {
	id := int64(1 + w.rnd.IntN(w.size*5/4+1))
	if w.rnd.IntN(10) == 0 {
		return id + 1<<53 // ids that a float would mix up
	}
	return id
}

func (w *rolesWorld) anyAccount() string {
	if w.rnd.IntN(5) == 0 {
		return ""
	}
	return fmt.Sprintf("account%d", w.rnd.IntN(w.size*2))
}

func (w *rolesWorld) anyRecord(id int64) rolegate.Record {
	r := rolegate.Record{UserID: id, Account: w.anyAccount()}
	for range w.rnd.IntN(5) {
		g := rolegate.Grant{OrgID: w.orgs[w.rnd.IntN(len(w.orgs))], RoleCode: w.anyCode()}
		switch w.rnd.IntN(30) {
		case 0:
			g.OrgID = -g.OrgID
		case 1:
			g.OrgID = 0
		case 2:
			g.RoleCode = ""
		}
		r.Grants = append(r.Grants, g)
	}
	return r
}

// removeSome takes about n users off the list: fewer than would make a full refresh
// hesitate to believe it.
func (w *rolesWorld) removeSome(n int) {
	gone := 0
	for id := range w.known {
		if _, listed := w.listed[id]; !listed {
			gone++
		}
	}
	for _, id := range slices.Sorted(maps.Keys(w.listed)) {
		if w.rnd.IntN(w.size) >= n {
			continue
		}
		if _, known := w.known[id]; known {
			if gone++; gone >= min(len(w.known), max(10, len(w.known)/4)) {
				return
			}
		}
		delete(w.listed, id)
		delete(w.put, id)
		w.source.Remove(id)
	}
}

func (w *rolesWorld) putSome(n int) {
	var records []rolegate.Record
	bad := 0 // no more than ten at once, which would be taken for schema drift
	for _, r := range w.listed {
		if r.Bad != nil {
			bad++
		}
	}
	most := min(bad+3, 10)
	for range n {
		r := w.anyRecord(w.anyUser())
		if slices.ContainsFunc(records, func(other rolegate.Record) bool { return n < 100 && other.UserID == r.UserID }) {
			continue // several records of one user are for other tests
		}
		if bad < most && w.rnd.IntN(50) == 0 {
			bad++
			r.Bad = errors.New("unreadable")
		}
		records = append(records, r)
	}
	if n >= 100 {
		slices.SortStableFunc(records, func(a, b rolegate.Record) int { return int(min(1, max(-1, a.UserID-b.UserID))) })
		records = slices.CompactFunc(records, func(a, b rolegate.Record) bool { return a.UserID == b.UserID })
	}
	for _, r := range records {
		w.listed[r.UserID], w.put[r.UserID] = r, true
	}
	w.source.Put(records...)
}

func (w *rolesWorld) resync() {
	// A small list of which one user is gone and the rest are bad looks emptied:
	// the shrink guard is for other tests.
	require.NoError(w.t, acceptShrink(w.t.Context(), w.gate))
	w.known = map[int64]rolegate.Record{}
	for id := range w.listed {
		w.learn(id)
	}
	clear(w.put)
}

func (w *rolesWorld) refresh() {
	require.NoError(w.t, w.gate.Refresh(w.t.Context()))
	if w.gate.Status().Held.LostRoles > 0 { // as good as everybody has lost a role
		w.resync()
		return
	}
	for id := range w.put {
		w.learn(id)
	}
	clear(w.put)
}

func (w *rolesWorld) learn(id int64) {
	w.known[id] = w.listed[id]
	if w.known[id].Bad != nil {
		delete(w.known, id)
	}
}

func (w *rolesWorld) change() {
	switch w.rnd.IntN(6) {
	case 0: // all of them new, and nothing pulled in between
		w.removeSome(w.size)
		w.putSome(w.size)
		w.resync()
	case 1:
		w.removeSome(1 + w.size/20)
		w.putSome(1)
		w.resync()
	case 2: // new codes, of which the policies so far know nothing
		for range 3 {
			w.codes = append(w.codes, fmt.Sprintf("r%d", len(w.codes)))
		}
		fallthrough
	default:
		w.removeSome(1)
		w.putSome(max(1, w.size*w.rnd.IntN(80)/100))
		w.refresh()
		w.putSome(1 + w.size/10)
		w.refresh()
	}
}

func (w *rolesWorld) anyRule(depth int) rolesRule {
	switch n := w.rnd.IntN(10); {
	case n < 3:
		return rolesRule{op: "any", codes: w.someCodes(4)}
	case n < 5:
		return rolesRule{op: "all", codes: w.someCodes(2)}
	case n < 7:
		return rolesRule{op: "none", codes: w.someCodes(3)}
	case n < 8 || depth == 0:
		return rolesRule{op: "where", says: w.rnd.IntN(2) == 0}
	default:
		r := rolesRule{op: "either"}
		for range 1 + w.rnd.IntN(3) {
			r.children = append(r.children, w.anyRule(depth-1))
		}
		return r
	}
}

func (w *rolesWorld) morePolicies(n int) {
	for range n {
		p := rolesPolicy{calls: map[*rolesCalls]struct{}{}, inOrg: w.rnd.IntN(3) == 0, shadow: w.rnd.IntN(5) == 0}
		var options []rolegate.Option
		for range 1 + w.rnd.IntN(3) {
			rule := w.anyRule(2)
			p.rules = append(p.rules, rule)
			options = append(options, rule.asCheck(p.calls))
		}
		if p.inOrg {
			options = append(options, rolegate.InOrg(func(r *http.Request) (int64, error) {
				return strconv.ParseInt(r.Header.Get("X-Org"), 10, 64)
			}))
		}
		if p.shadow {
			options = append(options, rolegate.Shadow())
		}
		w.rnd.Shuffle(len(options), func(i, j int) { options[i], options[j] = options[j], options[i] })
		p.Policy = w.gate.Policy(options...)
		w.policies = append(w.policies, p)
	}
}

// expect says why a request or decision ought to be answered as it is. A
// refusal by checks is RoleMissing here, whichever check it was.
func (w *rolesWorld) expect(p rolesPolicy, users []int64, org int64, named, request bool) rolegate.Reason {
	switch {
	case len(users) == 0:
		return rolegate.ReasonNotAuthorized
	case len(users) > 1:
		return rolegate.ReasonAmbiguous
	case org < 0 || named && org == 0:
		return rolegate.ReasonOrgUnreadable
	case rolesPass(p.rules, w.known[users[0]].Grants, w.implies, org, request):
		return rolegate.ReasonGranted
	default:
		return rolegate.ReasonRoleMissing
	}
}

// compare asks one question of both.
func (w *rolesWorld) compare() {
	p := w.policies[w.rnd.IntN(len(w.policies))]
	org := []int64{0, 0, -7, w.orgs[w.rnd.IntN(len(w.orgs))], w.orgs[w.rnd.IntN(len(w.orgs))], 99}[w.rnd.IntN(6)]
	var id rolegate.Identity
	var users []int64
	user := w.anyUser()
	account := w.known[user].Account
	if account == "" || w.rnd.IntN(4) > 0 {
		id = rolegate.UserID(user)
		if _, listed := w.known[user]; listed {
			users = []int64{user}
		}
	} else {
		id = identityOf(rolegate.KindAccount, account)
		for other, r := range w.known {
			if r.Account == account {
				users = append(users, other)
			}
		}
	}
	want := w.expect(p, users, org, p.inOrg, false)
	d := p.Decide(w.t.Context(), id, org)
	w.check(p, id, users, org, want, d.Reason, d.Allowed())

	if id.Kind() != rolegate.KindUserID || w.rnd.IntN(10) > 0 {
		return
	}
	// And the same by HTTP, where a Where is asked.
	if !p.inOrg {
		org = 0
	}
	for calls := range p.calls {
		calls.n = 0
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("X-User-Id", strconv.FormatInt(user, 10))
	r.Header.Set("X-Org", strconv.FormatInt(org, 10))
	rec := httptest.NewRecorder()
	passed := false
	p.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { passed = true })).ServeHTTP(rec, r)
	want = w.expect(p, users, org, p.inOrg, true)
	w.check(p, id, users, org, want, want, passed)
	assert.Equal(w.t, passed, rec.Code == 200)
	for calls := range p.calls {
		assert.LessOrEqual(w.t, calls.n, 1, "a Where runs once at most")
	}
}

func (w *rolesWorld) check(p rolesPolicy, id rolegate.Identity, users []int64, org int64, want, got rolegate.Reason, allowed bool) {
	if got == rolegate.ReasonConditionFailed {
		got = rolegate.ReasonRoleMissing
	}
	mayPass := want == rolegate.ReasonGranted || p.shadow && want == rolegate.ReasonRoleMissing
	if got == want && allowed == mayPass {
		return
	}
	grants := []rolegate.Grant{}
	for _, user := range users {
		grants = append(grants, w.known[user].Grants...)
	}
	w.t.Errorf("%v for %v (users %v, %v) in %d, hierarchy %v: got %v, allowed %t; want %v, allowed %t",
		p.Policy, id, users, grants, org, w.implies, got, allowed, want, mayPass)
}
