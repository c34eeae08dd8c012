package promgate_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/replication"
	"github.com/rolegate/rolegate/promgate"
	"github.com/rolegate/rolegate/rolegatetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// record is one listed user with a role in organisation 7.
func record(id int64, role string) rolegate.Record {
	return rolegate.Record{UserID: id, Sequence: id, Account: fmt.Sprint("account", id), Grants: []rolegate.Grant{{OrgID: 7, RoleCode: role}}}
}

func openGate(t testing.TB, source rolegate.Source, change ...func(*rolegate.Config)) *rolegate.Gate {
	t.Helper()
	cfg := rolegate.Config{
		Source: source, Logger: slog.New(slog.DiscardHandler),
		Aliases: []rolegate.Kind{rolegate.KindAccount, rolegate.KindEmail},
		OnDeny:  rolegate.OnDeny{Off: true},
	}
	for _, f := range change {
		f(&cfg)
	}
	gate, err := rolegate.Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, gate.Close()) })
	return gate
}

// register puts a gate's collector into a registry of its own, which checks
// every scrape for consistency.
func register(t testing.TB, gate *rolegate.Gate) *prometheus.Registry {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(promgate.New(gate, nil)))
	return registry
}

// scrape returns every value by its name and labels, as the text format writes
// them: rolegate_state{state="ready"}.
func scrape(t testing.TB, from prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := from.Gather()
	require.NoError(t, err)
	values := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			labels := ""
			for _, l := range m.GetLabel() {
				if labels != "" {
					labels += ","
				}
				labels += fmt.Sprintf("%s=%q", l.GetName(), l.GetValue())
			}
			name := family.GetName()
			if labels != "" {
				name += "{" + labels + "}"
			}
			values[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return values
}

var errAway = errors.New("the disk is away")

// A brokenCache has nothing, and keeps nothing.
type brokenCache struct{ stored chan struct{} }

func (brokenCache) Load(context.Context) (io.ReadCloser, error) { return nil, fs.ErrNotExist }

func (c brokenCache) Store(context.Context, func(io.Writer) error) error {
	select {
	case c.stored <- struct{}{}:
	default:
	}
	return errAway
}

// A shared cache is one that replicas share, of which there is one.
type shared struct{ brokenCache }

func (s shared) Join(string) (replication.Store, time.Duration, error) {
	return onlyReplica{}, time.Minute, nil
}

type onlyReplica struct{}

func (onlyReplica) Sync(_ context.Context, a replication.Action) (replication.Reply, error) {
	return replication.Reply{Time: time.Now().UnixNano(), Epoch: "1", Base: a.Known, Granted: a.Want}, nil
}

func (onlyReplica) Release(context.Context, replication.Kind, time.Duration) error { return nil }
func (onlyReplica) Append(context.Context, replication.Entry, string) error        { return nil }
func (onlyReplica) Load(context.Context, replication.Base) io.Reader               { return io.MultiReader() }
func (onlyReplica) Spend(context.Context, int) (bool, time.Duration, error)        { return true, 0, nil }

func (onlyReplica) Publish(_ context.Context, b, _ replication.Base, _ string, write func(io.Writer) error) (replication.Base, error) {
	b.Name = "base"
	return b, write(io.Discard)
}

// checker is a sync upstream that says what it was told to.
type checker rolegate.SyncReport

func (c checker) CheckSync(context.Context) (rolegate.SyncReport, error) {
	return rolegate.SyncReport(c), nil
}

var _ rolegate.Source = (*rolegatetest.Static)(nil)
