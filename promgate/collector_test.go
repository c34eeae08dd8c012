package promgate_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/promgate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// What a gate has done is what is told.
func TestValues(t *testing.T) {
	t.Parallel()
	source := rolegatetest.NewStatic(record(1, "teacher"), record(2, "pupil"), rolegate.Record{UserID: 3, Sequence: 3, Account: "account1"})
	before := time.Now()
	gate := openGate(t, source)
	values := func() map[string]float64 { return scrape(t, register(t, gate)) }

	v := values()
	assert.Equal(t, 1.0, v[`rolegate_state{state="ready"}`])
	assert.Equal(t, 0.0, v[`rolegate_state{state="starting"}`])
	assert.Equal(t, 3.0, v["rolegate_index_users"])
	assert.Equal(t, 2.0, v["rolegate_index_grants"])
	assert.Equal(t, 2.0, v["rolegate_index_roles"])
	assert.Equal(t, 1.0, v["rolegate_lists_published_total"])
	assert.Equal(t, 1.0, v[`rolegate_index_ambiguous_aliases{kind="account"}`])
	assert.Equal(t, 0.0, v[`rolegate_index_ambiguous_aliases{kind="email"}`])
	assert.Equal(t, 1.0, v[`rolegate_sync_total{kind="full",result="success"}`])
	assert.Equal(t, 0.0, v[`rolegate_sync_total{kind="incremental",result="failure"}`])
	assert.Equal(t, 3.0, v[`rolegate_sync_last_outcome{item="records",kind="full"}`])
	assert.Equal(t, 3.0, v[`rolegate_sync_last_outcome{item="added",kind="full"}`])
	for _, name := range []string{"rolegate_last_contact_timestamp_seconds", "rolegate_verified_timestamp_seconds", `rolegate_sync_last_success_timestamp_seconds{kind="full"}`} {
		assert.InDelta(t, float64(before.UnixMilli())/1000, v[name], 60, name)
	}
	assert.Equal(t, 0.0, v[`rolegate_sync_last_success_timestamp_seconds{kind="incremental"}`])
	assert.Less(t, v["rolegate_verified_age_seconds"], 60.0)
	assert.Positive(t, v["rolegate_verified_age_seconds"])
	assert.Positive(t, v[`rolegate_sync_duration_seconds{kind="full"}`])
	assert.Greater(t, v[`rolegate_sync_next_in_seconds{kind="full"}`], 60.0)
	assert.Equal(t, 1.0, v[`rolegate_upstream_sync_state{state="unknown"}`])

	// Decisions.
	policy := gate.Policy(rolegate.AnyRole("teacher"))
	shadow := gate.Policy(rolegate.AnyRole("nobody-has-it"), rolegate.Shadow())
	for _, id := range []int64{1, 1, 2, 99, 0} {
		policy.Decide(t.Context(), rolegate.UserID(id), 0)
	}
	shadow.Decide(t.Context(), rolegate.UserID(1), 0)
	v = values()
	assert.Equal(t, 2.0, v[`rolegate_decisions_total{decision="allow",reason="granted"}`])
	assert.Equal(t, 2.0, v[`rolegate_decisions_total{decision="deny",reason="role_missing"}`])
	assert.Equal(t, 1.0, v[`rolegate_decisions_total{decision="deny",reason="not_authorized"}`])
	assert.Equal(t, 1.0, v[`rolegate_decisions_total{decision="deny",reason="no_identity"}`])
	assert.Equal(t, 0.0, v[`rolegate_decisions_total{decision="deny",reason="closed"}`])
	assert.Equal(t, 1.0, v["rolegate_shadowed_decisions_total"])
	assert.Equal(t, 1.0, v["rolegate_index_unassigned_roles"])

	// Pulls that fail.
	source.Fail(&rolegate.PullError{Failure: rolegate.FailureTimeout, Err: errors.New("late")})
	require.Error(t, gate.Refresh(t.Context()))
	source.Fail(&rolegate.PullError{Failure: "quota", Err: errors.New("used up")})
	require.Error(t, gate.Refresh(t.Context()))
	source.Fail(&rolegate.PullError{Failure: "User 42 said: <b>", Err: errors.New("no word")})
	require.Error(t, gate.RefreshAll(t.Context()))
	source.Fail(errors.New("no PullError"))
	require.Error(t, gate.RefreshAll(t.Context()))
	v = values()
	assert.Equal(t, 2.0, v[`rolegate_sync_total{kind="incremental",result="failure"}`])
	assert.Equal(t, 2.0, v[`rolegate_sync_total{kind="full",result="failure"}`])
	assert.Equal(t, 1.0, v[`rolegate_sync_failures_total{reason="timeout"}`])
	assert.Equal(t, 1.0, v[`rolegate_sync_failures_total{reason="quota"}`])
	assert.Equal(t, 2.0, v[`rolegate_sync_failures_total{reason="other"}`], "what is no word is not a label")
	assert.Equal(t, 0.0, v[`rolegate_sync_failures_total{reason="network"}`])
	assert.Equal(t, 2.0, v[`rolegate_sync_consecutive_failures{kind="full"}`])

	require.NoError(t, gate.Close())
	v = values()
	assert.Equal(t, 1.0, v[`rolegate_state{state="closed"}`])
	assert.Equal(t, 0.0, v[`rolegate_state{state="ready"}`])
	assert.Equal(t, 2.0, v[`rolegate_decisions_total{decision="allow",reason="granted"}`], "what was counted stays")
}

// A list that shrinks is held, and the metrics say so.
func TestHeld(t *testing.T) {
	t.Parallel()
	var records []rolegate.Record
	for id := range int64(40) {
		records = append(records, record(id+1, "pupil"))
	}
	source := rolegatetest.NewStatic(records...)
	gate := openGate(t, source, func(c *rolegate.Config) {
		c.UpstreamSync = checker{State: rolegate.SyncDone, Text: "同步完成"}
	})
	registry := register(t, gate)
	assert.Equal(t, 0.0, scrape(t, registry)["rolegate_held_since_timestamp_seconds"])
	source.Set(records[:5]...)
	require.ErrorIs(t, gate.RefreshAll(t.Context()), rolegate.ErrHeld)
	v := scrape(t, registry)
	assert.Equal(t, 35.0, v["rolegate_held_removals"])
	assert.Equal(t, 40.0, v["rolegate_index_users"])
	assert.Greater(t, v["rolegate_last_contact_timestamp_seconds"], v["rolegate_verified_timestamp_seconds"], "what is held is not verified")
	assert.Greater(t, v["rolegate_verified_age_seconds"], v["rolegate_contact_age_seconds"])
	assert.InDelta(t, float64(time.Now().Unix()), v["rolegate_held_since_timestamp_seconds"], 60)
	assert.Equal(t, 35.0, v[`rolegate_sync_last_outcome{item="held",kind="full"}`])
	assert.Equal(t, 1.0, v[`rolegate_upstream_sync_state{state="done"}`])
	assert.Equal(t, 0.0, v[`rolegate_upstream_sync_state{state="unknown"}`])
	assert.Positive(t, v["rolegate_upstream_sync_checked_timestamp_seconds"])
}

// A gate that has no list yet, and one whose cache fails.
func TestStartingAndCache(t *testing.T) {
	t.Parallel()
	source := rolegatetest.NewStatic(record(1, "teacher"))
	release := source.Block()
	stored := make(chan struct{}, 1)
	gate := openGate(t, source, func(c *rolegate.Config) { c.StartEmpty, c.Cache = true, brokenCache{stored} })
	registry := register(t, gate)
	v := scrape(t, registry)
	assert.Equal(t, 1.0, v[`rolegate_state{state="starting"}`])
	assert.Equal(t, 0.0, v["rolegate_verified_timestamp_seconds"], "0, so that an alert on the age goes off")
	assert.Equal(t, math.Inf(1), v["rolegate_verified_age_seconds"])
	assert.Equal(t, math.Inf(1), v["rolegate_contact_age_seconds"])
	assert.Equal(t, 0.0, v["rolegate_index_users"])
	assert.Equal(t, 0.0, v["rolegate_cache_stored_timestamp_seconds"])
	release()
	<-stored
	require.Eventually(t, func() bool { return scrape(t, registry)["rolegate_cache_failures_total"] == 1 }, 10*time.Second, time.Millisecond)
	v = scrape(t, registry)
	assert.Equal(t, 0.0, v["rolegate_cache_stores_total"])
	assert.Equal(t, 0.0, v["rolegate_cache_loaded"])
}

// How a replica does, and nothing without others.
func TestReplica(t *testing.T) {
	t.Parallel()
	alone := scrape(t, register(t, openGate(t, rolegatetest.NewStatic(record(1, "teacher")))))
	for _, name := range []string{"shared", "connected", "since_timestamp_seconds", "base_timestamp_seconds", `lease{kind="full"}`} {
		v, ok := alone["rolegate_replica_"+name]
		assert.True(t, ok, name)
		assert.Zero(t, v, name)
	}
	gate := openGate(t, rolegatetest.NewStatic(record(1, "teacher")), func(c *rolegate.Config) { c.Cache = shared{} })
	registry := register(t, gate)
	require.Eventually(t, func() bool { return scrape(t, registry)["rolegate_replica_base_timestamp_seconds"] > 0 }, 10*time.Second, time.Millisecond)
	v := scrape(t, registry)
	assert.Equal(t, 1.0, v["rolegate_replica_shared"])
	assert.Equal(t, 1.0, v["rolegate_replica_connected"])
	assert.InDelta(t, float64(time.Now().Unix()), v["rolegate_replica_since_timestamp_seconds"], 60)
}

// A hook that hangs loses events, and the metrics count them.
func TestDroppedEvents(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	gate := openGate(t, rolegatetest.NewStatic(record(1, "teacher")), func(c *rolegate.Config) {
		c.OnDecision = func(rolegate.DecisionEvent) { <-hang }
	})
	defer close(hang)
	for range 1100 {
		gate.Decide(t.Context(), rolegate.UserID(2))
	}
	v := scrape(t, register(t, gate))
	assert.InDelta(t, 75, v[`rolegate_dropped_events_total{hook="decision"}`], 2)
	assert.Equal(t, 0.0, v[`rolegate_dropped_events_total{hook="change"}`])
}

// Every reason that the root package has is told from the first scrape on.
func TestAllReasons(t *testing.T) {
	t.Parallel()
	v := scrape(t, register(t, openGate(t, rolegatetest.NewStatic(record(1, "teacher")))))
	n := 0
	for r := rolegate.Reason(0); !strings.HasPrefix(r.String(), "Reason("); r++ {
		decision := "deny"
		if r == rolegate.ReasonGranted {
			decision = "allow"
		}
		_, there := v[fmt.Sprintf(`rolegate_decisions_total{decision=%q,reason=%q}`, decision, r)]
		assert.True(t, there, "%v is missing", r)
		n++
	}
	for name := range v {
		if strings.HasPrefix(name, "rolegate_decisions_total") {
			n--
		}
	}
	assert.Zero(t, n)
}

func TestLint(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegatetest.NewStatic(record(1, "teacher")))
	problems, err := testutil.CollectAndLint(promgate.New(gate, nil))
	require.NoError(t, err)
	assert.Empty(t, problems)
}

// What is served is what a Prometheus server reads, and has nobody in it.
func TestOverHTTP(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegatetest.NewStatic(record(1542135022016057346, "geheimrat")))
	gate.Policy(rolegate.AnyRole("geheimrat")).Decide(t.Context(), identityOf(rolegate.KindAccount, "mallory"), 0)
	server := httptest.NewServer(promhttp.HandlerFor(register(t, gate), promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError}))
	defer server.Close()
	defer server.Client().CloseIdleConnections()
	answer, err := server.Client().Get(server.URL)
	require.NoError(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, answer.StatusCode)
	assert.Contains(t, string(body), "# TYPE rolegate_decisions_total counter\n")
	assert.Contains(t, string(body), `rolegate_decisions_total{decision="deny",reason="not_authorized"} 1`)
	assert.Contains(t, string(body), `rolegate_build_info{goversion="go`)
	for _, private := range []string{"1542135022016057346", "geheimrat", "mallory", "account1"} {
		assert.NotContains(t, string(body), private)
	}
}

// Two gates of one process are told apart by constant labels.
func TestTwoGates(t *testing.T) {
	t.Parallel()
	school := openGate(t, rolegatetest.NewStatic(record(1, "teacher")))
	library := openGate(t, rolegatetest.NewStatic(record(1, "reader"), record(2, "reader")))
	registry := prometheus.NewPedanticRegistry()
	labels := prometheus.Labels{"app": "school"}
	require.NoError(t, registry.Register(promgate.New(school, labels)))
	labels["app"] = "library"
	require.NoError(t, registry.Register(promgate.New(library, labels)))
	v := scrape(t, registry)
	assert.Equal(t, 1.0, v[`rolegate_index_users{app="school"}`])
	assert.Equal(t, 2.0, v[`rolegate_index_users{app="library"}`])

	var already prometheus.AlreadyRegisteredError
	assert.ErrorAs(t, registry.Register(promgate.New(school, labels)), &already)
	assert.Error(t, prometheus.NewRegistry().Register(promgate.New(school, prometheus.Labels{"kind": "x"})), "a label that metrics have already")
	assert.PanicsWithValue(t, "promgate: New: the gate is nil", func() { promgate.New(nil, nil) })
}

// Scrapes, decisions and pulls do not get into each other's way; counters never
// go back.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	source := rolegatetest.NewStatic(record(1, "teacher"))
	gate := openGate(t, source)
	registry := register(t, gate)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for range 2 {
		running.Go(func() {
			for ctx.Err() == nil {
				gate.Decide(ctx, rolegate.UserID(1))
			}
		})
	}
	running.Go(func() {
		for id := int64(2); ctx.Err() == nil; id++ {
			source.Put(record(id, "pupil"))
			_ = gate.Refresh(ctx)
		}
	})
	var scrapers sync.WaitGroup
	for range 2 {
		scrapers.Go(func() {
			last := map[string]float64{}
			for range 50 {
				v := scrape(t, registry)
				for name, value := range v {
					if strings.Contains(name, "_total") {
						assert.GreaterOrEqual(t, value, last[name], name)
					}
				}
				last = v
			}
		})
	}
	scrapers.Wait()
	cancel()
	running.Wait()
}

func ExampleNew() {
	gate, err := rolegate.Open(context.Background(), rolegate.Config{
		Source:  rolegatetest.NewStatic(record(1, "teacher")), // an app has marketplace.New(…) here
		Aliases: []rolegate.Kind{rolegate.KindAccount},
		Logger:  slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gate.Close()
	registry := prometheus.NewRegistry()
	registry.MustRegister(promgate.New(gate, prometheus.Labels{"app": "school"}))

	gate.Decide(context.Background(), rolegate.UserID(1))
	err = testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP rolegate_index_users Listed users.
# TYPE rolegate_index_users gauge
rolegate_index_users{app="school"} 1
`), "rolegate_index_users")
	fmt.Println(err)
	// Output: <nil>
}

func BenchmarkGather(b *testing.B) {
	gate := openGate(b, rolegatetest.NewStatic(record(1, "teacher")))
	registry := prometheus.NewRegistry()
	registry.MustRegister(promgate.New(gate, nil))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := registry.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}

// identityOf returns the identity of that kind.
func identityOf(kind rolegate.Kind, text string) rolegate.Identity {
	id, err := rolegate.NewIdentity(kind, text)
	if err != nil {
		panic(err)
	}
	return id
}
