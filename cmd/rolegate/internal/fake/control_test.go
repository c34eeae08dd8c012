package fake_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/fake"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/lang"
	"github.com/rolegate/rolegate/rolegatetest"
)

const (
	teacher = 1542135022016057001
	guest   = 1542135022016057005
)

// control sends a request from this machine, changed by change.
func control(t *testing.T, s *fake.Server, method, path string, change func(*http.Request)) (status int, body string) {
	t.Helper()
	path, form, _ := strings.Cut(path, " ")
	r := httptest.NewRequest(method, "/_fake/"+path, strings.NewReader(form))
	r.RemoteAddr, r.Host = "127.0.0.1:50000", "127.0.0.1:9400"
	if form != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	read, err := io.ReadAll(w.Result().Body)
	require.NoError(t, err)
	return w.Code, strings.TrimSuffix(string(read), "\n")
}

func TestControl(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		path string
		code int
		want string
		then func(*testing.T, *fake.Server)
	}{
		"grant": {path: "grant?user=1542135022016057005&org=8&role=teacher", code: 200,
			want: "User 1542135022016057005 is teacher in 8. The gate's next incremental refresh sees it.", then: func(t *testing.T, s *fake.Server) {
				u, _ := s.Marketplace().User(guest)
				assert.Equal(t, []rolegate.Grant{{OrgID: 8, RoleCode: "teacher"}}, u.Grants)
			}},
		"grant by a form":     {path: "grant user=5&org=8&role=a&role=b", code: 200, want: "User 5 is a in 8, b in 8. The gate's next incremental refresh sees it."},
		"grant by JSON":       {path: `grant {"user":5}`, code: 400, want: "send form fields, not JSON: curl -d user=8 -d org=7 -d role=teacher http://127.0.0.1:9400/_fake/grant"},
		"recover by JSON":     {path: `recover {}`, code: 400, want: "send form fields, not JSON: curl -X POST http://127.0.0.1:9400/_fake/recover"},
		"grant nothing":       {path: "grant?user=5", code: 200, want: "User 5 is on the list, without a role. The gate's next incremental refresh sees it."},
		"grant again":         {path: "grant?user=1542135022016057001&org=7&role=teacher", code: 200, want: "User 1542135022016057001 is teacher in 7. Nothing has changed."},
		"grant without org":   {path: "grant?user=5&role=a", code: 400, want: "org: expected an id once, a whole number above 0"},
		"grant to nobody":     {path: "grant?org=7&role=a", code: 400, want: "user: expected an id once, a whole number above 0"},
		"grant to two":        {path: "grant?user=1&user=2&org=7&role=a", code: 400, want: "user: expected an id once, a whole number above 0"},
		"grant an empty role": {path: "grant?user=5&org=7&role=", code: 400, want: "role: expected the code of a role, such as teacher"},
		"grant by a slip":     {path: "grant?user=5&organisation=7", code: 400, want: `parameter "organisation": expected none but user, org, role`},
		"take": {path: "take?user=1542135022016057001&org=7&role=teacher", code: 200,
			want: "User 1542135022016057001 is on the list, without a role. The gate's next incremental refresh sees it."},
		"take what is not there": {path: "take?user=1542135022016057001&org=8&role=teacher", code: 200, want: "User 1542135022016057001 is teacher in 7. Nothing has changed."},
		"take nothing":           {path: "take?user=1542135022016057001&org=7", code: 400, want: "role: expected the code of a role, such as teacher"},
		"revoke": {path: "revoke?user=1542135022016057001", code: 200,
			want: "User 1542135022016057001 is not on the list. The gate's next full refresh sees it; an incremental one cannot.", then: func(t *testing.T, s *fake.Server) {
				_, listed := s.Marketplace().User(teacher)
				assert.False(t, listed)
			}},
		"bind": {path: "bind?user=1542135022016057001&third_user_id=u-4", code: 200,
			want: `User 1542135022016057001 has the third_user_id "u-4" and the third_account "sso-teacher". The gate's next incremental refresh sees it.`, then: func(t *testing.T, s *fake.Server) {
				u, _ := s.Marketplace().User(teacher)
				assert.Equal(t, "u-4", u.ThirdUserID)
				assert.Equal(t, []rolegate.Grant{{OrgID: 7, RoleCode: "teacher"}}, u.Grants)
			}},
		"bind an account":   {path: "bind?user=1542135022016057001&third_account=wang&third_user_id=", code: 200, want: `User 1542135022016057001 has the third_user_id "" and the third_account "wang". The gate's next incremental refresh sees it.`},
		"bind nothing":      {path: "bind?user=1542135022016057001", code: 400, want: "expected third_user_id or third_account, each once; an empty one unbinds"},
		"bind twice":        {path: "bind?user=1542135022016057001&third_user_id=1&third_user_id=2", code: 400, want: "expected third_user_id or third_account, each once; an empty one unbinds"},
		"bind a stranger":   {path: "bind?user=5&third_user_id=1", code: 400, want: "user 5 is not on the list: expected one who is"},
		"revoke a stranger": {path: "revoke?user=5", code: 200, want: "User 5 is not on the list. Nothing has changed."},
		"fault": {path: "fault?fault=http-status@next=2", code: 200, want: "On now: http-status@next=2. POST /_fake/recover ends it.", then: func(t *testing.T, s *fake.Server) {
			assert.Equal(t, "x", ask(t, s, 0))
			_, said := control(t, s, http.MethodPost, "fault?fault=http-status=404@next=1", nil)
			assert.Equal(t, "On now: http-status@next=2, http-status=404@next=1. POST /_fake/recover ends it.", said)
			assert.Equal(t, "4x.", ask(t, s, 0, 0, 0))
			_, said = control(t, s, http.MethodPost, "fault?fault=hang", nil)
			assert.Equal(t, "On now: hang. POST /_fake/recover ends it.", said)
			_, said = control(t, s, http.MethodPost, "recover", nil)
			assert.Equal(t, "No faults any more.", said)
			assert.Equal(t, ".", ask(t, s, 0))
		}},
		"no such fault":    {path: "fault?fault=trunkated", code: 400, want: `fault "trunkated": expected one of truncated, `},
		"no fault":         {path: "fault", code: 400, want: "fault: expected one, such as "},
		"a cloud's fault":  {path: "fault?fault=cloud:hang", code: 400, want: "expected --cloud-command too"},
		"sync":             {path: "sync?state=running", code: 400, want: "there is no 云上指挥 here"},
		"recover one user": {path: "recover?user=1", code: 400, want: `parameter "user": expected none`},
		"nothing":          {path: "nothing", code: 404, want: "not found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			code, body := control(t, s, http.MethodPost, tc.path, nil)
			assert.Equal(t, tc.code, code)
			assert.Contains(t, body, tc.want)
			if tc.then != nil {
				tc.then(t, s)
			}
			if tc.code != 404 {
				code, _ = control(t, s, http.MethodGet, tc.path, nil)
				assert.Equal(t, http.StatusMethodNotAllowed, code, "a link must not change anything")
			}
		})
	}
}

func TestControlFromElsewhere(t *testing.T) {
	t.Parallel()
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for name, tc := range map[string]struct {
		change  func(*http.Request)
		refused bool
	}{
		"this machine":                  {change: func(*http.Request) {}},
		"this machine, IPv6":            {change: func(r *http.Request) { r.RemoteAddr, r.Host = "[::1]:5", "[::1]:9400" }},
		"this machine, by name":         {change: func(r *http.Request) { r.Host = "localhost:9400" }},
		"this machine, without a port":  {change: func(r *http.Request) { r.Host = "[::1]" }},
		"another machine":               {change: func(r *http.Request) { r.RemoteAddr = "192.0.2.1:5" }, refused: true},
		"a name that points here":       {change: func(r *http.Request) { r.Host = "evil.example:9400" }, refused: true},
		"a name with localhost in it":   {change: func(r *http.Request) { r.Host = "localhost.evil.example" }, refused: true},
		"no name":                       {change: func(r *http.Request) { r.Host = "" }, refused: true},
		"a page of another site":        {change: header("Sec-Fetch-Site", "cross-site"), refused: true},
		"a page of another port":        {change: header("Sec-Fetch-Site", "same-site"), refused: true},
		"a page of an old browser":      {change: header("Origin", "https://evil.example"), refused: true},
		"a page from a file":            {change: header("Origin", "null"), refused: true},
		"a page that was served by app": {change: header("Origin", "http://127.0.0.1:8080"), refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			code, _ := control(t, s, http.MethodPost, "revoke?user=1542135022016057001", tc.change)
			_, listed := s.Marketplace().User(teacher)
			assert.Equal(t, tc.refused, code == http.StatusForbidden)
			assert.Equal(t, tc.refused, listed)
		})
	}
	code, body := control(t, newServer(t), http.MethodGet, "requests", func(r *http.Request) { r.Host = "evil.example" })
	assert.Equal(t, http.StatusForbidden, code)
	assert.NotContains(t, body, "{")
}

func TestControlRequests(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ask(t, s, 0, 3, 9)
	code, body := control(t, s, http.MethodGet, "requests?last=2", nil)
	require.Equal(t, http.StatusOK, code)
	assert.NotContains(t, body, rolegatetest.DefaultToken)
	var got []map[string]any
	for line := range strings.Lines(body) {
		var entry map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &entry))
		assert.NotEmpty(t, entry["time"])
		delete(entry, "time")
		got = append(got, entry)
	}
	assert.Equal(t, []map[string]any{
		{"method": "GET", "path": "/app/user/list", "after": 3., "limit": 1000., "rows": 2., "status": 200.},
		{"method": "GET", "path": "/app/user/list", "after": 9., "limit": 1000., "rows": 0., "status": 200.},
	}, got)
	for _, bad := range []string{"0", "-1", "all"} {
		code, body = control(t, s, http.MethodGet, "requests?last="+url.QueryEscape(bad), nil)
		assert.Equal(t, http.StatusBadRequest, code)
		assert.Equal(t, "last: expected how many of the last requests, such as 20", body)
	}
	_, body = control(t, s, http.MethodGet, "requests?last=9223372036854775807", nil)
	assert.Equal(t, 3, strings.Count(body, "GET"))
}

func TestControlHelp(t *testing.T) {
	t.Parallel()
	code, body := control(t, newServer(t), http.MethodGet, "", nil)
	assert.Equal(t, http.StatusOK, code)
	for line := range strings.Lines(body) {
		method, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if method != http.MethodGet && method != http.MethodPost {
			continue
		}
		path, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(rest), "/_fake/"), "?")
		path, _, _ = strings.Cut(path, " ")
		code, _ := control(t, newServer(t), method, path, nil)
		assert.NotContains(t, []int{404, 405}, code, "what the help tells of is not there: %s", line)
	}
}

func TestSync(t *testing.T) {
	t.Parallel()
	s, err := fake.New(fake.Config{Orgs: 1, Roles: []string{"pupil"}, CloudCommand: true})
	require.NoError(t, err)
	for state, want := range map[string]string{"running": "A sync is running.", "done": "The sync is done.", "unknown": "Nothing is known of a sync."} {
		code, body := control(t, s, http.MethodPost, "sync?state="+state, nil)
		assert.Equal(t, 200, code)
		assert.Equal(t, want, body)
	}
	code, body := control(t, s, http.MethodPost, "sync?state=finished", nil)
	assert.Equal(t, 400, code)
	assert.Equal(t, "state: expected running, done or unknown", body)
	code, _ = control(t, s, http.MethodPost, "fault?fault=cloud:http-status", nil)
	assert.Equal(t, 200, code)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, rolegatetest.DefaultTokenPath, bytes.NewReader(nil)))
	assert.Equal(t, 503, w.Code)
	assert.Equal(t, ".", ask(t, s, 0), "the marketplace is well")
}

func TestGenerated(t *testing.T) {
	t.Parallel()
	list := func(cfg fake.Config) []rolegatetest.User {
		s, err := fake.New(cfg)
		require.NoError(t, err)
		return s.Marketplace().Users()
	}
	cfg := fake.Config{Users: 2500, Orgs: 3, Roles: []string{"a", "b"}, Seed: 1}
	one := list(cfg)
	require.Len(t, one, 2500+len(fake.Demo()))
	assert.Equal(t, one, list(cfg), "the same seed")
	ids, none, orgs := map[int64]bool{}, 0, map[int64]bool{}
	for _, u := range one[len(fake.Demo()):] {
		ids[u.ID] = true
		if len(u.Grants) == 0 {
			none++
		}
		for _, g := range u.Grants {
			orgs[g.OrgID] = true
			assert.Contains(t, cfg.Roles, g.RoleCode)
		}
	}
	assert.Len(t, ids, 2500)
	assert.Equal(t, map[int64]bool{7: true, 8: true, 9: true}, orgs)
	assert.InDelta(t, 2500/8, none, 100)
	cfg.Seed = 2
	assert.NotEqual(t, one, list(cfg))
}

func TestControlOfJSONByItsType(t *testing.T) {
	t.Parallel()
	s, err := fake.New(fake.Config{})
	require.NoError(t, err)
	code, said := control(t, s, http.MethodPost, `revoke {"user":5}`, func(r *http.Request) { r.Header.Set("Content-Type", "application/json; charset=utf-8") })
	assert.Equal(t, http.StatusBadRequest, code)
	assert.Equal(t, "send form fields, not JSON: curl -d user=8 http://127.0.0.1:9400/_fake/revoke", said)

	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/_fake", nil))
	assert.Equal(t, http.StatusPermanentRedirect, w.Code)
	assert.Equal(t, "/_fake/", w.Header().Get("Location"))
}

// Below /_fake/ it answers in the language that it was started in.
func TestControlInChinese(t *testing.T) {
	t.Parallel()
	s, err := fake.New(fake.Config{Orgs: 1, Roles: []string{"pupil"}, Lang: lang.Chinese})
	require.NoError(t, err)
	for _, c := range []struct{ method, path, want string }{
		{http.MethodGet, "", "修改模拟市场，只能在本机使用：\n\n  POST /_fake/grant?"},
		{http.MethodPost, "grant?user=5&org=8&role=a&role=b", "用户 5 的角色：机构 8：a, 机构 8：b。门禁在下一次增量同步时得知。"},
		{http.MethodPost, "revoke?user=6", "用户 6 不在列表里。没有变化。"},
		{http.MethodPost, "bind?user=5&third_user_id=u-5", `用户 5 的 third_user_id 为 "u-5"，third_account 为 ""。门禁在下一次增量同步时得知。`},
		{http.MethodPost, "fault?fault=hang", "当前的故障：hang。用 POST /_fake/recover 结束。"},
		{http.MethodPost, "fault?fault=slow=0", `故障 "slow=0"，slow 的参数 TIME：应为 1ns 到 24h 的时长，例如 2s`},
		{http.MethodPost, "sync?state=done", "这里没有云上指挥：请以 --cloud-command 启动 rolegate fake"},
		{http.MethodPost, "grant?organisation=5", `参数 "organisation"：只应有 user, org, role`},
	} {
		_, said := control(t, s, c.method, c.path, nil)
		assert.Contains(t, said, c.want, c.path)
	}
}
