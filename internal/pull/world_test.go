package pull_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/pull"
	"github.com/rolegate/rolegate/internal/refresh"
	"github.com/rolegate/rolegate/internal/replication"
	"github.com/rolegate/rolegate/internal/snapshot"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A world is a puller with a source that a test scripts, and a clock that only the
// test moves.
type world struct {
	*pull.Puller
	t    testing.TB
	now  snapshot.Live
	at   clock.Instant
	read func(after int64) // called when a page is asked for

	pages [][]record // what the source shows, page by page
	asked []int64    // from where it was asked
	err   error      // how it ends
	lies  bool       // it shows what it was not asked for

	syncing   bool
	due       []refresh.Kind
	ambiguous int
	changes   []pull.Change
	shared    []shared
}

type record struct {
	pull.Record
	grants []snapshot.RowGrant
	text   [index.NumFields]string
}

type shared struct {
	at   clock.Instant
	e    replication.Entry
	rows []snapshot.Row
}

// A failure is the error of one.
type failure struct {
	why pull.Failure
	err error
}

func (f *failure) Error() string { return fmt.Sprintf("%s: %v", f.why, f.err) }
func (f *failure) Unwrap() error { return f.err }

const (
	every       = time.Minute
	resyncEvery = 10 * time.Minute
	lookBack    = 2 * time.Minute
	gap         = time.Minute
)

var (
	account = index.FieldSet(1 << index.FieldAccount)
	aliases = account | 1<<index.FieldEmail
)

// newWorld returns a world without a list. It is the one of a single process, that
// tells nobody of changes, unless change sets it otherwise.
func newWorld(t testing.TB, change ...func(*world, *pull.Config)) *world {
	w := &world{t: t, at: clock.Instant{Mono: int64(time.Hour), Wall: int64(1000 * time.Hour)}}
	w.now.Open()
	roles, faults := index.NewRoleSpace(nil)
	require.Empty(t, faults)
	c := pull.Config{
		Now: &w.now, Clock: func() clock.Instant { return w.at }, Cursor: refresh.NewCursor(lookBack, gap),
		Roles: roles, Fields: aliases, Aliases: aliases, Every: every, ResyncEvery: resyncEvery,
		Limits: snapshot.Limits{MaxShrink: 0.3, ShrinkHold: 15 * time.Minute, ConfirmAfter: time.Minute, SyncHold: 30 * time.Minute, ResyncEvery: resyncEvery},
		Fail:   func(why pull.Failure, err error) error { return &failure{why, err} },
		IsRegressed: func(err error) bool {
			f, ok := errors.AsType[*failure](err)
			return ok && f.why == pull.Regressed
		},
		During:    func(context.Context) func() bool { return func() bool { return w.syncing } },
		Soon:      func(k refresh.Kind) { w.due = append(w.due, k) },
		Ambiguous: func() { w.ambiguous++ },
		Read:      w.source,
	}
	for _, f := range change {
		f(w, &c)
	}
	w.Puller = pull.New(c)
	return w
}

// told has changes told.
func told(w *world, c *pull.Config) {
	c.Changed = func(c pull.Change) { w.changes = append(w.changes, c) }
}

// sharing has rows shared with other replicas.
func sharing(w *world, c *pull.Config) {
	c.Share = func(at clock.Instant, e replication.Entry, rows []snapshot.Row) {
		w.shared = append(w.shared, shared{at, e, rows})
	}
}

func (w *world) source(ctx context.Context, after int64, list func() *pull.List, ended func(context.Context) error) error {
	w.asked = append(w.asked, after)
	for _, page := range w.pages {
		if w.read != nil {
			w.read(after)
		}
		for _, r := range page {
			if !w.lies && r.Sequence > 0 && r.Sequence < after {
				continue
			}
			if err := take(list(), r); err != nil {
				return err
			}
		}
		if err := ended(ctx); err != nil {
			return err
		}
	}
	return w.err
}

func take(list *pull.List, r record) error {
	wanted, err := list.Begin(r.Record)
	if err != nil || !wanted {
		return err
	}
	for _, g := range r.grants {
		if err := list.Grant(g.Org, g.Code); err != nil {
			return err
		}
	}
	list.End(&r.text)
	return nil
}

// user is a record of a user with that role in organisation 1.
func user(id, sequence int64, roles ...string) record {
	r := record{Record: pull.Record{ID: id, Sequence: sequence}}
	for _, role := range roles {
		r.grants = append(r.grants, snapshot.RowGrant{Org: 1, Code: role})
	}
	r.text[index.FieldAccount] = fmt.Sprintf("user-%d", id)
	return r
}

func (r record) called(account string) record {
	r.text[index.FieldAccount] = account
	return r
}

// bad is a record that could not be understood.
func bad(id, sequence int64) record {
	return record{Record: pull.Record{ID: id, Sequence: sequence, Bad: errors.New("a form that nobody knows")}}
}

// users are users with one role, from 1 on, with sequences equal to their ids.
func users(n int64) (all []record) {
	for id := range n {
		all = append(all, user(id+1, id+1, "teacher"))
	}
	return all
}

func (w *world) shows(pages ...[]record) *world {
	w.pages = pages
	return w
}

func (w *world) pass(d time.Duration) *world {
	w.at = w.at.Add(d)
	return w
}

// full makes a full refresh that begins a second from now.
func (w *world) full() (pull.Outcome, error) {
	return w.pass(time.Second).Full(w.t.Context(), w.at)
}

func (w *world) increment() (pull.Outcome, error) {
	return w.pass(time.Second).Increment(w.t.Context(), w.at)
}

// open makes the first list, of those records.
func (w *world) open(list ...record) *world {
	w.t.Helper()
	_, err := w.shows(list).full()
	require.NoError(w.t, err)
	w.due, w.asked, w.changes, w.shared = nil, nil, nil, nil
	return w.shows()
}

// listed returns the users that requests see, with their roles in organisation 1.
func (w *world) listed() map[int64][]string {
	all := map[int64][]string{}
	gen := w.now.Load()
	gen.Each(func(id int64, at index.Place, invalid bool) {
		if invalid {
			return
		}
		roles := []string{}
		gs := gen.Snapshot.Grants(at)
		for i := range gs.Len() {
			roles = append(roles, gen.Roles.Code(gs.Role(i)))
		}
		all[id] = roles
	})
	return all
}

func ids(m map[int64][]string) map[int64]bool {
	all := map[int64]bool{}
	for id := range m {
		all[id] = true
	}
	return all
}
