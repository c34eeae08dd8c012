package faults_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/filecache"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// tickMistakes are mistakes of a Config, each of which can be made together with
// all others, and what the error has to name.
var tickMistakes = []struct {
	names string
	make  func(c *rolegate.Config)
}{
	{"Source: BaseURL", func(c *rolegate.Config) { c.Source = tickWrongSource{} }},
	{"Identify", func(c *rolegate.Config) { c.Identify = rolegate.Identifier{} }},
	{`Implies[""]`, func(c *rolegate.Config) { tickImply(c, "", "teacher") }},
	{`Implies["principal"]`, func(c *rolegate.Config) { tickImply(c, "principal", "") }},
	{`"a" → "b" → "a"`, func(c *rolegate.Config) { tickImply(c, "a", "b"); tickImply(c, "b", "a") }},
	{`"x" → "x"`, func(c *rolegate.Config) { tickImply(c, "x", "x") }},
	{"Refresh.Every is negative", func(c *rolegate.Config) { c.Refresh.Every = -time.Second }},
	{"Refresh.ResyncEvery is negative", func(c *rolegate.Config) { c.Refresh.ResyncEvery = -1 }},
	{"Refresh.StaleAfter is negative", func(c *rolegate.Config) { c.Refresh.StaleAfter = -time.Hour }},
	{"Refresh.ExpireAfter is negative", func(c *rolegate.Config) { c.Refresh.ExpireAfter = math.MinInt64 }},
	{"Refresh.SyncHold is negative", func(c *rolegate.Config) { c.Refresh.SyncHold = -1 }},
	{"Refresh.ResyncMin is negative", func(c *rolegate.Config) { c.Refresh.ResyncMin = -1 }},
	{"Refresh.MaxAgeWait is negative", func(c *rolegate.Config) { c.Refresh.MaxAgeWait = -1 }},
	{"Refresh.MaxShrink", func(c *rolegate.Config) { c.Refresh.MaxShrink = 30 }},
	{"OnDeny.Wait is negative", func(c *rolegate.Config) { c.OnDeny.Wait = -1 }},
	{"OnDeny.TTL is negative", func(c *rolegate.Config) { c.OnDeny.TTL = -1 }},
	{"OnDeny.PerMinute", func(c *rolegate.Config) { c.OnDeny.PerMinute = -1 }},
	{"SampleGrants", func(c *rolegate.Config) { c.SampleGrants = math.NaN() }},
	{"Challenge", func(c *rolegate.Config) { c.Challenge = "Bearer\r\nX: y" }},
	{"UpstreamSync: ", func(c *rolegate.Config) { c.UpstreamSync = tickWrongSync{} }},
	{"Cache: filecache: the name of the file is empty", func(c *rolegate.Config) { c.Cache = filecache.New("") }},
}

func tickImply(c *rolegate.Config, code, included string) {
	implies := map[string][]string{code: {included}}
	for k, v := range c.Implies {
		implies[k] = append(implies[k], v...)
	}
	c.Implies = implies
}

// tickRightConfig has no mistake.
func tickRightConfig() rolegate.Config {
	return rolegate.Config{
		Source: rolegatetest.NewStatic(tickRecord(1, 1, "teacher")), Identify: tickByHeader, Logger: new(logBook).logger(),
	}
}

type tickWrongSource struct{ rolegate.Source }

func (tickWrongSource) Validate() error { return tickMistake{} }

type tickMistake struct{}

func (tickMistake) Error() string { return "BaseURL is empty" }

type tickWrongSync struct{ rolegate.SyncChecker }

func (tickWrongSync) Validate() error { return errors.New("ClientID is empty") }

// Every mistake of a config is in one error from Open, which starts nothing.
// Zero is the default.
func TestFault31ConfigWithMistakes(t *testing.T) {
	t.Parallel()
	refused := func(t *testing.T, cfg rolegate.Config) string {
		t.Helper()
		gate, err := rolegate.Open(t.Context(), cfg)
		require.Error(t, err)
		assert.Nil(t, gate)
		return err.Error()
	}
	// one is for mistakes that go with no other of the same field.
	one := func(names string, make func(c *rolegate.Config)) {
		t.Run(names, func(t *testing.T) {
			t.Parallel()
			cfg := tickRightConfig()
			make(&cfg)
			says := refused(t, cfg)
			assert.Contains(t, says, names)
			assert.Equal(t, 1, strings.Count(says, "\n"), "one mistake, one line under the first: %s", says)
		})
	}
	for _, m := range tickMistakes {
		one(m.names, m.make)
	}
	one("Cache: the Source does not say which list", func(c *rolegate.Config) {
		c.Cache, c.Source = (*tickFailingCache)(nil), &tickScript{pull: tickYield()}
	})
	one("Source is nil", func(c *rolegate.Config) { c.Source = nil })
	one("Aliases: ", func(c *rolegate.Config) { c.Aliases = []rolegate.Kind{200} })
	one("Refresh.ExpireAfter (19m59s) is less than twice ResyncEvery (10m0s)", func(c *rolegate.Config) { c.Refresh.ExpireAfter = 20*time.Minute - time.Second })
	one("Refresh.ExpireAfter (1h0m0s) is less than twice ResyncEvery (31m0s)", func(c *rolegate.Config) {
		c.Refresh = rolegate.Refresh{ExpireAfter: time.Hour, ResyncEvery: 31 * time.Minute}
	})
	one("Refresh.SyncHold (50m0s)", func(c *rolegate.Config) { c.Refresh.SyncHold = 50 * time.Minute })
	one("Refresh.Every is 30ns", func(c *rolegate.Config) { c.Refresh.Every = 30 })
	one("Refresh.StaleAfter is 9000h0m0s", func(c *rolegate.Config) { c.Refresh.StaleAfter = 9000 * time.Hour })
	one("Refresh.MaxShrink is NaN", func(c *rolegate.Config) { c.Refresh.MaxShrink = math.NaN() })
	one("OnDeny.PerMinute is 6001", func(c *rolegate.Config) { c.OnDeny.PerMinute = 6001 })
	one("SampleGrants is 1.5", func(c *rolegate.Config) { c.SampleGrants = 1.5 })

	t.Run("all at once", func(t *testing.T) {
		t.Parallel()
		cfg := tickRightConfig()
		for _, m := range tickMistakes {
			m.make(&cfg)
		}
		says := refused(t, cfg)
		for _, m := range tickMistakes {
			assert.Contains(t, says, m.names)
		}
		assert.Equal(t, len(tickMistakes), strings.Count(says, "\n"), "a line for each: %s", says)
		_, err := rolegate.Open(t.Context(), cfg)
		assert.ErrorIs(t, err, tickMistake{})
	})
	t.Run("and those of the client", func(t *testing.T) {
		t.Parallel()
		cfg := rolegate.Config{Source: marketplace.New(marketplace.Config{
			BaseURL: "ftp://alice:hunter2@market.test?x=1", AppID: "a b", Token: marketplace.StaticToken(""), PageSize: -1, PageTimeout: -time.Second,
			MaxPageBytes: -1, MaxUsers: -1, CacheBuster: "limit", Path: "a?b", RoleListPath: "c#d",
		})}
		says := refused(t, cfg)
		for _, name := range []string{
			"BaseURL", "AppID", "Token", "PageSize", "PageTimeout", "MaxPageBytes", "MaxUsers", "CacheBuster", "Config.Path", "RoleListPath", "Identify",
		} {
			assert.Contains(t, says, name)
		}
		assert.NotContains(t, says, "hunter2")
	})
	t.Run("a mistake starts nothing", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) { // which waits for whatever was started
			source := rolegatetest.NewStatic(tickRecord(1, 1, "teacher"))
			cfg := tickRightConfig()
			cfg.Source, cfg.Refresh.Every = source, -1
			refused(t, cfg)
			synctest.Wait()
			assert.Zero(t, source.FullRefreshes())
		})
	})
	t.Run("zero is the default", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(tickRecord(1, 1, "teacher"))
			cfg := tickRightConfig()
			cfg.Source = source
			gate, _ := tickGate(t, cfg)
			synctest.Wait()
			s := gate.Status()
			assert.InDelta(t, tickEvery, s.Incremental.NextIn, float64(tickEvery/10))
			assert.InDelta(t, tickResync, s.Full.NextIn, float64(tickResync/10))
			source.Fail(errors.New("down"))
			for _, at := range []struct {
				after time.Duration
				state rolegate.State
			}{
				{5*time.Minute - time.Second, rolegate.StateReady}, {2 * time.Second, rolegate.StateStale},
				{55*time.Minute - 2*time.Second, rolegate.StateStale}, {2 * time.Second, rolegate.StateExpired},
			} {
				tickAfter(at.after)
				assert.Equal(t, at.state, gate.Status().State, "%v", gate.Status().ContactAge)
			}
		})
	})
	for _, right := range []rolegate.Refresh{
		{ResyncEvery: 10 * time.Minute, ExpireAfter: 20 * time.Minute}, // exactly twice
		{Every: time.Hour},
		{ResyncEvery: 24 * time.Hour}, // the default of ExpireAfter follows
		{Every: time.Millisecond, ResyncEvery: time.Millisecond},
		{MaxShrink: 1},
	} {
		t.Run(fmt.Sprintf("no mistake: %+v", right), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cfg := tickRightConfig()
				cfg.Refresh = right
				gate, _ := tickGate(t, cfg)
				assert.True(t, tickAllowed(gate, 1))
			})
		})
	}
}
