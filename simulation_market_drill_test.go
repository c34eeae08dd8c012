//go:build drill && !race

// The race detector finds little here, where time goes by only when all wait, and takes
// ten times as long.

package rolegate_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
)

// TestSimulationOfManyMarketplaces tries 1,000 seeds, or those of
// ROLEGATE_SEEDS=FROM-TO.
func TestSimulationOfManyMarketplaces(t *testing.T) {
	t.Parallel()
	from, to := uint64(0), uint64(1000)
	if text := os.Getenv("ROLEGATE_SEEDS"); text != "" {
		_, err := fmt.Sscanf(text, "%d-%d", &from, &to)
		require.NoError(t, err, "ROLEGATE_SEEDS is FROM-TO")
	}
	for seed := from; seed < to; seed++ {
		tryMarketplace(t, seed)
	}
}

// TestSimulationOfMarketplacesNoticesABrokenRule breaks one rule of the gate's or the
// client's at a time, as it looks from outside. A simulation that does not notice has
// not been looking.
func TestSimulationOfMarketplacesNoticesABrokenRule(t *testing.T) {
	t.Parallel()
	seeds := slices.Clone(mktFound) // what is rare has been met there
	for seed := range uint64(60) {
		seeds = append(seeds, seed)
	}
	for _, c := range []struct {
		name   string
		breaks mktBreaks
		want   []string // one of them
	}{
		{"incremental refreshes do not look back", mktBreaks{config: func(c *rolegate.Config) { c.Refresh.LookBack = time.Millisecond }}, []string{mktRefused, mktLateGrant}},
		{"a batch that cannot be read past is not noticed", mktBreaks{world: func(w *mktWorld) { w.hidesTies = true }}, []string{mktWentBack, mktRefused}},
		{"who is missing from a list that may lack them is taken out", mktBreaks{gate: rolegate.BelieveLists}, []string{mktWentBack, mktRefused}},
		{"older lists are applied", mktBreaks{source: func(s *mktSource) rolegate.Source { return &mktHidesAge{mktSource: s} }}, []string{mktWentBack, mktRefused}},
		{"a page that goes wrong ends the refresh", mktBreaks{client: func(w *mktWorld, c *marketplace.Config) { c.Transport = mktFinal{w} }}, []string{mktGivesUp}},
		{"tokens are not renewed", mktBreaks{client: func(w *mktWorld, c *marketplace.Config) { c.Token = marketplace.StaticToken(w.issue()) }}, []string{mktClosed}},
		{"roles are not guarded", mktBreaks{source: func(s *mktSource) rolegate.Source { return mktHidesClearing{s} }}, []string{mktWentBack, mktRefused}},
		{"a page shorter than asked for is believed to be the last", mktBreaks{source: func(s *mktSource) rolegate.Source { return mktStopsShort{s} }}, []string{mktWentBack, mktRefused}},
		{"a refresh that broke off counts", mktBreaks{source: func(s *mktSource) rolegate.Source { return mktNeverFails{s} }}, []string{mktWentBack, mktRefused}},
		{"invalid records are passed over", mktBreaks{source: func(s *mktSource) rolegate.Source { return mktDropsBad{s} }}, []string{mktAdmitted}},
		{"refreshes are a fifth too rare", mktBreaks{config: func(c *rolegate.Config) {
			c.Refresh.Every, c.Refresh.ResyncEvery = c.Refresh.Every*6/5, c.Refresh.ResyncEvery*6/5
		}}, []string{mktLateLoss, mktLateGrant}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, seed := range seeds {
				g := runMarketplace(t, seed, c.breaks)
				for _, want := range c.want {
					if g.wrong[want] > 0 {
						t.Logf("seed %d: %v", seed, g.wrong)
						return
					}
				}
			}
			t.Errorf("in %d seeds none of %q was noticed", len(seeds), c.want)
		})
	}
}

// mktHidesAge has each full refresh end with the highest sequence that was ever seen,
// so that no list looks older than another.
type mktHidesAge struct {
	*mktSource
	highest atomic.Int64
}

func (s *mktHidesAge) PullPages(ctx context.Context, after int64, page func([]rolegate.Record) error) error {
	err := s.mktSource.PullPages(ctx, after, func(records []rolegate.Record) error {
		for _, r := range records {
			s.highest.Store(max(s.highest.Load(), r.Sequence))
		}
		return page(records)
	})
	if err != nil || after > 0 {
		return err
	}
	return page([]rolegate.Record{{UserID: 1, Sequence: s.highest.Load()}})
}

// mktFinal makes of what the client asks for again what it does not.
type mktFinal struct{ *mktWorld }

func (f mktFinal) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := f.mktWorld.RoundTrip(r)
	if err == nil && (res.StatusCode == http.StatusTooManyRequests || res.StatusCode > http.StatusInternalServerError) {
		res.StatusCode = http.StatusInternalServerError
	}
	return res, err
}

// mktHidesClearing leaves nobody without a role, and no role without a user, so that
// none looks gone.
type mktHidesClearing struct{ *mktSource }

func (s mktHidesClearing) PullPages(ctx context.Context, after int64, page func([]rolegate.Record) error) error {
	first := after == 0
	return s.mktSource.PullPages(ctx, after, func(records []rolegate.Record) error {
		for i := range records {
			if r := &records[i]; r.Bad == nil && len(r.Grants) == 0 {
				r.Grants = []rolegate.Grant{in(1, "member")}
			}
		}
		if first {
			first = false
			records = append(records, rolegate.Record{UserID: 1, Sequence: records[0].Sequence, Grants: []rolegate.Grant{in(1, mktCodes[1]), in(1, mktCodes[2])}})
		}
		return page(records)
	})
}

// mktStopsShort takes a page that is shorter than the client asks for to be the last.
type mktStopsShort struct{ *mktSource }

var errMktStop = errors.New("that is all")

func (s mktStopsShort) PullPages(ctx context.Context, after int64, page func([]rolegate.Record) error) error {
	err := s.mktSource.PullPages(ctx, after, func(records []rolegate.Record) error {
		if err := page(records); err != nil || after > 0 || !s.w.rules.capped {
			return err
		}
		return errMktStop
	})
	if errors.Is(err, errMktStop) {
		return nil
	}
	return err
}

// mktNeverFails takes what there was before a refresh broke off for all there is.
type mktNeverFails struct{ *mktSource }

func (s mktNeverFails) PullPages(ctx context.Context, after int64, page func([]rolegate.Record) error) error {
	err := s.mktSource.PullPages(ctx, after, page)
	if ctx.Err() != nil {
		return err
	}
	return nil
}

// mktDropsBad leaves out records that could not be understood.
type mktDropsBad struct{ *mktSource }

func (s mktDropsBad) PullPages(ctx context.Context, after int64, page func([]rolegate.Record) error) error {
	return s.mktSource.PullPages(ctx, after, func(records []rolegate.Record) error {
		return page(slices.DeleteFunc(records, func(r rolegate.Record) bool { return r.Bad != nil }))
	})
}
