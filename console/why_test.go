package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/chiroutes"
	"github.com/rolegate/rolegate/rolegatetest"
)

func TestWhy(t *testing.T) {
	t.Parallel()
	a := newApp(t, rolegate.Config{Aliases: []rolegate.Kind{rolegate.KindAccount}, Implies: map[string][]string{"principal": {"teacher"}}},
		user(1, in(7, "teacher"), in(8, "teacher"), in(8, "homeroom")), user(2, in(9, "principal")), user(3),
		rolegate.Record{UserID: 4, Account: "li.wei"}, rolegate.Record{UserID: 5, Account: "twin"}, rolegate.Record{UserID: 6, Account: "twin"})
	other := newApp(t, rolegate.Config{})
	ok := func(http.ResponseWriter, *http.Request) {}
	both := rolegate.AllRoles("teacher", "homeroom")
	inOrg := rolegate.InOrg(rolegate.PathOrg("org"))
	a.router.With(a.gate.Admit, a.gate.Require(both, inOrg)).Post("/orgs/{org}/reports", ok)
	a.router.With(a.gate.Require(rolegate.AnyRole("teacher"))).Get("/grades", ok)
	a.router.With(a.gate.Require(rolegate.AnyRole("pupil"), rolegate.Shadow())).Get("/shadow", ok)
	a.router.With(a.gate.Require(rolegate.AnyRole("teacher"), rolegate.MaxAge(time.Nanosecond))).Get("/exams", ok)
	a.router.With(a.gate.Require(rolegate.Either(rolegate.AnyRole("admin"), rolegate.Where("own", func(rolegate.User, *http.Request) bool { return false })))).Get("/own", ok)
	a.router.With(other.gate.Admit, a.gate.Require(rolegate.NoRole("homeroom"))).Get("/two", ok)
	a.router.Get("/open", ok)
	for _, c := range []struct {
		name  string
		form  url.Values
		says  []string
		lacks []string
	}{
		{"listed", url.Values{"user": {"3"}}, []string{"The user passes.", "admitted <code>granted</code>", "Yes: user 3."}, []string{"The user is refused."}},
		{"unlisted", url.Values{"user": {"99"}}, []string{"The user is refused.", "not_authorized", "403 Forbidden", "the marketplace has not authorised this user", "one incremental refresh"}, nil},
		{"both roles here", url.Values{"user": {"1"}, "org": {"8"}, "route": {"POST /orgs/{org}/reports"}},
			[]string{"The user passes.", "Guard 2 of 2", "In organisation 8, and nowhere else.", "by homeroom, teacher"}, nil},
		{"one there, one elsewhere", url.Values{"user": {"1"}, "org": {"7"}, "route": {"POST /orgs/{org}/reports"}},
			[]string{"The user is refused.", "role_missing", "Organisation 7", "has: teacher"}, []string{"Organisation 8"}},
		{"no organisation", url.Values{"user": {"1"}, "route": {"POST /orgs/{org}/reports"}}, []string{"org_unreadable", "The guard has InOrg"}, nil},
		{"an organisation that is not asked", url.Values{"user": {"1"}, "org": {"99"}, "route": {"GET /grades"}},
			[]string{"The user passes.", "In any one of the user&#39;s", "Organisation 7", "Organisation 8"}, []string{"Organisation 99"}},
		{"by the hierarchy", url.Values{"user": {"2"}, "route": {"GET /grades"}}, []string{"The user passes.", "by principal"}, nil},
		{"no role at all", url.Values{"user": {"3"}, "route": {"GET /grades"}}, []string{"role_missing", "Without any role"}, nil},
		{"shadow", url.Values{"user": {"1"}, "route": {"GET /shadow"}}, []string{"The user passes.", "role_missing (shadowed)", "the refusal is counted and logged"}, nil},
		{"too old", url.Values{"user": {"1"}, "route": {"GET /exams"}}, []string{"too_old", "503 Service Unavailable", "waits up to 3 s for a full refresh first"}, nil},
		{"a Where", url.Values{"user": {"1"}, "route": {"GET /own"}}, []string{"It depends on the request", "Only a request can tell", "Where(own)"}, nil},
		{"another gate's guard", url.Values{"user": {"3"}, "route": {"GET /two"}}, []string{"The user passes.", "another gate&#39;s"}, nil},
		{"an outer guard refuses", url.Values{"user": {"99"}, "org": {"7"}, "route": {"POST /orgs/{org}/reports"}}, []string{"not_authorized", "Not reached"}, nil},
		{"by account", url.Values{"kind": {"account"}, "user": {"li.wei"}}, []string{"The user passes.", "Yes: user 4. (Account)", "withheld"}, nil},
		{"by an account of two", url.Values{"kind": {"account"}, "user": {"twin"}}, []string{"ambiguous", "several users share this alias"}, nil},
		{"by a kind that is not indexed", url.Values{"kind": {"email"}, "user": {"a@b.example"}}, []string{"identify_failed", "see Config.Aliases"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			before := a.gate.Status().Decisions
			c.form.Set("action", "why")
			p := a.post(c.form)
			assert.Equal(t, http.StatusOK, p.status)
			p.has(c.says...)
			p.lacks(append(c.lacks, "li.wei", `value="twin"`, "a@b.example")...)
			wellFormed(t, p.body)
			assert.Equal(t, before[rolegate.ReasonNotAuthorized], a.gate.Status().Decisions[rolegate.ReasonNotAuthorized], "asking is not counted")
			zh := a.post(c.form, speaking("zh"))
			assert.Equal(t, http.StatusOK, zh.status)
			zh.lacks("The user is", "The user passes", "li.wei", "step.", "why.")
		})
	}
	t.Cleanup(func() { assert.NotContains(t, a.log.String(), "li.wei") })
}

func TestWhyOfSomethingWrong(t *testing.T) {
	t.Parallel()
	a := newApp(t, rolegate.Config{})
	for _, c := range []struct {
		name string
		form url.Values
		says string
	}{
		{"nobody", url.Values{}, "must not be empty"},
		{"no number", url.Values{"user": {"zhang"}}, "a decimal number above 0"},
		{"zero", url.Values{"user": {"0"}}, "a decimal number above 0"},
		{"another spelling", url.Values{"user": {"007"}}, "a decimal number above 0"},
		{"too large", url.Values{"user": {"9223372036854775808"}}, "a decimal number above 0"},
		{"no text", url.Values{"user": {"\xff"}}, "must not be empty"},
		{"too long", url.Values{"kind": {"account"}, "user": {strings.Repeat("x", 2000)}}, "must not be empty"},
		{"no organisation", url.Values{"user": {"1"}, "org": {"-7"}}, "Give an organisation id"},
		{"a route that is not there", url.Values{"user": {"1"}, "route": {"GET /nowhere"}}, "does not exist any more"},
		{"an open route", url.Values{"user": {"1"}, "route": {"GET /open"}}, "does not exist any more"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.form.Set("action", "why")
			p := a.post(c.form)
			assert.Equal(t, http.StatusUnprocessableEntity, p.status)
			p.has(c.says)
			p.lacks(`class="answer"`, "zhang")
		})
	}
}

// A user whose removal is held, and one with an invalid record.
func TestWhyOfTroubledUsers(t *testing.T) {
	t.Parallel()
	a := newApp(t, rolegate.Config{}, append(pupils(), rolegate.Record{UserID: 77, Bad: assert.AnError})...)
	a.hold()
	why := func(id string) page { return a.post(url.Values{"action": {"why"}, "user": {id}}) }
	why("1").has("The user passes.", "the removal is held back")
	why("77").has("The user is refused.", "record could not be understood")
}

// What the page says is what the gate does.
func TestWhyIsTrue(t *testing.T) {
	t.Parallel()
	a := newApp(t, rolegate.Config{OnDeny: rolegate.OnDeny{Off: true}}, user(1, in(7, "teacher")), user(2, in(8, "teacher"), in(8, "homeroom")), user(3))
	ok := func(http.ResponseWriter, *http.Request) {}
	a.router.With(a.gate.Admit, a.gate.Require(rolegate.AnyRole("teacher"), rolegate.NoRole("homeroom"))).Get("/x", ok)
	rolegatetest.RequireGuarded(t, chiroutes.Must(chiroutes.Routes(a.router)))
	for _, id := range []string{"1", "2", "3", "4"} {
		p := a.post(url.Values{"action": {"why"}, "user": {id}, "route": {"GET /x"}})
		r, err := http.NewRequest(http.MethodGet, "/x", nil)
		require.NoError(t, err)
		status := serve(t, a.router, r, header("X-User-Id", id)).status
		assert.Equal(t, status == http.StatusOK, strings.Contains(p.body, "The user passes."), id)
		if id == "3" || id == "4" {
			p.has("refresh on deny is off")
		}
	}
}
