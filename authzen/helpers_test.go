package authzen_test

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/authzen"
	"github.com/rolegate/rolegate/rolegatetest"

	"github.com/rolegate/rolegate/internal/logbook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// big is an organisation whose number a float64 rounds to an even one.
const big = 9007199254740993

// listed is who is on the list of every test.
func listed() *rolegatetest.Static {
	grant := func(org int64, role string) rolegate.Grant { return rolegate.Grant{OrgID: org, RoleCode: role} }
	return rolegatetest.NewStatic(
		rolegate.Record{UserID: 1, Sequence: 1, Account: "alice", Email: "alice@example.com", ThirdAccount: "a-1", ThirdUserID: "4711",
			Grants: []rolegate.Grant{grant(7, "teacher"), grant(big, "teacher")}},
		rolegate.Record{UserID: 2, Sequence: 2, Account: "bob", Grants: []rolegate.Grant{grant(7, "pupil")}},
		rolegate.Record{UserID: 3, Sequence: 3, Account: "twin"},
		rolegate.Record{UserID: 4, Sequence: 4, Account: "twin"},
	)
}

func openGate(t testing.TB, change ...func(*rolegate.Config)) *rolegate.Gate {
	t.Helper()
	cfg := rolegate.Config{
		Source: listed(), Logger: slog.New(slog.DiscardHandler),
		Aliases: []rolegate.Kind{rolegate.KindAccount, rolegate.KindEmail, rolegate.KindThirdAccount, rolegate.KindThirdUserID},
	}
	for _, f := range change {
		f(&cfg)
	}
	gate, err := rolegate.Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, gate.Close()) })
	return gate
}

var errBroken = errors.New("the token store is away")

// byToken knows one caller who may ask, and one who may not.
func byToken(r *http.Request) error {
	switch r.Header.Get("Authorization") {
	case "Bearer pep":
		return nil
	case "Bearer other":
		return authzen.ErrForbidden
	case "Bearer broken":
		return errBroken
	case "Bearer away":
		return errAway(7 * time.Second)
	case "Bearer panic":
		panic("secret")
	}
	return rolegate.ErrNobody
}

// errAway says when to come again.
type errAway time.Duration

func (errAway) Error() string               { return "the keys are away" }
func (e errAway) RetryAfter() time.Duration { return time.Duration(e) }

// config is what most tests ask for.
func config(gate *rolegate.Gate) authzen.Config {
	teacher := gate.Policy(rolegate.AnyRole("teacher"))
	return authzen.Config{
		Gate: gate, Caller: byToken, URL: "https://pdp.example.com", Logger: slog.New(slog.DiscardHandler),
		Subjects: map[string]rolegate.Kind{
			"user": rolegate.KindUserID, "account": rolegate.KindAccount, "email": rolegate.KindEmail,
			"third_account": rolegate.KindThirdAccount, "third_user": rolegate.KindThirdUserID,
		},
		Rules: []authzen.Rule{
			{Resource: "record", Action: "read", Policy: gate.Policy(rolegate.AnyRole("teacher", "pupil"))},
			{Resource: "record", Action: "write", Policy: teacher},
			{Resource: "report", Action: "write", Policy: teacher, Org: authzen.OrgFromProperty("org_id")},
			{Resource: "org", Action: "read", Policy: teacher, Org: authzen.OrgFromID()},
			{Resource: "broken", Action: "read", Policy: teacher, Org: func(authzen.Resource) (int64, error) { panic("secret") }},
			{Resource: "nowhere", Action: "read", Policy: teacher, Org: func(authzen.Resource) (int64, error) { return 0, nil }},
			{Resource: "mine", Action: "read", Policy: gate.Policy(rolegate.Where("owner", func(rolegate.User, *http.Request) bool { return true }))},
			{Resource: "shadow", Action: "read", Policy: gate.Policy(rolegate.AnyRole("admin"), rolegate.Shadow())},
		},
	}
}

func newPDP(t testing.TB, cfg authzen.Config) *authzen.PDP {
	t.Helper()
	pdp, err := authzen.New(cfg)
	require.NoError(t, err)
	return pdp
}

// post asks as the caller who may.
func post(h http.Handler, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer pep")
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] == "" {
			r.Header.Del(headers[i])
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// A logBook collects log lines.
type logBook struct{ logbook.Book }

var _ io.Writer = (*logBook)(nil)
