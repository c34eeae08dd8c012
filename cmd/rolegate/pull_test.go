package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/lang"
	"github.com/rolegate/rolegate/rolegatetest"
)

// market is a marketplace whose list has what the tests need.
func market(t *testing.T) (m *rolegatetest.Marketplace, flags []string) {
	t.Helper()
	m = rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	m.Put(rolegatetest.User{ID: 1542135022016057346, Account: "zhang", Email: "zhang@school.example", Nickname: "=HYPERLINK(\"x\")", ThirdUserID: "sso77"})
	m.Grant(1542135022016057346, 8, "teacher")
	m.Grant(1542135022016057346, 7, "teacher", "homeroom")
	m.Grant(5, 7)
	return m, []string{"--url", m.Start(t), "--app-id", m.AppID(), "--token-file", tokenFile(t)}
}

const jsonList = `{"user_id":"5","sequence":"4","grants":[]}
{"user_id":"1542135022016057346","sequence":"3","grants":[{"org_id":"7","role":"homeroom"},{"org_id":"7","role":"teacher"},{"org_id":"8","role":"teacher"}]}
`

const csvList = `user_id,sequence,org_id,role
5,4,,
1542135022016057346,3,7,homeroom
1542135022016057346,3,7,teacher
1542135022016057346,3,8,teacher
`

func TestPull(t *testing.T) {
	t.Parallel()
	_, flags := market(t)
	for name, tc := range map[string]struct {
		args []string
		file string // of -o, "" for none
		want string
	}{
		"JSON lines":               {want: jsonList},
		"CSV":                      {args: []string{"--format", "csv"}, want: csvList},
		"a file":                   {file: "users", want: jsonList},
		"a file of CSV":            {file: "users.csv", want: csvList},
		"a file of CSV in capital": {file: "USERS.CSV", want: csvList},
		"a file of JSON lines":     {file: "users.jsonl", want: jsonList},
		"--format beats the name":  {file: "users.csv", args: []string{"--format", "jsonl"}, want: jsonList},
		"an increment":             {args: []string{"--after", "3"}, want: `{"user_id":"5","sequence":"4","grants":[]}` + "\n"},
		"no news":                  {args: []string{"--after", "4"}, want: ""},
		"no news as CSV":           {args: []string{"--after", "4", "--format", "csv"}, want: "user_id,sequence,org_id,role\n"},
		"names": {args: []string{"--names", "--after", "2"}, want: `{"user_id":"5","sequence":"4","grants":[],"account":"","email":"","nickname":"","third_account":"","third_user_id":"","third_user_name":""}
{"user_id":"1542135022016057346","sequence":"3","grants":[{"org_id":"7","role":"homeroom"},{"org_id":"7","role":"teacher"},{"org_id":"8","role":"teacher"}],"account":"zhang","email":"zhang@school.example","nickname":"=HYPERLINK(\"x\")","third_account":"","third_user_id":"sso77","third_user_name":""}
`},
		"Excel": {args: []string{"--excel"}, want: "\ufeffuser_id,sequence,org_id,role\r\n" +
			"\"=\"\"5\"\"\",\"=\"\"4\"\"\",,\r\n" +
			"\"=\"\"1542135022016057346\"\"\",\"=\"\"3\"\"\",\"=\"\"7\"\"\",homeroom\r\n" +
			"\"=\"\"1542135022016057346\"\"\",\"=\"\"3\"\"\",\"=\"\"7\"\"\",teacher\r\n" +
			"\"=\"\"1542135022016057346\"\"\",\"=\"\"3\"\"\",\"=\"\"8\"\"\",teacher\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"pull"}, flags...)
			dir := t.TempDir()
			if tc.file != "" {
				args = append(args, "-o", filepath.Join(dir, tc.file))
			}
			code, out, stderr := call(t, append(args, tc.args...)...)
			assert.Zero(t, code)
			assert.Regexp(t, `^rolegate: \d users? with \d grants? in \S+; up to sequence 4(; \d records? came twice, as where pages overlap)?\n$`, stderr)
			if tc.file != "" {
				assert.Empty(t, out)
				out = read(t, filepath.Join(dir, tc.file))
				info, err := os.Stat(filepath.Join(dir, tc.file))
				require.NoError(t, err)
				assert.Equal(t, os.FileMode(0o600), info.Mode())
			}
			assert.Equal(t, tc.want, out)
		})
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}

func TestPullMinds(t *testing.T) {
	t.Parallel()
	_, flags := market(t)
	_, out, _ := call(t, append([]string{"pull"}, flags...)...)
	for _, name := range []string{"zhang", "HYPERLINK", "sso77"} {
		assert.NotContains(t, out, name, "personal data that nobody has asked for")
	}
	_, out, _ = call(t, append([]string{"pull", "--names", "--excel"}, flags...)...)
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(out, "\ufeff"))).ReadAll()
	require.NoError(t, err)
	assert.Equal(t, []string{`="1542135022016057346"`, `="3"`, `="7"`, "homeroom", "zhang", "zhang@school.example", `'=HYPERLINK("x")`, "", "sso77", ""}, rows[2])
	_, _, stderr := call(t, append([]string{"pull", "--quiet"}, flags...)...)
	assert.Empty(t, stderr)
}

func TestPullBadRecords(t *testing.T) {
	t.Parallel()
	m, flags := market(t)
	m.Grant(6, 7, "teacher")
	m.Raw(6, `{"userId":6,"lastSequence":5,"email":"wang@school.example"},{"userId":"who","lastSequence":5,"roleList":[]},{"userId":6,"lastSequence":5,"roleList":[{"orgId":7,"roleCode":"admin"}]}`)
	file := filepath.Join(t.TempDir(), "users.jsonl")
	for _, args := range [][]string{{}, {"-o", file}} {
		code, out, stderr := call(t, append(append([]string{"pull"}, flags...), args...)...)
		assert.Equal(t, exitNo, code)
		if len(args) > 0 {
			out = read(t, file)
		}
		assert.Equal(t, jsonList, out, "whole, but for that user")
		assert.Contains(t, stderr, "rolegate: a bad record of user 6, who is not on the list therefore: roleList: expected an array")
		assert.Contains(t, stderr, "rolegate: a bad record of a user whose id cannot be read: userId: expected an integer above 0")
		assert.Regexp(t, `up to sequence 5; \d bad records`, stderr)
		assert.NotContains(t, stderr, "wang")
		assert.NotContains(t, stderr, `who"`)
	}
}

func TestPullDrift(t *testing.T) {
	t.Parallel()
	m, flags := market(t)
	for id := int64(100); id < 140; id++ {
		m.Grant(id, 7)
		m.Raw(id, `{"userId":`+strconv.FormatInt(id, 10)+`,"lastSequence":9}`)
	}
	code, out, stderr := call(t, append([]string{"pull"}, flags...)...)
	assert.Equal(t, exitFailed, code)
	assert.Empty(t, out)
	assert.Equal(t, 10, strings.Count(stderr, "a bad record of user"))
	assert.Contains(t, stderr, "… and ")
	assert.Contains(t, stderr, "no list was written: schema_drift: ")
}

// TestPullFails has every way to fail half way leave what there was.
func TestPullFails(t *testing.T) {
	t.Parallel()
	halfway := func(f rolegatetest.Fault) func(*rolegatetest.Marketplace) {
		return func(m *rolegatetest.Marketplace) { m.FailWhen(rolegatetest.Request.GoesOn, f) }
	}
	for name, tc := range map[string]struct {
		fail  func(*rolegatetest.Marketplace)
		want  string
		again bool // the page is asked for again, with pauses: once will do
	}{
		"a page is cut":        {halfway(rolegatetest.Truncated()), "malformed: ", true},
		"a page ends early":    {halfway(rolegatetest.Unterminated()), "malformed: ", true},
		"the connection":       {halfway(rolegatetest.Reset()), "network: ", true},
		"an error":             {halfway(rolegatetest.ErrorEnvelope(500, "boom")), "upstream_error: ", false},
		"a login page":         {halfway(rolegatetest.HTMLPage()), "malformed: ", false},
		"left alone":           {halfway(rolegatetest.HTTPStatus(503, "Retry-After", "1")), "the marketplace asks to be left alone for 1s", true},
		"from a cache":         {halfway(rolegatetest.CachedReply(1e11)), "cached_reply: ", false},
		"it does not move on":  {halfway(rolegatetest.NoProgress()), "cursor_tie: ", false},
		"the token is refused": {func(m *rolegatetest.Marketplace) { m.SetToken("AT-3-another") }, "refused: ", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, flags := market(t)
			tc.fail(m)
			dir := t.TempDir()
			file := filepath.Join(dir, "users.jsonl")
			require.NoError(t, os.WriteFile(file, []byte("as it was\n"), 0o640))
			ways := [][]string{{"-o", file}, {}, {"-o", filepath.Join(dir, "new.csv"), "--names"}}
			if tc.again {
				ways = ways[:1]
			}
			for _, args := range ways {
				code, out, stderr := call(t, append(append([]string{"pull"}, flags...), args...)...)
				assert.Equal(t, exitFailed, code)
				assert.Contains(t, stderr, "\nWhat is wrong, and what to do: rolegate doctor --url http://127.0.0.1:")
				assert.NotContains(t, stderr, "Config.")
				assert.Empty(t, out)
				assert.Contains(t, stderr, "rolegate: no list was written: ")
				assert.Contains(t, stderr, tc.want)
				assert.NotContains(t, stderr, rolegatetest.DefaultToken)
				assert.NotContains(t, stderr, "zhang")
			}
			assert.Equal(t, "as it was\n", read(t, file))
			info, err := os.Stat(file)
			require.NoError(t, err)
			assert.Equal(t, os.FileMode(0o640), info.Mode())
			left(t, dir, "users.jsonl")
		})
	}
}

// left checks that nothing but these files is in a folder.
func left(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	assert.Equal(t, want, got)
}

func TestPullReplaces(t *testing.T) {
	t.Parallel()
	_, flags := market(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "users.jsonl")
	require.NoError(t, os.WriteFile(file, []byte(strings.Repeat("as it was\n", 1000)), 0o644))
	code, _, stderr := call(t, append([]string{"pull", "-o", file}, flags...)...)
	assert.Zero(t, code, stderr)
	assert.Equal(t, jsonList, read(t, file))
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode())
	left(t, dir, "users.jsonl")
}

func TestPullInterrupted(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"", "users.csv"} {
		m, flags := market(t)
		ctx, cancel := context.WithCancel(t.Context())
		m.FailWhen(rolegatetest.Request.GoesOn, func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
			cancel()
			<-r.Context().Done()
		})
		dir := t.TempDir()
		args := append([]string{"pull"}, flags...)
		if path != "" {
			args = append(args, "-o", filepath.Join(dir, path))
		}
		var out, stderr bytes.Buffer
		assert.Equal(t, exitFailed, run(ctx, args, streams{nil, &out, &stderr, ""}))
		assert.Empty(t, out.String())
		assert.Equal(t, "rolegate: interrupted: no list was written\n", stderr.String())
		left(t, dir)
	}
}

func TestPullMistakes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	require.NoError(t, os.Symlink(os.DevNull, link))
	token := tokenFile(t)
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"format":                 {[]string{"--format", "xml"}, `--format "xml": expected jsonl or csv`},
		"no format":              {[]string{"--format", ""}, `--format "": expected jsonl or csv`},
		"Excel reads no JSON":    {[]string{"--format", "jsonl", "--excel"}, "--excel: expected --format csv, not jsonl"},
		"after":                  {[]string{"--after", "-1"}, "--after -1: expected a sequence, 0 or above"},
		"a folder":               {[]string{"-o", dir}, "expected a regular file, or none yet"},
		"a device":               {[]string{"-o", os.DevNull}, "expected a regular file, or none yet"},
		"a link":                 {[]string{"-o", link}, "expected a regular file, or none yet"},
		"no folder":              {[]string{"-o", filepath.Join(dir, "no", "users.csv")}, "expected a file in a folder that exists"},
		"no marketplace":         {[]string{"--url", ""}, "where is the marketplace? give --url"},
		"no URL":                 {[]string{"--url", "market"}, "--url"},
		"no token":               {[]string{"--token-file", filepath.Join(dir, "none")}, "the access token: open "},
		"no settings":            {[]string{"--url", "", "-c", filepath.Join(dir, "none.yaml")}, "none.yaml"},
		"a token as an argument": {[]string{"--token", "AT-1"}, "unknown flag: --token"},
		"an argument":            {[]string{"users.csv"}, "See: rolegate pull --help"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := []string{"pull", "--url", "http://127.0.0.1:1", "--app-id", "test-app", "--token-file", token}
			if name == "no settings" {
				args = []string{"pull"}
				tc.args = tc.args[2:]
			}
			code, out, stderr := call(t, append(args, tc.args...)...)
			assert.Equal(t, exitUsage, code)
			assert.Empty(t, out)
			assert.Contains(t, stderr, tc.want)
		})
	}
}

func TestPullCannotWrite(t *testing.T) {
	t.Parallel()
	_, flags := market(t)
	var stderr bytes.Buffer
	code := run(t.Context(), append([]string{"pull"}, flags...), streams{nil, brokenPipe{}, &stderr, ""})
	assert.Equal(t, exitFailed, code)
	assert.Equal(t, "rolegate: the list on stdout is not whole: broken pipe\n", stderr.String())

	dir := t.TempDir()
	file := filepath.Join(dir, "users")
	require.NoError(t, os.WriteFile(file, []byte("as it was\n"), 0o600))
	require.ErrorContains(t, replaceFile(file, func(w io.Writer) error {
		_, err := io.WriteString(w, "half of")
		return errors.Join(err, errors.New("disk full"))
	}), "disk full")
	assert.Equal(t, "as it was\n", read(t, file))
	left(t, dir, "users")
}

func TestPullInterruptedAsItWrites(t *testing.T) {
	t.Parallel()
	f := startFake(t, "--users", "5000")
	ctx, cancel := context.WithCancel(t.Context())
	var stderr bytes.Buffer
	out := &interrupting{cancel: cancel}
	code := run(ctx, []string{"pull", "--url", f.url, "--app-id", "test-app", "--token-file", tokenFile(t)}, streams{nil, out, &stderr, ""})
	assert.Equal(t, exitFailed, code)
	assert.Equal(t, 1, out.writes)
	assert.Equal(t, "rolegate: the list on stdout is not whole: context canceled\n", stderr.String())
}

// An interrupting writer is interrupted as it is written to.
type interrupting struct {
	cancel context.CancelFunc
	writes int
}

func (i *interrupting) Write(b []byte) (int, error) {
	i.cancel()
	i.writes++
	return len(b), nil
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestPullLong(t *testing.T) {
	t.Parallel()
	f := startFake(t, "--users", "100000", "--orgs", "50", "--ids", "mixed", "--page-cap", "700")
	code, out, stderr := f.pull(t, "--names")
	require.Zero(t, code, stderr)
	users, last := 0, int64(0)
	for line := range strings.Lines(out) {
		var u struct {
			UserID int64 `json:"user_id,string"`
		}
		if err := json.Unmarshal([]byte(line), &u); err != nil || u.UserID <= last {
			require.FailNow(t, "a line is wrong", "%s: %v", line, err)
		}
		users, last = users+1, u.UserID
	}
	assert.Equal(t, 100_005, users)
	assert.Equal(t, int64(1542135022016058000+100_000-1), last)
}

func TestProgress(t *testing.T) {
	t.Parallel()
	var terminal bytes.Buffer
	p := newProgress(&terminal, lang.English)
	for range 1000 {
		p.one()
	}
	p.end()
	assert.Contains(t, terminal.String(), "pulling")
	assert.False(t, strings.HasSuffix(terminal.String(), "\n"))

	file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	require.NoError(t, err)
	defer file.Close()
	quiet := startProgress(file, false, lang.English) // no terminal
	quiet.one()
	quiet.end()
	info, err := file.Stat()
	require.NoError(t, err)
	assert.Zero(t, info.Size())
}
