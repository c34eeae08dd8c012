package rolegate_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// A configSource has mistakes of its own to report.
type configSource struct {
	rolegatetest.Static
	mistake error
}

func (s *configSource) Validate() error { return s.mistake }

var errConfigSource = errors.New("BaseURL is empty")

// configGood is a config without a mistake.
func configGood() rolegate.Config {
	return rolegate.Config{Source: rolegatetest.NewStatic(record(1, in(7, "admin"))), Identify: byHeader}
}

var configMistakes = []struct {
	name string
	make func(*rolegate.Config)
	says []string // what is wrong, and what to do
}{
	{"no source", func(c *rolegate.Config) { c.Source = nil }, []string{"Source is nil", "marketplace.New"}},
	{"a source that is wrong", func(c *rolegate.Config) { c.Source = &configSource{mistake: errConfigSource} }, []string{"Source: BaseURL is empty"}},
	{"no identify", func(c *rolegate.Config) { c.Identify = rolegate.Identifier{} }, []string{"Identify is not set", "ByUserID"}},
	{"an alias of no kind", func(c *rolegate.Config) { c.Aliases = []rolegate.Kind{rolegate.KindEmail, 0} }, []string{"Aliases", "nobody", "KindAccount"}},
	{"an alias of an unknown kind", func(c *rolegate.Config) { c.Aliases = []rolegate.Kind{200} }, []string{"Aliases", "Kind(200)", "KindAccount"}},
	{"a role that includes itself", func(c *rolegate.Config) { c.Implies = map[string][]string{"admin": {"admin"}} }, []string{"Implies", `"admin" → "admin"`, "cycle", "leave one"}},
	{"a cycle of two", func(c *rolegate.Config) { c.Implies = map[string][]string{"a": {"b"}, "b": {"a"}} }, []string{"Implies", `"a" → "b" → "a"`}},
	{"a long cycle", func(c *rolegate.Config) {
		c.Implies = map[string][]string{"a": {"x", "b"}, "b": {"c"}, "c": {"y", "d"}, "d": {"e"}, "e": {"a"}, "x": {"y"}}
	}, []string{`"a" → "b" → "c" → "d" → "e" → "a"`}},
	{"an empty role", func(c *rolegate.Config) { c.Implies = map[string][]string{"": {"teacher"}} }, []string{`Implies[""]`, "empty"}},
	{"an empty included role", func(c *rolegate.Config) { c.Implies = map[string][]string{"admin": {"teacher", " "}} }, []string{`Implies["admin"]`, "empty"}},
	{"Every is negative", func(c *rolegate.Config) { c.Refresh.Every = -time.Second }, []string{"Refresh.Every is negative (-1s)"}},
	{"ResyncEvery is negative", func(c *rolegate.Config) { c.Refresh.ResyncEvery = -1 }, []string{"Refresh.ResyncEvery is negative"}},
	{"StaleAfter is negative", func(c *rolegate.Config) { c.Refresh.StaleAfter = -1 }, []string{"Refresh.StaleAfter is negative"}},
	{"ExpireAfter is negative", func(c *rolegate.Config) { c.Refresh.ExpireAfter = -time.Hour }, []string{"Refresh.ExpireAfter is negative"}},
	{"a bare number", func(c *rolegate.Config) { c.Refresh.Every = 30 }, []string{"Refresh.Every is 30ns", "nanoseconds", "30*time.Second"}},
	{"longer than a year", func(c *rolegate.Config) { c.Refresh.StaleAfter = 400 * 24 * time.Hour }, []string{"Refresh.StaleAfter", "more than a year"}},
	{"expires too soon", func(c *rolegate.Config) {
		c.Refresh = rolegate.Refresh{ResyncEvery: 10 * time.Minute, ExpireAfter: 19 * time.Minute}
	}, []string{"Refresh.ExpireAfter (19m0s)", "twice ResyncEvery (10m0s)", "raise"}},
	{"expires too soon for the default", func(c *rolegate.Config) { c.Refresh.ExpireAfter = time.Minute }, []string{"Refresh.ExpireAfter (1m0s)", "ResyncEvery (10m0s)"}},
	{"a shrink above 1", func(c *rolegate.Config) { c.Refresh.MaxShrink = 30 }, []string{"Refresh.MaxShrink is 30", "from 0 to 1"}},
	{"a shrink below 0", func(c *rolegate.Config) { c.Refresh.MaxShrink = -0.3 }, []string{"Refresh.MaxShrink is -0.3", "from 0 to 1"}},
	{"a shrink that is no number", func(c *rolegate.Config) { c.Refresh.MaxShrink = math.NaN() }, []string{"Refresh.MaxShrink is NaN"}},
	{"SyncHold is negative", func(c *rolegate.Config) { c.Refresh.SyncHold = -1 }, []string{"Refresh.SyncHold is negative"}},
	{"ResyncMin is negative", func(c *rolegate.Config) { c.Refresh.ResyncMin = -1 }, []string{"Refresh.ResyncMin is negative"}},
	{"MaxAgeWait is negative", func(c *rolegate.Config) { c.Refresh.MaxAgeWait = -1 }, []string{"Refresh.MaxAgeWait is negative"}},
	{"OnDeny waits a negative time", func(c *rolegate.Config) { c.OnDeny.Wait = -1 }, []string{"OnDeny.Wait is negative"}},
	{"OnDeny forgets too soon", func(c *rolegate.Config) { c.OnDeny.TTL = 5 }, []string{"OnDeny.TTL is 5ns", "nanoseconds"}},
	{"OnDeny asks too often", func(c *rolegate.Config) { c.OnDeny.PerMinute = 10_000 }, []string{"OnDeny.PerMinute is 10000", "Off"}},
	{"OnDeny asks less than never", func(c *rolegate.Config) { c.OnDeny.PerMinute = -1 }, []string{"OnDeny.PerMinute is -1", "Off"}},
	{"a sample above 1", func(c *rolegate.Config) { c.SampleGrants = 10 }, []string{"SampleGrants is 10", "from 0 to 1"}},
	{"a sample that is no number", func(c *rolegate.Config) { c.SampleGrants = math.NaN() }, []string{"SampleGrants is NaN"}},
	{"an empty identity key", func(c *rolegate.Config) { c.IdentityKey = []byte{} }, []string{"IdentityKey has 0 bytes", "openssl"}},
	{"a short identity key", func(c *rolegate.Config) { c.IdentityKey = []byte("short") }, []string{"IdentityKey has 5 bytes", "at least 32"}},
	{"a challenge of two lines", func(c *rolegate.Config) { c.Challenge = "Bearer\r\nSet-Cookie: a=b" }, []string{"Challenge", "WWW-Authenticate"}},
	{"a challenge without a scheme", func(c *rolegate.Config) { c.Challenge = ` realm="app"` }, []string{"Challenge", "scheme"}},
	{"a challenge of parameters only", func(c *rolegate.Config) { c.Challenge = `realm="app"` }, []string{"Challenge", "scheme"}},
}

func TestConfigMistakes(t *testing.T) {
	t.Parallel()
	for _, c := range configMistakes {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg := configGood()
			c.make(&cfg)
			gate, err := rolegate.Open(t.Context(), cfg)
			require.Error(t, err)
			assert.Nil(t, gate)
			for _, part := range c.says {
				assert.Contains(t, err.Error(), part)
			}
			assert.Equal(t, 2, strings.Count(err.Error(), "\n")+1, "one mistake, one line under the first: %v", err)
		})
	}
}

func TestConfigMistakesAreToldAllAtOnce(t *testing.T) {
	t.Parallel()
	_, err := rolegate.Open(t.Context(), rolegate.Config{
		Source:    &configSource{mistake: errConfigSource},
		Aliases:   nil,
		Implies:   map[string][]string{"a": {"b"}, "b": {"a"}, "": {"c"}},
		Refresh:   rolegate.Refresh{Every: -1, ResyncEvery: 5, StaleAfter: -2, ExpireAfter: 1 << 62},
		Challenge: "\n",
	})
	require.Error(t, err)
	for _, part := range []string{
		"Source: BaseURL", "Identify", `Implies[""]`, `"a" → "b" → "a"`, "Every is negative", "ResyncEvery is 5ns", "StaleAfter is negative",
		"ExpireAfter is 1281023h53m38.427387904s", "Challenge",
	} {
		assert.Contains(t, err.Error(), part)
	}
	assert.ErrorIs(t, err, errConfigSource)

	_, err = rolegate.Open(t.Context(), rolegate.Config{})
	assert.ErrorContains(t, err, "Source is nil")
	assert.ErrorContains(t, err, "Identify is not set")
}

// Two cycles that have nothing to do with each other are two mistakes.
func TestConfigTellsEveryCycle(t *testing.T) {
	t.Parallel()
	cfg := configGood()
	cfg.Implies = map[string][]string{"a": {"b"}, "b": {"a"}, "x": {"y"}, "y": {"x"}}
	_, err := rolegate.Open(t.Context(), cfg)
	assert.ErrorContains(t, err, `"a" → "b" → "a"`)
	assert.ErrorContains(t, err, `"x" → "y" → "x"`)
}

// A cycle is told without the way that leads to it: "leave one of these out"
// holds for each of them.
func TestConfigTellsNothingButTheCycle(t *testing.T) {
	t.Parallel()
	cfg := configGood()
	cfg.Implies = map[string][]string{"a": {"b"}, "b": {"c"}, "c": {"b"}}
	_, err := rolegate.Open(t.Context(), cfg)
	assert.ErrorContains(t, err, `"b" → "c" → "b"`)
	assert.NotContains(t, fmt.Sprint(err), `"a"`)
}

func TestConfigWithoutMistakes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		make func(*rolegate.Config)
	}{
		{"only what is needed", func(*rolegate.Config) {}},
		{"a source that is right", func(c *rolegate.Config) { c.Source = new(configSource) }},
		{"Aliases instead of Identify", func(c *rolegate.Config) {
			c.Identify, c.Aliases = rolegate.Identifier{}, []rolegate.Kind{rolegate.KindEmail}
		}},
		{"the same alias twice", func(c *rolegate.Config) { c.Aliases = []rolegate.Kind{rolegate.KindEmail, rolegate.KindEmail} }},
		{"every string", func(c *rolegate.Config) { c.Keep = keepAll }},
		{"the same included role on two ways", func(c *rolegate.Config) {
			c.Implies = map[string][]string{"a": {"b", "c", "c"}, "b": {"d"}, "c": {"d"}}
		}},
		{"a role that includes nothing", func(c *rolegate.Config) { c.Implies = map[string][]string{"a": nil, "b": {}} }},
		{"expires after twice exactly", func(c *rolegate.Config) {
			c.Refresh = rolegate.Refresh{ResyncEvery: time.Minute, ExpireAfter: 2 * time.Minute}
		}},
		{"a long ResyncEvery raises the default of ExpireAfter", func(c *rolegate.Config) { c.Refresh.ResyncEvery = 24 * time.Hour }},
		{"the shortest", func(c *rolegate.Config) {
			c.Refresh = rolegate.Refresh{Every: time.Millisecond, ResyncEvery: time.Millisecond, StaleAfter: time.Millisecond, ExpireAfter: time.Hour}
		}},
		{"a challenge", func(c *rolegate.Config) { c.Challenge = `Bearer realm="学校", error="invalid_token"` }},
		{"Async", func(c *rolegate.Config) { c.StartEmpty = true }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg := configGood()
			c.make(&cfg)
			openGate(t, cfg)
		})
	}
}

// The defaults are those that the fields' comments name, so far as Status
// tells them.
func TestConfigDefaults(t *testing.T) {
	t.Parallel()
	gate := openGate(t, configGood())
	require.NoError(t, gate.RefreshAll(t.Context())) // both intervals begin anew
	require.NoError(t, gate.Refresh(t.Context()))
	s := gate.Status()
	assert.Equal(t, rolegate.StateReady, s.State)
	assert.InDelta(t, time.Minute, s.Incremental.NextIn, float64(7*time.Second))
	assert.InDelta(t, 10*time.Minute, s.Full.NextIn, float64(61*time.Second))
	assert.Empty(t, s.Ambiguous)
	u := gate.Decide(t.Context(), rolegate.UserID(1)).User
	assert.True(t, u.HasRole("admin"))
	assert.False(t, u.HasRole("teacher"))
	w := ask(gate.Admit(never(t)), "GET", "/", 0)
	assert.Equal(t, "Bearer", w.Header().Get("WWW-Authenticate"))
	assert.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
}

func TestChangingAConfigAfterwardsChangesNothing(t *testing.T) {
	t.Parallel()
	cfg := quiet(configGood())
	cfg.Implies = map[string][]string{"admin": {"teacher", "clerk"}}
	cfg.Aliases = []rolegate.Kind{rolegate.KindEmail}
	gate, err := rolegate.Open(t.Context(), cfg)
	require.NoError(t, err)
	defer gate.Close()
	cfg.Implies["admin"][0] = "headmaster"
	cfg.Implies["admin"] = nil
	cfg.Implies["nobody"] = []string{"teacher"}
	delete(cfg.Implies, "admin")
	cfg.Aliases[0] = rolegate.KindAccount
	cfg.Deny = func(http.Header, *http.Request, rolegate.Denial) []byte { panic("not this one") }
	cfg.Refresh.ExpireAfter = 1

	for code, want := range map[string]bool{"teacher": true, "clerk": true, "headmaster": false} {
		assert.Equal(t, want, gate.Policy(rolegate.AnyRole(code)).Decide(t.Context(), rolegate.UserID(1), 0).Allowed(), code)
		assert.Equal(t, want, gate.Decide(t.Context(), rolegate.UserID(1)).User.HasRole(code), code)
	}
	assert.Equal(t, rolegate.ReasonNotAuthorized, gate.Decide(t.Context(), identityOf(rolegate.KindEmail, "x")).Reason)
	assert.Equal(t, rolegate.ReasonIdentifyFailed, gate.Decide(t.Context(), identityOf(rolegate.KindAccount, "x")).Reason)
	assert.Equal(t, 401, ask(gate.Admit(never(t)), "GET", "/", 0).Code)
}

func TestAConfigMayBeUsedTwice(t *testing.T) {
	t.Parallel()
	cfg := quiet(configGood())
	cfg.Implies = map[string][]string{"admin": {"teacher"}}
	one, two := openGate(t, cfg), openGate(t, cfg)
	require.NoError(t, one.Close())
	assert.False(t, allowed(one, 1))
	assert.True(t, allowed(two, 1))
}

// What is wrong with a config shows before anything is asked of the source.
func TestConfigMistakesPullNothing(t *testing.T) {
	t.Parallel()
	source := rolegatetest.NewStatic()
	_, err := rolegate.Open(t.Context(), rolegate.Config{Source: source})
	require.Error(t, err)
	assert.Zero(t, source.FullRefreshes())

	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	_, err = rolegate.Open(t.Context(), rolegate.Config{
		Source:   marketplace.New(marketplace.Config{AppID: m.AppID(), Token: marketplace.StaticToken(m.Token()), Transport: m.Transport()}),
		Identify: byHeader,
	})
	require.ErrorContains(t, err, "Source: ")
	assert.Zero(t, m.RequestCount())

	var none *marketplace.Client
	_, err = rolegate.Open(t.Context(), rolegate.Config{Source: none, Identify: byHeader})
	assert.ErrorContains(t, err, "Source: ", "a nil client in an interface that is not nil")
}

func TestOpenWhoseContextEnds(t *testing.T) {
	t.Parallel()
	for name, ctx := range map[string]func(context.Context) (context.Context, context.CancelFunc){
		"cancelled before": func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return ctx, cancel
		},
		"a deadline": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 20*time.Millisecond)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := rolegatetest.NewStatic()
			defer source.Block()()
			cfg := quiet(configGood())
			cfg.Source = source
			ctx, cancel := ctx(t.Context())
			defer cancel()
			gate, err := rolegate.Open(ctx, cfg)
			assert.Nil(t, gate)
			assert.ErrorIs(t, err, ctx.Err())
			assert.ErrorContains(t, err, "no list of authorised users")
		})
	}
}
