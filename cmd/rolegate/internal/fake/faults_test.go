package fake_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/fake"
	"github.com/rolegate/rolegate/rolegatetest"
)

func TestParseFault(t *testing.T) {
	t.Parallel()
	for _, good := range []string{
		"truncated", "slow", "slow=1m30s", "drop-rows=0", "body=", "body=a=b,c", "trailing=x@full", "body=a@b@always", "error-envelope=-1",
		"http-status=599@every=1", "hang@p=1", "hang@p=0.001", "hang@from=0s", "hang@from=30s..2m", "html@full,every=3", "html@next=2,increment",
		"cloud:error-r=401", "cloud:hang@next=1", "cloud:http-status", "retry-after=90s",
	} {
		t.Run(good, func(t *testing.T) {
			t.Parallel()
			f, err := fake.ParseFault(good)
			require.NoError(t, err)
			assert.Equal(t, good, f.String())
			assert.Equal(t, strings.HasPrefix(good, "cloud:"), f.Cloud())
		})
	}
	for bad, want := range map[string]string{
		"":                      "expected one of truncated, unterminated, ",
		"trunkated":             "expected one of truncated, ",
		"Truncated":             "expected one of truncated, ",
		"error-r":               "stuck-page",
		"cloud:drop-rows":       "error-r",
		"cloud:cloud:hang":      "expected one of ",
		"truncated=":            "expected nothing after truncated",
		"truncated=3":           "expected nothing after truncated",
		"slow=":                 "expected a time from 1ns to 24h",
		"slow=-2s":              "expected a time from 1ns to 24h",
		"slow=25h":              "expected a time from 1ns to 24h",
		"cached=10ms":           "expected a time from 1s to 24h",
		"http-status=200":       "expected an HTTP status from 201 to 599",
		"http-status=600":       "expected an HTTP status from 201 to 599",
		"error-envelope=many":   "expected a code such as 500",
		"drop-rows=-1":          "expected a number of users, 0 or more",
		"hang@":                 "expected behind the last @ one of always, full, ",
		"hang@sometimes":        "expected behind the last @ one of always, full, ",
		"hang@full=3":           "expected behind the last @ one of always, full, ",
		"hang@every":            "expected behind the last @ one of always, full, ",
		"hang@every=0":          "expected a whole number above 0, such as every=3",
		"hang@next=-1":          "expected a whole number above 0, such as next=5",
		"hang@p=0":              "expected a probability above 0 and up to 1",
		"hang@p=NaN":            "expected a probability above 0 and up to 1",
		"hang@p=1.1":            "expected a probability above 0 and up to 1",
		"hang@from=":            "expected times since the start",
		"hang@from=2m..30s":     "expected times since the start",
		"hang@from=30s..":       "expected times since the start",
		"hang@from=-1s":         "expected times since the start",
		"hang@full,":            "expected behind the last @ one of ",
		"cloud:hang@full":       "云上指挥 is not asked for a list",
		"cloud:hang@p=1,full":   "云上指挥 is not asked for a list",
		"body=who@example.test": "@always",
	} {
		t.Run("bad "+bad, func(t *testing.T) {
			t.Parallel()
			_, err := fake.ParseFault(bad)
			require.ErrorContains(t, err, want)
			assert.ErrorContains(t, err, strconv.Quote(bad))
		})
	}
}

// TestEveryFault looks at the source of rolegatetest, so that a fault that it
// gets is not forgotten here.
func TestEveryFault(t *testing.T) {
	t.Parallel()
	kinds, err := os.ReadFile("kinds.go")
	require.NoError(t, err)
	moving, err := os.ReadFile("moving.go")
	require.NoError(t, err)
	files, err := filepath.Glob(filepath.Join("..", "..", "..", "..", "rolegatetest", "*.go"))
	require.NoError(t, err)
	found := 0
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !f.Name.IsExported() || f.Type.Results.NumFields() != 1 {
				continue
			}
			if result, ok := f.Type.Results.List[0].Type.(*ast.Ident); ok && result.Name == "Fault" {
				found++
				if f.Name.Name == "Sometimes" { // that is @p=0.01
					continue
				}
				if !strings.Contains(string(kinds)+string(moving), "rolegatetest."+f.Name.Name) {
					t.Errorf("rolegate fake cannot fail in this way: %s", f.Name.Name)
				}
			}
		}
	}
	assert.Greater(t, found, 15)
}

func TestKinds(t *testing.T) {
	t.Parallel()
	for _, k := range fake.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			assert.NotEmpty(t, k.Help)
			assert.Equal(t, k.Arg == "", k.Default == "")
			_, market := fake.ParseFault(k.Name)
			_, cloud := fake.ParseFault("cloud:" + k.Name)
			assert.True(t, market == nil || cloud == nil, "its own default is refused")
		})
	}
	for _, w := range fake.Whens() {
		_, err := fake.ParseFault("hang@" + w[0])
		assert.NoError(t, err, w[0])
	}
}

// ask sends requests after these sequences and draws which of them failed.
func ask(t *testing.T, s *fake.Server, after ...int) (drawn string) {
	t.Helper()
	for _, sequence := range after {
		r := httptest.NewRequest(http.MethodGet, rolegatetest.DefaultPath+"?accessToken="+rolegatetest.DefaultToken+"&lastSequence="+strconv.Itoa(sequence), nil)
		r.Header.Set("X-App-Id", rolegatetest.DefaultAppID)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		switch w.Code {
		case http.StatusOK:
			drawn += "."
		case http.StatusServiceUnavailable:
			drawn += "x"
		default:
			drawn += strconv.Itoa(w.Code)[:1]
		}
	}
	return drawn
}

func newServer(t *testing.T, faults ...string) *fake.Server {
	t.Helper()
	cfg := fake.Config{Orgs: 2, Roles: []string{"pupil"}, Seed: 1}
	for _, text := range faults {
		f, err := fake.ParseFault(text)
		require.NoError(t, err)
		cfg.Faults = append(cfg.Faults, f)
	}
	s, err := fake.New(cfg)
	require.NoError(t, err)
	return s
}

func TestWhen(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		faults []string
		after  []int
		want   string
	}{
		"always":                       {faults: []string{"http-status"}, after: []int{0, 1, 2}, want: "xxx"},
		"each third":                   {faults: []string{"http-status@every=3"}, after: []int{0, 1, 2, 3, 4, 5, 6}, want: "..x..x."},
		"the next two":                 {faults: []string{"http-status@next=2"}, after: []int{0, 1, 2, 3}, want: "xx.."},
		"full refreshes":               {faults: []string{"http-status@full"}, after: []int{0, 1, 0, 2}, want: "x.x."},
		"increments":                   {faults: []string{"http-status@increment"}, after: []int{0, 1, 0, 2}, want: ".x.x"},
		"each second full refresh":     {faults: []string{"http-status@full,every=2"}, after: []int{0, 1, 0, 1, 0, 0}, want: "..x..x"},
		"the next full refresh":        {faults: []string{"http-status@full,next=1"}, after: []int{1, 0, 0}, want: ".x."},
		"a full refresh if it is next": {faults: []string{"http-status@next=1,full"}, after: []int{1, 0, 0}, want: "..."},
		"certainly":                    {faults: []string{"http-status@p=1"}, after: []int{0, 0}, want: "xx"},
		"the last one counts":          {faults: []string{"http-status", "http-status=404@every=2"}, after: []int{0, 0, 0, 0}, want: "x4x4"},
		"the first is asked when not":  {faults: []string{"http-status@next=1", "http-status=404@next=1"}, after: []int{0, 0, 0}, want: "4x."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tc.want, ask(t, newServer(t, tc.faults...), tc.after...))
		})
	}
}

func TestWhenAtRandom(t *testing.T) {
	t.Parallel()
	after := make([]int, 400)
	one := ask(t, newServer(t, "http-status@p=0.25"), after...)
	assert.Equal(t, one, ask(t, newServer(t, "http-status@p=0.25"), after...), "the same seed")
	assert.InDelta(t, 100, strings.Count(one, "x"), 40)
}

func TestWhenInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, "http-status@from=30s..2m", "http-status=404@from=3m")
		drawn := ""
		for range 5 {
			drawn += ask(t, s, 0)
			<-time.After(29 * time.Second)
			drawn += ask(t, s, 0)
			<-time.After(time.Second)
		}
		// 0:00, 0:29, 0:30, 0:59, 1:00, 1:29, 1:30, 1:59, 2:00, 2:29
		assert.Equal(t, "..xxxxxx..", drawn)
		<-time.After(30 * time.Second)
		assert.Equal(t, "4", ask(t, s, 0))
	})
}

func FuzzParseFault(f *testing.F) {
	for _, seed := range []string{
		"truncated", "slow=2s@every=3", "cloud:error-r=500@p=0.5", "body=a@b@always", "hang@from=30s..2m", "drop-rows=3@full,next=1", "=@", "@@", "cloud:",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		fault, err := fake.ParseFault(s)
		if err != nil {
			require.ErrorContains(t, err, strconv.Quote(s))
			require.ErrorContains(t, err, "expected")
			return
		}
		require.Equal(t, s, fault.String())
		require.Equal(t, strings.HasPrefix(s, "cloud:"), fault.Cloud())
		again, err := fake.ParseFault(fault.String())
		require.NoError(t, err)
		require.Equal(t, fault.Cloud(), again.Cloud())
		name, _, _ := strings.Cut(strings.TrimPrefix(s, "cloud:"), "=")
		name, _, _ = strings.Cut(name, "@")
		known := false
		for _, k := range fake.Kinds() {
			known = known || k.Name == name
		}
		require.True(t, known)
	})
}
