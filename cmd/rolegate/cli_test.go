package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/control"
	"github.com/rolegate/rolegate/rolegatetest"
)

// commands are those that have a page of help with examples.
var commands = []string{"serve", "why", "status"}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"help"}, {"--help"}} {
		c := calls(t, args...)
		assert.Equal(t, exitOK, c.code)
		for _, part := range append([]string{"Examples:", "Exit codes: 0 done", "completion"}, commands...) {
			assert.Contains(t, c.out, part)
		}
		assert.Empty(t, c.err)
	}
	for _, name := range commands {
		for _, args := range [][]string{{"help", name}, {name, "--help"}, {name, "-h"}} {
			c := calls(t, args...)
			assert.Equal(t, exitOK, c.code, name)
			assert.Contains(t, c.out, "Examples:\n  rolegate "+name, name)
			assert.Contains(t, c.out, "Usage:\n  rolegate "+name, name)
			assert.Empty(t, c.err, name)
		}
	}
	c := calls(t, "version")
	assert.Equal(t, exitOK, c.code)
	assert.Regexp(t, `^rolegate \S+, go1\.\S+, \w+/\w+\n$`, c.out)
}

// A wrong call says what is wrong, and where to read about it.
func TestWrongCalls(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args      []string
		text, see string
	}{
		"an unknown command":      {[]string{"serv"}, `unknown command "serv" for "rolegate"`, "rolegate"},
		"an unknown flag":         {[]string{"--nope"}, "unknown flag: --nope", "rolegate"},
		"a flag of no command":    {[]string{"status", "--nope"}, "unknown flag: --nope", "rolegate status"},
		"an argument too many":    {[]string{"serve", "-c", "x", "y"}, `unknown command "y"`, "rolegate serve"},
		"three for why":           {[]string{"why", "a", "b", "c"}, "accepts between 1 and 2 arg(s), received 3", "rolegate why"},
		"none for why":            {[]string{"why"}, "accepts between 1 and 2 arg(s), received 0", "rolegate why"},
		"serve without a file":    {[]string{"serve"}, `required flag(s) "config" not set`, "rolegate serve"},
		"a flag without a value":  {[]string{"serve", "-c"}, "flag needs an argument: 'c' in -c", "rolegate serve"},
		"a number that is none":   {[]string{"why", "5", "--org", "x"}, `invalid argument "x" for "--org"`, "rolegate why"},
		"a file and a socket":     {[]string{"status", "-c", "x", "--socket", "y"}, "[config socket]", "rolegate status"},
		"a shell that is none":    {[]string{"completion", "nonsense"}, `unknown command "nonsense"`, "rolegate completion"},
		"an argument for a shell": {[]string{"completion", "bash", "x"}, `unknown command "x"`, "rolegate completion bash"},
		"users that are none":     {[]string{"fake", "--users", "x"}, `invalid argument "x" for "--users" flag: expected a whole number`, "rolegate fake"},
		"an argument for version": {[]string{"version", "x"}, `unknown command "x"`, "rolegate version"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := calls(t, c.args...)
			assert.Equal(t, exitUsage, got.code)
			assert.Empty(t, got.out)
			assert.True(t, strings.HasPrefix(got.err, "rolegate: "), got.err)
			assert.Contains(t, got.err, c.text)
			assert.True(t, strings.HasSuffix(got.err, "\nSee: "+c.see+" --help\n"), got.err)
		})
	}
	assert.Contains(t, calls(t, "serv").err, "Did you mean this?\n\tserve")
}

// What a command finds out by itself to be wrong.
func TestWrongQuestions(t *testing.T) {
	t.Setenv(socketVariable, "")
	folder := t.TempDir()
	file := filepath.Join(folder, "rolegate.yaml")
	write(t, file, "marketplace: {url: x, app_id: y, token: {env: Z}}\n")
	nowhere := filepath.Join(folder, "s")
	for name, c := range map[string]struct {
		args []string
		code int
		err  string
	}{
		"no server is named":           {[]string{"status"}, exitUsage, "where is the server? give its settings file with -c, its control socket with --socket, or ROLEGATE_CONTROL"},
		"a file without a socket":      {[]string{"status", "-c", file}, exitUsage, file + " opens no control socket: add control: PATH to it, and restart the server"},
		"a file that is not there":     {[]string{"status", "-c", nowhere}, exitUsage, "open " + nowhere + ": no such file or directory"},
		"a socket that is not there":   {[]string{"status", "--socket", nowhere}, exitFailed, "no rolegate serve listens on " + nowhere + ": start it, or say with --socket or -c where the one that runs has its control socket"},
		"a socket that is a file":      {[]string{"status", "--socket", file}, exitFailed, "no rolegate serve listens on " + file + ": start it, or say with --socket or -c where the one that runs has its control socket"},
		"the same for why":             {[]string{"why", "5", "--socket", nowhere}, exitFailed, "no rolegate serve listens on " + nowhere + ": start it, or say with --socket or -c where the one that runs has its control socket"},
		"a URL without a scheme":       {[]string{"pull", "--url", "market.example.com/api", "--app-id", "a"}, exitUsage, "the marketplace's URL (--url, ROLEGATE_BASE_URL): expected http:// or https:// in front"},
		"a route and a resource":       {[]string{"why", "5", "/x", "--resource", "a", "--action", "b"}, exitUsage, "expected a route, or --resource and --action, not both"},
		"a resource without an action": {[]string{"why", "5", "--resource", "a"}, exitUsage, "expected --resource and --action together"},
		"an organisation alone":        {[]string{"why", "5", "--org", "7"}, exitUsage, "--org goes with --resource: a route names its organisation itself"},
		"an organisation below 1":      {[]string{"why", "5", "--org", "-7"}, exitUsage, "--org: expected an id above 0"},
		"a route that is none":         {[]string{"why", "5", "grades"}, exitUsage, `route "grades": expected a method and a path, such as 'GET /grades', or a URL`},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, called{c.code, "", "rolegate: " + c.err + "\n"}, calls(t, c.args...))
		})
	}
}

func TestServeCheck(t *testing.T) {
	t.Parallel()
	market := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	file, _ := settingsFile(t, served, market)
	assert.Equal(t, called{exitOK, file + " is right\n", ""}, calls(t, "serve", "-c", file, "--check"))
	assert.Zero(t, market.RequestCount())

	text, err := os.ReadFile(file)
	require.NoError(t, err)
	write(t, file, strings.Replace(string(text), "refresh:", "refrehs:", 1))
	wrong := called{exitUsage, "", "rolegate: " + file + ": line 7: unknown key refrehs: expected refresh\n"}
	assert.Equal(t, wrong, calls(t, "serve", "-c", file, "--check"))
	assert.Equal(t, wrong, calls(t, "serve", "-c", file), "nor does it serve")

	write(t, file, strings.NewReplacer("any_role: [teacher]}", "}", "expire_after: 6h", "expire_after: 6s").Replace(string(text)))
	c := calls(t, "serve", "-c", file, "--check")
	assert.Equal(t, exitUsage, c.code)
	assert.Contains(t, c.err, "refresh.expire_after (6s) is less than twice refresh.resync_every (2h0m0s)")
	write(t, file, strings.ReplaceAll(string(text), "any_role: [teacher]}", "}"))
	c = calls(t, "serve", "-c", file, "--check")
	assert.Contains(t, c.err, file+":\n  forward_auth.rules[1], route \"GET /grades\": expected a check")
	assert.Contains(t, c.err, "\n  authzen.rules[0], read grades: expected a check")
	assert.Equal(t, c, calls(t, "serve", "-c", file))

	assert.Equal(t, exitUsage, calls(t, "serve", "-c", filepath.Join(t.TempDir(), "none"), "--check").code)

	// Sockets need a folder that is there.
	gone := filepath.Join(t.TempDir(), "run")
	write(t, file, strings.Replace(string(text), "control:", "control: "+filepath.Join(gone, "control.sock")+" #", 1))
	c = calls(t, "serve", "-c", file, "--check")
	assert.Equal(t, exitUsage, c.code)
	cure := "there is no folder " + gone + ": make it as the user that rolegate runs as (install -d -m 700 " + gone + "; with systemd: RuntimeDirectory=run), or give another path"
	assert.Equal(t, "rolegate: "+file+": control: "+cure+"\n", c.err)
	assert.Contains(t, calls(t, "serve", "-c", file).err, cure, "serve says so too")
	write(t, gone, "")
	assert.Contains(t, calls(t, "serve", "-c", file, "--check").err, gone+" is no folder")
}

func TestLogNamesKeys(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ from, want slog.Attr }{
		{slog.Any("err", errors.New("check Config.AppID")), slog.String("err", "check marketplace.app_id")},
		{slog.Int("users", 5), slog.Int("users", 5)},
		{slog.String("msg", "Config.AppID"), slog.String("msg", "Config.AppID")},
	} {
		assert.True(t, c.want.Equal(inFile(nil, c.from)), c.from)
	}
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		c := calls(t, "completion", shell)
		assert.Equal(t, exitOK, c.code, shell)
		assert.Contains(t, c.out, "__complete", shell)
		assert.Greater(t, strings.Count(c.out, "\n"), 100, shell)
		assert.Empty(t, c.err, shell)
	}
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"commands":        {[]string{""}, []string{"serve\t", "why\t", "status\t", "version\t", "completion\t"}},
		"a command begun": {[]string{"ser"}, []string{"serve\tAnswer"}},
		"flags":           {[]string{"why", "--"}, []string{"--host\t", "--json\t", "--org\t", "--socket\t"}},
		"files":           {[]string{"serve", "-c", ""}, []string{"yaml\nyml\n", ":8\n"}},
	} {
		got := calls(t, append([]string{"__complete"}, c.args...)...)
		assert.Equal(t, exitOK, got.code, name)
		for _, want := range c.want {
			assert.Contains(t, got.out, want, name)
		}
	}
}

func TestRouteOf(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text, host string
		want       control.Question
		err        string
	}{
		"a method and a path":      {"POST /grades", "", control.Question{Method: "POST", Host: "localhost", URI: "/grades"}, ""},
		"a path":                   {"/grades", "", control.Question{Method: "GET", Host: "localhost", URI: "/grades"}, ""},
		"blanks in between":        {"GET   /grades", "", control.Question{Method: "GET", Host: "localhost", URI: "/grades"}, ""},
		"a method in lower case":   {"post /grades", "", control.Question{Method: "POST", Host: "localhost", URI: "/grades"}, ""},
		"a query":                  {"/grades?of=7&at=https://x/", "", control.Question{Method: "GET", Host: "localhost", URI: "/grades?of=7&at=https://x/"}, ""},
		"a path in two ways":       {"/a/..%2F/b//c;d", "", control.Question{Method: "GET", Host: "localhost", URI: "/a/..%2F/b//c;d"}, ""},
		"two slashes are a path":   {"//school/grades", "", control.Question{Method: "GET", Host: "localhost", URI: "//school/grades"}, ""},
		"a blank in the path":      {"/a b", "", control.Question{Method: "GET", Host: "localhost", URI: "/a b"}, ""},
		"a host":                   {"/grades", "school.example.com", control.Question{Method: "GET", Host: "school.example.com", URI: "/grades"}, ""},
		"a URL":                    {"https://school.example.com/grades?x=1", "", control.Question{Method: "GET", Host: "school.example.com", URI: "/grades?x=1"}, ""},
		"a method and a URL":       {"PUT http://school.example.com:8080/a", "", control.Question{Method: "PUT", Host: "school.example.com:8080", URI: "/a"}, ""},
		"a URL without a path":     {"https://school.example.com", "", control.Question{Method: "GET", Host: "school.example.com", URI: "/"}, ""},
		"a URL with a query alone": {"https://school.example.com?x", "", control.Question{Method: "GET", Host: "school.example.com", URI: "/?x"}, ""},
		"a URL with a fragment":    {"https://school.example.com/a#b", "", control.Question{Method: "GET", Host: "school.example.com", URI: "/a"}, ""},
		"a fragment alone":         {"https://school.example.com#b/c", "", control.Question{Method: "GET", Host: "school.example.com", URI: "/"}, ""},
		"a URL in capitals":        {"HTTPS://School.example.com/A", "", control.Question{Method: "GET", Host: "school.example.com", URI: "/A"}, ""},
		"a URL with a password":    {"https://u:p@school.example.com/a@b", "", control.Question{Method: "GET", Host: "school.example.com", URI: "/a@b"}, ""},
		"an address":               {"http://[::1]:8080/a", "", control.Question{Method: "GET", Host: "[::1]:8080", URI: "/a"}, ""},
		"a host twice":             {"https://a/b", "a", control.Question{}, "the host is in the route and in --host: expected one of them"},
		"a URL without a host":     {"https:///a", "", control.Question{}, "expected a host behind ://"},
		"another scheme":           {"ftp://a/b", "", control.Question{}, "expected a method and a path"},
		"a word":                   {"grades", "", control.Question{}, "expected a method and a path"},
		"a method alone":           {"GET ", "", control.Question{}, "expected a method and a path"},
		"nothing":                  {"", "", control.Question{}, "expected a method and a path"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var q control.Question
			err := routeOf(&q, c.text, c.host)
			if c.err != "" {
				assert.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.want, q)
		})
	}
}

func TestIdentityOf(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]string{
		"42": {"user_id", "42"}, "user_id:42": {"user_id", "42"}, "account:wang": {"account", "wang"}, "account:": {"account", ""},
		"email:w@example.com": {"email", "w@example.com"}, "third_account:w": {"third_account", "w"}, "third_user_id:a:b": {"third_user_id", "a:b"},
		"wang": {"user_id", "wang"}, "name:wang": {"user_id", "name:wang"}, "": {"user_id", ""}, "Account:wang": {"user_id", "Account:wang"},
	} {
		kind, user := identityOf(text)
		assert.Equal(t, want, [2]string{kind, user}, text)
	}
}

func TestSeconds(t *testing.T) {
	t.Parallel()
	for s, want := range map[float64]string{
		0: "0s", 0.04: "0s", 0.26: "300ms", 9.96: "10s", 12.4: "12s", 59.6: "1m", 61: "1m1s", 3600: "1h", 5400: "1h30m", 86400: "24h", 36000: "10h",
	} {
		assert.Equal(t, want, seconds(s), s)
	}
}
