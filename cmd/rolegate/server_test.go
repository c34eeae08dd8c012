package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/control"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/daemon"
	"github.com/rolegate/rolegate/internal/logbook"
	"github.com/rolegate/rolegate/rolegatetest"
)

// The users of the tests.
const (
	guestID   = "1542135022016057001" // no role
	teacherID = "1542135022016057002" // teacher in 7, homeroom in 8
	invalidID = "1542135022016057003" // a record that cannot be understood
	adminID   = "1542135022016057004" // admin in 7, account wang

	suspendedID = "1542135022016057005" // teacher and suspended in 7
)

// How long the tests wait for something, and how often they look.
const (
	waitFor = 20 * time.Second
	tick    = 5 * time.Millisecond
)

// A called is what a command has done.
type called struct {
	code     int
	out, err string
}

// calls runs the command line.
func calls(t *testing.T, args ...string) called {
	t.Helper()
	code, out, err := call(t, args...)
	return called{code, out, err}
}

// served is a settings file with all that why asks about. %MARKET%, %FOLDER%
// and %SOCKET% are replaced.
const served = `
marketplace: {url: "%MARKET%", app_id: test-app, token: {file: "%FOLDER%/token"}}
identity:
  - {is: user_id, header: X-User-Id, trusted: loopback}
aliases: [account]
implies: {principal: [teacher]}
refresh: {every: 1h, resync_every: 2h, expire_after: 6h, max_shrink: 0.1}
forward_auth:
  listen: 127.0.0.1:0
  proxy: nginx
  trusted: loopback
  rules:
    - {route: "GET /{$}", admit: true}
    - {route: "GET /grades", any_role: [teacher]}
    - {route: "POST /orgs/{orgID}/reports", any_role: [teacher, principal], no_role: [suspended], in_org: orgID}
    - {route: "GET /exams", either: [{any_role: [teacher]}, {all_roles: [admin, homeroom]}], max_age: 1h}
    - {route: "GET /trial", any_role: [principal], shadow: true}
    - {route: "GET exams.example.com/", any_role: [admin]}
authzen:
  listen: 127.0.0.1:0
  callers: [{name: gateway, token: {file: "%FOLDER%/caller"}}]
  subjects: {user: user_id}
  rules:
    - {resource: grades, action: read, any_role: [teacher]}
    - {resource: report, action: write, any_role: [teacher], org: {property: org_id}}
    - {resource: essay, action: edit, any_role: [teacher], when: [{resource: {owner_id: {user: user_id}}}]}
control: %SOCKET%
`

// A server is one that runs in the test, with a marketplace of its own.
type server struct {
	market *rolegatetest.Marketplace
	file   string // with the settings
	socket string
	addrs  map[string]net.Addr
	log    logbook.Book
}

// newServer starts one, by that settings file. It does not wait for a list.
func newServer(t *testing.T, file string, users func(*rolegatetest.Marketplace)) *server {
	t.Helper()
	s := &server{market: rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})}
	users(s.market)
	s.file, s.socket = settingsFile(t, file, s.market)
	ctx, cancel := context.WithCancel(t.Context())
	listening, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- daemon.Run(ctx, daemon.Options{
			Path: s.file, Logger: slog.New(slog.NewTextHandler(&s.log, nil)),
			Listening: func(addrs map[string]net.Addr) { s.addrs = addrs; close(listening) },
		})
	}()
	select {
	case <-listening:
	case err := <-ended:
		require.NoError(t, err)
	}
	t.Cleanup(func() {
		cancel()
		assert.NoError(t, <-ended)
	})
	return s
}

// settingsFile writes one, and the secrets that it names.
func settingsFile(t *testing.T, text string, market *rolegatetest.Marketplace) (file, socket string) {
	t.Helper()
	folder := t.TempDir()
	short, err := os.MkdirTemp("", "rg") // the path of a socket may not be long
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(short)) })
	socket = filepath.Join(short, "s")
	file = filepath.Join(folder, "rolegate.yaml")
	write(t, filepath.Join(folder, "token"), market.Token()+"\n")
	write(t, filepath.Join(folder, "caller"), "callers-token-for-tests-only\n")
	write(t, file, strings.NewReplacer("%MARKET%", market.Start(t), "%FOLDER%", folder, "%SOCKET%", socket).Replace(text))
	return file, socket
}

func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

// school puts the users of the tests on the list.
func school(m *rolegatetest.Marketplace) {
	m.Put(
		rolegatetest.User{ID: 1542135022016057001},
		rolegatetest.User{ID: 1542135022016057002, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "teacher"}, {OrgID: 8, RoleCode: "homeroom"}}},
		rolegatetest.User{ID: 1542135022016057004, Account: "wang", Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "admin"}}},
		rolegatetest.User{ID: 1542135022016057005, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "teacher"}, {OrgID: 7, RoleCode: "suspended"}}},
		rolegatetest.User{ID: 1542135022016057006, Account: "zhao"},
		rolegatetest.User{ID: 1542135022016057007, Account: "zhao"},
		rolegatetest.User{ID: 1542135022016057003},
	)
	m.Raw(1542135022016057003, `{"userId":1542135022016057003,"roles":"none"}`)
}

// state waits until the server is in that state.
func (s *server) state(t *testing.T, state rolegate.State) {
	t.Helper()
	client := control.NewClient(s.socket)
	require.Eventually(t, func() bool {
		text, err := client.Status(t.Context())
		var now struct{ State rolegate.State }
		return err == nil && json.Unmarshal(text, &now) == nil && now.State == state
	}, waitFor, tick, &s.log)
}

// call runs a command that asks the server. Times and digests, which differ, are <time>
// and <digest>.
func (s *server) calls(t *testing.T, args ...string) called {
	t.Helper()
	c := calls(t, append(args, "--socket", s.socket)...)
	c.out = digests.ReplaceAllString(times.ReplaceAllString(c.out, "<time>"), "=<digest>")
	return c
}

var digests = regexp.MustCompile(`=[0-9a-f]{16}\b`)

var times = regexp.MustCompile(`\b\d+(\.\d+)?m?s\b|\b\d+m(\d+s)?\b|\b\d+h(\d+m)?\b`)
