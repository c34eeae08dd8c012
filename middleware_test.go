package rolegate_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// school is an app as a user of the package writes it, behind a real server,
// with the fake marketplace behind a real socket.
type school struct {
	market *rolegatetest.Marketplace
	gate   *rolegate.Gate
	url    string
}

const (
	unlisted  = int64(9_007_199_254_740_999)
	teacher   = int64(9_007_199_254_740_993) // 2^53+1
	homeroom  = int64(1_542_135_022_016_057_346)
	nobodyYet = int64(3)
	twin      = int64(4)
	otherTwin = int64(5)
)

func newSchool(t *testing.T, change func(*rolegate.Config)) *school {
	t.Helper()
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{IDs: rolegatetest.IDsMixed})
	m.Grant(teacher, 7, "teacher")
	m.Grant(homeroom, 7, "teacher", "homeroom")
	m.Grant(nobodyYet, 7)
	m.Put(rolegatetest.User{ID: twin, Account: "twin"}, rolegatetest.User{ID: otherTwin, Account: "twin"})
	cfg := rolegate.Config{
		Source: marketplace.New(marketplace.Config{
			BaseURL: m.Start(t), AppID: m.AppID(), Token: marketplace.StaticToken(m.Token()),
		}),
		Identify: rolegate.FirstOf(
			byHeader,
			rolegate.ByText(rolegate.KindAccount, func(r *http.Request) (string, error) {
				if account := r.Header.Get("X-Account"); account != "" {
					return account, nil
				}
				return "", rolegate.ErrNobody
			})),
	}
	if change != nil {
		change(&cfg)
	}
	s := &school{market: m, gate: openGate(t, cfg)}
	server := httptest.NewServer(s.routes())
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *school) routes() http.Handler {
	gate := s.gate
	r := chi.NewRouter()
	r.Use(gate.Admit)
	answer := ok(gate)
	r.Get("/", answer.ServeHTTP)
	r.With(gate.Require(rolegate.AnyRole("teacher", "admin"))).Get("/grades", answer.ServeHTTP)
	r.With(gate.Require(rolegate.AllRoles("teacher", "homeroom"), rolegate.InOrg(rolegate.PathOrg("orgID")))).
		Post("/orgs/{orgID}/reports", func(w http.ResponseWriter, r *http.Request) {
			org, _ := gate.OrgFrom(r.Context())
			_, _ = fmt.Fprint(w, org)
		})
	r.With(gate.Require(rolegate.Where("never", func(rolegate.User, *http.Request) bool { return false }))).
		Get("/never", answer.ServeHTTP)
	return r
}

func (s *school) ask(t *testing.T, method, path string, headers ...string) (status int, h http.Header, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.url+path, nil)
	require.NoError(t, err)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(r) // follows no redirect
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, resp.Header, string(b)
}

func id(user int64) string { return fmt.Sprint(user) }

func TestStatuses(t *testing.T) {
	t.Parallel()
	s := newSchool(t, nil)
	for _, c := range []struct {
		name, method, path string
		headers            []string
		status             int
		body               string // of a 200
	}{
		{"listed", "GET", "/", []string{"X-User-Id", id(nobodyYet)}, 200, "user 3"},
		{"an id above 2^53", "GET", "/", []string{"X-User-Id", id(teacher)}, 200, "user 9007199254740993"},
		{"role held", "GET", "/grades", []string{"X-User-Id", id(teacher)}, 200, "user 9007199254740993"},
		{"roles held in that organisation", "POST", "/orgs/7/reports", []string{"X-User-Id", id(homeroom)}, 200, "7"},
		{"no_identity", "GET", "/", nil, 401, ""},
		{"no_identity: id 0", "GET", "/", []string{"X-User-Id", "0"}, 401, ""},
		{"no_identity: negative id", "GET", "/", []string{"X-User-Id", "-3"}, 401, ""},
		{"identify_failed", "GET", "/", []string{"X-User-Id", "x"}, 500, ""},
		{"not_authorized", "GET", "/", []string{"X-User-Id", id(unlisted)}, 403, ""},
		{"not_authorized: the neighbour of a listed id", "GET", "/", []string{"X-User-Id", "9007199254740992"}, 403, ""},
		{"role_missing", "GET", "/grades", []string{"X-User-Id", id(nobodyYet)}, 403, ""},
		{"role_missing: one of two", "POST", "/orgs/7/reports", []string{"X-User-Id", id(teacher)}, 403, ""},
		{"role_missing: in another organisation", "POST", "/orgs/8/reports", []string{"X-User-Id", id(homeroom)}, 403, ""},
		{"condition_failed", "GET", "/never", []string{"X-User-Id", id(teacher)}, 403, ""},
		{"org_unreadable", "POST", "/orgs/07/reports", []string{"X-User-Id", id(homeroom)}, 403, ""},
		{"org_unreadable: 0", "POST", "/orgs/0/reports", []string{"X-User-Id", id(homeroom)}, 403, ""},
		{"org_unreadable: -1", "POST", "/orgs/-1/reports", []string{"X-User-Id", id(homeroom)}, 403, ""},
		{"ambiguous", "GET", "/", []string{"X-Account", "twin"}, 403, ""},
		{"unknown account", "GET", "/", []string{"X-Account", "Twin"}, 403, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			status, h, body := s.ask(t, c.method, c.path, c.headers...)
			assert.Equal(t, c.status, status, body)
			if c.status == 200 {
				assert.Equal(t, c.body, body)
				return
			}
			assert.Equal(t, "application/problem+json", h.Get("Content-Type"))
			assert.Equal(t, "no-store", h.Get("Cache-Control"))
			assert.Equal(t, c.status == 401, h.Get("WWW-Authenticate") != "")
			var problem struct {
				Status   int
				Decision string
			}
			require.NoError(t, json.Unmarshal([]byte(body), &problem))
			assert.Equal(t, c.status, problem.Status)
			assert.NotEmpty(t, problem.Decision)
		})
	}
}

func TestStatusesOfAGateThatCannotSay(t *testing.T) {
	t.Parallel()
	t.Run("not_ready, then ready by itself", func(t *testing.T) {
		t.Parallel()
		m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
		m.Grant(1, 7, "teacher")
		m.Fail(rolegatetest.HTTPStatus(http.StatusBadGateway))
		gate := openGate(t, rolegate.Config{Source: client(m), StartEmpty: true, Refresh: rolegate.Refresh{ResyncEvery: 20 * time.Millisecond}})
		server := httptest.NewServer(gate.Admit(ok(gate)))
		defer server.Close()
		get := func() int {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
			require.NoError(t, err)
			r.Header.Set("X-User-Id", "1")
			resp, err := server.Client().Do(r)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			if resp.StatusCode == http.StatusServiceUnavailable {
				assert.Regexp(t, `^[1-9][0-9]*$`, resp.Header.Get("Retry-After"))
			}
			return resp.StatusCode
		}
		assert.Equal(t, http.StatusServiceUnavailable, get())
		m.Recover()
		require.Eventually(t, func() bool { return get() == http.StatusOK }, 10*time.Second, 10*time.Millisecond)
	})
	t.Run("not_ready, and when to come again", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic()
			source.Fail(errors.New("away"))
			gate := openGate(t, rolegate.Config{Source: source, StartEmpty: true})
			after(time.Second)
			seconds, err := strconv.Atoi(ask(gate.Admit(never(t)), "GET", "/", 1).Header().Get("Retry-After"))
			require.NoError(t, err)
			assert.LessOrEqual(t, seconds, 10, "it soon tries again")
		})
	})
	t.Run("closed", func(t *testing.T) {
		t.Parallel()
		gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(record(1))})
		require.NoError(t, gate.Close())
		w := ask(gate.Admit(never(t)), "GET", "/", 1)
		assert.Equal(t, http.StatusServiceUnavailable, w.Code)
		assert.NotEmpty(t, w.Header().Get("Retry-After"))
		assert.Equal(t, rolegate.ReasonClosed, gate.Decide(t.Context(), rolegate.UserID(1)).Reason)
	})
	for name, gate := range map[string]*rolegate.Gate{"the zero Gate": {}, "a nil Gate": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, h := range []http.Handler{
				gate.Admit(never(t)),
				gate.Require(rolegate.NoRole("suspended"))(never(t)),
				(&rolegate.Policy{}).Wrap(never(t)),
				(*rolegate.Policy)(nil).Wrap(never(t)),
			} {
				assert.Equal(t, http.StatusServiceUnavailable, ask(h, "GET", "/", 1).Code)
			}
			assert.False(t, gate.Decide(t.Context(), rolegate.UserID(1)).Allowed())
			_, known := gate.UserFrom(t.Context())
			assert.False(t, known)
			assert.Equal(t, rolegate.StateStarting, gate.Status().State)
			assert.ErrorIs(t, gate.Refresh(t.Context()), rolegate.ErrClosed)
			assert.ErrorIs(t, gate.AcceptShrink(t.Context(), "x"), rolegate.ErrClosed)
			assert.NotPanics(t, gate.EndStreams)
			assert.NoError(t, gate.Close())
			assert.Panics(t, func() { gate.Require() })
			assert.Panics(t, func() { gate.Admit(nil) })
		})
	}
}

func TestPathsAreRoutedBeforeTheyAreGuarded(t *testing.T) {
	t.Parallel()
	s := newSchool(t, nil)
	host := strings.TrimPrefix(s.url, "http://")
	for _, c := range []struct {
		name, line string
		status     []int
	}{
		{"trailing slash", "GET /grades/ HTTP/1.1", []int{403, 404}},
		{"double slash", "GET //grades HTTP/1.1", []int{403, 404}},
		{"encoded letter", "GET /%67rades HTTP/1.1", []int{403, 404}},
		{"dot segments", "GET /x/../grades HTTP/1.1", []int{403, 404}},
		{"encoded slash", "GET /x/..%2fgrades HTTP/1.1", []int{403, 404}},
		{"absolute form", "GET http://" + host + "/grades HTTP/1.1", []int{403}},
		{"HEAD", "HEAD /grades HTTP/1.1", []int{403, 405}},
		{"OPTIONS", "OPTIONS /grades HTTP/1.1", []int{403, 405}},
		{"TRACE", "TRACE /grades HTTP/1.1", []int{403, 405}},
		{"an unknown method", "BREW /grades HTTP/1.1", []int{403, 405}},
		{"CONNECT", "CONNECT /grades HTTP/1.1", []int{400, 403, 404, 405}},
		{"method override", "GET /grades HTTP/1.1\r\nX-HTTP-Method-Override: POST", []int{403}},
		{"forwarded headers", "GET /grades HTTP/1.1\r\nX-Forwarded-For: 127.0.0.1\r\nX-Original-URL: /\r\nX-Rewrite-URL: /\r\nX-Forwarded-Uri: /", []int{403}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", host)
			require.NoError(t, err)
			defer conn.Close()
			require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
			// nobodyYet is listed but is no teacher.
			_, err = fmt.Fprintf(conn, "%s\r\nHost: %s\r\nX-User-Id: %d\r\nConnection: close\r\n\r\n", c.line, host, nobodyYet)
			require.NoError(t, err)
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			require.NoError(t, err)
			defer resp.Body.Close()
			assert.Contains(t, c.status, resp.StatusCode)
		})
	}
}

func TestEachGateKnowsItsOwnUser(t *testing.T) {
	t.Parallel()
	a := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(record(1, in(7, "admin")))})
	b := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(record(1, in(7, "pupil")), record(2))})

	handlerOfB := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, known := b.UserFrom(r.Context())
		_, org := b.OrgFrom(r.Context())
		_, _ = fmt.Fprint(w, u, known, org)
	})
	org := rolegate.InOrg(func(*http.Request) (int64, error) { return 7, nil })
	behindA := a.Require(rolegate.AnyRole("admin"), org)
	assert.Equal(t, "nobody false false", ask(behindA(handlerOfB), "GET", "/", 1).Body.String(),
		"behind gate A by mistake, app B's handler finds no user")
	assert.Equal(t, "user 1 true false", ask(behindA(b.Admit(handlerOfB)), "GET", "/", 1).Body.String())
	assert.Equal(t, 403, ask(b.Require(rolegate.AnyRole("admin"))(handlerOfB), "GET", "/", 1).Code)
	assert.Equal(t, 403, ask(a.Admit(handlerOfB), "GET", "/", 2).Code, "on the list of b is not on that of a")
}

func TestStackedGuardsEachDecide(t *testing.T) {
	t.Parallel()
	var asked int
	gate := openGate(t, rolegate.Config{
		Source: rolegatetest.NewStatic(record(1, in(7, "teacher")), record(2, in(7, "teacher"), in(8, "admin"))),
		Identify: rolegate.ByUserID(func(r *http.Request) (int64, error) {
			asked++
			// An app whose second look at the session sees another user.
			if r.Header.Get("X-Switch") != "" && asked > 1 {
				return 2, nil
			}
			return 1, nil
		}),
	})
	inSeven := rolegate.InOrg(func(*http.Request) (int64, error) { return 7, nil })
	tell := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, _ := gate.UserFrom(r.Context())
		org, named := gate.OrgFrom(r.Context())
		_, _ = fmt.Fprint(w, u.ID(), org, named)
	})
	outer := gate.Require(rolegate.AnyRole("teacher"), inSeven)

	w := ask(outer(gate.Admit(tell)), "GET", "/", 0)
	assert.Equal(t, "1 7 true", w.Body.String(), "the organisation that the outer guard checked stays")
	assert.Equal(t, 2, asked, "each guard asks who it is")
	assert.Equal(t, 403, ask(outer(gate.Require(rolegate.AnyRole("admin"))(tell)), "GET", "/", 0).Code)

	asked = 0
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("X-Switch", "1")
	rec := httptest.NewRecorder()
	outer(gate.Admit(tell)).ServeHTTP(rec, r)
	assert.Equal(t, "2 0 false", rec.Body.String(), "an organisation that was checked for another user does not stay")
}

func TestPathOrgInUseSaysWithInstead(t *testing.T) {
	t.Parallel()
	var book logBook
	gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(record(1, in(7, "teacher"))), Logger: book.logger()})
	check := gate.Require(rolegate.AnyRole("teacher"), rolegate.InOrg(rolegate.PathOrg("orgID")))

	wrong := chi.NewRouter()
	wrong.Route("/orgs", func(r chi.Router) {
		r.Use(check)
		r.Get("/{orgID}", never(t).ServeHTTP)
	})
	assert.Equal(t, 403, ask(wrong, "GET", "/orgs/7", 1).Code)
	lines := book.lines("rolegate: refused")
	require.Len(t, lines, 1)
	assert.Equal(t, "org_unreadable", lines[0]["reason"])
	assert.Contains(t, lines[0]["err"], `no path value "orgID" here: `)
	for _, cure := range []string{"r.With(…)", "http.ServeMux", "gingate", "echogate", "kratosgate", "zerogate", "hertzgate", "grpcgate"} {
		assert.Contains(t, lines[0]["err"], cure)
	}

	misspelt := chi.NewRouter()
	misspelt.Route("/orgs/{orgId}", func(r chi.Router) {
		r.Use(check)
		r.Get("/reports", never(t).ServeHTTP)
	})
	assert.Equal(t, 403, ask(misspelt, "GET", "/orgs/7/reports", 1).Code)
	lines = book.lines("rolegate: refused")
	require.Len(t, lines, 2)
	assert.Contains(t, lines[1]["err"], `no path value "orgID" here, but orgId: check the wildcard's name`)

	other := http.NewServeMux()
	other.Handle("GET /orgs/{org}", check(never(t)))
	assert.Equal(t, 403, ask(other, "GET", "/orgs/7", 1).Code)
	lines = book.lines("rolegate: refused")
	require.Len(t, lines, 3)
	assert.Contains(t, lines[2]["err"], `the route GET /orgs/{org} has no path value "orgID"`)

	right := chi.NewRouter()
	right.With(check).Get("/orgs/{orgID}", ok(gate).ServeHTTP)
	assert.Equal(t, 200, ask(right, "GET", "/orgs/7", 1).Code)

	mux := http.NewServeMux()
	mux.Handle("GET /orgs/{orgID}", check(ok(gate)))
	assert.Equal(t, 200, ask(mux, "GET", "/orgs/7", 1).Code)
	assert.Equal(t, 403, ask(mux, "GET", "/orgs/7%2F8", 1).Code, "an encoded slash is part of the value, which is no number")
}

// Of two wildcards with one name neither is the organisation: the member's id would
// be taken for it.
func TestPathOrgNeedsOneWildcardOfItsName(t *testing.T) {
	t.Parallel()
	var book logBook
	gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(record(1, in(9, "teacher"), in(7, "teacher"))), Logger: book.logger()})
	check := gate.Require(rolegate.AnyRole("teacher"), rolegate.InOrg(rolegate.PathOrg("id")))
	org := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _ := gate.OrgFrom(r.Context())
		_, _ = fmt.Fprint(w, id)
	})
	members := func(wildcard string, guarded http.Handler) http.Handler {
		r := chi.NewRouter()
		r.Handle("/members/{"+wildcard+"}", guarded)
		return r
	}
	for _, c := range []struct {
		name, path string
		router     func(chi.Router)
		want       string // "" is 403
	}{
		{"mounted below another", "/orgs/7/members/9", func(r chi.Router) { r.Mount("/orgs/{id}", members("id", check(org))) }, ""},
		{"with one value", "/orgs/7/members/7", func(r chi.Router) { r.Mount("/orgs/{id}", members("id", check(org))) }, ""},
		{"routed below another", "/orgs/7/members/9", func(r chi.Router) {
			r.Route("/orgs/{id}", func(r chi.Router) { r.With(check).Get("/members/{id}", org.ServeHTTP) })
		}, ""},
		{"a ServeMux below", "/orgs/7/members/9", func(r chi.Router) {
			mux := http.NewServeMux()
			mux.Handle("/orgs/{org}/members/{id}", check(org))
			r.Handle("/orgs/{id}/*", mux)
		}, ""},
		{"named apart", "/orgs/7/members/9", func(r chi.Router) { r.Mount("/orgs/{id}", members("member", check(org))) }, "7"},
		{"guarded where there is one", "/orgs/7/members/9", func(r chi.Router) { r.With(check).Mount("/orgs/{id}", members("id", org)) }, "7"},
		{"one alone", "/members/9", func(r chi.Router) { r.Mount("/", members("id", check(org))) }, "9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := chi.NewRouter()
			c.router(r)
			w := ask(r, "GET", c.path, 1)
			if c.want != "" {
				require.Equal(t, 200, w.Code)
				assert.Equal(t, c.want, w.Body.String())
				return
			}
			assert.Equal(t, 403, w.Code)
			lines := book.lines("rolegate: refused")
			require.NotEmpty(t, lines)
			assert.Equal(t, "org_unreadable", lines[len(lines)-1]["reason"])
			assert.Contains(t, lines[len(lines)-1]["err"], "name them apart")
		})
	}
}

func TestTheResponseWriterIsTheServersOwn(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(record(1, in(7, "teacher")))})
	guarded := func(h http.HandlerFunc) *httptest.Server {
		server := httptest.NewServer(gate.Admit(gate.Require(rolegate.AnyRole("teacher"))(h)))
		t.Cleanup(server.Close)
		return server
	}
	t.Run("flush", func(t *testing.T) {
		t.Parallel()
		next := make(chan struct{})
		server := guarded(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: 1\n\n")
			w.(http.Flusher).Flush()
			<-next
			_, _ = io.WriteString(w, "data: 2\n\n")
		})
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		require.NoError(t, err)
		r.Header.Set("X-User-Id", "1")
		resp, err := server.Client().Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		lines := bufio.NewReader(resp.Body)
		first, err := lines.ReadString('\n')
		require.NoError(t, err)
		assert.Equal(t, "data: 1\n", first, "the first event arrives while the handler still runs")
		close(next)
		rest, err := io.ReadAll(lines)
		require.NoError(t, err)
		assert.Equal(t, "\ndata: 2\n\n", string(rest))
	})
	t.Run("hijack", func(t *testing.T) {
		t.Parallel()
		server := guarded(func(w http.ResponseWriter, r *http.Request) {
			conn, rw, err := w.(http.Hijacker).Hijack()
			if !assert.NoError(t, err) {
				return
			}
			defer conn.Close()
			_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			line, _ := rw.ReadString('\n')
			_, _ = rw.WriteString(line)
			_ = rw.Flush()
		})
		u, err := url.Parse(server.URL)
		require.NoError(t, err)
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", u.Host)
		require.NoError(t, err)
		defer conn.Close()
		_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nX-User-Id: 1\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello\n")
		require.NoError(t, err)
		all, err := io.ReadAll(conn)
		require.NoError(t, err)
		assert.True(t, strings.HasSuffix(string(all), "\r\n\r\nhello\n"), "%q", all)
	})
	t.Run("the body is not read", func(t *testing.T) {
		t.Parallel()
		r := httptest.NewRequest("POST", "/", untouchable{t})
		r.Header.Set("X-User-Id", "9")
		w := httptest.NewRecorder()
		gate.Admit(never(t)).ServeHTTP(w, r)
		assert.Equal(t, 403, w.Code)
	})
}

type untouchable struct{ t *testing.T }

func (u untouchable) Read([]byte) (int, error) {
	u.t.Error("the gate read the request's body")
	return 0, io.EOF
}

func TestPanicsDeny(t *testing.T) {
	t.Parallel()
	const secret = "alice@example.com"
	for _, c := range []struct {
		name   string
		change func(*rolegate.Config)
		option rolegate.Option
		status int
		reason rolegate.Reason
	}{
		{"identify panics", func(c *rolegate.Config) {
			c.Identify = rolegate.ByUserID(func(*http.Request) (int64, error) { panic(secret) })
		}, nil, 500, rolegate.ReasonIdentifyFailed},
		{"identify fails", func(c *rolegate.Config) {
			c.Identify = rolegate.ByUserID(func(*http.Request) (int64, error) { return 1, errors.New("no database") })
		}, nil, 500, rolegate.ReasonIdentifyFailed},
		{"Where panics", nil, rolegate.Where("mine", func(rolegate.User, *http.Request) bool { panic(secret) }), 403, rolegate.ReasonConditionFailed},
		{"InOrg panics", nil, rolegate.InOrg(func(*http.Request) (int64, error) { panic(secret) }), 403, rolegate.ReasonOrgUnreadable},
		{"Where aborts the handler", nil, rolegate.Where("mine", func(rolegate.User, *http.Request) bool { panic(http.ErrAbortHandler) }), 403, rolegate.ReasonConditionFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var book logBook
			cfg := rolegate.Config{Source: rolegatetest.NewStatic(record(1, in(7, "teacher"))), Logger: book.logger()}
			if c.change != nil {
				c.change(&cfg)
			}
			gate := openGate(t, cfg)
			options := []rolegate.Option{rolegate.AnyRole("teacher")}
			if c.option != nil {
				options = append(options, c.option)
			}
			w := ask(gate.Require(options...)(never(t)), "GET", "/", 1)
			assert.Equal(t, c.status, w.Code)
			lines := book.lines("rolegate: refused")
			require.Len(t, lines, 1)
			assert.Equal(t, c.reason.String(), lines[0]["reason"])
			assert.NotEmpty(t, lines[0]["err"])
			assert.NotContains(t, book.String(), secret)
			assert.EqualValues(t, 1, gate.Status().Decisions[c.reason])
		})
	}
}

// The context that a guard makes is one more context: deadlines, cancelling
// and the values of others go through it.
func TestTheContextIsAContext(t *testing.T) {
	t.Parallel()
	type key struct{}
	gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(record(1))})
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
	h := gate.Admit(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "value", r.Context().Value(key{}))
		derived, stop := context.WithTimeout(r.Context(), time.Minute)
		defer stop()
		_, known := gate.UserFrom(derived)
		assert.True(t, known)
		assert.NoError(t, r.Context().Err())
		cancel()
		<-derived.Done()
		assert.ErrorIs(t, r.Context().Err(), context.Canceled)
	}))
	r := httptest.NewRequest("GET", "/", nil).WithContext(ctx)
	r.Header.Set("X-User-Id", "1")
	h.ServeHTTP(httptest.NewRecorder(), r)
	assert.Error(t, ctx.Err(), "the handler has run")
}

// A guarded tells its policy: package chiroutes looks for it.
type guarded interface {
	Guarded() (*rolegate.Policy, http.Handler)
}

func TestGuardsTellTheirPolicy(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{Source: rolesStaff()})
	plain := http.NotFoundHandler()
	shadow := gate.Policy(rolegate.AnyRole("teacher"), rolegate.Shadow())
	inOrg := gate.Policy(rolegate.AnyRole("teacher"), rolegate.InOrg(rolegate.PathOrg("orgID")))
	for _, c := range []struct {
		name          string
		h             http.Handler
		policy        string
		gate          *rolegate.Gate
		shadow, inOrg bool
	}{
		{"Admit", gate.Admit(plain), "Admit", gate, false, false},
		{"Require", gate.Require(rolegate.AnyRole("teacher"))(plain), "AnyRole(teacher)", gate, false, false},
		{"Shadow", shadow.Wrap(plain), shadow.String(), gate, true, false},
		{"InOrg", inOrg.Wrap(plain), inOrg.String(), gate, false, true},
		{"the nil policy", (*rolegate.Policy)(nil).Wrap(plain), "nothing", nil, false, false},
		{"the nil gate", (*rolegate.Gate)(nil).Admit(plain), "Admit", nil, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, next := c.h.(guarded).Guarded()
			assert.Equal(t, c.policy, p.String())
			assert.Same(t, c.gate, p.Gate())
			assert.Equal(t, c.shadow, p.IsShadow())
			assert.Equal(t, c.inOrg, p.HasOrg())
			assert.NotNil(t, next)
		})
	}
	var none *rolegate.Policy
	assert.Nil(t, none.Gate())
	assert.False(t, none.IsShadow())
	assert.False(t, none.HasOrg())
}
