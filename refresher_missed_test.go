package rolegate_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
)

// A lister sends what has a sequence above the one that is asked for, of the list
// that it has then.
type lister struct {
	mu    sync.Mutex
	list  []rolegate.Record
	older []rolegate.Record // of a server that lags behind: it answers one in three increments
	asked int
}

func (l *lister) set(records ...rolegate.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = records
}

func (l *lister) Pull(_ context.Context, after int64, yield func(rolegate.Record)) error {
	l.mu.Lock()
	list := l.list
	if after > 0 {
		if l.asked++; l.older != nil && l.asked%3 == 0 {
			list = l.older
		}
	}
	list = slices.Clone(list)
	l.mu.Unlock()
	for _, r := range list {
		if r.Sequence > after {
			yield(r)
		}
	}
	return nil
}

// An incremental refresh that looks back, and is not shown the highest sequence that
// is known, cannot say what has changed.
func TestAnIncrementThatMissesTheHighest(t *testing.T) {
	t.Parallel()
	row := func(id, sequence int64, roles ...string) rolegate.Record {
		r := rolegate.Record{UserID: id, Sequence: sequence}
		for _, role := range roles {
			r.Grants = append(r.Grants, in(1, role))
		}
		return r
	}
	backup := []rolegate.Record{row(1, 1, "admin"), row(2, 2, "teacher")}
	now := []rolegate.Record{row(2, 2, "teacher"), row(1, 3, "teacher")}
	isAdmin := func(gate *rolegate.Gate) bool {
		return gate.Policy(rolegate.AnyRole("admin")).Decide(context.Background(), rolegate.UserID(1), 1).Allowed()
	}
	opened := func(t *testing.T) (*lister, *rolegate.Gate) {
		source := &lister{list: backup}
		gate := openGate(t, rolegate.Config{Source: source})
		after(5 * time.Second)
		source.set(now...)
		require.NoError(t, gate.Refresh(t.Context()))
		require.False(t, isAdmin(gate))
		return source, gate
	}

	t.Run("a restored backup counts long before the next full refresh is due", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source, gate := opened(t)
			source.set(backup...)
			contact := gate.Status().Contact
			after(70 * time.Second)
			assert.Equal(t, contact, gate.Status().Contact, "nothing is known of what has changed since")
			until(t, 4*time.Minute, func() bool { return isAdmin(gate) })
			assert.Greater(t, gate.Status().Contact, contact)
		})
	})
	t.Run("the newest user is gone", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source, gate := opened(t)
			source.set(now[:1]...)
			until(t, 4*time.Minute, func() bool { return gate.Status().Users == 1 })
			full := gate.Status().Full.Succeeded
			after(7 * time.Minute)
			assert.Equal(t, full, gate.Status().Full.Succeeded, "that was all")
		})
	})
	t.Run("a server that lags behind costs no full refresh", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source, gate := opened(t)
			source.mu.Lock()
			source.older, source.asked = backup, 0
			source.mu.Unlock()
			for minute := range 60 {
				source.set(now[0], row(1, 4+int64(minute), "teacher"))
				after(time.Minute)
				require.Less(t, gate.Status().ContactAge, 3*time.Minute)
			}
			assert.LessOrEqual(t, gate.Status().Full.Succeeded, uint64(8), "one in ten minutes")
		})
	})
}
