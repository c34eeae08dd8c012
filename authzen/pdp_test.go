package authzen_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/authzen"
)

// Who may ask, before anything is read.
func TestCaller(t *testing.T) {
	t.Parallel()
	var log logBook
	cfg := config(openGate(t))
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	cfg.Challenge = `Bearer realm="pdp"`
	pdp := newPDP(t, cfg)
	for _, path := range []string{single, batch} {
		for _, test := range []struct {
			name, authorization string
			status              int
		}{
			{"nobody", "", 401}, {"somebody unknown", "Bearer guessed", 401}, {"forbidden", "Bearer other", 403},
			{"broken", "Bearer broken", 500}, {"away", "Bearer away", 503}, {"panics", "Bearer panic", 500}, {"may ask", "Bearer pep", 400},
		} {
			t.Run(path+" "+test.name, func(t *testing.T) {
				w := post(pdp, path, "no JSON", "Authorization", test.authorization, "X-Request-ID", "r-1")
				assert.Equal(t, test.status, w.Code)
				assert.Equal(t, "r-1", w.Header().Get("X-Request-ID"))
				assert.Equal(t, test.status == 401, w.Header().Get("WWW-Authenticate") == cfg.Challenge)
				assert.NotContains(t, w.Body.String(), "store")
				assert.Equal(t, test.status == 503, w.Header().Get("Retry-After") == "7")
			})
		}
	}
	assert.Contains(t, log.String(), errBroken.Error())
	assert.NotContains(t, log.String(), "secret")
}

// A caller who leaves while Caller is asked alarms nobody, but a panic does.
func TestCallerLeaves(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, level string
		status      int
		find        func() error
	}{
		{"an error", "DEBUG", 499, func() error { return errBroken }},
		{"a panic", "ERROR", 500, func() error { panic("secret") }},
		{"nobody", "", 401, func() error { return rolegate.ErrNobody }},
		{"forbidden", "", 403, func() error { return authzen.ErrForbidden }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var log logBook
			ctx, leave := context.WithCancel(t.Context())
			cfg := config(openGate(t))
			cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			cfg.Caller = func(*http.Request) error { leave(); return test.find() }
			w := httptest.NewRecorder()
			newPDP(t, cfg).ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodPost, single, nil))
			assert.Equal(t, test.status, w.Code)
			assert.Equal(t, test.level != "", strings.Contains(log.String(), "level="+test.level+" "), log.String())
		})
	}
}

// The decision point does not read the body of a caller who may not ask.
func TestCallerBeforeBody(t *testing.T) {
	t.Parallel()
	pdp := newPDP(t, config(openGate(t)))
	r := httptest.NewRequest(http.MethodPost, single, io.MultiReader(unreadable{t}))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	pdp.ServeHTTP(w, r)
	assert.Equal(t, 401, w.Code)
}

type unreadable struct{ t *testing.T }

func (u unreadable) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, io.EOF
}

func TestContentType(t *testing.T) {
	t.Parallel()
	pdp := newPDP(t, config(openGate(t)))
	for _, test := range []struct {
		name   string
		types  []string
		status int
	}{
		{"JSON", []string{"application/json"}, 200},
		{"with charset", []string{"Application/JSON; charset=UTF-8"}, 200},
		{"other parameters", []string{"application/json; v=1"}, 200},
		{"none", nil, 400},
		{"empty", []string{""}, 400},
		{"text", []string{"text/plain"}, 400},
		{"a form", []string{"application/x-www-form-urlencoded"}, 400},
		{"a kind of JSON", []string{"application/problem+json"}, 400},
		{"other charset", []string{"application/json; charset=latin1"}, 400},
		{"broken", []string{"application/json; ="}, 400},
		{"twice", []string{"application/json", "application/json"}, 400},
		{"a list", []string{"application/json, text/plain"}, 400},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, single, strings.NewReader(q("user", "1", "read", "record")))
			r.Header.Set("Authorization", "Bearer pep")
			r.Header["Content-Type"] = test.types
			w := httptest.NewRecorder()
			pdp.ServeHTTP(w, r)
			assert.Equal(t, test.status, w.Code)
		})
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	pdp := newPDP(t, config(openGate(t)))
	for _, test := range []struct {
		name string
		ids  []string
		back string
	}{
		{"a UUID", []string{"bfe9eb29-ab87-4ca3-be83-a1d5d8305716"}, "bfe9eb29-ab87-4ca3-be83-a1d5d8305716"},
		{"blanks within", []string{"a b"}, "a b"},
		{"as long as may be", []string{strings.Repeat("x", 256)}, strings.Repeat("x", 256)},
		{"longer", []string{strings.Repeat("x", 257)}, ""},
		{"none", nil, ""},
		{"empty", []string{""}, ""},
		{"twice", []string{"a", "b"}, ""},
		{"line break", []string{"a\r\nSet-Cookie: x=1"}, ""},
		{"not ASCII", []string{"ä"}, ""},
		{"delete", []string{"a\x7f"}, ""},
		{"blank at its end", []string{"a "}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, path := range []string{single, batch, "/.well-known/authzen-configuration", "/elsewhere"} {
				r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(q("user", "1", "read", "record")))
				r.Header.Set("Authorization", "Bearer pep")
				r.Header.Set("Content-Type", "application/json")
				r.Header["X-Request-Id"] = test.ids
				w := httptest.NewRecorder()
				pdp.ServeHTTP(w, r)
				assert.Equal(t, test.back, w.Header().Get("X-Request-ID"), path)
			}
		})
	}
}

func TestMethodsAndPaths(t *testing.T) {
	t.Parallel()
	pdp := newPDP(t, config(openGate(t)))
	metadata := "/.well-known/authzen-configuration"
	for _, test := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", single, 405, "POST"}, {"PUT", batch, 405, "POST"}, {"OPTIONS", single, 405, "POST"},
		{"GET", metadata, 200, ""}, {"HEAD", metadata, 200, ""}, {"POST", metadata, 405, "GET, HEAD"},
		{"POST", "/access/v1/search/subject", 404, ""}, {"POST", single + "/", 404, ""}, {"POST", "/", 404, ""},
	} {
		t.Run(test.method+" "+test.path, func(t *testing.T) {
			r := httptest.NewRequest(test.method, test.path, nil)
			w := httptest.NewRecorder()
			pdp.ServeHTTP(w, r)
			assert.Equal(t, test.status, w.Code)
			assert.Equal(t, test.allow, w.Header().Get("Allow"))
		})
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	gate := openGate(t)
	for _, test := range []struct{ url, path, base string }{
		{"https://pdp.example.com", "/.well-known/authzen-configuration", "https://pdp.example.com"},
		{"https://pdp.example.com/", "/.well-known/authzen-configuration", "https://pdp.example.com"},
		{"https://pdp.example.com:8443/tenant1", "/.well-known/authzen-configuration/tenant1", "https://pdp.example.com:8443/tenant1"},
	} {
		t.Run(test.url, func(t *testing.T) {
			t.Parallel()
			cfg := config(gate)
			cfg.URL = test.url
			pdp := newPDP(t, cfg)
			w := httptest.NewRecorder()
			pdp.ServeHTTP(w, httptest.NewRequest("GET", test.path, nil))
			require.Equal(t, 200, w.Code)
			assert.Equal(t, "application/json", w.Header().Get("Content-Type"))
			assert.Contains(t, w.Header().Get("Cache-Control"), "max-age=")
			var got map[string]string
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
			assert.Equal(t, map[string]string{
				"policy_decision_point":       test.url,
				"access_evaluation_endpoint":  test.base + single,
				"access_evaluations_endpoint": test.base + batch,
				"search_action_endpoint":      test.base + "/access/v1/search/action",
			}, got)
			for _, endpoint := range []string{"access_evaluation_endpoint", "access_evaluations_endpoint"} {
				w := post(pdp, got[endpoint], q("user", "1", "read", "record"))
				assert.Equal(t, 200, w.Code, "where the metadata points to, there is an answer")
				assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
			}
		})
	}
	t.Run("no URL", func(t *testing.T) {
		t.Parallel()
		cfg := config(gate)
		cfg.URL = ""
		pdp := newPDP(t, cfg)
		w := httptest.NewRecorder()
		pdp.Metadata(w, httptest.NewRequest("GET", "/.well-known/authzen-configuration", nil))
		assert.Equal(t, 404, w.Code)
		assert.Equal(t, 200, post(pdp, single, q("user", "1", "read", "record")).Code)
	})
}

func TestLimits(t *testing.T) {
	t.Parallel()
	cfg := config(openGate(t))
	cfg.MaxEvaluations = 3
	pdp := newPDP(t, cfg)
	padded := func(size int) string {
		body := q("user", "1", "read", "record")
		return body + strings.Repeat(" ", size-len(body))
	}
	items := func(n int) string {
		return `{"evaluations":[` + strings.TrimSuffix(strings.Repeat(q("user", "1", "read", "record")+",", n), ",") + `]}`
	}
	assert.Equal(t, 200, post(pdp, single, padded(1<<20)).Code)
	w := post(pdp, single, padded(1<<20+1))
	assert.Equal(t, 400, w.Code)
	assert.Contains(t, w.Body.String(), "1 MiB")
	assert.Equal(t, 200, post(pdp, batch, items(3)).Code)
	assert.Equal(t, 400, post(pdp, batch, items(4)).Code)

	cfg.MaxEvaluations = 0
	pdp = newPDP(t, cfg)
	assert.Equal(t, 200, post(pdp, batch, items(1000)).Code)
	assert.Equal(t, 400, post(pdp, batch, items(1001)).Code)
}

// A body that breaks off is no question.
func TestBodyBreaksOff(t *testing.T) {
	t.Parallel()
	pdp := newPDP(t, config(openGate(t)))
	body := io.MultiReader(strings.NewReader(q("user", "1", "read", "record")), failing{})
	r := httptest.NewRequest(http.MethodPost, single, body)
	r.Header.Set("Authorization", "Bearer pep")
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	pdp.ServeHTTP(w, r)
	assert.Equal(t, 400, w.Code)
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestZeroPDP(t *testing.T) {
	t.Parallel()
	for name, pdp := range map[string]*authzen.PDP{"nil": nil, "zero": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, 404, post(pdp, single, q("user", "1", "read", "record")).Code)
			assert.Equal(t, 500, post(http.HandlerFunc(pdp.Evaluation), single, q("user", "1", "read", "record")).Code)
			assert.Equal(t, 500, post(http.HandlerFunc(pdp.Evaluations), batch, q("user", "1", "read", "record")).Code)
			assert.Equal(t, 404, post(http.HandlerFunc(pdp.Metadata), batch, "").Code)
		})
	}
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	gate := openGate(t, func(c *rolegate.Config) { c.Aliases = []rolegate.Kind{rolegate.KindEmail} })
	policy := gate.Policy(rolegate.AnyRole("teacher"))
	right := func() authzen.Config {
		return authzen.Config{
			Gate: gate, Caller: byToken, Subjects: map[string]rolegate.Kind{"user": rolegate.KindUserID, "email": rolegate.KindEmail},
			Rules: []authzen.Rule{{Resource: "record", Action: "read", Policy: policy}},
		}
	}
	_, err := authzen.New(right())
	require.NoError(t, err)
	for _, test := range []struct {
		name   string
		change func(*authzen.Config)
		says   string
	}{
		{"no gate", func(c *authzen.Config) { c.Gate = nil }, "Gate is nil"},
		{"no caller", func(c *authzen.Config) { c.Caller = nil }, "Caller is nil"},
		{"no subjects", func(c *authzen.Config) { c.Subjects = nil }, "Subjects is empty"},
		{"empty subject type", func(c *authzen.Config) { c.Subjects[""] = rolegate.KindUserID }, "a type is empty"},
		{"no kind", func(c *authzen.Config) { c.Subjects["x"] = 0 }, `"x": nobody is not a kind`},
		{"kind that is none", func(c *authzen.Config) { c.Subjects["x"] = 17 }, `"x": Kind(17) is not a kind`},
		{"kind that is not indexed", func(c *authzen.Config) { c.Subjects["x"] = rolegate.KindAccount }, `"x": the gate does not index the kind account`},
		{"no rules", func(c *authzen.Config) { c.Rules = nil }, "Rules is empty"},
		{"rule without resource", func(c *authzen.Config) { c.Rules[0].Resource = "" }, "rule 1 lacks"},
		{"rule without action", func(c *authzen.Config) { c.Rules[0].Action = "" }, "rule 1 lacks"},
		{"rule without policy", func(c *authzen.Config) { c.Rules[0].Policy = nil }, "rule 1 (\"read\" on \"record\") has no policy"},
		{"rule with zero policy", func(c *authzen.Config) { c.Rules[0].Policy = &rolegate.Policy{} }, "has no policy"},
		{"rule twice", func(c *authzen.Config) { c.Rules = append(c.Rules, c.Rules[0]) }, "rule 2 is the second"},
		{"URL without https", func(c *authzen.Config) { c.URL = "http://pdp.example.com" }, "URL: it is not an https URL"},
		{"URL without host", func(c *authzen.Config) { c.URL = "https://:443/x" }, "URL: it is not an https URL"},
		{"URL with a user", func(c *authzen.Config) { c.URL = "https://a:b@pdp.example.com" }, "URL: it is not an https URL"},
		{"URL with a query", func(c *authzen.Config) { c.URL = "https://pdp.example.com?" }, "URL: it has a query"},
		{"URL with a fragment", func(c *authzen.Config) { c.URL = "https://pdp.example.com#" }, "URL: it has a query"},
		{"URL with dots", func(c *authzen.Config) { c.URL = "https://pdp.example.com/a/../b" }, "URL: its path"},
		{"URL that is none", func(c *authzen.Config) { c.URL = "https://pdp.example.com:x" }, "URL: it cannot be parsed"},
		{"negative limit", func(c *authzen.Config) { c.MaxEvaluations = -1 }, "MaxEvaluations is -1"},
		{"limit too high", func(c *authzen.Config) { c.MaxEvaluations = 10_001 }, "MaxEvaluations is 10001"},
		{"challenge with a line break", func(c *authzen.Config) { c.Challenge = "Bearer\r\nX: y" }, "Challenge:"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := right()
			test.change(&cfg)
			pdp, err := authzen.New(cfg)
			assert.Nil(t, pdp)
			assert.ErrorContains(t, err, test.says)
		})
	}
	t.Run("all at once", func(t *testing.T) {
		_, err := authzen.New(authzen.Config{MaxEvaluations: -1})
		for _, says := range []string{"Gate", "Caller", "Subjects", "Rules", "MaxEvaluations"} {
			assert.ErrorContains(t, err, says)
		}
	})
	assert.PanicsWithValue(t, "authzen: OrgFromProperty: give the name of a property, such as org_id", func() { authzen.OrgFromProperty("") })
}

// Changing a Config afterwards changes nothing.
func TestConfigIsCopied(t *testing.T) {
	t.Parallel()
	cfg := config(openGate(t))
	pdp := newPDP(t, cfg)
	cfg.Subjects["group"] = rolegate.KindUserID
	cfg.Rules[0].Action = "delete"
	assert.Equal(t, no("unknown_subject_type"), post(pdp, single, q("group", "1", "read", "record")).Body.String())
	assert.Equal(t, no("unknown_action"), post(pdp, single, q("user", "1", "delete", "record")).Body.String())
}

// The handlers work behind routers, over a real connection.
func TestOverHTTP(t *testing.T) {
	t.Parallel()
	pdp := newPDP(t, config(openGate(t)))
	mux := http.NewServeMux()
	mux.HandleFunc("POST /inner/evaluation", pdp.Evaluation)
	mux.Handle("/", pdp)
	server := httptest.NewServer(mux)
	defer server.Close()
	defer server.Client().CloseIdleConnections()
	for _, path := range []string{single, batch, "/inner/evaluation"} {
		r, err := http.NewRequest(http.MethodPost, server.URL+path, strings.NewReader(q("user", "1", "read", "record")))
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer pep")
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Request-ID", "42")
		answer, err := server.Client().Do(r)
		require.NoError(t, err)
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		assert.Equal(t, fmt.Sprint(200, yes, "42"), fmt.Sprint(answer.StatusCode, string(body), answer.Header.Get("X-Request-ID")))
	}
}
