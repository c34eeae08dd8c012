package console_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
)

// An account or a third id leads to its users, and never to itself.
func TestUsersOfAnIdentity(t *testing.T) {
	t.Parallel()
	records := []rolegate.Record{
		{UserID: 4, Account: "li.wei", ThirdUserID: "t-4", Grants: []rolegate.Grant{in(7, "teacher"), in(7, "homeroom"), in(8, "pupil")}},
		{UserID: 5, Account: "twin", ThirdUserID: "t-56"}, {UserID: 6, Account: "twin", ThirdUserID: "t-56", Grants: []rolegate.Grant{in(9, "clerk")}},
	}
	for id := int64(20); id < 40; id++ {
		records = append(records, rolegate.Record{UserID: id, Account: "-", Grants: []rolegate.Grant{in(1, "x")}})
	}
	for id := int64(50); id < 62; id++ {
		records = append(records, rolegate.Record{UserID: id, Account: "a-dozen", Grants: []rolegate.Grant{in(1, "x")}})
	}
	for org := int64(1); org <= 8; org++ {
		last := &records[len(records)-1]
		last.Grants = append(last.Grants, in(org, "eight"))
	}
	for org := int64(1); org <= 10; org++ {
		records[1].Grants = append(records[1].Grants, in(org, "guest"))
	}
	a := newApp(t, rolegate.Config{Aliases: []rolegate.Kind{rolegate.KindAccount}, Keep: rolegate.Keep{ThirdUserID: true}}, records...)
	for _, c := range []struct {
		name       string
		kind, text string
		says       []string
		lacks      []string
	}{
		{"one", "account", "li.wei", []string{`<dt>4</dt>`, "Organisation 7: homeroom, teacher", "Organisation 8: pupil"}, []string{`<dt>5</dt>`, "more of them"}},
		{"two", "account", "twin", []string{`<dt>5</dt>`, `<dt>6</dt>`, "Organisation 9: clerk", "in 2 more organisations", "ambiguous"}, []string{`<dt>4</dt>`}},
		{"very many", "account", "-", []string{`<dt>20</dt>`, `<dt>31</dt>`, "There are more of them."}, []string{`<dt>32</dt>`}},
		{"as many as are shown, one in as many organisations", "account", "a-dozen", []string{`<dt>50</dt>`, `<dt>61</dt>`, "Organisation 8: eight"}, []string{"There are more of them.", "more organisation"}},
		{"a third id that is kept, and not indexed", "third_user_id", "t-56", []string{`<dt>5</dt>`, `<dt>6</dt>`, "identify_failed"}, nil},
		{"nobody", "account", "nobody-has-this", []string{"not_authorized"}, []string{`id="users"`}},
		{"a user id", "user_id", "4", []string{"The user passes."}, []string{`id="users"`}},
		{"a kind that is not there", "email", "e@example.com", []string{"identify_failed"}, []string{`id="users"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			form := url.Values{"action": {"why"}, "kind": {c.kind}, "user": {c.text}}
			p := a.post(form)
			assert.Equal(t, http.StatusOK, p.status)
			p.has(c.says...)
			p.lacks(c.lacks...)
			wellFormed(t, p.body)
			zh := a.post(form, speaking("zh"))
			zh.lacks("Organisation 7", "There are more")
			if len(c.text) > 3 {
				p.lacks(c.text)
				zh.lacks(c.text)
			}
		})
	}
	page := a.get()
	page.has(`<option value="account"`, `<option value="third_user_id"`)
	page.lacks(`<option value="email"`, `<option value="third_account"`)
	t.Cleanup(func() { assert.NotContains(t, a.log.String(), "li.wei") })
}

// What a user may do, by every route.
func TestActions(t *testing.T) {
	t.Parallel()
	a := newApp(t, rolegate.Config{OnDeny: rolegate.OnDeny{Off: true}},
		user(1, in(7, "teacher"), in(8, "teacher"), in(8, "homeroom")), user(2, in(9, "pupil")), user(3))
	other := newApp(t, rolegate.Config{})
	handler := func(http.ResponseWriter, *http.Request) {}
	inOrg := rolegate.InOrg(rolegate.PathOrg("org"))
	where := rolegate.Where("own", func(rolegate.User, *http.Request) bool { return false })
	a.router.With(a.gate.Admit, a.gate.Require(rolegate.AllRoles("teacher", "homeroom"), inOrg)).Post("/orgs/{org}/reports", handler)
	a.router.With(a.gate.Require(rolegate.AnyRole("teacher"), inOrg)).Get("/orgs/{org}/pupils", handler)
	a.router.With(a.gate.Require(rolegate.AnyRole("teacher"))).Get("/grades", handler)
	a.router.With(a.gate.Require(rolegate.Either(rolegate.AnyRole("admin"), where), inOrg)).Get("/orgs/{org}/own", handler)
	a.router.With(a.gate.Require(where)).Get("/mine", handler)
	a.router.With(other.gate.Admit).Get("/other", handler)
	a.router.With(other.gate.Admit, a.gate.Require(rolegate.AnyRole("teacher"))).Get("/both", handler)
	a.router.With(other.gate.Admit, a.gate.Require(rolegate.Either(rolegate.AnyRole("homeroom"), where), inOrg)).Get("/orgs/{org}/mixed", handler)
	a.router.With(a.gate.Require(rolegate.AnyRole("teacher"), rolegate.MaxAge(time.Nanosecond))).Get("/exams", handler)
	a.router.Get("/open", handler)
	routes := []string{"GET /exams", "POST /orgs/{org}/reports", "GET /orgs/{org}/pupils", "GET /grades", "GET /orgs/{org}/own", "GET /mine", "GET /other", "GET /both", "GET /open", "GET /orgs/{org}/mixed"}
	rows := regexp.MustCompile(`(?s)<tr data-mark="(ok|no|ask)"><td class="path"><code>([^<]*)</code></td><td>.*?</span> [a-z]+(?: <span class="quiet">([^<]*)</span>)?</td></tr>`)
	const fresh = "ask once a full refresh has shown that it still holds (MaxAge)"
	const otherGate = "ask This guard is another gate&#39;s: what it decides is not known here."
	for _, c := range []struct {
		name, user, org string
		want            []string // of routes
	}{
		{"each organisation", "1", "", []string{fresh, "ok in organisation 8", "ok in organisation 7, 8", "ok", "ask depends on a Where in organisation 7, 8", "ask depends on a Where", otherGate, otherGate, "ok open: nothing guards it", otherGate}},
		{"one organisation", "1", "7", []string{fresh, "no a role check does not hold", "ok in organisation 7", "ok", "ask depends on a Where in organisation 7", "ask depends on a Where", otherGate, otherGate, "ok open: nothing guards it", otherGate}},
		{"another role", "2", "", []string{"no a role check does not hold", "no a role check does not hold", "no a role check does not hold", "no a role check does not hold", "ask depends on a Where in organisation 9", "ask depends on a Where", otherGate, "no a role check does not hold", "ok open: nothing guards it", otherGate}},
		{"no organisation at all", "3", "", []string{"no a role check does not hold", "ask depends on the organisation: give its id", "ask depends on the organisation: give its id", "no a role check does not hold", "ask depends on the organisation: give its id", "ask depends on a Where", otherGate, "no a role check does not hold", "ok open: nothing guards it", "ask depends on the organisation: give its id"}},
		{"not listed", "99", "", []string{"no not on the list", "no not on the list", "no not on the list", "no not on the list", "no not on the list", "no not on the list", otherGate, "no not on the list", "ok open: nothing guards it", "no not on the list"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			form := url.Values{"action": {"why"}, "user": {c.user}, "org": {c.org}, "route": {"*"}}
			p := a.post(form)
			assert.Equal(t, http.StatusOK, p.status)
			wellFormed(t, p.body)
			p.has(`<option value="*" selected>`)
			got := map[string]string{}
			for _, m := range rows.FindAllStringSubmatch(p.body, -1) {
				got[m[2]] = strings.TrimSpace(m[1] + " " + m[3])
			}
			for i, route := range routes {
				assert.Equal(t, c.want[i], got[route], route)
			}
			a.post(form, speaking("zh")).lacks("depends on", "in organisation", "actions.")
		})
	}
	before := a.gate.Status().Decisions[rolegate.ReasonRoleMissing]
	a.post(url.Values{"action": {"why"}, "user": {"2"}, "route": {"*"}})
	assert.Equal(t, before, a.gate.Status().Decisions[rolegate.ReasonRoleMissing], "asking is not counted")
}

// A decision id leads to the refusal, and from there to why.
func TestRefusalByItsID(t *testing.T) {
	t.Parallel()
	a := newApp(t, rolegate.Config{OnDeny: rolegate.OnDeny{Off: true}}, user(1, in(7, "pupil")))
	a.get().has("None yet.")
	a.router.With(a.gate.Require(rolegate.AnyRole("teacher"), rolegate.InOrg(rolegate.PathOrg("org")))).Get("/orgs/{org}/x", func(http.ResponseWriter, *http.Request) {})
	id := regexp.MustCompile(`"decision":"([A-Z2-7]+)"`)
	refused := func(user, org int) string {
		r, err := http.NewRequest("GET", fmt.Sprintf("/orgs/%d/x", org), nil)
		require.NoError(t, err)
		m := id.FindStringSubmatch(serve(t, a.router, r, as(int64(user))).body)
		require.NotNil(t, m)
		return m[1]
	}
	one, unlisted := refused(1, 7), refused(99, 7)
	for range 30 {
		refused(98, 8)
	}
	a.get().has("98", "not_authorized", "GET /orgs/{org}/x", "AnyRole(teacher) &#43; InOrg")
	a.get().lacks(one) // only so many are shown
	for _, c := range []struct {
		name, id string
		status   int
		says     []string
		lacks    []string
	}{
		{"a role is missing", one, 200, []string{`id="refusal"`, "<code>role_missing</code>", "GET /orgs/{org}/x", "AnyRole(teacher) &#43; InOrg", `name="user" value="1"`, `name="org"`, `value="7"`, `<option value="GET /orgs/{org}/x" selected>`}, nil},
		{"blanks around it", " " + one + " ", 200, []string{`id="refusal"`, "role_missing"}, nil},
		{"not listed", unlisted, 200, []string{"<code>not_authorized</code>", `name="user" value="99"`}, nil},
		{"unknown", "ABC", 404, []string{"None of the last 32 refusals", `value="ABC"`}, []string{`id="refusal"`}},
		{"nothing", "", 404, []string{"None of the last 32 refusals"}, []string{`id="refusal"`}},
		{"a script", `"><script>`, 404, []string{`value="&#34;&gt;&lt;script&gt;"`}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			form := url.Values{"action": {"refusal"}, "decision": {c.id}}
			p := a.post(form)
			assert.Equal(t, c.status, p.status)
			p.has(c.says...)
			p.lacks(c.lacks...)
			wellFormed(t, p.body)
			a.post(form, speaking("zh")).lacks("None of the last", "Explain says", "refusal.")
		})
	}
}

// Who knows an account finds its refusals: by the digest that the log has, and the
// last ones beside the answer. The account is not shown.
func TestRefusalsOfAnIdentity(t *testing.T) {
	t.Parallel()
	byAccount := rolegate.ByText(rolegate.KindAccount, func(r *http.Request) (string, error) {
		if r.Header.Get("X-Account") == "" {
			return "", rolegate.ErrNobody
		}
		return r.Header.Get("X-Account"), nil
	})
	a := newAppBy(t, rolegate.FirstOf(byAccount, byHeader), rolegate.Config{
		OnDeny: rolegate.OnDeny{Off: true}, IdentityKey: []byte(strings.Repeat("k", 32)),
	}, rolegate.Record{UserID: 4, Account: "li.wei"})
	a.router.With(a.gate.Require(rolegate.AnyRole("teacher"))).Get("/grades", func(http.ResponseWriter, *http.Request) {})
	id := regexp.MustCompile(`"decision":"([A-Z2-7]+)"`)
	refused := func(account string) string {
		r, err := http.NewRequest("GET", "/grades", nil)
		require.NoError(t, err)
		r.Header.Set("X-Account", account)
		m := id.FindStringSubmatch(serve(t, a.router, r).body)
		require.NotNil(t, m)
		return m[1]
	}
	refusedID := func(user int64) string {
		r, err := http.NewRequest("GET", "/grades", nil)
		require.NoError(t, err)
		m := id.FindStringSubmatch(serve(t, a.router, r, as(user)).body)
		require.NotNil(t, m)
		return m[1]
	}
	digest := func(account string) string {
		id, err := rolegate.NewIdentity(rolegate.KindAccount, account)
		require.NoError(t, err)
		return a.gate.Explain(t.Context(), id).IdentityDigest
	}
	listed, unlisted := refused("li.wei"), refused("mallory")
	number, unlistedNumber := refusedID(4), refusedID(99)
	a.get().has("Account " + digest("mallory"))
	var many []string
	for range 25 {
		many = append(many, refusedID(98))
	}
	for _, c := range []struct {
		name, kind, text string
		says, lacks      []string
	}{
		{"listed", "account", "li.wei", []string{"identity_digest=" + digest("li.wei"), `id="refused"`, listed, number}, []string{unlisted, unlistedNumber}},
		{"unlisted", "account", "mallory", []string{"identity_digest=" + digest("mallory"), `id="refused"`, unlisted}, []string{listed}},
		{"by the user id", "user_id", "4", []string{`id="refused"`, listed, number}, []string{"identity_digest", unlisted, unlistedNumber}},
		{"an unlisted number", "user_id", "99", []string{`id="refused"`, unlistedNumber}, []string{listed, unlisted, number}},
		{"more than are shown", "user_id", "98", many[5:], many[:5]},
		{"never refused", "account", "stranger", []string{"identity_digest=" + digest("stranger")}, []string{`id="refused"`}},
		{"nobody's number", "user_id", "77", nil, []string{`id="refused"`, "identity_digest"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := a.post(url.Values{"action": {"why"}, "kind": {c.kind}, "user": {c.text}})
			_, answer, found := strings.Cut(p.body, `<div class="answer"`)
			require.True(t, found)
			for _, text := range c.says {
				assert.Contains(t, answer, text)
			}
			for _, text := range c.lacks {
				assert.NotContains(t, answer, text)
			}
			wellFormed(t, p.body)
			p.lacks("li.wei", "mallory", "stranger")
			a.post(url.Values{"action": {"why"}, "kind": {c.kind}, "user": {c.text}}, speaking("zh")).lacks("In the log", "last refusals", "why.")
		})
	}
	p := a.post(url.Values{"action": {"refusal"}, "decision": {unlisted}})
	p.has(`<option value="account" selected>`, "Account "+digest("mallory"))
	p = a.post(url.Values{"action": {"refusal"}, "decision": {listed}})
	p.lacks("Account " + digest("li.wei")) // who is listed has a number
	newest := a.post(url.Values{"action": {"refusal"}, "decision": {many[len(many)-1]}})
	assert.Equal(t, http.StatusOK, newest.status)
	newest.has(`value="98"`)
	newest.lacks(`value="0"`) // no organisation
	assert.NotContains(t, a.log.String(), "mallory")
}
