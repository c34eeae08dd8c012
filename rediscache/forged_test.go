package rediscache_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rediscache"
)

// A story is what a group has published: each version, and what is there then.
type story struct {
	s       *server
	a       *rediscache.Cache // the leader
	term    uint64
	v       rolegate.Version // the newest
	all     string           // what is there then
	at      map[rolegate.Version]string
	changes map[rolegate.Version]string
}

// tell publishes a whole index and three changes.
func tell(t testing.TB, s *server, a *rediscache.Cache, name string) *story {
	t.Helper()
	st := &story{s: s, a: a, term: lead(t, a, 0), at: map[rolegate.Version]string{}, changes: map[rolegate.Version]string{}}
	st.add(t, name)
	for i := range 3 {
		st.add(t, fmt.Sprint("+", name, i))
	}
	return st
}

func (st *story) add(t testing.TB, change string) {
	t.Helper()
	st.all += change
	st.v = publish(t, st.a, st.term, st.v, change, st.all)
	st.at[st.v], st.changes[st.v] = st.all, change
}

// believe has a fresh replica follow from everywhere: what it is told must be
// true, or an error.
func (st *story) believe(t testing.TB) {
	t.Helper()
	c := st.s.replica(t)
	for _, after := range append(slices.Collect(maps.Keys(st.at)), rolegate.Version{}) {
		for at, i := after, 0; i < 5 && at != st.v; i++ {
			o := <-following(t, within(t, 50*time.Millisecond), c, at)
			if o.err != nil {
				break
			}
			require.Contains(t, st.at, o.v)
			if o.change == "" {
				require.Equal(t, st.at[o.v], o.whole)
			} else {
				require.Equal(t, st.changes[o.v], o.change)
				require.Equal(t, st.at[o.v], st.at[at]+o.change)
			}
			at = o.v
		}
	}
}

// mend checks that the group goes on, whatever somebody has put into Redis.
func (st *story) mend(t testing.TB) {
	t.Helper()
	for i := range 2 {
		st.lead(t)
		st.add(t, fmt.Sprint("+mended", i))
		<-following(t, within(t, 30*time.Millisecond), st.s.replica(t), rolegate.Version{}) // who finds what is broken, if anything is
	}
	st.lead(t)
	st.add(t, "+mended at last")
	require.Equal(t, st.all, catchUp(t, st.s.replica(t), st.v))
}

func (st *story) lead(t testing.TB) {
	t.Helper()
	require.Eventually(t, func() bool {
		l, err := st.a.Lease(soon(t), true, st.term)
		require.NoError(t, err)
		st.term = max(st.term, l.Term)
		return l.Held
	}, wait, 50*time.Millisecond)
}

// brief is a lease that a test can wait for.
func brief(cfg *rediscache.Config) { cfg.Lease = 3 * time.Second }

// Every field of the state, with values of every kind in it.
func TestForgedState(t *testing.T) {
	t.Parallel()
	values := []string{"", "0", "1", "-1", "x", "1-1", "0-0", "18446744073709551615-18446744073709551615", "9007199254740993", "9223372036854775807", "18446744073709551616", "1e308", "nan", strings.Repeat("9", 4000), "\x00\xff"}
	for _, field := range []string{"token", "until", "span", "term", "proof", "newest", "last", "ptr", "snap", "chunks", "broken", "logb", "logn"} {
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			onEach(t, servers, func(t *testing.T, s *server) {
				st := tell(t, s, s.replica(t, brief), "one")
				for i, value := range values {
					if field == "token" && i > 3 {
						break // each costs the time of a lease
					}
					s.set(t, st.a, field, value)
					st.believe(t)
					st.mend(t)
				}
				require.NoError(t, s.client(t).HDel(soon(t), key(t, st.a, "state"), field).Err())
				st.believe(t)
				st.mend(t)
			})
		})
	}
}

// Every key, of another type or gone.
func TestForgedKeys(t *testing.T) {
	t.Parallel()
	for name, forge := range map[string]func(redis.UniversalClient, string) error{
		"gone": func(c redis.UniversalClient, k string) error { return c.Del(soonest, k).Err() },
		"text": func(c redis.UniversalClient, k string) error { return c.Set(soonest, k, "x", 0).Err() },
		"list": func(c redis.UniversalClient, k string) error {
			return errFirst(c.Del(soonest, k).Err(), c.RPush(soonest, k, "x").Err())
		},
		"hash": func(c redis.UniversalClient, k string) error {
			return errFirst(c.Del(soonest, k).Err(), c.HSet(soonest, k, "x", "y", "0", "z").Err())
		},
		"stream": func(c redis.UniversalClient, k string) error {
			return errFirst(c.Del(soonest, k).Err(), c.XAdd(soonest, &redis.XAddArgs{Stream: k, Values: []any{"x", "y"}}).Err())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEach(t, servers, func(t *testing.T, s *server) {
				st := tell(t, s, s.replica(t, brief), "one")
				require.NoError(t, st.a.Ask(soon(t), nil))
				client := s.client(t)
				for range 2 {
					for _, k := range s.keys(t) {
						require.NoError(t, forge(client, k))
						st.believe(t)
						st.mend(t)
						require.NoError(t, st.a.Ask(soon(t), []byte("?")))
						_, err := s.replica(t).Asked(soon(t), "")
						require.NoError(t, err)
					}
				}
			})
		})
	}
}

// dump is what a key has, for putting it back elsewhere.
type dump struct {
	hash map[string]string
	log  []redis.XMessage
}

func (s *server) dump(t testing.TB, key string) (d dump) {
	t.Helper()
	client := s.client(t)
	var err error
	if typ := client.Type(soon(t), key).Val(); typ == "stream" {
		d.log, err = client.XRange(soon(t), key, "-", "+").Result()
	} else {
		d.hash, err = client.HGetAll(soon(t), key).Result()
	}
	require.NoError(t, err)
	return d
}

func (s *server) restore(t testing.TB, key string, d dump) {
	t.Helper()
	client := s.client(t)
	require.NoError(t, client.Del(soon(t), key).Err())
	for field, v := range d.hash {
		require.NoError(t, client.HSet(soon(t), key, field, v).Err())
	}
	for _, m := range d.log {
		require.NoError(t, client.XAdd(soon(t), &redis.XAddArgs{Stream: key, ID: m.ID, Values: m.Values}).Err())
	}
}

// Sealed values, with bits flipped, cut, of another secret or another list, or
// in another place.
func TestForgedValues(t *testing.T) {
	t.Parallel()
	onEach(t, servers, func(t *testing.T, s *server) {
		st := tell(t, s, s.replica(t, brief), "one")
		strangers := map[string]*rediscache.Cache{
			"another secret": s.replica(t, func(cfg *rediscache.Config) {
				cfg.Secret, cfg.Prefix = rediscache.Secret(strings.Repeat("other", 9)), "x"
			}),
			"another prefix": s.replica(t, func(cfg *rediscache.Config) { cfg.Prefix = "y" }),
			"another list":   rediscache.New(rediscache.Config{Client: s.client(t), Secret: secret}),
		}
		require.NoError(t, strangers["another list"].Join(list+"2"))
		theirs := map[string]*story{}
		for name, c := range strangers {
			theirs[name] = tell(t, s, c, "forged")
		}

		state, log, snap := key(t, st.a, "state"), key(t, st.a, "log"), s.snapshot(t, st.a)
		good := map[string]dump{state: s.dump(t, state), log: s.dump(t, log), snap: s.dump(t, snap)}
		put := func(key string, change func(d *dump)) {
			d := dump{maps.Clone(good[key].hash), nil}
			for _, m := range good[key].log {
				d.log = append(d.log, redis.XMessage{ID: m.ID, Values: maps.Clone(m.Values)})
			}
			change(&d)
			s.restore(t, key, d)
			st.believe(t)
			s.restore(t, key, good[key])
		}
		mutants := func(v string) (all []string) {
			for i := range len(v) {
				b := []byte(v)
				b[i] ^= 1 << (i % 8)
				all = append(all, string(b))
			}
			return append(all, v[:len(v)-1], v+"\x00", v[1:], "")
		}
		for i, v := range mutants(good[state].hash["ptr"]) {
			if i%8 == 0 { // the seal does not tell one bit from another
				put(state, func(d *dump) { d.hash["ptr"] = v })
			}
		}
		for i, v := range mutants(good[snap].hash["0"]) {
			if i%8 == 0 {
				put(snap, func(d *dump) { d.hash["0"] = v })
			}
		}
		for n := range good[log].log {
			for field, v := range good[log].log[n].Values {
				for i, v := range mutants(v.(string)) {
					if i%8 == 0 {
						put(log, func(d *dump) { d.log[n].Values[field] = v })
					}
				}
			}
			// Each entry in the place of each other one, or left out.
			put(log, func(d *dump) { d.log = slices.Delete(d.log, n, n+1) })
			for m := range good[log].log {
				put(log, func(d *dump) { d.log[n].Values = good[log].log[m].Values })
			}
		}
		// A change left out, and the next one in its place.
		put(log, func(d *dump) {
			d.log[2].Values["from"] = d.log[0].ID
			d.log = slices.Delete(d.log, 1, 2)
		})
		for name, other := range theirs {
			t.Log(name)
			put(snap, func(d *dump) { *d = s.dump(t, s.snapshot(t, other.a)) })
			put(log, func(d *dump) { *d = s.dump(t, key(t, other.a, "log")) })
			put(state, func(d *dump) { *d = s.dump(t, key(t, other.a, "state")) })
			put(log, func(d *dump) {
				for i, m := range s.dump(t, key(t, other.a, "log")).log {
					m.ID = d.log[i].ID
					if from, ok := d.log[i].Values["from"]; ok {
						m.Values["from"] = from
					}
					d.log[i] = m
				}
			})
			put(state, func(d *dump) { d.hash["ptr"] = s.dump(t, key(t, other.a, "state")).hash["ptr"] })

			// And all of theirs, as if it were ours.
			foreign := s.dump(t, key(t, other.a, "state"))
			s.restore(t, key(t, st.a, "snap:"+foreign.hash["snap"]), s.dump(t, s.snapshot(t, other.a)))
			s.restore(t, log, s.dump(t, key(t, other.a, "log")))
			put(state, func(d *dump) { *d = foreign })
			s.restore(t, log, good[log])
		}
		st.believe(t)
		st.mend(t)
	})
}

// Chunks in another order, or of another index, or fewer of them.
func TestForgedChunks(t *testing.T) {
	t.Parallel()
	onEach(t, servers, func(t *testing.T, s *server) {
		a := s.replica(t)
		term := lead(t, a, 0)
		stored := index(3 << 20)
		_, err := a.Publish(soon(t), term, rolegate.Version{}, large(stored))
		require.NoError(t, err)
		before := s.dump(t, s.snapshot(t, a)).hash
		v, err := a.Publish(soon(t), term, rolegate.Version{}, large(stored))
		require.NoError(t, err)
		snap := s.snapshot(t, a)
		good := s.dump(t, snap).hash
		last := fmt.Sprint(len(good) - 1)
		for name, change := range map[string]func(h map[string]string){
			"two change places":       func(h map[string]string) { h["1"], h["2"] = h["2"], h["1"] },
			"one twice":               func(h map[string]string) { h["1"] = h["0"] },
			"the last one earlier":    func(h map[string]string) { h["1"] = h[last] },
			"the first one missing":   func(h map[string]string) { delete(h, "0") },
			"one in between missing":  func(h map[string]string) { delete(h, "3") },
			"the last one missing":    func(h map[string]string) { delete(h, last) },
			"one of the index before": func(h map[string]string) { h["2"] = before["2"] },
			"the index before":        func(h map[string]string) { maps.Copy(h, before) },
		} {
			h := maps.Clone(good)
			change(h)
			s.restore(t, snap, dump{hash: h})
			o := <-following(t, soon(t), s.replica(t), rolegate.Version{})
			require.Error(t, o.err, name)
			require.Regexp(t, "give all replicas the same Secret|is not there", o.err.Error(), name)
			require.Less(t, len(o.whole), len(stored))
		}
		s.restore(t, snap, dump{hash: good})
		o := <-following(t, soon(t), s.replica(t), rolegate.Version{})
		require.NoError(t, o.err)
		require.Equal(t, v, o.v)
		require.True(t, string(stored) == o.whole)
	})
}

// What is stored tells nobody who may enter.
func TestNothingIsReadable(t *testing.T) {
	t.Parallel()
	onEach(t, servers, func(t *testing.T, s *server) {
		a := s.replica(t)
		term := lead(t, a, 0)
		v := publish(t, a, term, rolegate.Version{}, "", "account-of-a-teacher")
		publish(t, a, term, v, "account-of-another", "")
		require.NoError(t, a.Ask(soon(t), []byte("account-of-a-third")))
		for _, k := range s.keys(t) {
			require.NotContains(t, k, "app-1")
			require.NotContains(t, fmt.Sprint(s.dump(t, k)), "account", k)
		}
	})
}
