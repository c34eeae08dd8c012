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

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rediscache"
)

// Line 50: what a leader writes that was paused for longer than its lease,
// Redis itself must refuse, with the same script that would write it.
func TestFault50APausedLeaderWrites(t *testing.T) {
	t.Parallel()
	onEachRedis(t, func(t *testing.T, s *store) {
		for _, c := range []struct {
			name string
			// write has the leader write, which is paused at some moment.
			write func(t *testing.T, p pausedLeader) error
		}{
			{"a change", func(t *testing.T, p pausedLeader) error {
				p.pause(t)
				return p.publish(p.version, "change of the old", "all of the old")
			}},
			{"a whole index", func(t *testing.T, p pausedLeader) error {
				p.pause(t)
				return p.publish(rolegate.Version{}, "", "all of the old")
			}},
			{"a whole index, of which it has written a part", func(t *testing.T, p pausedLeader) error {
				_, err := p.cache.Publish(t.Context(), p.version.Term, rolegate.Version{}, rolegate.Publication{Whole: func(w io.Writer) error {
					// More than Redis is sent at once, and it cannot be made shorter.
					if _, err := w.Write(noise(4 << 20)); err != nil {
						return err
					}
					p.pause(t)
					_, err := io.WriteString(w, "all of the old")
					return err
				}})
				return err
			}},
			{"a change that was under way in the network", func(t *testing.T, p pausedLeader) error {
				p.link.cut()
				written := make(chan error, 1)
				go func() { written <- p.publish(p.version, "change of the old", "all of the old") }()
				p.pause(t)
				p.link.mend()
				return <-written
			}},
		} {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				on := func(addr string) *rediscache.Cache {
					client := redis.NewClient(&redis.Options{Addr: addr, DisableIdentity: true})
					t.Cleanup(func() { _ = client.Close() })
					r := rediscache.New(rediscache.Config{Client: client, Secret: faultSecret, Lease: time.Second})
					require.NoError(t, r.Join("list of "+t.Name()))
					return r
				}
				link := newLink(t, s.addr)
				old, next, reader := on(link.addr), on(s.addr), on(s.addr)
				lease, err := old.Lease(t.Context(), true, 0)
				require.NoError(t, err)
				require.True(t, lease.Held)
				first, err := old.Publish(t.Context(), lease.Term, rolegate.Version{}, publication("", "the first"))
				require.NoError(t, err)
				var second rolegate.Version
				require.ErrorIs(t, c.write(t, pausedLeader{cache: old, link: link, version: first, pause: func(t *testing.T) {
					var l rolegate.Lease
					soon(t, "the lease runs out", func() bool {
						l, err = next.Lease(t.Context(), true, lease.Term)
						return err == nil && l.Held
					})
					second, err = next.Publish(t.Context(), l.Term, first, publication("change of the new", "all of the new"))
					require.NoError(t, err)
				}}), rolegate.ErrNotLeader)

				l, err := reader.Lease(t.Context(), false, 0)
				require.NoError(t, err)
				require.Equal(t, second, l.Newest, "as if it had never been written")
				u, err := reader.Follow(t.Context(), first)
				require.NoError(t, err)
				require.Equal(t, second, u.Version)
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				_, err = reader.Follow(ctx, second)
				require.ErrorIs(t, err, context.DeadlineExceeded, "nothing comes after it")
			})
		}
	})
}

// A pausedLeader is a leader that is paused in the middle of something.
type pausedLeader struct {
	cache   *rediscache.Cache
	link    *link
	version rolegate.Version
	pause   func(*testing.T) // until another leads, and has published
}

func (p pausedLeader) publish(from rolegate.Version, change, whole string) error {
	_, err := p.cache.Publish(context.Background(), p.version.Term, from, publication(change, whole))
	return err
}

func publication(change, whole string) rolegate.Publication {
	return rolegate.Publication{Change: []byte(change), Whole: func(w io.Writer) error {
		_, err := io.WriteString(w, whole)
		return err
	}}
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
		}, mendAll, true},
		{"slow", func(_ *testing.T, _ *store, all []*replica) {
			for _, r := range all {
				r.link.slow(50 * time.Millisecond)
			}
		}, mendAll, false},
		{"restarted empty", func(t *testing.T, s *store, all []*replica) {
			s.down(all)
			s.up(t, all)
		}, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			onEachRedis(t, func(t *testing.T, s *store) {
				l, all := lonely(t, s, 6)
				l.Remove(2)
				allLet(t, 2, false, all...)
				g := guard(t, 1, 2, all...)
				begun := time.Now()
				c.wrong(t, s, all)
				if c.alone {
					for _, r := range all {
						soon(t, "it goes on alone", func() bool { return r.Status().Replica.Role == rolegate.ReplicaStandalone })
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
				oneLeads(t, all...)
				l.Put(user(4, "teacher"))
				allLet(t, 4, true, all...)
				g.judge(t)
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
	oneLeads(t, all...)
	return l, all
}

func mendAll(_ *testing.T, _ *store, all []*replica) {
	for _, r := range all {
		r.link.mend()
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
		lead := oneLeads(t, all...)
		require.NoError(t, lead.Close()) // the term in the backup is over
		all = slices.DeleteFunc(all, func(r *replica) bool { return r == lead })
		oneLeads(t, all...)
		l.Remove(2)
		l.Put(user(3, "teacher"))
		allLet(t, 2, false, all...)
		allLet(t, 3, true, all...)
		g := guard(t, 3, 2, all...)
		s.restore(t, backup, "", "")
		l.Put(user(4, "teacher"))
		allLet(t, 4, true, all...)
		g.judge(t)
		late := s.join(t, l, quick)
		oneLeads(t, append(all, late)...)
		allLet(t, 4, true, late)
		require.False(t, late.lets(2))
	})
}

// Line 52: a lease that runs out in the middle of a walk. The full refresh must come to
// nothing when somebody else has walked since.
func TestFault52ALeaseRunsOutInMidWalk(t *testing.T) {
	t.Parallel()
	onEachRedis(t, func(t *testing.T, s *store) {
		l := newList("a list", user(1, "teacher"), user(2, "teacher"))
		seldom := quick
		seldom.walks = time.Hour
		all := []*replica{s.join(t, l, seldom), s.join(t, l, seldom)}
		old := oneLeads(t, all...)
		next := all[0]
		if next == old {
			next = all[1]
		}
		walks, _ := l.walked()

		release := old.source.holdWalks()
		defer release()
		ended := make(chan error, 1)
		go func() { ended <- old.RefreshAll(context.Background()) }()
		<-old.source.held // it has read all, user 2 too
		old.link.cut()
		soon(t, "the other leads", func() bool { return next.Status().Replica.Role == rolegate.ReplicaLeader })
		old.link.mend()
		l.Remove(2)
		require.NoError(t, next.RefreshAll(t.Context()))
		require.False(t, next.lets(2))
		allLet(t, 2, false, old)
		require.Equal(t, next, oneLeads(t, all...))

		g := guard(t, 1, 2, all...)
		release()
		select {
		case err := <-ended: // whoever wanted a full refresh gets one, of the leader
			require.NoError(t, err)
		case <-time.After(patience):
			require.FailNow(t, "the full refresh does not end")
		}
		l.Put(user(3, "teacher"))
		allLet(t, 3, true, all...)
		g.judge(t)
		after, most := l.walked()
		assert.LessOrEqual(t, most, 2, "walks at once")
		assert.LessOrEqual(t, after-walks, 3, "that one, its double, and the one that it was begun for")
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
		{"a change of another app", func(t *testing.T, s *store, ours string) {
			theirs := s.other(t, "another list", faultSecret)
			for _, c := range theirs {
				if strings.HasSuffix(c.key, "log") {
					require.NotEmpty(t, c.entries)
					s.append(t, ours, c.entries[len(c.entries)-1].Values["change"])
				}
			}
		}},
		{"a change that makes no sense", func(t *testing.T, s *store, ours string) { s.append(t, ours, "let 666 in") }},
		{"an older change once more", func(t *testing.T, s *store, ours string) {
			entries, err := s.client.XRange(t.Context(), ours+"log", "-", "+").Result()
			require.NoError(t, err)
			s.append(t, ours, entries[len(entries)-1].Values["change"])
		}},
		{"a higher term, and a later version", func(t *testing.T, s *store, ours string) {
			require.NoError(t, s.client.HSet(t.Context(), ours+"state", "term", fmt.Sprint(uint64(1)<<61), "proof", "trust me",
				"token", "mine", "until", "99999999999999", "span", "60000", "newest", fmt.Sprintf("%d-1", uint64(1)<<61)).Err())
		}},
		{"another whole index", func(t *testing.T, s *store, ours string) {
			snaps, err := s.client.Keys(t.Context(), ours+"snap:*").Result()
			require.NoError(t, err)
			for _, key := range snaps {
				require.NoError(t, s.client.HSet(t.Context(), key, "0", noise(1000)).Err())
			}
			require.NoError(t, s.client.Del(t.Context(), ours+"log").Err())
		}},
		{"messages to the leader", func(t *testing.T, s *store, ours string) {
			for range 100 {
				require.NoError(t, s.client.XAdd(t.Context(), &redis.XAddArgs{Stream: ours + "asks", Values: []any{"ask", noise(100)}}).Err())
			}
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
				oneLeads(t, all...)
				l.Put(user(4, "teacher"))
				allLet(t, 4, true, all...)
				l.Remove(4)
				allLet(t, 4, false, all...)
				g.judge(t)
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
	oneLeads(t, r)
	soon(t, "it has published a change", func() bool {
		for _, c := range elsewhere.backUp(t) {
			if strings.HasSuffix(c.key, "log") && len(c.entries) > 1 {
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

// append adds a change to the log, as if the leader had.
func (s *store) append(t *testing.T, ours string, change any) {
	t.Helper()
	newest, err := s.client.HGet(t.Context(), ours+"state", "newest").Result()
	require.NoError(t, err)
	term, number, _ := strings.Cut(newest, "-")
	n := 0
	_, err = fmt.Sscan(number, &n)
	require.NoError(t, err)
	next := fmt.Sprintf("%s-%d", term, n+1000) // ahead of the leader, which goes on meanwhile
	require.NoError(t, s.client.XAdd(t.Context(), &redis.XAddArgs{Stream: ours + "log", ID: next, Values: []any{"from", newest, "change", change}}).Err())
	require.NoError(t, s.client.HSet(t.Context(), ours+"state", "newest", next).Err())
}

// Line 54: 200 replicas that restart at once. Two walks are enough for all,
// whether Redis has the index still or not.
func TestFault54ManyRestartAtOnce(t *testing.T) {
	for _, kept := range []bool{true, false} {
		t.Run(fmt.Sprint("Redis has the index: ", kept), func(t *testing.T) {
			onEachRedis(t, func(t *testing.T, s *store) {
				l := newList("a list", user(1, "teacher"))
				as := setting{secret: faultSecret} // and the defaults
				before := s.join(t, l, as)
				oneLeads(t, before)
				require.NoError(t, before.Close())
				if !kept {
					require.NoError(t, s.client.FlushAll(t.Context()).Err())
				}
				n := 200
				if s.server == nil {
					n = 50 // a miniredis is an interpreter in this process
				}
				l.SetDelay(time.Second) // so that a full refresh takes long enough for others to begin one
				walks, _ := l.walked()
				var all []*replica
				for range n {
					all = append(all, s.join(t, l, as))
				}
				allLet(t, 1, true, all...)
				after, most := l.walked()
				assert.LessOrEqual(t, after-walks, 2)
				assert.LessOrEqual(t, most, 2)
			})
		})
	}
}
