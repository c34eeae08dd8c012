package refresh_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/logbook"
	"github.com/rolegate/rolegate/internal/refresh"
)

// An assignment is who has which roles, with what finds out which of the named ones
// nobody has.
type assignment struct {
	*refresh.Unassigned
	list  *index.Snapshot
	roles *index.RoleSpace
	book  logbook.Book
}

// assign gives a user these roles.
func assign(t *testing.T, fetch func(context.Context) ([]string, error), codes ...string) *assignment {
	t.Helper()
	var a assignment
	a.roles, _ = index.NewRoleSpace(nil)
	b := index.NewBuilder(0, nil, a.roles.Publish())
	row := index.Row{ID: 1}
	for _, code := range codes {
		role, ok := b.Role(code)
		require.True(t, ok)
		row.Grants = append(row.Grants, index.Grant{Org: 7, Role: role})
	}
	row.Grants = index.SortGrants(row.Grants)
	b.Put(&row)
	require.True(t, b.Settle(a.roles))
	var err error
	a.list, err = index.NewSnapshot(b, a.roles, 0)
	require.NoError(t, err)
	tasks := refresh.NewTasks()
	t.Cleanup(func() { tasks.End(); tasks.Wait() })
	a.Unassigned = refresh.NewUnassigned(refresh.UnassignedConfig{
		Tasks: tasks, Clock: clock.Read, Log: slog.New(slog.NewTextHandler(&a.book, nil)), Roles: a.roles,
		Now: func() *index.Snapshot { return a.list }, Fetch: fetch,
	})
	tasks.Go(a.Watch)
	return &a
}

func TestUnassignedRolesAreNamedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := assign(t, nil, "teacher", "admin")
		a.roles.Name("teacher")
		a.Warn(a.list)
		assert.Empty(t, a.book.String(), "somebody has it")
		for _, code := range []string{"admin", "techer", "云"} {
			a.roles.Name(code)
		}
		assert.Equal(t, []refresh.UnassignedRole{{Code: "techer", Nearest: "teacher"}, {Code: "云"}}, a.List(a.list))
		time.Sleep(500 * time.Millisecond)
		assert.Empty(t, a.book.String(), "the app may name more")
		time.Sleep(time.Second)
		a.Warn(a.list)
		lines := strings.Split(strings.TrimSpace(a.book.String()), "\n")
		require.Len(t, lines, 2)
		assert.Contains(t, lines[0], "role=techer nearest=teacher")
		assert.Contains(t, lines[1], `role=云 codes="[admin teacher]"`)

		list := a.list
		a.list = nil
		a.roles.Name("principal")
		time.Sleep(2 * time.Second)
		assert.NotContains(t, a.book.String(), "principal", "there is no list")
		a.Warn(list)
		assert.Contains(t, a.book.String(), "principal")
	})
}

// The platform is asked once an hour, and only if a code is named that nobody has.
func TestUnassignedRolesThatThePlatformKnows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls, err := 0, errors.New("away")
		a := assign(t, func(context.Context) ([]string, error) { calls++; return []string{"principal"}, err }, "teacher")
		a.Warn(a.list)
		assert.Zero(t, calls)
		a.roles.Name("principal")
		a.Warn(a.list)
		assert.Equal(t, 1, calls)
		assert.Contains(t, a.book.String(), `could not be had" err=away`)
		assert.False(t, a.List(a.list)[0].Known)
		err = nil
		time.Sleep(time.Hour - time.Nanosecond)
		a.Warn(a.list)
		assert.Equal(t, 1, calls)
		time.Sleep(time.Nanosecond)
		a.Warn(a.list)
		assert.Equal(t, 2, calls)
		assert.Equal(t, []refresh.UnassignedRole{{Code: "principal", Known: true}}, a.List(a.list))
	})
}
