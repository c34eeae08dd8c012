//go:build drill

package e2e

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/internal/replication"
	"github.com/rolegate/rolegate/rediscache"
)

// Line 50: what a replica writes that was paused for longer than its lease, Redis
// itself must refuse, with the same script that would write it.
func TestFault50APausedLeaderWrites(t *testing.T) {
	t.Parallel()
	onEachRedis(t, func(t *testing.T, s *store) {
		for _, c := range []struct {
			name string
			// write has a replica write, which is paused at some moment.
			write func(t *testing.T, p paused) error
		}{
			{"that a list is as it was", func(t *testing.T, p paused) error {
				p.pause(t)
				return p.publish(p.base.Name, text("all of the old"))
			}},
			{"a whole list", func(t *testing.T, p paused) error {
				p.pause(t)
				return p.publish("", text("all of the old"))
			}},
			{"a whole list, of which it has written a part", func(t *testing.T, p paused) error {
				return p.publish("", func(w io.Writer) error {
					// More than Redis is sent at once, and it cannot be made shorter.
					if _, err := w.Write(noise(4 << 20)); err != nil {
						return err
					}
					p.pause(t)
					return text("all of the old")(w)
				})
			}},
			{"a whole list that was under way in the network", func(t *testing.T, p paused) error {
				p.link.cut()
				written := make(chan error, 1)
				go func() { written <- p.publish("", text("all of the old")) }()
				p.pause(t)
				p.link.repair()
				return <-written
			}},
		} {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				on := func(addr string) replication.Store {
					client := redis.NewClient(&redis.Options{Addr: addr, DisableIdentity: true})
					t.Cleanup(func() { _ = client.Close() })
					r, _, err := rediscache.New(rediscache.Config{Client: client, Secret: faultSecret, Lease: time.Second}).Join("list of " + t.Name())
					require.NoError(t, err)
					return r
				}
				link := newLink(t, s.addr)
				old, next := on(link.addr), on(s.addr)
				reply := leased(t, old, replication.Base{})
				first, err := old.Publish(t.Context(), replication.Base{Began: reply.Time}, replication.Base{}, reply.Epoch, text("the first"))
				require.NoError(t, err)
				var second replication.Base
				p := paused{store: old, link: link, base: first, epoch: reply.Epoch, began: leased(t, old, first).Time}
				p.pause = func(t *testing.T) {
					reply := leased(t, next, first)
					second, err = next.Publish(t.Context(), replication.Base{Began: reply.Time}, first, reply.Epoch, text("all of the new"))
					require.NoError(t, err)
				}
				require.ErrorIs(t, c.write(t, p), replication.ErrRefused)

				reply, err = next.Sync(t.Context(), replication.Action{Known: second})
				require.NoError(t, err)
				require.Equal(t, second, reply.Base, "as if it had never been written")
				whole, err := io.ReadAll(next.Load(t.Context(), second))
				require.NoError(t, err)
				require.Equal(t, "all of the new", string(whole))
			})
		}
	})
}

// leased waits until a store has the lease of full refreshes.
func leased(t *testing.T, s replication.Store, known replication.Base) (reply replication.Reply) {
	t.Helper()
	soon(t, "it gets the lease", func() bool {
		var err error
		reply, err = s.Sync(t.Context(), replication.Action{Known: known, Want: [replication.Kinds]bool{replication.Full: true}})
		return err == nil && reply.Granted[replication.Full]
	})
	return reply
}

// A paused replica is paused in the middle of something.
type paused struct {
	store replication.Store
	link  *link
	base  replication.Base // what is published
	epoch string
	began int64
	pause func(*testing.T) // until another has the lease, and has published
}

func (p paused) publish(name string, write func(io.Writer) error) error {
	_, err := p.store.Publish(context.Background(), replication.Base{Name: name, Began: p.began}, p.base, p.epoch, write)
	return err
}

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

// Line 51: whatever becomes of Redis, no request may wait, no index go back,
// and each replica must pull by itself, but not all at the same moment.
func TestFault51RedisGoesWrong(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		wrong func(*testing.T, *store, []*replica)
		right func(*testing.T, *store, []*replica)
		alone bool // whether they have to go on alone meanwhile
	}{
		{"down", func(_ *testing.T, s *store, all []*replica) { s.down(all) },
			func(t *testing.T, s *store, all []*replica) { s.up(t, all) }, true},
		{"silent", func(_ *testing.T, _ *store, all []*replica) {
			for _, r := range all {
				r.link.cut()
			}
		}, repairAll, true},
		{"slow", func(_ *testing.T, _ *store, all []*replica) {
			for _, r := range all {
				r.link.slow(50 * time.Millisecond)
			}
		}, repairAll, false},
		{"restarted empty", func(t *testing.T, s *store, all []*replica) {
			s.down(all)
			s.up(t, all)
		}, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			onEachRedis(t, func(t *testing.T, s *store) {
				l, all := lonely(t, s, 16) // spread is a draw of theirs: few may fall together by chance
				l.Remove(2)
				allLet(t, 2, false, all...)
				g := guard(t, 1, 2, all...)
				begun := time.Now()
				c.wrong(t, s, all)
				if c.alone {
					for _, r := range all {
						soon(t, "it refreshes alone", func() bool { return !r.Status().Replica.Connected })
					}
					spread(t, begun, all)
				}
				l.Put(user(3, "teacher"))
				allLet(t, 3, true, all...)
				l.Remove(3)
				allLet(t, 3, false, all...)
				if c.right != nil {
					c.right(t, s, all)
				}
				inStep(t, all...)
				l.Put(user(4, "teacher"))
				allLet(t, 4, true, all...)
				g.check(t)
			})
		})
	}
}

// lonely starts replicas that share a list of three.
func lonely(t *testing.T, s *store, n int) (*list, []*replica) {
	t.Helper()
	l := newList("a list", user(1, "teacher"), user(2, "teacher"))
	var all []*replica
	for range n {
		all = append(all, s.join(t, l, quick))
	}
	inStep(t, all...)
	return l, all
}

func repairAll(_ *testing.T, _ *store, all []*replica) {
	for _, r := range all {
		r.link.repair()
	}
}

// spread sees that all of them pull by themselves, and that those who did not
// pull before do not begin at the same moment.
func spread(t *testing.T, begun time.Time, all []*replica) {
	t.Helper()
	var first []time.Time
	for _, r := range all {
		soon(t, "it pulls by itself", func() bool { return len(r.source.since(begun)) > 0 })
		first = append(first, r.source.since(begun)[0])
	}
	slices.SortFunc(first, time.Time.Compare)
	assert.Greater(t, first[len(first)-1].Sub(first[0]), quick.refresh/6)
}

// An old backup has in it who was revoked since.
func TestFault51AnOldBackup(t *testing.T) {
	t.Parallel()
	onEachRedis(t, func(t *testing.T, s *store) {
		l, all := lonely(t, s, 4)
		backup := s.backUp(t)
		require.NoError(t, all[0].Close()) // it may hold a lease in the backup
		all = all[1:]
		inStep(t, all...)
		l.Remove(2)
		l.Put(user(3, "teacher"))
		allLet(t, 2, false, all...)
		allLet(t, 3, true, all...)
		g := guard(t, 3, 2, all...)
		s.restore(t, backup, "", "")
		l.Put(user(4, "teacher"))
		allLet(t, 4, true, all...)
		g.check(t)
		late := s.join(t, l, quick)
		inStep(t, append(all, late)...)
		allLet(t, 4, true, late)
		require.False(t, late.lets(2))
	})
}

// Line 52: a lease that runs out in the middle of a full refresh. The full refresh must come to
// nothing when somebody else has refreshed since.
func TestFault52ALeaseRunsOutInMidFullRefresh(t *testing.T) {
	t.Parallel()
	onEachRedis(t, func(t *testing.T, s *store) {
		l := newList("a list", user(1, "teacher"), user(2, "teacher"))
		seldom := quick
		seldom.fulls = time.Hour
		all := []*replica{s.join(t, l, seldom), s.join(t, l, seldom)}
		old, next := all[0], all[1]
		inStep(t, all...)
		fulls, _ := l.refreshed()

		release := old.source.holdFulls()
		defer release()
		ended := make(chan error, 1)
		go func() { ended <- old.RefreshAll(context.Background()) }()
		<-old.source.held // it has read all, user 2 too
		old.link.cut()
		l.Remove(2)
		require.NoError(t, next.RefreshAll(t.Context()), "as soon as the lease is over")
		require.False(t, next.lets(2))
		old.link.repair()
		allLet(t, 2, false, old)
		inStep(t, all...)

		g := guard(t, 1, 2, all...)
		release()
		select {
		case err := <-ended: // whoever wanted a full refresh gets one
			require.NoError(t, err)
		case <-time.After(patience):
			require.FailNow(t, "the full refresh does not end")
		}
		l.Put(user(3, "teacher"))
		allLet(t, 3, true, all...)
		g.check(t)
		after, most := l.refreshed()
		assert.LessOrEqual(t, most, 2, "full refreshes at once")
		assert.LessOrEqual(t, after-fulls, 3, "that one, its double, and the one that it was begun for")
	})
}

// Line 53: nothing that another app, or somebody without the secret, has
// written may be believed.
func TestFault53ForgedValues(t *testing.T) {
	t.Parallel()
	const intruder = 666
	for _, c := range []struct {
		name  string
		forge func(t *testing.T, s *store, ours string)
	}{
		{"everything of another app, in our place", func(t *testing.T, s *store, ours string) {
			s.replaceBy(t, ours, "another list", faultSecret)
		}},
		{"everything as of our list, but with another secret", func(t *testing.T, s *store, ours string) {
			s.replaceBy(t, ours, "a list", "another secret, which is as long as ours is")
		}},
		{"rows of another app", func(t *testing.T, s *store, ours string) {
			for _, c := range s.other(t, "another list", faultSecret) {
				for _, e := range c.entries {
					s.append(t, ours, e.Values["r"])
				}
			}
		}},
		{"rows that make no sense", func(t *testing.T, s *store, ours string) { s.append(t, ours, "admit 666") }},
		{"older rows once more", func(t *testing.T, s *store, ours string) {
			entries, err := s.client.XRange(t.Context(), ours+"log", "-", "+").Result()
			require.NoError(t, err)
			for _, e := range entries {
				s.append(t, ours, e.Values["r"])
			}
		}},
		{"another holder, and a later list", func(t *testing.T, s *store, ours string) {
			later := fmt.Sprint(time.Now().Add(time.Minute).UnixMicro())
			require.NoError(t, s.client.HSet(t.Context(), ours+"state", "name", "mine", "began", fmt.Sprint(time.Now().UnixMicro()), "seal", "trust me",
				"chunks", "1", "t0", "mine", "t1", "mine", "u0", later, "u1", later).Err())
		}},
		{"another list", func(t *testing.T, s *store, ours string) {
			bases, err := s.client.Keys(t.Context(), ours+"base:*").Result()
			require.NoError(t, err)
			for _, key := range bases {
				require.NoError(t, s.client.HSet(t.Context(), key, "0", noise(1000)).Err())
			}
			require.NoError(t, s.client.Del(t.Context(), ours+"log").Err())
		}},
		{"things of other types", func(t *testing.T, s *store, ours string) {
			for _, c := range s.backUp(t) {
				require.NoError(t, s.client.Set(t.Context(), c.key, "not what it was", 0).Err())
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			onEachRedis(t, func(t *testing.T, s *store) {
				l, all := lonely(t, s, 2)
				ours := base(s.backUp(t))
				l.Put(user(3, "teacher"))
				allLet(t, 3, true, all...)
				g := guard(t, 1, intruder, all...)
				c.forge(t, s, ours)
				late := s.join(t, l, quick)
				soon(t, "who starts now gets the list", func() bool { return late.lets(1) })
				require.False(t, late.lets(intruder))
				all = append(all, late)
				inStep(t, all...)
				l.Put(user(4, "teacher"))
				allLet(t, 4, true, all...)
				l.Remove(4)
				allLet(t, 4, false, all...)
				g.check(t)
			})
		})
	}
}

// other returns what another group of replicas has in Redis, in whose list the
// intruder is.
func (s *store) other(t *testing.T, key, secret string) []copied {
	t.Helper()
	as := quick
	as.secret = secret
	elsewhere := &store{addr: freeRedis(t)}
	elsewhere.client = redis.NewClient(&redis.Options{Addr: elsewhere.addr, DisableIdentity: true})
	defer elsewhere.client.Close()
	l := newList(key, user(1, "teacher"), user(666, "teacher"))
	r := elsewhere.join(t, l, as)
	allLet(t, 666, true, r)
	inStep(t, r)
	soon(t, "it has published rows", func() bool {
		for _, c := range elsewhere.backUp(t) {
			if strings.HasSuffix(c.key, "log") && len(c.entries) > 0 {
				return true
			}
		}
		return false
	})
	return elsewhere.backUp(t)
}

// replaceBy puts all of another group in place of ours.
func (s *store) replaceBy(t *testing.T, ours, key, secret string) {
	t.Helper()
	theirs := s.other(t, key, secret)
	s.restore(t, theirs, base(theirs), ours)
}

// append adds rows to the log, as if a replica had.
func (s *store) append(t *testing.T, ours string, rows any) {
	t.Helper()
	require.NoError(t, s.client.XAdd(t.Context(), &redis.XAddArgs{Stream: ours + "log", Values: []any{"r", rows}}).Err())
}

// Line 54: 200 replicas that restart at once. Two full refreshes are enough for all,
// whether Redis has the index still or not.
func TestFault54ManyRestartAtOnce(t *testing.T) {
	for _, kept := range []bool{true, false} {
		t.Run(fmt.Sprint("Redis has the index: ", kept), func(t *testing.T) {
			onEachRedis(t, func(t *testing.T, s *store) {
				l := newList("a list", user(1, "teacher"))
				as := setting{secret: faultSecret} // and the defaults
				before := s.join(t, l, as)
				inStep(t, before)
				require.NoError(t, before.Close())
				if !kept {
					require.NoError(t, s.client.FlushAll(t.Context()).Err())
				}
				n := 200
				if s.server == nil {
					n = 50 // a miniredis is an interpreter in this process
				}
				l.SetDelay(time.Second) // so that a full refresh takes long enough for others to begin one
				fulls, _ := l.refreshed()
				var all []*replica
				for range n {
					all = append(all, s.join(t, l, as))
				}
				allLet(t, 1, true, all...)
				after, most := l.refreshed()
				assert.LessOrEqual(t, after-fulls, 2)
				assert.LessOrEqual(t, most, 2)
			})
		})
	}
}
