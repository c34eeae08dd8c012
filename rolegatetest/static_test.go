package rolegatetest_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// pulled is user and sequence of every record of a pull.
func pulled(t *testing.T, s *rolegatetest.Static, after int64) (got [][2]int64, err error) {
	t.Helper()
	err = s.Pull(t.Context(), after, func(r rolegate.Record) { got = append(got, [2]int64{r.UserID, r.Sequence}) })
	return got, err
}

func TestStaticLists(t *testing.T) {
	t.Parallel()
	rec := func(user, sequence int64) rolegate.Record {
		return rolegate.Record{UserID: user, Sequence: sequence}
	}
	for name, tc := range map[string]struct {
		source *rolegatetest.Static
		change func(*rolegatetest.Static)
		after  int64
		want   [][2]int64
	}{
		"zero value":                  {source: new(rolegatetest.Static)},
		"sequences given out":         {source: rolegatetest.NewStatic(rec(7, 0), rec(5, 0)), want: [][2]int64{{7, 1}, {5, 2}}},
		"after one":                   {source: rolegatetest.NewStatic(rec(7, 0), rec(5, 0), rec(6, 0)), after: 1, want: [][2]int64{{5, 2}, {6, 3}}},
		"after all":                   {source: rolegatetest.NewStatic(rec(7, 0)), after: 1},
		"in the order of sequences":   {source: rolegatetest.NewStatic(rec(7, 9), rec(5, 2), rec(6, 0)), want: [][2]int64{{5, 2}, {7, 9}, {6, 10}}},
		"ties, all of them":           {source: rolegatetest.NewStatic(rec(7, 4), rec(5, 4), rec(6, 5)), after: 3, want: [][2]int64{{7, 4}, {5, 4}, {6, 5}}},
		"ties, none of them":          {source: rolegatetest.NewStatic(rec(7, 4), rec(5, 4), rec(6, 5)), after: 4, want: [][2]int64{{6, 5}}},
		"a user twice, as set":        {source: rolegatetest.NewStatic(rec(7, 0), rec(7, 0)), want: [][2]int64{{7, 1}, {7, 2}}},
		"put replaces":                {source: rolegatetest.NewStatic(rec(7, 0), rec(5, 0)), change: func(s *rolegatetest.Static) { s.Put(rec(7, 0)) }, want: [][2]int64{{5, 2}, {7, 3}}},
		"put keeps what is with it":   {source: rolegatetest.NewStatic(rec(7, 0)), change: func(s *rolegatetest.Static) { s.Put(rec(7, 5), rec(7, 5)) }, want: [][2]int64{{7, 5}, {7, 5}}},
		"put of nobody adds":          {source: rolegatetest.NewStatic(rec(0, 0)), change: func(s *rolegatetest.Static) { s.Put(rec(0, 0)) }, want: [][2]int64{{0, 1}, {0, 2}}},
		"put to the zero value":       {source: new(rolegatetest.Static), change: func(s *rolegatetest.Static) { s.Put(rec(7, 0)) }, want: [][2]int64{{7, 1}}},
		"remove":                      {source: rolegatetest.NewStatic(rec(7, 0), rec(5, 0)), change: func(s *rolegatetest.Static) { s.Remove(7, 99) }, want: [][2]int64{{5, 2}}},
		"a sequence is used once":     {source: rolegatetest.NewStatic(rec(7, 0), rec(5, 0)), change: func(s *rolegatetest.Static) { s.Remove(5); s.Put(rec(6, 0)) }, want: [][2]int64{{7, 1}, {6, 3}}},
		"set replaces the whole list": {source: rolegatetest.NewStatic(rec(7, 0)), change: func(s *rolegatetest.Static) { s.Set(rec(5, 0)) }, want: [][2]int64{{5, 2}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.change != nil {
				tc.change(tc.source)
			}
			got, err := pulled(t, tc.source, tc.after)
			require.NoError(t, err)
			assert.Equal(t, tc.want, got)
		})
	}
}

func TestStaticCopiesGrants(t *testing.T) {
	t.Parallel()
	grants := []rolegate.Grant{{OrgID: 1, RoleCode: "teacher"}}
	bad := errors.New("not understood")
	s := rolegatetest.NewStatic(
		rolegate.Record{UserID: 1, Grants: grants},
		rolegate.Record{UserID: 2, Grants: grants, Bad: bad},
		rolegate.Record{UserID: 3})
	grants[0].RoleCode = "admin"
	var got []rolegate.Record
	require.NoError(t, s.Pull(t.Context(), 0, func(r rolegate.Record) {
		got = append(got, r)
		_ = append(r.Grants, rolegate.Grant{OrgID: 9}) // must not reach the next one's
	}))
	want := []rolegate.Grant{{OrgID: 1, RoleCode: "teacher"}}
	assert.Equal(t, []rolegate.Record{
		{UserID: 1, Sequence: 1, Grants: want},
		{UserID: 2, Sequence: 2, Grants: want, Bad: bad},
		{UserID: 3, Sequence: 3},
	}, got)
}

func TestStaticFails(t *testing.T) {
	t.Parallel()
	broken := &rolegate.PullError{Failure: marketplace.FailureNetwork}
	s := rolegatetest.NewStatic(rolegate.Record{UserID: 1}, rolegate.Record{UserID: 2})
	s.Fail(broken)
	got, err := pulled(t, s, 0)
	require.ErrorIs(t, err, broken)
	assert.Empty(t, got)

	s.FailAfter(1, broken)
	got, err = pulled(t, s, 0)
	require.ErrorIs(t, err, broken)
	assert.Len(t, got, 1)
	s.FailAfter(99, broken)
	got, err = pulled(t, s, 1)
	require.ErrorIs(t, err, broken)
	assert.Len(t, got, 1)

	s.Recover()
	got, err = pulled(t, s, 0)
	require.NoError(t, err)
	assert.Len(t, got, 2)
	assert.Equal(t, []int{3, 1}, []int{s.FullRefreshes(), s.IncrementalRefreshes()})
}

func TestStaticHeldUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := rolegatetest.NewStatic(rolegate.Record{UserID: 1})
		s.SetDelay(time.Minute)
		start := time.Now()
		_, err := pulled(t, s, 0)
		require.NoError(t, err)
		assert.Equal(t, time.Minute, time.Since(start))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, s.Pull(ctx, 0, nil), context.DeadlineExceeded)
		s.SetDelay(0)

		release := s.Block()
		var wg sync.WaitGroup
		wg.Go(func() {
			got, err := pulled(t, s, 0)
			assert.NoError(t, err)
			assert.Equal(t, [][2]int64{{1, 1}}, got, "the list as it was when the pull began")
		})
		synctest.Wait()
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, s.Pull(ctx, 0, nil), context.DeadlineExceeded)
		s.Remove(1)
		release()
		release()
		wg.Wait()
		got, err := pulled(t, s, 0)
		require.NoError(t, err)
		assert.Empty(t, got, "no longer blocked")

		earlier, later := s.Block(), s.Block()
		earlier()
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, s.Pull(ctx, 0, nil), context.DeadlineExceeded, "the later one holds")
		later()
		_, err = pulled(t, s, 0)
		require.NoError(t, err)
	})
}

func TestStaticStopsWithItsContext(t *testing.T) {
	t.Parallel()
	s := rolegatetest.NewStatic(make([]rolegate.Record, 10_000)...)
	ctx, cancel := context.WithCancel(t.Context())
	yielded := 0
	err := s.Pull(ctx, 0, func(rolegate.Record) { yielded++; cancel() })
	require.ErrorIs(t, err, context.Canceled)
	assert.Less(t, yielded, 2000)
	require.ErrorIs(t, s.Pull(ctx, 0, nil), context.Canceled)
}
