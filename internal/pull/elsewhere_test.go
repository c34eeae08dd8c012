package pull_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/pull"
	"github.com/rolegate/rolegate/internal/refresh"
	"github.com/rolegate/rolegate/internal/replication"
	"github.com/rolegate/rolegate/internal/snapshot"
)

const margin = time.Duration(replication.Margin)

// base is what a full refresh of another replica, which began now, has shown.
func (w *world) base(list ...record) *snapshot.Generation {
	w.t.Helper()
	other := newWorld(w.t, func(_ *world, c *pull.Config) { c.Roles = w.Roles })
	other.at = w.at
	_, err := other.shows(list).Full(w.t.Context(), w.at)
	require.NoError(w.t, err)
	gen := *other.now.Load()
	gen.Elsewhere = true
	return &gen
}

func (w *world) adopt(gen *snapshot.Generation) bool {
	w.t.Helper()
	_, taken, err := w.Adopt(w.t.Context(), gen)
	require.NoError(w.t, err)
	return taken
}

func row(id, sequence int64, roles ...string) snapshot.Row {
	r := snapshot.Row{ID: id, Sequence: sequence}
	for _, role := range roles {
		r.Grants = append(r.Grants, snapshot.RowGrant{Org: 1, Code: role})
	}
	return r
}

// apply applies rows that another replica has read in a refresh which began then.
func (w *world) apply(at clock.Instant, e replication.Entry, rows ...snapshot.Row) {
	w.t.Helper()
	e.At = at
	for i := range rows {
		rows[i].Read = at.Mono - int64(margin)
	}
	require.NoError(w.t, w.Apply(e, rows))
}

func TestAdopt(t *testing.T) {
	t.Parallel()
	t.Run("the first list", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, sharing, told)
		require.True(t, w.adopt(w.base(users(20)...)))
		assert.Len(t, w.listed(), 20)
		assert.Empty(t, w.changes)
		_, err := w.shows([]record{user(21, 21, "new")}).pass(2 * margin).increment()
		require.NoError(t, err)
		assert.Equal(t, []int64{20}, w.asked, "it goes on from there")
	})
	t.Run("a later one", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, sharing, told).open(users(20)...)
		gen := w.pass(time.Minute).base(append(users(19), user(21, 21, "new"))...)
		require.True(t, w.adopt(gen))
		assert.NotContains(t, w.listed(), int64(20))
		require.Len(t, w.changes, 1)
		assert.Equal(t, []int64{20}, w.changes[0].Removed)
		assert.Equal(t, []int64{21}, w.changes[0].Added)
		assert.True(t, w.changes[0].Full)
		assert.Equal(t, int64(21), w.now.Load().Cursor)
		_, err := w.shows([]record{user(20, 20, "teacher")}).increment()
		require.NoError(t, err)
		assert.NotContains(t, w.listed(), int64(20), "a row from before that says nothing new")
	})
	t.Run("one that is no later", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, sharing)
		same := w.base(users(19)...)
		require.True(t, w.adopt(same))
		assert.False(t, w.adopt(w.base(users(5)...)))
		w.at = w.at.Add(-time.Minute)
		assert.False(t, w.adopt(w.base(users(5)...)))
		assert.Len(t, w.listed(), 19)
	})
	t.Run("with rows on top that were read later", func(t *testing.T) {
		t.Parallel()
		for later, counts := range map[time.Duration]bool{2 * margin: false, 2*margin + 1: true} {
			w := newWorld(t, sharing).open(users(20)...)
			gen := w.pass(time.Minute).base(users(20)...)
			contact := w.pass(later).at
			_, err := w.shows([]record{user(21, 21, "new")}).Increment(t.Context(), w.at)
			require.NoError(t, err)
			require.True(t, w.adopt(gen))
			assert.Contains(t, w.listed(), int64(21))
			assert.Equal(t, counts, w.now.Load().Contact == contact, "%v later", later)
			assert.Equal(t, int64(21), w.now.Load().Cursor)
			assert.True(t, w.now.Load().Touched)
		}
	})
	t.Run("and without rows that were read when it had begun, perhaps", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, sharing).open(users(20)...)
		w.pass(time.Minute)
		gen := w.base(users(20)...)
		w.pass(margin / 2)
		_, err := w.shows([]record{user(21, 21, "new")}).Increment(t.Context(), w.at)
		require.NoError(t, err)
		require.True(t, w.adopt(gen))
		assert.NotContains(t, w.listed(), int64(21), "the clocks cannot tell")
		assert.Equal(t, gen.Refreshed, w.now.Load().Contact)
		_, err = w.shows([]record{user(21, 21, "new")}).pass(5 * margin).increment()
		require.NoError(t, err)
		assert.Contains(t, w.listed(), int64(21), "it may have been added since: the next row counts")
	})
	t.Run("and up to when rows of its own may be in it", func(t *testing.T) {
		t.Parallel()
		for later, want := range map[time.Duration]bool{margin: false, margin + 1: true} {
			w := newWorld(t, sharing)
			gen := w.base(users(20)...)
			gen.Contact = gen.Refreshed.Add(later)
			require.True(t, w.adopt(gen))
			assert.Equal(t, want, w.now.Load().RowsUntil == gen.Contact, "%v later", later)
		}
	})
	t.Run("overtakes pages that were asked for when it may not have begun", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, sharing).open(users(20)...)
		require.True(t, w.adopt(w.pass(time.Minute).base(users(20)...)))
		w.pass(margin)
		w.read = func(int64) { w.pass(time.Second) }
		_, err := w.shows([]record{user(20, 20, "teacher")}).Increment(t.Context(), w.at)
		require.NoError(t, err)
		assert.Len(t, w.asked, 2)
	})
	t.Run("overtakes pages that were asked for before", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, sharing).open(users(20)...)
		asked := 0
		w.read = func(int64) {
			if asked++; asked == 1 {
				require.True(t, w.adopt(w.pass(time.Minute).base(users(19)...)))
				w.pass(2 * margin)
			}
		}
		_, err := w.shows([]record{user(20, 20, "teacher")}).increment()
		require.NoError(t, err)
		assert.Equal(t, 2, asked)
		assert.NotContains(t, w.listed(), int64(20))
	})
}

// A full refresh that another replica has just begun overtakes pages for a moment
// longer, since clocks differ: nothing is asked for in vain meanwhile.
func TestPagesWaitUntilTheClocksAgree(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sharing, func(w *world, c *pull.Config) { c.Clock = clock.Read })
		w.at = clock.Read()
		w.open(users(20)...)
		time.Sleep(time.Minute)
		w.at = clock.Read()
		w.read = func(int64) {
			w.read = nil
			require.True(t, w.adopt(w.base(users(20)...)))
		}
		began := time.Now()
		_, err := w.shows([]record{user(20, 20, "teacher"), user(21, 21, "new")}).Increment(t.Context(), clock.Read())
		require.NoError(t, err)
		assert.Len(t, w.asked, 2)
		assert.Equal(t, margin+1, time.Since(began))
		assert.Contains(t, w.listed(), int64(21))

		// Nobody waits for one that is cancelled.
		ctx, cancel := context.WithCancel(t.Context())
		time.Sleep(time.Minute)
		w.at = clock.Read()
		w.asked, w.read = nil, func(int64) {
			require.True(t, w.adopt(w.base(users(20)...)))
			time.AfterFunc(margin/2, cancel)
		}
		began = time.Now()
		_, err = w.Increment(ctx, clock.Read())
		require.Error(t, err)
		assert.Equal(t, margin/2, time.Since(began))
		assert.Len(t, w.asked, 1)
	})
}

// Another replica's list is taken while a full refresh is under way here, if it began
// earlier; the one that began later counts.
func TestAFullRefreshBesideAnotherReplicas(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		after time.Duration // by how much the other one began later
		later bool          // it is not earlier
	}{{"began earlier", -time.Minute, false}, {"began at the same moment", 0, true}, {"began later", time.Second, true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sharing).open(users(20)...)
			w.pass(10 * time.Minute)
			w.read = func(int64) {
				w.read = nil
				w.pass(c.after)
				require.True(t, w.adopt(w.base(users(10)...)))
				w.pass(2 * time.Minute)
			}
			_, err := w.shows(users(21)).full()
			if c.later {
				require.ErrorIs(t, err, refresh.ErrElsewhere)
				assert.Len(t, w.listed(), 10)
				return
			}
			require.NoError(t, err)
			assert.Len(t, w.listed(), 21)
		})
	}
}

// What was read while a full refresh was under way goes on top of another replica's
// that began before it, too.
func TestRowsOutliveAFullRefresh(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sharing).open(users(20)...)
	other := w.pass(time.Minute).base(users(20)...)
	w.pass(time.Minute)
	w.read = func(after int64) {
		if after == 0 {
			w.read = nil
			w.pages = [][]record{{user(20, 20, "teacher"), user(21, 21, "new")}}
			_, err := w.pass(2 * margin).increment()
			require.NoError(t, err)
			w.err = errors.New("reset")
		}
	}
	_, err := w.shows(users(20)).full()
	require.Error(t, err)
	require.True(t, w.adopt(other))
	assert.Contains(t, w.listed(), int64(21))
}

// Of a user who was read at about the time when a full refresh began, and is not in it,
// the clocks cannot tell whether they were removed or added since: the next row counts.
func TestWhoWasReadJustBeforeAFullRefresh(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		before time.Duration
		listed bool
		with   []func(*world, *pull.Config)
	}{
		{"just before", 2*margin - 1, true, []func(*world, *pull.Config){sharing}},
		{"earlier", 2*margin + 1, false, []func(*world, *pull.Config){sharing}},
		{"alone, where one clock tells", 2*margin - 1, false, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.with...).young(20)
			rows := []record{user(21, 21, "a"), user(22, 22, "a")}
			_, err := w.shows(rows).pass(time.Minute).increment()
			require.NoError(t, err)
			w.pass(c.before)
			_, err = w.shows(append(users(20), user(22, 22, "a"))).Full(t.Context(), w.at)
			require.NoError(t, err)
			assert.NotContains(t, w.listed(), int64(21))
			_, err = w.shows(rows).pass(10 * margin).increment()
			require.NoError(t, err)
			assert.Equal(t, c.listed, ids(w.listed())[21])
		})
	}
}

// Who was added after a base had begun is not taken for gone when that replaces a list
// that has them: a row of theirs may have been asked for before, or may have come with
// another base. Otherwise nobody believes the rows of theirs until the next full refresh.
func TestWhoWasAddedSinceABaseBegan(t *testing.T) {
	t.Parallel()
	const others = time.Minute
	for _, c := range []struct {
		name   string
		adopts func(w *world) // the list of before, and then a base without user 21
		back   bool
	}{
		{"the row was asked for before that, and came after", func(w *world) {
			var gen *snapshot.Generation
			w.read = func(int64) {
				w.read = nil
				gen = w.pass(others).base(users(20)...)
				w.pass(others)
			}
			_, err := w.shows([]record{user(21, 21, "new")}).increment()
			require.NoError(w.t, err)
			require.Contains(w.t, w.listed(), int64(21))
			require.True(w.t, w.adopt(gen))
		}, true},
		{"so was that of another replica", func(w *world) {
			asked := w.pass(others).at
			gen := w.pass(others).base(users(20)...)
			w.apply(asked, replication.Entry{From: 20, To: 21, Known: w.pass(others).at}, row(21, 21, "new"))
			require.Contains(w.t, w.listed(), int64(21))
			require.True(w.t, w.adopt(gen))
		}, true},
		{"a full refresh of its own had begun before that, and came by the user after", func(w *world) {
			var gen *snapshot.Generation
			w.read = func(int64) {
				w.read = nil
				gen = w.pass(others).base(users(20)...)
				w.pass(others)
			}
			_, err := w.shows(users(21)).full()
			require.NoError(w.t, err)
			require.Contains(w.t, w.listed(), int64(21))
			require.True(w.t, w.adopt(gen))
		}, true},
		{"and had ended before that", func(w *world) {
			_, err := w.shows(users(21)).full()
			require.NoError(w.t, err)
			require.True(w.t, w.adopt(w.pass(others).base(users(20)...)))
		}, false},
		{"so had that of another replica, which came by the user after", func(w *world) {
			first := w.pass(others).base(users(21)...)
			first.Above = map[int64]int64{21: 21}
			second := w.pass(others).base(users(20)...)
			require.True(w.t, w.adopt(first))
			require.True(w.t, w.adopt(second))
		}, true},
		{"the row came with a base that began earlier", func(w *world) {
			first := w.pass(others).base(users(21)...)
			second := w.pass(others).base(users(20)...)
			first.Contact = w.pass(others).at
			require.True(w.t, w.adopt(first))
			require.True(w.t, w.adopt(second))
		}, true},
		{"and that base had it when the other began", func(w *world) {
			first := w.pass(others).base(users(21)...)
			first.Contact = w.pass(others).at
			second := w.pass(others).base(users(20)...)
			require.True(w.t, w.adopt(first))
			require.True(w.t, w.adopt(second))
		}, false},
		{"the base had the user from the start", func(w *world) {
			require.True(w.t, w.adopt(w.pass(others).base(users(21)...)))
			require.True(w.t, w.adopt(w.pass(others).base(users(20)...)))
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sharing).open(users(20)...)
			c.adopts(w)
			require.NotContains(t, w.listed(), int64(21))
			_, err := w.shows([]record{user(21, 21, "new")}).pass(2 * margin).increment()
			require.NoError(t, err)
			assert.Equal(t, c.back, ids(w.listed())[21])
		})
	}
}

// A base says who was gone when it began. So a replica that has never seen them, or has
// not for long, does not believe a server that lags behind.
func TestABaseSaysWhoIsGone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		had  []record
		away time.Duration
	}{
		{"to one that has just started", nil, 0},
		{"to one that was away", users(5), time.Hour},
		{"to one that has not seen them", users(20), time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			from := newWorld(t, sharing).open(users(20)...)
			w := newWorld(t, sharing)
			if c.had != nil {
				w.open(c.had...)
			}
			from.at = w.pass(c.away).at
			for _, n := range []int64{21, 22} {
				_, err := from.shows([]record{user(n, n, "teacher")}).increment()
				require.NoError(t, err)
			}
			done := from.Believe() // or it would be in doubt
			_, err := from.pass(5 * margin).shows(users(21)).full()
			done()
			require.NoError(t, err)
			require.Equal(t, int64(22), from.now.Load().Above[22], "it is gone")
			gen := *from.now.Load()
			w.at = from.pass(margin).at
			require.True(t, w.adopt(&gen))

			_, err = w.shows([]record{user(22, 22, "short")}).pass(2 * margin).increment()
			require.NoError(t, err)
			assert.NotContains(t, w.listed(), int64(22))
			assert.Less(t, int64(5), w.asked[0], "it need not ask for what it has missed")
			_, err = w.shows([]record{user(22, 23, "again")}).increment()
			require.NoError(t, err)
			assert.Contains(t, w.listed(), int64(22), "a newer row counts")
		})
	}
}

// Up to when everything is known: an incremental refresh that began so soon after a
// full one that clocks cannot tell says nothing of it.
func TestContactOfAFullRefresh(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		after time.Duration
		later bool
		with  []func(*world, *pull.Config)
	}{
		{"just after", margin, false, []func(*world, *pull.Config){sharing}},
		{"later", margin + 1, true, []func(*world, *pull.Config){sharing}},
		{"alone", 1, true, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.with...).open(users(20)...)
			began := w.pass(time.Minute).at
			w.read = func(int64) {
				w.read = nil
				w.pass(c.after)
				_, err := w.shows(nil).Increment(t.Context(), w.at)
				require.NoError(t, err)
			}
			_, err := w.shows(users(20)).Full(t.Context(), began)
			require.NoError(t, err)
			want := began
			if c.later {
				want = began.Add(c.after)
			}
			assert.Equal(t, want, w.now.Load().Contact)
		})
	}
}

// Rows on top of another replica's list may take away no more roles at once than others.
func TestLostRolesOnTopOfAnotherReplicasList(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sharing).open(users(20)...)
	other := w.pass(time.Minute).base(users(20)...)
	w.pass(5 * margin)
	var rows []snapshot.Row
	for id := range int64(20) {
		rows = append(rows, row(id+1, 21+id))
	}
	w.apply(w.at, replication.Entry{From: 20, To: 40}, rows...)
	require.Equal(t, 20, w.now.Load().Held.LostRoles())
	require.True(t, w.adopt(other))
	assert.Equal(t, 20, w.now.Load().Held.LostRoles())
	assert.Equal(t, []string{"teacher"}, w.listed()[7])
}

func TestSameAs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sharing).open(users(20)...)
	before := w.now.Load().Refreshed
	assert.Zero(t, w.SameAs())
	_, err := w.shows(users(20)).full()
	require.NoError(t, err)
	assert.Equal(t, before, w.SameAs())
	_, err = w.shows(users(21)).full()
	require.NoError(t, err)
	assert.Zero(t, w.SameAs())
}

func TestConfirm(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		given func(w *world)
		after time.Duration
		want  bool
	}{
		{"as it was", func(*world) {}, time.Minute, true},
		{"begun earlier", func(*world) {}, -time.Minute, false},
		{"begun at the same time", func(*world) {}, 0, false},
		{"with rows on top", func(w *world) {
			_, err := w.shows([]record{user(21, 21, "new")}).Increment(w.t.Context(), w.at)
			require.NoError(w.t, err)
		}, time.Minute, false},
		{"with removals that are held", func(w *world) {
			_, err := w.shows(append(users(5), user(20, 20, "teacher"))).Full(w.t.Context(), w.at.Add(1))
			require.NoError(w.t, err)
		}, time.Minute, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sharing).open(users(20)...)
			began := w.now.Load().Refreshed
			c.given(w)
			before := w.now.Load()
			at := began.Add(c.after)
			require.Equal(t, c.want, w.Confirm(at))
			if !c.want {
				assert.Same(t, before, w.now.Load())
				return
			}
			gen := w.now.Load()
			assert.Equal(t, []clock.Instant{at, at, at}, []clock.Instant{gen.Contact, gen.Verified, gen.Refreshed})
			assert.True(t, gen.Elsewhere)
			assert.Equal(t, before.Number, gen.Number, "nothing but its ages")
		})
	}
	assert.False(t, newWorld(t, sharing).Confirm(clock.Read()), "there is no list")
}

// A list that another replica has confirmed takes no row that was read before that.
func TestConfirmForgetsRows(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sharing).open(users(20)...)
	at := w.pass(time.Minute).at
	require.True(t, w.Confirm(at))
	w.apply(at.Add(margin*3/2), replication.Entry{From: 20, To: 21, Complete: true}, row(21, 21, "old"))
	assert.NotContains(t, w.listed(), int64(21))
	w.pass(3 * margin)
	w.apply(w.at, replication.Entry{From: 20, To: 22, Complete: true}, row(22, 22, "new"))
	assert.Contains(t, w.listed(), int64(22))
}

func TestApply(t *testing.T) {
	t.Parallel()
	t.Run("without a list", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, sharing)
		w.apply(w.at, replication.Entry{To: 1}, row(1, 1, "a"))
		assert.Nil(t, w.now.Load())
	})
	t.Run("rows and what is known by them", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, sharing).open(users(20)...)
		dropped := row(22, 22, "b")
		dropped.DroppedGrant = true
		dropped.Text[index.FieldAccount] = "known"
		invalid := row(3, 23)
		invalid.Invalid = true
		w.pass(time.Minute)
		w.apply(w.at, replication.Entry{From: 20, To: 23, Complete: true}, row(21, 21, "a"), dropped, invalid)
		got := w.listed()
		assert.Equal(t, []string{"a"}, got[21])
		assert.Equal(t, []string{"b"}, got[22])
		assert.NotContains(t, got, int64(3))
		gen := w.now.Load()
		at, _ := gen.Find(22)
		assert.True(t, gen.DroppedGrant(at))
		assert.Equal(t, "known", string(gen.Field(at, index.FieldAccount)))
		assert.Equal(t, w.at, gen.Contact)
		assert.Equal(t, int64(23), gen.Cursor)
		assert.True(t, gen.Touched)
	})
	t.Run("part of what has come", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, sharing).open(users(20)...)
		contact := w.now.Load().Contact
		w.pass(time.Minute)
		w.apply(w.at, replication.Entry{From: 20, To: 21}, row(21, 21, "a"))
		assert.Equal(t, contact, w.now.Load().Contact)
		w.apply(w.at, replication.Entry{From: 30, To: 31, Complete: true}, row(31, 31, "a"))
		assert.Contains(t, w.listed(), int64(31))
		assert.Equal(t, contact, w.now.Load().Contact, "what came between is not known")
		assert.Equal(t, int64(21), w.now.Load().Cursor)
		_, err := w.shows([]record{user(21, 21, "a"), user(25, 25, "between")}).increment()
		require.NoError(t, err)
		assert.Contains(t, w.listed(), int64(25))
	})
	t.Run("that there is nothing", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, sharing).open(users(20)...)
		before := w.now.Load()
		w.pass(time.Minute)
		w.apply(w.at, replication.Entry{From: 20, To: 20, Complete: true})
		assert.Equal(t, w.at, w.now.Load().Contact)
		assert.Same(t, before.Snapshot, w.now.Load().Snapshot)
	})
	t.Run("rows that were read before the base began", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, sharing).open(users(20)...)
		began := w.now.Load().Refreshed
		w.apply(began.Add(margin), replication.Entry{From: 20, To: 21, Complete: true}, row(21, 21, "a"))
		assert.NotContains(t, w.listed(), int64(21))
		assert.Equal(t, began, w.now.Load().Contact, "nor is it known what came before it")
		w.apply(began.Add(margin), replication.Entry{From: 20, To: 20, Complete: true})
		assert.Equal(t, began.Add(margin), w.now.Load().Contact, "that there are none is known all the same")
	})
	t.Run("a row of a user that a full refresh has found gone", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, sharing).open(users(20)...)
		_, err := w.shows(append(users(18), user(20, 20, "teacher"))).pass(time.Minute).full()
		require.NoError(t, err)
		w.pass(time.Minute)
		w.apply(w.at, replication.Entry{From: 18, To: 19}, row(19, 19, "teacher"))
		assert.NotContains(t, w.listed(), int64(19))
	})
	t.Run("each row once, and none that is older", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, sharing, told).open(users(20)...)
		w.pass(time.Minute)
		newer := w.at.Add(time.Second)
		w.apply(newer, replication.Entry{From: 20, To: 22}, row(3, 22, "newer"))
		w.apply(w.at, replication.Entry{From: 20, To: 21}, row(3, 21, "older"), row(4, 21, "other"))
		assert.Equal(t, []string{"newer"}, w.listed()[3])
		assert.Equal(t, []string{"other"}, w.listed()[4])
		before := w.now.Load()
		w.apply(newer, replication.Entry{From: 20, To: 22}, row(3, 22, "newer"))
		assert.Same(t, before, w.now.Load())
		assert.Len(t, w.changes, 2)
	})
	t.Run("none that is older, however late it comes", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, sharing).open(users(20)...)
		read := w.pass(time.Minute).at
		w.apply(read, replication.Entry{From: 20, To: 22, Complete: true}, row(3, 22, "newer"))
		for range 3 {
			_, err := w.shows([]record{user(4, 23, "other")}).pass(lookBack).increment()
			require.NoError(t, err)
		}
		w.apply(read, replication.Entry{From: 20, To: 21}, row(3, 21, "older"))
		assert.Equal(t, []string{"newer"}, w.listed()[3])
	})
	t.Run("what says nothing new is nobody else's", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, sharing).open(users(20)...)
		require.True(t, w.adopt(w.pass(time.Minute).base(append(users(18), user(20, 20, "teacher"))...)))
		w.pass(time.Minute)
		w.apply(w.at, replication.Entry{From: 18, To: 22}, row(7, 22, "a"), row(19, 19, "admin"))
		assert.Equal(t, []string{"a"}, w.listed()[7])
	})
	t.Run("of two with one sequence the one that was read later", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, sharing).open(users(20)...)
		w.pass(time.Minute)
		w.apply(w.at.Add(time.Second), replication.Entry{From: 20, To: 21}, row(3, 21, "later"))
		w.apply(w.at, replication.Entry{From: 20, To: 21}, row(3, 21, "earlier"))
		assert.Equal(t, []string{"later"}, w.listed()[3])
	})
	t.Run("of two with one sequence the invalid one", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, sharing).open(users(20)...)
		w.pass(time.Minute)
		invalid := row(3, 21)
		invalid.Invalid = true
		w.apply(w.at, replication.Entry{From: 20, To: 21}, invalid)
		w.apply(w.at, replication.Entry{From: 20, To: 21}, row(3, 21, "valid"))
		assert.NotContains(t, w.listed(), int64(3))
	})
	t.Run("are not shared again", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, sharing).open(users(20)...)
		w.pass(time.Minute)
		w.apply(w.at, replication.Entry{From: 20, To: 21, Complete: true}, row(21, 21, "a"))
		assert.Empty(t, w.shared)
	})
}

// When it turns out that the instants of others were measured wrongly, all that was
// dated by them moves.
func TestShift(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sharing).open(users(20)...)
	back := func(i clock.Instant) clock.Instant { return i.Add(-time.Minute) }
	before := *w.now.Load()
	w.pass(10 * time.Minute)
	w.apply(w.at, replication.Entry{From: 20, To: 21}, row(21, 21, "a"))
	require.True(t, w.Shift(back, false))
	assert.Equal(t, back(before.Refreshed), w.now.Load().Refreshed)
	assert.Contains(t, w.listed(), int64(21))

	// Shifted, the row lies a minute further back: a base that began since then has it.
	gen := w.base(users(20)...)
	gen.Refreshed = gen.Refreshed.Add(-30 * time.Second)
	require.True(t, w.adopt(gen))
	assert.NotContains(t, w.listed(), int64(21))
	assert.False(t, newWorld(t, sharing).Shift(back, false), "there is no list")
}

func TestShiftDuringAFullRefresh(t *testing.T) {
	t.Parallel()
	for name, underWay := range map[string]bool{"all that was measured": false, "only what is under way": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sharing).open(users(20)...)
			before := w.now.Load().Refreshed
			w.pass(10 * time.Minute)
			w.read = func(int64) {
				w.read = nil
				assert.Equal(t, !underWay, w.Shift(func(i clock.Instant) clock.Instant { return i.Add(-time.Minute) }, underWay))
				assert.Equal(t, underWay, w.now.Load().Refreshed == before, "the list that there is")
			}
			_, err := w.shows(users(20)).full()
			require.NoError(t, err)
			assert.Equal(t, w.at.Add(-time.Minute), w.now.Load().Refreshed)
		})
	}
}

// Two full refreshes have to show an older list, and incremental ones between them
// that the source has nothing else. What other replicas read counts as far as it says
// so.
func TestAListOlderThanWhatIsKnownElsewhere(t *testing.T) {
	t.Parallel()
	older := append(users(20), user(50, 22, "back"))
	for _, c := range []struct {
		name     string
		between  func(w *world)
		believed bool
	}{
		{"they have asked for what is known, and were not shown it", func(w *world) {
			for range 20 {
				w.apply(w.pass(2*time.Second).at, replication.Entry{From: 39, To: 39, Complete: true})
			}
		}, true},
		{"they have asked for what is above that", func(w *world) {
			for range 20 {
				w.apply(w.pass(2*time.Second).at, replication.Entry{From: 40, To: 40, Complete: true})
			}
		}, false},
		{"they were shown it", func(w *world) {
			for range 20 {
				w.apply(w.pass(2*time.Second).at, replication.Entry{From: 39, To: 39, Complete: true})
			}
			w.apply(w.pass(2*time.Second).at, replication.Entry{From: 39, To: 40, Complete: true}, row(40, 40, "teacher"))
		}, false},
		{"a full refresh has shown it since", func(w *world) {
			for range 20 {
				w.apply(w.pass(2*time.Second).at, replication.Entry{From: 39, To: 39, Complete: true})
			}
			require.True(w.t, w.adopt(w.pass(2*margin).base(users(40)...)))
		}, false},
		{"a full refresh has found the list as it is", func(w *world) {
			for range 20 {
				w.apply(w.pass(2*time.Second).at, replication.Entry{From: 39, To: 39, Complete: true})
			}
			require.True(w.t, w.Confirm(w.pass(2*margin).at))
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sharing).open(users(40)...)
			_, err := w.pass(2 * margin).shows(older).full()
			require.Error(t, err)
			c.between(w)
			_, err = w.pass(gap).shows(older).full()
			assert.Equal(t, c.believed, err == nil, "%v", err)
		})
	}
}
