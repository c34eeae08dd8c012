package pull_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/pull"
	"github.com/rolegate/rolegate/internal/refresh"
	"github.com/rolegate/rolegate/internal/snapshot"
)

func TestFullRefresh(t *testing.T) {
	t.Parallel()
	dropped := user(4, 4, "teacher")
	dropped.grants = append(dropped.grants, snapshot.RowGrant{Org: 0, Code: "admin"}, snapshot.RowGrant{Org: 1})
	null := user(5, 5)
	null.NullRoles = true
	unreadable := user(6, 6, "teacher")
	unreadable.Unreadable = 1 << index.FieldNickname
	unreadableInUse := user(7, 7, "teacher")
	unreadableInUse.Unreadable = account
	for _, c := range []struct {
		name  string
		pages [][]record
		want  map[int64][]string
		seen  pull.Outcome
	}{
		{"users with their roles", [][]record{{user(1, 1, "teacher", "admin"), user(2, 2)}},
			map[int64][]string{1: {"teacher", "admin"}, 2: {}}, pull.Outcome{Records: 2, Added: 2}},
		{"several pages", [][]record{{user(1, 1, "a")}, {}, {user(2, 2, "b")}},
			map[int64][]string{1: {"a"}, 2: {"b"}}, pull.Outcome{Records: 2, Added: 2}},
		{"nobody", nil, map[int64][]string{}, pull.Outcome{}},
		{"twice the same", [][]record{{user(1, 1, "a"), user(1, 1, "a")}},
			map[int64][]string{1: {"a"}}, pull.Outcome{Records: 2, Added: 1, Duplicates: 1}},
		{"the higher sequence counts", [][]record{{user(1, 2, "new"), user(1, 1, "old")}},
			map[int64][]string{1: {"new"}}, pull.Outcome{Records: 2, Added: 1, Duplicates: 1, Conflicts: 1}},
		{"dropped grants", [][]record{{dropped}}, map[int64][]string{4: {"teacher"}}, pull.Outcome{Records: 1, Added: 1, DroppedGrants: 2}},
		{"null in place of roles", [][]record{{null}}, map[int64][]string{5: {}}, pull.Outcome{Records: 1, Added: 1, NullRoles: 1}},
		{"a bad record concerns its user", [][]record{{user(1, 1, "a"), user(2, 1, "a"), bad(2, 2)}},
			map[int64][]string{1: {"a"}}, pull.Outcome{Records: 3, Added: 1, BadRecords: 1}},
		{"a record of nobody", [][]record{{user(1, 1, "a"), user(0, 2, "a"), user(-7, 3, "a")}},
			map[int64][]string{1: {"a"}}, pull.Outcome{Records: 3, Added: 1, BadRecords: 2}},
		{"a text that is not used", [][]record{{unreadable}}, map[int64][]string{6: {"teacher"}}, pull.Outcome{Records: 1, Added: 1}},
		{"a text that is used", [][]record{{unreadableInUse}}, map[int64][]string{}, pull.Outcome{Records: 1, BadRecords: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).shows(c.pages...)
			seen, err := w.full()
			require.NoError(t, err)
			assert.Equal(t, c.seen, seen)
			assert.Equal(t, c.want, w.listed())
			gen := w.now.Load()
			assert.Equal(t, w.at, gen.Contact)
			assert.Equal(t, w.at, gen.Verified)
			assert.Equal(t, w.at, gen.Refreshed)
			assert.Equal(t, []int64{0}, w.asked)
			assert.Empty(t, w.due)
			assert.False(t, gen.Touched)
		})
	}
}

func TestFullRefreshThatIsNotBelieved(t *testing.T) {
	t.Parallel()
	away := errors.New("the source is away")
	structural := func(n int64) (all []record) {
		for id := range n {
			r := bad(id+10_000, id+10_000)
			r.Structural = true
			all = append(all, r)
		}
		return all
	}
	unusable := func(id int64) []record {
		r := user(id, id)
		r.Unreadable = account
		return []record{r}
	}
	for _, c := range []struct {
		name string
		list []record
		err  error
		why  pull.Failure // "" if it is believed
		text string
	}{
		{"the source fails", users(3), away, "away", ""},
		{"eleven of a thousand and more without its form", append(users(1089), structural(11)...), nil, "", ""},
		{"eleven of less than that", append(users(1088), structural(11)...), nil, pull.Drift, "the last: a form that nobody knows"},
		{"ten of ten", structural(10), nil, "", ""},
		{"eleven of eleven", structural(11), nil, pull.Drift, ""},
		{"hundreds whose text is odd", func() (all []record) {
			for id := range int64(300) {
				all = append(all, bad(id+1, id+1))
			}
			return all
		}(), nil, "", ""},
		{"twelve of nobody", make([]record, 12), nil, pull.Drift, "the last: its user id is not above 0"},
		{"eleven of nobody that are odd besides", append(structural(10), unusable(1)...), nil, "", ""},
		{"eleven that cannot be used, and of nobody", append(structural(11), unusable(1)...), nil, pull.Drift, "the last: a text of it that is used could not be understood"},
		{"more role codes than there are numbers", func() []record {
			r := user(1, 1)
			for i := range index.MaxRoles + 1 {
				r.grants = append(r.grants, snapshot.RowGrant{Org: 1, Code: fmt.Sprint("role-", i)})
			}
			return []record{r}
		}(), nil, pull.Drift, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).open(user(1, 1, "before"), user(2, 2, "before"))
			before := w.now.Load()
			w.err = c.err
			_, err := w.shows(c.list).full()
			switch c.why {
			case "":
				require.NoError(t, err)
				return
			case "away":
				require.ErrorIs(t, err, away)
			default:
				f, ok := errors.AsType[*failure](err)
				require.True(t, ok, "%v", err)
				assert.Equal(t, c.why, f.why)
				assert.ErrorContains(t, err, c.text)
			}
			assert.Same(t, before, w.now.Load())
		})
	}
}

// Whoever is gone from the list is out; a refresh tells what it changed.
func TestFullRefreshChanges(t *testing.T) {
	t.Parallel()
	first := append(users(40), user(90, 90, "teacher"), user(91, 91, "teacher"))
	for _, hook := range []bool{false, true} {
		t.Run(fmt.Sprintf("hook %v", hook), func(t *testing.T) {
			t.Parallel()
			var with []func(*world, *pull.Config)
			if hook {
				with = append(with, told)
			}
			w := newWorld(t, with...)
			w.open(first...)
			assert.Empty(t, w.changes, "the first list changes nothing")
			second := append(users(40), user(90, 92), user(77, 93, "admin"), user(70, 94, "admin"))
			seen, err := w.shows(second).full()
			require.NoError(t, err)
			want := pull.Outcome{Records: 43, Added: 2, Removed: 1, Changed: 1, LostAllRoles: 1}
			assert.Equal(t, want, seen)
			if !hook {
				return
			}
			require.Len(t, w.changes, 1)
			c := w.changes[0]
			assert.True(t, c.Full)
			assert.Equal(t, []int64{70, 77}, c.Added)
			assert.Equal(t, []int64{91}, c.Removed)
			assert.Equal(t, []int64{90}, c.Changed)
			assert.Same(t, w.now.Load(), c.Next)
			_, err = w.full()
			require.NoError(t, err)
			assert.Len(t, w.changes, 1, "nothing has changed")
		})
	}
}

// What incremental refreshes read while a full one is under way counts, and what they
// had asked for before it began does not.
func TestIncrementsBesideAFullRefresh(t *testing.T) {
	t.Parallel()
	w := newWorld(t).open(users(20)...)
	list := users(20)
	var contact clock.Instant
	w.read = func(after int64) {
		if after != 0 {
			return
		}
		w.read = nil
		w.pages = [][]record{{user(21, 21, "new"), user(3, 22, "changed"), bad(4, 23)}}
		_, err := w.increment()
		require.NoError(t, err)
		contact = w.now.Load().Contact
		assert.Contains(t, w.listed(), int64(21), "at once")
		w.pass(time.Minute)
	}
	seen, err := w.shows(list).full()
	require.NoError(t, err)
	got := w.listed()
	assert.Equal(t, []string{"new"}, got[21])
	assert.Equal(t, []string{"changed"}, got[3])
	assert.NotContains(t, got, int64(4))
	assert.Len(t, got, 20)
	assert.Zero(t, seen.Removed)
	assert.True(t, w.now.Load().Touched, "rows lie on top")
	assert.Equal(t, []refresh.Kind{refresh.Incremental}, w.due, "for what has come since it began")
	assert.Equal(t, int64(23), w.now.Load().Cursor)
	assert.Equal(t, contact, w.now.Load().Contact)
	assert.True(t, contact.Mono > w.now.Load().Refreshed.Mono)
}

func TestAPageAskedForBeforeAFullRefreshBegan(t *testing.T) {
	t.Parallel()
	w := newWorld(t).open(append(users(20), user(99, 99, "teacher"))...)
	asked := 0
	w.read = func(after int64) {
		if after == 0 {
			return
		}
		if asked++; asked > 1 {
			return
		}
		pages := w.pages
		_, err := w.shows(append(users(19), user(99, 99, "teacher"))).full() // user 20 is gone
		require.NoError(t, err)
		w.shows(pages...)
	}
	w.pages = [][]record{{user(20, 20, "teacher"), user(21, 100, "new")}}
	_, err := w.increment()
	require.NoError(t, err)
	assert.Equal(t, 2, asked, "it is asked for again")
	assert.NotContains(t, w.listed(), int64(20), "a full refresh has found user 20 gone")
	assert.Contains(t, w.listed(), int64(21))
}

// An incremental refresh that a full one overtakes does not go on when nobody waits
// for it any more.
func TestAnOvertakenPageOfACancelledRefresh(t *testing.T) {
	t.Parallel()
	w := newWorld(t).open(users(20)...)
	ctx, cancel := context.WithCancel(t.Context())
	w.read = func(after int64) {
		if after != 0 {
			_, err := w.full()
			require.NoError(t, err)
			cancel()
		}
	}
	_, err := w.shows(users(20)).pass(time.Second).Increment(ctx, w.at)
	require.Error(t, err)
	assert.Len(t, w.asked, 2, "one of each kind")
}

func TestAListOlderThanWhatIsKnown(t *testing.T) {
	t.Parallel()
	w := newWorld(t).open(users(40)...)
	before := w.now.Load()
	older := append(users(20), user(50, 22, "back"))
	_, err := w.shows(older).full()
	f, ok := errors.AsType[*failure](err)
	require.True(t, ok, "%v", err)
	assert.Equal(t, pull.OlderList, f.why)
	assert.ErrorAs(t, err, new(*refresh.OlderError))
	assert.Same(t, before, w.now.Load())
	assert.Equal(t, []refresh.Kind{refresh.Incremental}, w.due, "does it know what was known?")
	_, err = w.shows(users(40)).pass(gap).full()
	require.NoError(t, err)
	assert.Len(t, w.listed(), 40)
}

// Too many removals at once are held; what an operator accepts is applied.
func TestHeldRemovals(t *testing.T) {
	t.Parallel()
	w := newWorld(t).open(append(users(40), user(99, 99, "teacher"))...)
	left := append(users(20), user(99, 99, "teacher"))
	seen, err := w.shows(left).full()
	require.NoError(t, err)
	assert.Equal(t, 20, seen.Held)
	assert.Zero(t, seen.Removed)
	assert.Len(t, w.listed(), 41)
	assert.Empty(t, w.Accepted(w.now.Load()))
	assert.Empty(t, w.Accepted(nil))

	done := w.Accept(w.now.Load().HeldDigest())
	assert.Equal(t, w.now.Load().HeldDigest(), w.Accepted(w.now.Load()))
	seen, err = w.full()
	require.NoError(t, err)
	assert.Zero(t, seen.Held)
	assert.Equal(t, 20, seen.Removed)
	assert.Equal(t, ids(w.listed()), func() map[int64]bool {
		all := map[int64]bool{99: true}
		for id := range int64(20) {
			all[id+1] = true
		}
		return all
	}())
	done()
	_, err = w.shows(left[10:]).full()
	require.NoError(t, err)
	assert.Empty(t, w.Accepted(w.now.Load()))
}

func TestRemovalsDuringASync(t *testing.T) {
	t.Parallel()
	w := newWorld(t).open(users(40)...)
	w.syncing = true
	seen, err := w.shows(append(users(38), user(40, 40, "teacher"))).full()
	require.NoError(t, err)
	assert.Equal(t, 1, seen.Held)
	assert.Equal(t, snapshot.HeldBySync, w.now.Load().Held.Cause)
	w.syncing = false
	seen, err = w.full()
	require.NoError(t, err)
	assert.Zero(t, seen.Held)
	assert.Equal(t, 1, seen.Removed)
}

// Changes that a full refresh shows, and that an incremental one should have shown
// before, are counted.
func TestLateChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t).open(users(40)...)
	_, err := w.shows([]record{user(41, 400, "teacher")}).pass(time.Minute).increment()
	require.NoError(t, err)
	_, err = w.shows([]record{user(41, 400, "teacher")}).pass(lookBack + time.Second).increment()
	require.NoError(t, err)
	_, err = w.pass(lookBack + time.Second).increment()
	require.NoError(t, err)
	seen, err := w.shows(append(users(40), user(41, 400, "teacher"), user(42, 200, "late"))).full()
	require.NoError(t, err)
	assert.Equal(t, 1, seen.Late)
	assert.Contains(t, w.listed(), int64(42))
}

// A refresh that cannot get the lock for publishing in time fails.
func TestTheLockForPublishing(t *testing.T) {
	t.Parallel()
	w := newWorld(t).open(users(3)...)
	gave := errors.New("gave up")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gave)
	require.NoError(t, w.now.Lock(t.Context()))
	_, err := w.Full(ctx, w.at)
	require.ErrorIs(t, err, gave)
	_, err = w.Increment(ctx, w.at)
	require.ErrorIs(t, err, gave)
	_, _, err = w.Adopt(ctx, &snapshot.Generation{})
	require.ErrorIs(t, err, gave)
	w.now.Unlock()
	_, err = w.shows(users(3)).full()
	require.NoError(t, err)
}

func TestSingle(t *testing.T) {
	t.Parallel()
	roles, _ := index.NewRoleSpace(nil)
	s, err := pull.Single(roles, account, func(list *pull.List) error { return take(list, user(7, 0, "teacher")) })
	require.NoError(t, err)
	at, ok := s.Find(7)
	require.True(t, ok)
	assert.Equal(t, "user-7", string(s.Field(at, index.FieldAccount)))
	assert.Equal(t, 1, s.Grants(at).Len())

	wrong := errors.New("wrong")
	_, err = pull.Single(roles, account, func(*pull.List) error { return wrong })
	assert.ErrorIs(t, err, wrong)
}

func TestOutcome(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		o       pull.Outcome
		changes bool
	}{
		{"nothing", pull.Outcome{Records: 7, BadRecords: 1, NullRoles: 1, DroppedGrants: 1, Duplicates: 1, Conflicts: 1, Late: 1, Held: 1}, false},
		{"added", pull.Outcome{Added: 1}, true},
		{"removed", pull.Outcome{Removed: 1}, true},
		{"changed", pull.Outcome{Changed: 1}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, c.changes, c.o.Changes())
		})
	}
}

// Who is repaired while the list is read is shown as they were and as they are. Which of
// the two is so, a full refresh soon says.
func TestWhoIsRepairedWhileTheListIsRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.shows([]record{user(1, 1, "a"), bad(2, 2)}, []record{user(2, 3, "a")}).full()
	require.NoError(t, err)
	assert.NotContains(t, w.listed(), int64(2))
	assert.Equal(t, []refresh.Kind{refresh.Full}, w.due)
	_, err = w.shows([]record{user(1, 1, "a"), user(2, 3, "a")}).full()
	require.NoError(t, err)
	assert.Contains(t, w.listed(), int64(2))
}

// Rows of a page that was asked for before a full refresh began do not go on top of it. So
// a list may lack who is in them, if it does not show their sequences.
func TestAPageComesWhileAFullRefreshIsUnderWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t).open(users(20)...)
	asked, answer, done := make(chan struct{}), make(chan struct{}), make(chan error)
	w.read = func(after int64) {
		if after > 0 {
			close(asked)
			<-answer
			return
		}
		close(answer)
		require.NoError(t, <-done)
	}
	w.shows([]record{user(21, 21, "new")}).pass(time.Minute)
	go func() {
		_, err := w.Increment(t.Context(), w.at)
		done <- err
	}()
	<-asked
	_, err := w.shows(users(20)).Full(t.Context(), w.at)
	require.NoError(t, err)
	assert.Contains(t, w.listed(), int64(21))
}

// What was read after a full refresh began is told from what was read before, although
// the clock reads the same.
func TestRowsOfTheMomentInWhichAFullRefreshBegan(t *testing.T) {
	t.Parallel()
	w := newWorld(t).open(users(20)...)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.read = func(int64) {
		w.read = func(int64) {
			if len(w.asked) > 9 {
				cancel() // it asks for ever
			}
		}
		_, err := w.shows([]record{user(21, 21, "new")}).Increment(ctx, w.at)
		require.NoError(t, err)
	}
	_, err := w.shows(users(20)).Full(t.Context(), w.at)
	require.NoError(t, err)
	assert.Contains(t, w.listed(), int64(21))
}

// A refresh for what has come since is due only if the full one took its time.
func TestAnIncrementFollowsALongFullRefresh(t *testing.T) {
	t.Parallel()
	for took, want := range map[time.Duration][]refresh.Kind{every / 10: nil, every/10 + 1: {refresh.Incremental}} {
		w := newWorld(t).open(users(20)...)
		began := w.pass(time.Minute).at
		w.read = func(int64) { w.pass(took) }
		_, err := w.shows(users(20)).Full(t.Context(), began)
		require.NoError(t, err)
		assert.Equal(t, want, w.due, "it took %v", took)
	}
}

// A record without an id and a sequence makes no list old: it shows nothing.
func TestAListOfNothingButAnUnreadableRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t).open(users(3)...)
	_, err := w.shows([]record{user(4, 4, "new")}).increment()
	require.NoError(t, err)
	_, err = w.shows([]record{bad(0, 0)}).full()
	require.NoError(t, err)
	assert.Equal(t, snapshot.HeldByShrinkGuard, w.now.Load().Held.Cause, "it is that all are gone")
}

// A page that comes once more adds nothing to what is counted.
func TestARepeatedPageOfInvalidRecords(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	page := []record{bad(1, 1), bad(2, 2), bad(3, 3), user(4, 4, "teacher")}
	seen, err := w.shows(page, page).full()
	require.NoError(t, err)
	assert.Equal(t, 3, seen.BadRecords)
}

// A record that does not say whose it is shows its sequence all the same: a list in
// which the user with the highest sequence has become unreadable is not older.
func TestAnUnreadableRecordHasTheHighestSequence(t *testing.T) {
	t.Parallel()
	w := newWorld(t).open(users(20)...)
	_, err := w.shows([]record{user(20, 20, "teacher"), user(21, 21, "new")}).increment()
	require.NoError(t, err)
	seen, err := w.shows(append(users(20), bad(0, 21))).full()
	require.NoError(t, err)
	assert.Equal(t, 1, seen.Removed)
	assert.NotContains(t, w.listed(), int64(21))
}
