package school

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/chiroutes"
	"github.com/rolegate/rolegate/rolegatetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A running is the program, as a test runs it.
type running struct {
	url            string
	stdout, stderr *output
	ended          chan error
	once           sync.Once
	stop           context.CancelFunc
}

// output collects what the program prints.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func start(t *testing.T, env map[string]string, args ...string) *running {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	p := &running{stdout: &output{}, stderr: &output{}, ended: make(chan error, 1), stop: stop}
	go func() {
		p.ended <- run(ctx, append([]string{"-addr", "127.0.0.1:0"}, args...), func(name string) string { return env[name] }, p.stdout, p.stderr, nil)
	}()
	t.Cleanup(func() { p.end(t) })
	listening := regexp.MustCompile(`serving on (http://\S+)`)
	require.Eventually(t, func() bool {
		if m := listening.FindStringSubmatch(p.stdout.String()); m != nil {
			p.url = m[1]
		}
		return p.url != ""
	}, 20*time.Second, 5*time.Millisecond, p.stderr)
	return p
}

// end stops the program and waits for its end.
func (p *running) end(t *testing.T) {
	t.Helper()
	p.stop()
	p.once.Do(func() {
		select {
		case err := <-p.ended:
			assert.NoError(t, err)
		case <-time.After(20 * time.Second):
			t.Error("the program did not end")
		}
		assert.Contains(t, p.stdout.String(), "shutting down")
	})
}

func (p *running) ask(t *testing.T, client *http.Client, method, path string, user int64) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, p.url+path, nil)
	require.NoError(t, err)
	if user != 0 {
		r.Header.Set("X-User-Id", fmt.Sprint(user))
	}
	resp, err := client.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(b)
}

func (p *running) awaitReady(t *testing.T, client *http.Client) {
	t.Helper()
	require.Eventually(t, func() bool {
		status, _ := p.ask(t, client, "GET", "/healthz", 0)
		return status == http.StatusOK
	}, 60*time.Second, 20*time.Millisecond, p.stderr)
}

// How long tests wait for what must come, and how often they look.
const patience, often = 20 * time.Second, 5 * time.Millisecond

func (p *running) walkedThrough() bool { return strings.Contains(p.stdout.String(), "Ctrl-C ends it.") }

func newClient(t *testing.T) *http.Client {
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

func TestWalkThrough(t *testing.T) {
	p := start(t, nil)
	require.Eventually(t, p.walkedThrough, patience, often, p.stderr)
	table := regexp.MustCompile(` {2,}`).ReplaceAllString(p.stdout.String(), " ")
	for _, line := range []string{
		"nobody GET / 401 no_identity: Admit",
		"stranger GET / 403 not_authorized: Admit",
		"guest GET / 200 granted",
		"guest GET /grades 403 role_missing: AnyRole(teacher, admin)",
		"teacher GET /grades 200 granted",
		"teacher POST /orgs/7/reports 403 role_missing: AllRoles(teacher, homeroom) + InOrg",
		"homeroom teacher POST /orgs/7/reports 200 granted",
		"homeroom teacher POST /orgs/8/reports 403 role_missing: AllRoles(teacher, homeroom) + InOrg",
		"homeroom teacher POST /orgs/007/reports 403 org_unreadable: AllRoles(teacher, homeroom) + InOrg",
		"principal GET /orgs/8/staff 403 role_missing: AnyRole(principal, admin) + InOrg",
		"The gate looks once before it refuses.\npupil GET /grades 200 granted",
		"An incremental refresh cannot see it …\n incremental refresh: 0 added, 0 removed, 0 changed, 0 held\nteacher GET /grades 200 granted",
		"-- … a full refresh does.\n full refresh: 0 added, 1 removed, 0 changed, 0 held\nteacher GET /grades 403 not_authorized: Admit",
		"the next full refresh ends it.\n full refresh: 0 added, 1 removed, 0 changed, 0 held\nguest GET /live 403 not_authorized: Admit",
		"What is missing is held, not removed.\n full refresh: 0 added, 0 removed, 0 changed, 30 held\npupil GET /grades 200 granted",
		"nobody has noticed.\n full refresh: 0 added, 0 removed, 0 changed, 0 held\npupil GET /grades 200 granted",
		"a pupil is missing meanwhile.\n full refresh: 0 added, 0 removed, 0 changed, 1 held\npupil GET / 200 granted",
		"the pupil is still missing.\n full refresh: 0 added, 1 removed, 0 changed, 0 held\npupil GET / 403 not_authorized: Admit",
		"The list stays as it is …\n full refresh: failed (upstream_error), the list stays\nadmin GET /status 200 granted",
		"homeroom teacher GET /exams 200 granted",
	} {
		assert.Contains(t, table, line)
	}
	assert.Equal(t, 3, strings.Count(table, " curl "))

	client := newClient(t)
	status, body := p.ask(t, client, "GET", "/status", admin)
	assert.Equal(t, http.StatusOK, status)
	var s struct {
		State rolegate.State
		Users int
		Full  struct{ Failed int }
	}
	require.NoError(t, json.Unmarshal([]byte(body), &s))
	defer func() {
		// A stream that is open when the program is told to stop does not hold
		// it up.
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+"/live", nil)
		require.NoError(t, err)
		r.Header.Set("X-User-Id", fmt.Sprint(homeroom))
		resp, err := client.Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		p.stop()
		events, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		assert.Contains(t, string(events), "event: end\ndata: "+http.ErrServerClosed.Error(), "and not one that was revoked")
	}()
	assert.Equal(t, rolegate.StateReady, s.State)
	assert.Equal(t, 5+pupils-3, s.Users)
	assert.Equal(t, 1, s.Full.Failed)
}

func TestRoutesAreGuarded(t *testing.T) {
	gate, err := rolegate.Open(t.Context(), rolegate.Config{
		Source:   rolegatetest.NewStatic(),
		Identify: rolegate.ByUserID(func(*http.Request) (int64, error) { return 0, rolegate.ErrNobody }),
	})
	require.NoError(t, err)
	defer gate.Close()
	rolegatetest.RequireGuarded(t, chiroutes.Must(chiroutes.Routes(routes(gate))), "GET /healthz")
}

// A marketplace of 100,000 users, ids above 2^53 as strings, pages of 1,000:
// every answer is right for a random thousand of them.
func TestLargeMarketplace(t *testing.T) {
	const users, orgs = 100_000, 50
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	codes := []string{"teacher", "homeroom", "admin", "principal", "pupil"}
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{IDs: rolegatetest.IDsString})
	ids := make([]int64, users)
	for i := range ids {
		ids[i] = 1<<53 + 1 + int64(i)*2 // odd: a float64 cannot hold them
		u := rolegatetest.User{ID: ids[i]}
		for range rnd.IntN(4) {
			u.Grants = append(u.Grants, rolegate.Grant{OrgID: 1 + rnd.Int64N(orgs), RoleCode: codes[rnd.IntN(len(codes))]})
		}
		m.Put(u)
	}
	p := start(t, map[string]string{
		"ROLEGATE_BASE_URL": m.Start(t), "ROLEGATE_APP_ID": m.AppID(), "ROLEGATE_ACCESS_TOKEN": m.Token(),
		"ROLEGATE_REFRESH": "100ms", "ROLEGATE_RESYNC": "10m",
	})
	client := newClient(t)
	p.awaitReady(t, client)
	assert.NotContains(t, p.stderr.String()+p.stdout.String(), m.Token())

	has := func(u rolegatetest.User, org int64, code string) bool {
		for _, g := range u.Grants {
			if (org == 0 || g.OrgID == org) && g.RoleCode == code {
				return true
			}
		}
		return false
	}
	status := func(allowed bool) int {
		if allowed {
			return http.StatusOK
		}
		return http.StatusForbidden
	}
	for range 1000 {
		u, listed := m.User(ids[rnd.IntN(users)])
		require.True(t, listed)
		org := 1 + rnd.Int64N(orgs)
		if len(u.Grants) > 0 && rnd.IntN(4) > 0 {
			org = u.Grants[rnd.IntN(len(u.Grants))].OrgID
		}
		for _, c := range []struct {
			method, path string
			allowed      bool
		}{
			{"GET", "/", true},
			{"GET", "/grades", has(u, 0, "teacher") || has(u, 0, "admin")},
			{"POST", fmt.Sprintf("/orgs/%d/reports", org), has(u, org, "teacher") && has(u, org, "homeroom")},
			{"GET", fmt.Sprintf("/orgs/%d/staff", org), has(u, org, "principal") || has(u, org, "admin")},
			{"GET", "/status", has(u, 0, "admin")},
		} {
			got, body := p.ask(t, client, c.method, c.path, u.ID)
			require.Equal(t, status(c.allowed), got, "%s %s as user %d with %v: %s", c.method, c.path, u.ID, u.Grants, body)
		}
		got, _ := p.ask(t, client, "GET", "/", u.ID+1)
		require.Equal(t, http.StatusForbidden, got, "user %d is not listed, but the neighbours are", u.ID+1)
	}

	m.Grant(ids[0], 7, "admin")
	require.Eventually(t, func() bool {
		got, _ := p.ask(t, client, "GET", "/status", ids[0])
		return got == http.StatusOK
	}, 20*time.Second, 20*time.Millisecond, "a grant counts after the next incremental refresh")
}

func TestStartsWithoutTheMarketplace(t *testing.T) {
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	m.Grant(1, 7, "admin")
	m.Grant(2, 7, "teacher") // or the list would be empty in the end, which is held
	m.Grant(3, 7, "teacher")
	m.Fail(rolegatetest.HTTPStatus(http.StatusBadGateway))
	p := start(t, map[string]string{
		"ROLEGATE_BASE_URL": m.Start(t), "ROLEGATE_APP_ID": m.AppID(), "ROLEGATE_ACCESS_TOKEN": m.Token(), "ROLEGATE_RESYNC": "100ms",
	})
	client := newClient(t)
	for _, path := range []string{"/healthz", "/", "/status"} {
		status, _ := p.ask(t, client, "GET", path, 1)
		assert.Equal(t, http.StatusServiceUnavailable, status, path)
	}
	m.Recover()
	p.awaitReady(t, client)
	status, _ := p.ask(t, client, "GET", "/status", 1)
	assert.Equal(t, http.StatusOK, status)
	m.Revoke(1)
	require.Eventually(t, func() bool {
		status, _ := p.ask(t, client, "GET", "/status", 1)
		return status == http.StatusForbidden
	}, 20*time.Second, 20*time.Millisecond, "a full refresh every 100 ms sees it")
}

func TestSettings(t *testing.T) {
	t.Parallel()
	whole := map[string]string{"ROLEGATE_BASE_URL": "http://127.0.0.1:1", "ROLEGATE_APP_ID": "app", "ROLEGATE_ACCESS_TOKEN": "AT-1-secret"}
	for _, c := range []struct {
		name  string
		env   map[string]string
		wrong string
		want  settings
	}{
		{name: "nothing set", want: settings{expire: time.Hour}},
		{name: "a marketplace", env: whole, want: settings{real: true, expire: time.Hour}},
		{name: "two of three", env: map[string]string{"ROLEGATE_BASE_URL": "x", "ROLEGATE_APP_ID": "y"}, wrong: "set ROLEGATE_ACCESS_TOKEN too"},
		{name: "the shortest", env: map[string]string{"ROLEGATE_REFRESH": "100ms", "ROLEGATE_RESYNC": "100ms"},
			want: settings{refresh: shortest, resync: shortest, expire: time.Hour}},
		{name: "three times the resync", env: map[string]string{"ROLEGATE_RESYNC": "2h"}, want: settings{resync: 2 * time.Hour, expire: 6 * time.Hour}},
		{name: "too short", env: map[string]string{"ROLEGATE_REFRESH": "99ms"}, wrong: `ROLEGATE_REFRESH="99ms": expected a duration of 100ms or more`},
		{name: "zero", env: map[string]string{"ROLEGATE_RESYNC": "0"}, wrong: "ROLEGATE_RESYNC"},
		{name: "no unit", env: map[string]string{"ROLEGATE_RESYNC": "10"}, wrong: "ROLEGATE_RESYNC"},
		{name: "negative", env: map[string]string{"ROLEGATE_REFRESH": "-5s"}, wrong: "ROLEGATE_REFRESH"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := readSettings(func(name string) string { return c.env[name] })
			if c.wrong != "" {
				require.ErrorContains(t, err, c.wrong)
				assert.NotContains(t, err.Error(), "secret")
				return
			}
			require.NoError(t, err)
			c.want.baseURL, c.want.appID, c.want.token = got.baseURL, got.appID, got.token
			assert.Equal(t, c.want, got)
		})
	}
}

func TestABusyAddressSaysSo(t *testing.T) {
	p := start(t, nil)
	err := run(t.Context(), []string{"-addr", strings.TrimPrefix(p.url, "http://")}, func(string) string { return "" }, io.Discard, io.Discard, nil)
	require.ErrorContains(t, err, "-addr")
}
