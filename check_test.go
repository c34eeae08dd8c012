package rolegate_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// TestCheckAnswersAsAGuard compares Check with a guard: status, headers and
// body but for the decision's id, what is counted and what is logged.
func TestCheckAnswersAsAGuard(t *testing.T) {
	t.Parallel()
	type answer struct {
		code   int
		header http.Header
		body   string
		lines  int
		denied uint64
	}
	redirect := rolegate.DenyWith(rolegate.DenyRedirect("/login", nil))
	for _, c := range []struct {
		name    string
		method  string
		user    int64
		options []rolegate.Option
		want    int
	}{
		{"granted", "GET", 1, nil, 200},
		{"in the organisation of the path", "GET", 1, []rolegate.Option{rolegate.InOrg(rolegate.PathOrg("org"))}, 200},
		{"nobody", "GET", 0, nil, 401},
		{"nobody, by HEAD", "HEAD", 0, nil, 401},
		{"sent to the login page", "GET", 0, []rolegate.Option{redirect}, 303},
		{"sent nowhere by POST", "POST", 0, []rolegate.Option{redirect}, 401},
		{"not listed", "GET", 9, nil, 403},
		{"without the role", "GET", 2, nil, 403},
		{"let pass by a shadow", "GET", 2, []rolegate.Option{rolegate.Shadow()}, 200},
		{"closed", "GET", 1, nil, 503},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			run := func(handler func(*rolegate.Gate, *rolegate.Policy) http.Handler) answer {
				book := &logBook{}
				gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(record(1, in(7, "teacher")), record(2)), Logger: book.logger()})
				if c.name == "closed" {
					require.NoError(t, gate.Close())
				}
				p := gate.Policy(append(c.options, rolegate.AnyRole("teacher"))...)
				r := httptest.NewRequest(c.method, "/", nil)
				r.Header.Set("Accept", "text/html")
				r.SetPathValue("org", "7")
				if c.user != 0 {
					r.Header.Set("X-User-Id", string('0'+rune(c.user)))
				}
				w := httptest.NewRecorder()
				w.Header().Set("Etag", `"of a success"`)
				w.Header().Set("Vary", "Origin")
				handler(gate, p).ServeHTTP(w, r)
				a := answer{w.Code, w.Header(), denyID.ReplaceAllString(w.Body.String(), "ID"), len(book.lines("rolegate: refused")), 0}
				for reason, n := range gate.Status().Decisions {
					if reason != rolegate.ReasonGranted {
						a.denied += n
					}
				}
				return a
			}
			guarded := run(func(g *rolegate.Gate, p *rolegate.Policy) http.Handler { return p.Wrap(ok(g)) })
			checked := run(func(g *rolegate.Gate, p *rolegate.Policy) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					a, denial := p.Check(r)
					if denial != nil {
						assert.Equal(t, c.want, denial.Status)
						assert.ErrorContains(t, denial, denial.Reason.String())
						assert.ErrorContains(t, denial, denial.ID)
						denial.ServeHTTP(w, r)
						return
					}
					defer a.End()
					a.KeepPrivate(w.Header())
					ok(g).ServeHTTP(w, a.Request())
				})
			})
			assert.Equal(t, guarded, checked)
			assert.Equal(t, c.want, checked.code)
		})
	}
}

func TestCheckCall(t *testing.T) {
	t.Parallel()
	request := func() *http.Request {
		r := httptest.NewRequest("GET", "/", nil)
		r.SetPathValue("org", "7")
		return r
	}
	inOrg := rolegate.InOrg(rolegate.PathOrg("org"))
	yes := rolegate.Where("yes", func(rolegate.User, *http.Request) bool { return true })
	for _, c := range []struct {
		name    string
		call    rolegate.Call
		options []rolegate.Option
		want    rolegate.Reason
		org     int64
	}{
		{"in any organisation", rolegate.Call{Identity: rolegate.UserID(1)}, nil, rolegate.ReasonGranted, 0},
		{"in one", rolegate.Call{Identity: rolegate.UserID(1), Org: 7}, nil, rolegate.ReasonGranted, 7},
		{"in another", rolegate.Call{Identity: rolegate.UserID(1), Org: 8}, nil, rolegate.ReasonRoleMissing, 8},
		{"in one that cannot be told", rolegate.Call{Identity: rolegate.UserID(1), Org: -1, Request: request}, nil, rolegate.ReasonOrgUnreadable, 0},
		{"InOrg and no request", rolegate.Call{Identity: rolegate.UserID(1)}, []rolegate.Option{inOrg}, rolegate.ReasonOrgUnreadable, 0},
		{"InOrg and an organisation", rolegate.Call{Identity: rolegate.UserID(1), Org: 7}, []rolegate.Option{inOrg}, rolegate.ReasonGranted, 7},
		{"InOrg and a request", rolegate.Call{Identity: rolegate.UserID(1), Request: request}, []rolegate.Option{inOrg}, rolegate.ReasonGranted, 7},
		{"InOrg that the call overrides", rolegate.Call{Identity: rolegate.UserID(1), Org: 8, Request: request}, []rolegate.Option{inOrg}, rolegate.ReasonRoleMissing, 8},
		{"Where and no request", rolegate.Call{Identity: rolegate.UserID(1)}, []rolegate.Option{yes}, rolegate.ReasonConditionFailed, 0},
		{"Where and a request", rolegate.Call{Identity: rolegate.UserID(1), Request: request}, []rolegate.Option{yes}, rolegate.ReasonGranted, 0},
		{"nobody", rolegate.Call{Err: rolegate.ErrNobody}, nil, rolegate.ReasonNoIdentity, 0},
		{"the zero identity", rolegate.Call{}, nil, rolegate.ReasonNoIdentity, 0},
		{"an error beside an identity", rolegate.Call{Identity: rolegate.UserID(1), Err: errors.New("the store is away")}, nil, rolegate.ReasonIdentifyFailed, 0},
		{"a kind that is not indexed", rolegate.Call{Identity: identityOf(rolegate.KindAccount, "a")}, nil, rolegate.ReasonIdentifyFailed, 0},
		{"not listed", rolegate.Call{Identity: rolegate.UserID(9)}, nil, rolegate.ReasonNotAuthorized, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				events := make(chan rolegate.DecisionEvent, 1)
				book := &logBook{}
				gate := openGate(t, rolegate.Config{
					Source: rolegatetest.NewStatic(record(1, in(7, "teacher"))), Logger: book.logger(),
					SampleGrants: 1, OnDecision: func(e rolegate.DecisionEvent) { events <- e },
				})
				c.call.Method, c.call.Route = "POST", "/school.Grades/List"
				a, denial := gate.Policy(append(c.options, rolegate.AnyRole("teacher"))...).CheckCall(t.Context(), c.call)
				synctest.Wait()
				select {
				case e := <-events:
					assert.Equal(t, c.want, e.Reason)
					assert.Equal(t, "POST /school.Grades/List", e.Method+" "+e.Route)
				default:
					t.Error("nothing is reported")
				}
				if c.want != rolegate.ReasonGranted {
					require.NotNil(t, denial)
					assert.Equal(t, c.want.Status(), denial.Status)
					assert.NotEmpty(t, denial.Body)
					assert.Equal(t, "no-store", denial.Header.Get("Cache-Control"))
					line := book.lines("rolegate: refused")
					require.Len(t, line, 1)
					assert.Equal(t, denial.ID, line[0]["decision"])
					assert.Equal(t, "/school.Grades/List", line[0]["route"])
					return
				}
				require.Nil(t, denial)
				defer a.End()
				u, found := gate.UserFrom(a.Context())
				assert.True(t, found)
				assert.EqualValues(t, 1, u.ID())
				org, _ := gate.OrgFrom(a.Context())
				assert.Equal(t, c.org, org)
				assert.Equal(t, c.org, a.Org)
				assert.Nil(t, a.Request())
			})
		})
	}
}

// A call is made a request only if there is need of it, and once.
func TestCheckCallMakesOneRequestAtMost(t *testing.T) {
	t.Parallel()
	inOrg := rolegate.InOrg(rolegate.PathOrg("org"))
	yes := rolegate.Where("yes", func(rolegate.User, *http.Request) bool { return true })
	for _, c := range []struct {
		name     string
		user     int64
		org      int64
		reported bool
		options  []rolegate.Option
		requests int
	}{
		{"a grant", 1, 0, false, nil, 0},
		{"a grant in an organisation", 1, 7, false, nil, 0},
		{"InOrg and an organisation", 1, 7, false, []rolegate.Option{inOrg}, 0},
		{"InOrg without one", 1, 0, false, []rolegate.Option{inOrg}, 1},
		{"Where", 1, 7, false, []rolegate.Option{yes}, 1},
		{"a refusal", 9, 0, false, nil, 1},
		{"a refusal after a Where", 9, 0, false, []rolegate.Option{yes, inOrg}, 1},
		{"a grant that is reported", 1, 0, true, nil, 1},
		{"a Where whose grant is reported", 1, 0, true, []rolegate.Option{yes}, 1},
		{"what a Shadow lets pass", 2, 0, false, []rolegate.Option{rolegate.Shadow()}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg := rolegate.Config{Source: rolegatetest.NewStatic(record(1, in(7, "teacher")), record(2)), OnDeny: rolegate.OnDeny{Off: true}}
			if c.reported {
				cfg.SampleGrants, cfg.OnDecision = 1, func(rolegate.DecisionEvent) {}
			}
			gate, requests := openGate(t, cfg), 0
			a, denial := gate.Policy(append(c.options, rolegate.AnyRole("teacher"))...).CheckCall(t.Context(), rolegate.Call{
				Identity: rolegate.UserID(c.user), Org: c.org,
				Request: func() *http.Request {
					requests++
					r := httptest.NewRequest("GET", "/", nil)
					r.SetPathValue("org", "7")
					return r
				},
			})
			assert.Equal(t, c.user == 9, denial != nil)
			a.End()
			assert.Equal(t, c.requests, requests)
		})
	}
}

// TestCheckOfNothing denies by policies and gates that were never made.
func TestCheckOfNothing(t *testing.T) {
	t.Parallel()
	var none *rolegate.Gate
	for name, p := range map[string]*rolegate.Policy{
		"no policy": nil, "the zero policy": {}, "of no gate": none.AdmitPolicy(), "of the zero gate": new(rolegate.Gate).AdmitPolicy(),
	} {
		_, denial := p.Check(httptest.NewRequest("GET", "/", nil))
		if assert.NotNil(t, denial, name) {
			assert.Equal(t, rolegate.ReasonNotReady, denial.Reason, name)
		}
		_, denial = p.CheckCall(t.Context(), rolegate.Call{Identity: rolegate.UserID(1)})
		if assert.NotNil(t, denial, name) {
			assert.Equal(t, rolegate.ReasonNotReady, denial.Reason, name)
		}
	}
}

// TestCheckCallWaits has what Decide has not: the refresh before a denial, the
// wait for a MaxAge, and the end of the context on revocation.
func TestCheckCallWaits(t *testing.T) {
	t.Parallel()
	t.Run("a grant of a moment ago", func(t *testing.T) {
		t.Parallel()
		source := rolegatetest.NewStatic(record(1))
		gate := openGate(t, rolegate.Config{Source: source})
		p := gate.Policy(rolegate.AnyRole("teacher"), rolegate.InOrg(rolegate.PathOrg("org")))
		source.Put(record(1, in(7, "teacher")))
		assert.False(t, p.Decide(t.Context(), rolegate.UserID(1), 7).Allowed())
		a, denial := p.CheckCall(t.Context(), rolegate.Call{Identity: rolegate.UserID(1), Org: 7})
		require.Nil(t, denial)
		a.End()
	})
	t.Run("a revocation of a moment ago", func(t *testing.T) {
		t.Parallel()
		source := rolegatetest.NewStatic(record(1), record(2))
		gate := openGate(t, rolegate.Config{Source: source})
		source.Remove(1)
		_, denial := gate.Policy(rolegate.Listed(), rolegate.MaxAge(time.Nanosecond)).CheckCall(t.Context(), rolegate.Call{Identity: rolegate.UserID(1)})
		require.NotNil(t, denial)
		assert.Equal(t, rolegate.ReasonNotAuthorized, denial.Reason, "a full refresh was waited for")
	})
	t.Run("the context ends", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(record(1), record(2))
			gate := openGate(t, rolegate.Config{Source: source})
			outer, cancel := context.WithCancel(t.Context())
			defer cancel()
			a, denial := gate.Policy(rolegate.Listed(), rolegate.EndOnRevoke()).CheckCall(outer, rolegate.Call{Identity: rolegate.UserID(1)})
			require.Nil(t, denial)
			require.NoError(t, a.Context().Err())
			source.Remove(1)
			require.NoError(t, gate.RefreshAll(t.Context()))
			synctest.Wait()
			assert.ErrorIs(t, context.Cause(a.Context()), rolegate.ErrRevoked)
			assert.NoError(t, outer.Err())
			a.End()
			a.End()
		})
	})
	t.Run("End ends the context", func(t *testing.T) {
		t.Parallel()
		gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(record(1))})
		a, denial := gate.Policy(rolegate.Listed(), rolegate.EndOnRevoke()).CheckCall(t.Context(), rolegate.Call{Identity: rolegate.UserID(1)})
		require.Nil(t, denial)
		a.End()
		assert.ErrorIs(t, a.Context().Err(), context.Canceled)
		assert.NotErrorIs(t, context.Cause(a.Context()), rolegate.ErrRevoked)
	})
}

func TestCheckAllocations(t *testing.T) {
	gate := openGate(t, rolegate.Config{
		Source:   rolegatetest.NewStatic(record(1, in(7, "teacher"))),
		Identify: rolegate.ByUserID(func(*http.Request) (int64, error) { return 1, nil }),
	})
	p, ctx, r := gate.Policy(rolegate.AnyRole("teacher")), t.Context(), httptest.NewRequest("GET", "/", strings.NewReader(""))
	assert.LessOrEqual(t, testing.AllocsPerRun(100, func() { a, _ := p.Check(r); a.End() }), 2.0, "the request and its context")
	assert.LessOrEqual(t, testing.AllocsPerRun(100, func() {
		a, _ := p.CheckCall(ctx, rolegate.Call{Identity: rolegate.UserID(1), Org: 7, Method: "POST", Route: "/x"})
		a.End()
	}), 1.0, "the context")
}

// TestIdentify asks Config.Identify apart from a decision.
func TestIdentify(t *testing.T) {
	t.Parallel()
	var none *rolegate.Gate
	_, err := none.Identify(httptest.NewRequest("GET", "/", nil))
	assert.ErrorIs(t, err, rolegate.ErrNobody)
	_, err = new(rolegate.Gate).Identify(httptest.NewRequest("GET", "/", nil))
	assert.Error(t, err)
	gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(), Identify: rolegate.ByUserID(func(r *http.Request) (int64, error) {
		if r.Header.Get("X-User-Id") == "" {
			panic("no header")
		}
		return 7, nil
	})})
	r := httptest.NewRequest("GET", "/", nil)
	_, err = gate.Identify(r)
	assert.ErrorContains(t, err, "panicked")
	r.Header.Set("X-User-Id", "7")
	id, err := gate.Identify(r)
	require.NoError(t, err)
	assert.Equal(t, rolegate.UserID(7), id)
}
