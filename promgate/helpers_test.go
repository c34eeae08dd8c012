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

// A leading cache is shared by nobody else: the gate that uses it leads.
type leading struct {
	brokenCache
}

func (leading) Join(string) error                       { return nil }
func (leading) Time(context.Context) (time.Time, error) { return time.Now(), nil }
func (leading) Release(context.Context) error           { return nil }
func (leading) Ask(context.Context, []byte) error       { return nil }

func (leading) Lease(_ context.Context, want bool, above uint64) (rolegate.Lease, error) {
	return rolegate.Lease{Held: want, Taken: want, Term: max(7, above), For: time.Minute}, nil
}

func (leading) Publish(_ context.Context, term uint64, from rolegate.Version, _ rolegate.Publication) (rolegate.Version, error) {
	return rolegate.Version{Term: term, Number: from.Number + 1}, nil
}

func (leading) Follow(ctx context.Context, _ rolegate.Version) (rolegate.Update, error) {
	<-ctx.Done()
	return rolegate.Update{}, ctx.Err()
}

func (leading) Asked(ctx context.Context, _ string) ([]rolegate.Asked, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// checker is a sync upstream that says what it was told to.
type checker rolegate.SyncReport

func (c checker) CheckSync(context.Context) (rolegate.SyncReport, error) {
	return rolegate.SyncReport(c), nil
}

var _ rolegate.Source = (*rolegatetest.Static)(nil)
