package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/chiroutes"
	"github.com/rolegate/rolegate/gingate"
	"github.com/rolegate/rolegate/rolegatetest"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	goleak.VerifyTestMain(m)
}

const secret = "a secret of the tests, 32 bytes or more"

func newApp(t *testing.T) (*school, *rolegate.Gate, *rolegatetest.Static) {
	t.Helper()
	s, err := newSchool([]byte(secret))
	require.NoError(t, err)
	s.password = func(account, password string) (int64, bool) { return 1, account == "wang" && password == "right" }
	source := rolegatetest.NewStatic(
		rolegate.Record{UserID: 1, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "teacher"}, {OrgID: 8, RoleCode: "pupil"}}},
		rolegate.Record{UserID: 2})
	gate, err := rolegate.Open(t.Context(), rolegate.Config{Source: source, Identify: s.identify(), Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, gate.Close()) })
	return s, gate, source
}

func token(t *testing.T, method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
	t.Helper()
	text, err := jwt.NewWithClaims(method, claims).SignedString(key)
	require.NoError(t, err)
	return "Bearer " + text
}

func TestRoutes(t *testing.T) {
	s, gate, _ := newApp(t)
	app := s.routes(gate)
	form := url.Values{"account": {"wang"}, "password": {"right"}}
	r := httptest.NewRequest("POST", "/login", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	app.ServeHTTP(w, r)
	require.Equal(t, http.StatusNoContent, w.Code)
	session := strings.Split(w.Header().Get("Set-Cookie"), ";")[0]
	soon := time.Now().Add(time.Hour).Unix()
	good := token(t, jwt.SigningMethodHS256, []byte(secret), jwt.MapClaims{"sub": "1", "aud": "school-mobile", "exp": soon})
	for _, c := range []struct {
		name, method, path, cookie, token string
		want                              int
	}{
		{"nobody", "GET", "/me", "", "", 401},
		{"a session", "GET", "/me", session, "", 200},
		{"a session that is none", "GET", "/me", "session=1", "", 401},
		{"a token", "GET", "/me", "", good, 200},
		{"a role in the organisation", "POST", "/orgs/7/reports", session, "", 200},
		{"a token and a role", "POST", "/orgs/7/reports", "", good, 200},
		{"another role in another organisation", "POST", "/orgs/8/reports", session, "", 403},
		{"a token that is expired", "GET", "/me", "", token(t, jwt.SigningMethodHS256, []byte(secret), jwt.MapClaims{"sub": "1", "aud": "school-mobile", "exp": 1}), 401},
		{"a token for another app", "GET", "/me", "", token(t, jwt.SigningMethodHS256, []byte(secret), jwt.MapClaims{"sub": "1", "aud": "other", "exp": soon}), 401},
		{"a token for ever", "GET", "/me", "", token(t, jwt.SigningMethodHS256, []byte(secret), jwt.MapClaims{"sub": "1", "aud": "school-mobile"}), 401},
		{"another secret", "GET", "/me", "", token(t, jwt.SigningMethodHS256, []byte("another"), jwt.MapClaims{"sub": "1", "aud": "school-mobile", "exp": soon}), 401},
		{"no signature", "GET", "/me", "", token(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, jwt.MapClaims{"sub": "1", "aud": "school-mobile", "exp": soon}), 401},
		{"a bad token beside a good session", "GET", "/me", session, "Bearer x", 401},
		{"not listed", "GET", "/me", "", token(t, jwt.SigningMethodHS256, []byte(secret), jwt.MapClaims{"sub": "9", "aud": "school-mobile", "exp": soon}), 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(c.method, c.path, nil)
			r.Header.Set("Cookie", c.cookie)
			r.Header.Set("Authorization", c.token)
			w := httptest.NewRecorder()
			app.ServeHTTP(w, r)
			assert.Equal(t, c.want, w.Code, w.Body.String())
		})
	}
	r = httptest.NewRequest("GET", "/me", nil)
	r.Header.Set("Cookie", session)
	w = httptest.NewRecorder()
	app.ServeHTTP(w, r)
	assert.JSONEq(t, `{"user_id": "1", "permissions": [], "conditional": [], "orgs": [
		{"org_id": "7", "roles": ["teacher"], "permissions": ["reports.file"], "conditional": []},
		{"org_id": "8", "roles": ["pupil"], "permissions": [], "conditional": []}]}`, w.Body.String())
	_, err := newSchool([]byte("short"))
	assert.ErrorContains(t, err, "32")
}

// Permissions at /me guards itself, inside gin.WrapH.
func TestRoutesAreGuarded(t *testing.T) {
	s, gate, _ := newApp(t)
	rolegatetest.RequireGuarded(t, chiroutes.Must(gingate.Routes(s.routes(gate).(*gin.Engine))), "POST /login", "GET /me")
}

// bearer is a token of that user's.
func bearer(t *testing.T, user string) string {
	t.Helper()
	return token(t, jwt.SigningMethodHS256, []byte(secret), jwt.MapClaims{"sub": user, "aud": "school-mobile", "exp": time.Now().Add(time.Hour).Unix()})
}

// openFeed opens a feed and waits until somebody watches it.
func openFeed(t *testing.T, address, user string) *bufio.Reader {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", address, nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", bearer(t, user))
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	require.NoError(t, err)
	t.Cleanup(func() { _ = answer.Body.Close() })
	require.Equal(t, 200, answer.StatusCode)
	return bufio.NewReader(answer.Body)
}

// TestFeed has a teacher lose the role while feeds are open: theirs ends, and what
// happens in one organisation is not told in another.
func TestFeed(t *testing.T) {
	s, gate, source := newApp(t)
	source.Put(rolegate.Record{UserID: 2, Grants: []rolegate.Grant{{OrgID: 8, RoleCode: "teacher"}}})
	require.NoError(t, gate.Refresh(t.Context()))
	server := httptest.NewServer(s.routes(gate))
	t.Cleanup(server.Close) // when the feeds are closed
	seven, eight := openFeed(t, server.URL+"/orgs/7/feed", "1"), openFeed(t, server.URL+"/orgs/8/feed", "2")
	report := func(org, user string) {
		r, err := http.NewRequestWithContext(t.Context(), "POST", server.URL+"/orgs/"+org+"/reports", nil)
		require.NoError(t, err)
		r.Header.Set("Authorization", bearer(t, user))
		answer, err := server.Client().Do(r)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		require.Equal(t, 200, answer.StatusCode)
	}
	report("7", "1")
	report("8", "2")
	for feed, want := range map[*bufio.Reader]string{seven: "data:user 1 filed a report", eight: "data:user 2 filed a report"} {
		event, err := feed.ReadString('\n')
		require.NoError(t, err)
		assert.Equal(t, "event:news\n", event)
		data, err := feed.ReadString('\n')
		require.NoError(t, err)
		assert.Equal(t, want+"\n", data)
	}
	source.Put(rolegate.Record{UserID: 1})
	require.NoError(t, gate.Refresh(t.Context()))
	rest, err := io.ReadAll(seven)
	require.NoError(t, err)
	assert.NotContains(t, string(rest), "event:")
	s.hub.tell(8, "still here")
	_, _ = eight.ReadString('\n') // the end of the event before
	event, err := eight.ReadString('\n')
	require.NoError(t, err, "the other's goes on")
	assert.Equal(t, "event:news\n", event)
}

func TestOperations(t *testing.T) {
	s, gate, source := newApp(t)
	w := httptest.NewRecorder()
	var leaving atomic.Bool
	operations(gate, &leaving).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	assert.Equal(t, 200, w.Code)
	assert.Contains(t, w.Body.String(), "rolegate_")
	for _, want := range []int{200, 503} {
		w := httptest.NewRecorder()
		operations(gate, &leaving).ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
		assert.Equal(t, want, w.Code)
		leaving.Store(true)
	}
	source.Put(rolegate.Record{UserID: 2, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "operator"}}})
	require.NoError(t, gate.Refresh(t.Context()))
	for user, want := range map[string]int{"1": 403, "2": 200} {
		r := httptest.NewRequest("GET", "/console/", nil)
		r.Header.Set("Authorization", bearer(t, user))
		w := httptest.NewRecorder()
		s.routes(gate).ServeHTTP(w, r)
		assert.Equal(t, want, w.Code)
	}
}

// TestRun serves until the signal, is then not ready and answers all the same, ends
// with a feed open, and ends without a list too.
func TestRun(t *testing.T) {
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	s, _, source := newApp(t)
	s.drain = 200 * time.Millisecond
	ctx, stop := context.WithCancel(t.Context())
	ran, clients, operators := make(chan error, 1), listen(), listen()
	go func() { ran <- run(ctx, clients, operators, s, source) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, address := range []string{clients.Addr().String() + "/me", operators.Addr().String() + "/me"} {
		answer, err := client.Get("http://" + address)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		assert.NotEqual(t, 200, answer.StatusCode, address)
	}
	feed := openFeed(t, "http://"+clients.Addr().String()+"/orgs/7/feed", "1")
	status := func() int {
		answer, err := client.Get("http://" + operators.Addr().String() + "/readyz")
		if err != nil {
			return 0 // it has ended
		}
		require.NoError(t, answer.Body.Close())
		return answer.StatusCode
	}
	require.Equal(t, 200, status())
	stop()
	require.Eventually(t, func() bool { return status() != 200 }, time.Minute, time.Millisecond)
	assert.NoError(t, <-ran, "no feed holds it up")
	_, err := io.ReadAll(feed)
	assert.NoError(t, err, "the feed has ended well")
	source.Fail(errors.New("the marketplace is away"))
	assert.ErrorIs(t, run(ctx, listen(), listen(), s, source), context.Canceled)
}
