//go:build drill

package rediscache_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rediscache"
	"github.com/rolegate/rolegate/rolegatetest"
)

// What a list, and a change of it, take in Redis: the table of docs/replicas.md.
func TestSizes(t *testing.T) {
	for _, n := range []int64{1_000, 100_000, 1_000_000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			m := miniredis.RunT(t)
			client := newClient(t, m.Addr())
			rng := rand.New(rand.NewPCG(1, uint64(n)))
			sequence := int64(0)
			some := func(id int64) rolegate.Record { // a long id, one to three grants in 2,000 organisations
				sequence++
				r := rolegate.Record{UserID: 1_500_000_000_000_000_000 + id*7919, Sequence: sequence}
				for range 1 + rng.IntN(3) {
					r.Grants = append(r.Grants, rolegate.Grant{OrgID: 1 + rng.Int64N(2000), RoleCode: fmt.Sprintf("role-%02d", rng.IntN(40))})
				}
				return r
			}
			users := make([]rolegate.Record, n)
			for i := range users {
				users[i] = some(int64(i))
			}
			source := rolegatetest.NewStatic(users...)
			gate := open(t, source, rediscache.Config{Client: client, Secret: secret})
			bytes := func(suffix string) (sum int) {
				keys, err := client.Keys(t.Context(), "*:"+suffix).Result()
				require.NoError(t, err)
				for _, key := range keys {
					if suffix == "log" {
						last, err := client.XRevRangeN(t.Context(), key, "+", "-", 1).Result()
						require.NoError(t, err)
						sum += len(last[0].Values["r"].(string))
						continue
					}
					for _, value := range client.HGetAll(t.Context(), key).Val() {
						sum += len(value)
					}
				}
				return sum
			}
			entries := func() (sum int64) {
				for _, key := range client.Keys(t.Context(), "*:log").Val() {
					sum += client.XLen(t.Context(), key).Val()
				}
				return sum
			}
			require.Eventually(t, func() bool { return gate.Status().Cache.Stored > 0 }, time.Minute, 10*time.Millisecond)
			down := rolegatetest.NewStatic()
			down.Fail(errors.New("down"))
			begun := time.Now()
			open(t, down, rediscache.Config{Client: newClient(t, m.Addr()), Secret: secret})
			took := time.Since(begun)
			require.Equal(t, 1, source.FullRefreshes())
			line := fmt.Sprintf("%d users: a list of %d bytes, a start in %v; rows of", n, bytes("base:*"), took.Round(10*time.Millisecond))
			for _, k := range []int64{1, 10, 1000} {
				changed := make([]rolegate.Record, k)
				for i := range changed {
					changed[i] = some(rng.Int64N(n))
				}
				source.Put(changed...)
				before := entries()
				require.NoError(t, gate.Refresh(t.Context()))
				require.Eventually(t, func() bool { return entries() > before }, time.Minute, 10*time.Millisecond)
				line += fmt.Sprintf(" %d: %d bytes;", k, bytes("log"))
			}
			t.Log(line)
		})
	}
}
