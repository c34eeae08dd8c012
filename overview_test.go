package rolegate_test

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

func TestOverview(t *testing.T) {
	t.Parallel()
	source := rolegatetest.NewStatic(
		record(1, in(7, "teacher"), in(8, "teacher"), in(8, "homeroom")),
		record(2, in(9, "teacher")), record(3),
		rolegate.Record{UserID: 4, Bad: errors.New("unreadable")},
	)
	gate := openGate(t, rolegate.Config{Source: source, Implies: map[string][]string{"admin": {"teacher"}}})
	gate.Policy(rolegate.AnyRole("nobody has it"))
	want := rolegate.Overview{Generation: 1, Users: 3, WithoutRoles: 1, InvalidRecords: 1, Orgs: 3, Roles: []rolegate.RoleHolders{
		{Code: "teacher", Users: 2, Orgs: 3}, {Code: "homeroom", Users: 1, Orgs: 1},
	}}
	got := gate.Overview()
	assert.Equal(t, want, got)
	got.Roles[0].Code = "mine"
	assert.Equal(t, want, gate.Overview(), "what is returned is the caller's own")

	source.Put(record(2, in(7, "homeroom")))
	require.NoError(t, gate.Refresh(t.Context()))
	want = rolegate.Overview{Generation: 2, Users: 3, WithoutRoles: 1, InvalidRecords: 1, Orgs: 2, Roles: []rolegate.RoleHolders{
		{Code: "homeroom", Users: 2, Orgs: 2}, {Code: "teacher", Users: 1, Orgs: 2},
	}}
	assert.Equal(t, want, gate.Overview())
}

// Many ask while the list changes: each gets the numbers of one list.
func TestOverviewAtOnce(t *testing.T) {
	t.Parallel()
	source := rolegatetest.NewStatic(record(1, in(7, "a")))
	gate := openGate(t, rolegate.Config{Source: source})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				o := gate.Overview()
				assert.Equal(t, o.Users, o.Roles[0].Users)
				assert.Len(t, o.Roles, 1)
			}
		})
	}
	for id := int64(2); id < 30; id++ {
		source.Put(record(id, in(id, "a")))
		require.NoError(t, gate.Refresh(t.Context()))
	}
	wg.Wait()
	assert.Equal(t, 29, gate.Overview().Users)
}

func BenchmarkOverview(b *testing.B) {
	const users = 1_000_000
	rnd := rand.New(rand.NewPCG(1, 2))
	codes := []string{"teacher", "homeroom", "pupil", "admin", "principal"}
	records := make([]rolegate.Record, users)
	for i := range records {
		records[i] = record(int64(i+1), in(1+rnd.Int64N(2000), codes[rnd.IntN(len(codes))]), in(1+rnd.Int64N(2000), codes[rnd.IntN(len(codes))]))
	}
	source := rolegatetest.NewStatic(records...)
	gate := openGate(b, rolegate.Config{Source: source})
	runtime.GC()
	for b.Loop() {
		b.StopTimer()
		source.Put(record(users+1, in(1, codes[rnd.IntN(len(codes))]), in(1+rnd.Int64N(1e9), "teacher")))
		require.NoError(b, gate.Refresh(b.Context()))
		b.StartTimer()
		gate.Overview()
	}
}
