package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rolegate/rolegate/internal/replication"
	"github.com/rolegate/rolegate/rediscache/internal/store"
)

func TestMain(m *testing.M) {
	redis.SetLogger(silent{}) // a server that starts is dialled until it answers
	// A client that is closed goes on for a second to dial a server that has died.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

const (
	secret = "a secret of these tests, for nothing else"
	list   = "https://marketplace.example|production|app-1"
	lease  = time.Minute // or it runs out while a slow machine runs a test
)

var both = [replication.Kinds]bool{true, true}

// A server is a Redis: miniredis, or the program of this machine.
type server struct {
	client redis.UniversalClient
	mini   *miniredis.Miniredis
	addr   string
}

func onEach(t *testing.T, test func(t *testing.T, s *server)) {
	t.Helper()
	t.Run("miniredis", func(t *testing.T) {
		t.Parallel()
		m := miniredis.RunT(t)
		test(t, &server{client: connect(t, &redis.Options{Addr: m.Addr()}), mini: m, addr: m.Addr()})
	})
	onPrograms(t, func(t *testing.T, program string, cluster bool) { test(t, start(t, program, cluster, nil)) })
}

// onPrograms runs a test for each that there is, and for each as a cluster.
func onPrograms(t *testing.T, test func(t *testing.T, program string, cluster bool)) {
	t.Helper()
	ran := false
	for _, name := range []string{"redis-server", "valkey-server"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		ran = true
		for _, cluster := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, cluster %t", name, cluster), func(t *testing.T) {
				t.Parallel()
				test(t, path, cluster)
			})
		}
	}
	if !ran && os.Getenv("CI") == "true" {
		t.Error("there is no redis-server: install it, for example with: apt-get install redis-server")
	}
}

// A login is a user of Redis.
type login struct{ name, password string }

// start starts a server, or a cluster of one, for clients with that login.
func start(t *testing.T, program string, cluster bool, as *login, args ...string) *server {
	t.Helper()
	if cluster {
		args = append(args, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-port", freePort(t))
	}
	s := &server{addr: run(t, program, args...)}
	o := &redis.UniversalOptions{Addrs: []string{s.addr}, IsClusterMode: cluster}
	if as != nil {
		o.Username, o.Password = as.name, as.password
	}
	s.client = redis.NewUniversalClient(o)
	t.Cleanup(func() { assert.NoError(t, s.client.Close()) })
	if cluster {
		node := connect(t, &redis.Options{Addr: s.addr})
		require.NoError(t, node.ClusterAddSlotsRange(t.Context(), 0, 16383).Err())
		require.Eventually(t, func() bool { return node.Set(t.Context(), "x", "y", 0).Err() == nil }, time.Minute, 20*time.Millisecond)
	}
	return s
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return port
}

// run starts a Redis that keeps nothing on disk, and ends it with the test.
func run(t *testing.T, path string, args ...string) (addr string) {
	t.Helper()
	port := freePort(t)
	addr = net.JoinHostPort("127.0.0.1", port)
	proc := exec.Command(path, append([]string{"--bind", "127.0.0.1", "--port", port, "--dir", t.TempDir(), "--save", "", "--appendonly", "no"}, args...)...)
	require.NoError(t, proc.Start())
	t.Cleanup(func() {
		_ = proc.Process.Kill()
		_ = proc.Wait()
	})
	client := connect(t, &redis.Options{Addr: addr})
	require.Eventually(t, func() bool { return client.Ping(t.Context()).Err() == nil }, time.Minute, 20*time.Millisecond)
	return addr
}

func connect(t *testing.T, o *redis.Options) *redis.Client {
	t.Helper()
	client := redis.NewClient(o)
	t.Cleanup(func() { assert.NoError(t, client.Close()) })
	return client
}

func (s *server) replica(t *testing.T) *store.Store { return s.of(t, secret, lease) }

func (s *server) of(t *testing.T, secret string, lease time.Duration) *store.Store {
	t.Helper()
	made, err := store.New(s.client, secret, "rolegate", list, lease)
	require.NoError(t, err)
	return made
}

// A follower is a store with what a replica knows of it.
type follower struct {
	t *testing.T
	*store.Store
	cursor string
	known  replication.Base
	got    []replication.Entry
	reply  replication.Reply
}

func (f *follower) sync(want [replication.Kinds]bool, raise bool) replication.Reply {
	f.t.Helper()
	r, err := f.Sync(f.t.Context(), replication.Action{Cursor: f.cursor, Known: f.known, Want: want, Raise: raise})
	require.NoError(f.t, err)
	f.cursor, f.known, f.reply = r.Cursor, r.Base, r
	f.got = append(f.got, r.Entries...)
	return r
}

// catchUp syncs until it knows all there is, and then wants the leases.
func (f *follower) catchUp() replication.Reply {
	f.t.Helper()
	for {
		before := f.known
		if r := f.sync([replication.Kinds]bool{}, false); len(r.Entries) == 0 && !r.More && r.Base == before {
			return f.sync(both, false)
		}
	}
}

func (f *follower) publish(b replication.Base, contents string) (replication.Base, error) {
	return f.Publish(f.t.Context(), b, f.known, f.reply.Epoch, func(w io.Writer) error {
		_, err := io.WriteString(w, contents)
		return err
	})
}

func (f *follower) load() (string, error) {
	b, err := io.ReadAll(f.Load(f.t.Context(), f.known))
	return string(b), err
}

func TestLeases(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *server) {
		a, b := &follower{t: t, Store: s.replica(t)}, &follower{t: t, Store: s.replica(t)}
		r := a.sync(both, false)
		assert.Equal(t, both, r.Granted)
		assert.Equal(t, [replication.Kinds]bool{}, r.Held)
		assert.WithinDuration(t, time.Now(), time.Unix(0, r.Time), time.Hour)
		assert.Equal(t, r.Epoch, b.sync(both, false).Epoch)
		assert.Equal(t, [replication.Kinds]bool{}, b.reply.Granted, "another replica has it")
		assert.Equal(t, both, b.reply.Held)
		assert.Equal(t, both, a.sync(both, false).Granted, "it is renewed")

		require.NoError(t, b.Release(t.Context(), replication.Full, 0))
		assert.False(t, b.sync(both, false).Granted[replication.Full], "nobody gives back what is another's")
		require.NoError(t, a.Release(t.Context(), replication.Full, 0))
		assert.Equal(t, [replication.Kinds]bool{replication.Full: true}, b.sync(both, false).Granted)
		require.NoError(t, a.Release(t.Context(), replication.Incremental, time.Minute))
		assert.Equal(t, [replication.Kinds]bool{replication.Full: true}, b.sync(both, false).Granted, "nobody is to have it for a while")
		assert.True(t, b.reply.Held[replication.Incremental])
	})
}

func TestALeaseIsForWhoKnowsAll(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *server) {
		a, b := &follower{t: t, Store: s.replica(t)}, &follower{t: t, Store: s.replica(t)}
		a.sync(both, false)
		for i := range 3 {
			require.NoError(t, a.Append(t.Context(), replication.Entry{From: int64(i), To: int64(i + 1), Read: 1e18, Complete: true, Rows: []byte("rows")}, a.reply.Epoch))
		}
		published, err := a.publish(replication.Base{Began: a.reply.Time}, "the list")
		require.NoError(t, err)
		for k := range replication.Kinds {
			require.NoError(t, a.Release(t.Context(), k, 0))
		}
		assert.Equal(t, [replication.Kinds]bool{}, b.sync(both, false).Granted, "there is something new for it")
		assert.Equal(t, published, b.known)
		assert.Equal(t, both, b.catchUp().Granted)
		text, err := b.load()
		require.NoError(t, err)
		assert.Equal(t, "the list", text)
	})
}

func TestRowsGoRound(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *server) {
		a, b := &follower{t: t, Store: s.replica(t)}, &follower{t: t, Store: s.replica(t)}
		a.sync(both, false)
		var sent []replication.Entry
		long := bytes.Repeat([]byte("a user with many roles "), 1<<15)
		for i := range 150 {
			e := replication.Entry{From: int64(i), To: int64(i + 1), Read: a.reply.Time + int64(i), Ended: a.reply.Time + 2*int64(i), Complete: i%3 == 0, Rows: fmt.Appendf(nil, "rows %d", i)}
			if i == 70 {
				e.Rows = long
			}
			sent = append(sent, e)
			require.NoError(t, a.Append(t.Context(), e, a.reply.Epoch))
		}
		b.catchUp()
		assert.Equal(t, sent, b.got)

		noise := make([]byte, 1<<20)
		_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
		assert.ErrorContains(t, a.Append(t.Context(), replication.Entry{Rows: noise}, a.reply.Epoch), "too many at once")
		assert.ErrorIs(t, a.Append(t.Context(), replication.Entry{}, "another epoch"), replication.ErrRefused)
	})
}

// Fault 50: whoever was paused writes nothing any more, and nothing older.
func TestWhoIsRefused(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *server) {
		a, b := &follower{t: t, Store: s.replica(t)}, &follower{t: t, Store: s.replica(t)}
		a.sync(both, false)
		b.sync(both, false)
		now := a.reply.Time
		_, err := b.publish(replication.Base{Began: now}, "by one who does not hold the lease")
		require.ErrorIs(t, err, replication.ErrRefused)
		first, err := a.publish(replication.Base{Began: now + 1_000_000_123}, "first")
		require.NoError(t, err)
		assert.Equal(t, now+1_000_000_000, first.Began/1000*1000, "in whole microseconds, and not later")
		for _, began := range []int64{first.Began, first.Began - 1000} {
			_, err = a.publish(replication.Base{Began: began}, "no later one")
			require.ErrorIs(t, err, replication.ErrRefused)
		}
		require.NoError(t, a.Release(t.Context(), replication.Full, 0))
		require.True(t, b.catchUp().Granted[replication.Full])
		_, err = a.publish(replication.Base{Began: first.Began + 1000}, "after a pause")
		require.ErrorIs(t, err, replication.ErrRefused)
		_, err = b.Publish(t.Context(), replication.Base{Began: first.Began + 1000}, b.known, "another epoch", func(io.Writer) error { return nil })
		require.ErrorIs(t, err, replication.ErrRefused)
		a.sync([replication.Kinds]bool{}, false)
		text, err := a.load()
		require.NoError(t, err)
		assert.Equal(t, "first", text)
		keys, err := s.keys(t)
		require.NoError(t, err)
		assert.Len(t, keys, 2, "nothing is left of what was refused: %v", keys)
	})
}

func (s *server) keys(t *testing.T) ([]string, error) {
	t.Helper()
	return connect(t, &redis.Options{Addr: s.addr}).Keys(t.Context(), "rolegate:*").Result()
}

func TestABaseThatWasFoundUnchanged(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *server) {
		a, b := &follower{t: t, Store: s.replica(t)}, &follower{t: t, Store: s.replica(t)}
		a.sync(both, false)
		var long strings.Builder
		for i := range 400_000 {
			fmt.Fprintf(&long, "user %x\n", i*i*31)
		}
		first, err := a.publish(replication.Base{Began: a.reply.Time}, long.String())
		require.NoError(t, err)
		a.sync(both, false)
		again, err := a.Publish(t.Context(), replication.Base{Name: first.Name, Began: first.Began + 5e9}, first, a.reply.Epoch, func(io.Writer) error {
			return errors.New("nothing is to be written")
		})
		require.NoError(t, err)
		assert.Equal(t, replication.Base{Name: first.Name, Began: first.Began + 5e9}, again)
		b.sync([replication.Kinds]bool{}, false)
		text, err := b.load()
		require.NoError(t, err)
		assert.Equal(t, long.String(), text)

		// A chunk of it was evicted, or deleted: it is written anew.
		require.NoError(t, s.client.HDel(t.Context(), s.find(t, "base:"), "1").Err())
		_, err = b.load()
		require.ErrorContains(t, err, "chunk 1")
		assert.Equal(t, replication.Base{}, b.sync([replication.Kinds]bool{}, false).Base, "whoever has it publishes it again")
		a.catchUp()
		anew, err := a.publish(replication.Base{Name: first.Name, Began: first.Began + 6e9}, "written anew")
		require.NoError(t, err)
		assert.NotEqual(t, first.Name, anew.Name)
		b.sync([replication.Kinds]bool{}, false)
		text, err = b.load()
		require.NoError(t, err)
		assert.Equal(t, "written anew", text)
	})
}

// find returns the key that has that in its name.
func (s *server) find(t *testing.T, part string) string {
	t.Helper()
	keys, err := s.keys(t)
	require.NoError(t, err)
	for _, key := range keys {
		if strings.Contains(key, part) {
			return key
		}
	}
	require.Fail(t, "no such key", "%s in %v", part, keys)
	return ""
}

func TestAClockThatIsPutBack(t *testing.T) {
	t.Parallel()
	m := miniredis.RunT(t)
	s := &server{client: connect(t, &redis.Options{Addr: m.Addr()}), mini: m, addr: m.Addr()}
	now := time.Unix(2_000_000_000, 0)
	m.SetTime(now)
	a := &follower{t: t, Store: s.replica(t)}
	epoch := a.sync(both, true).Epoch
	assert.Equal(t, now.UnixNano(), a.reply.Wanted)
	require.NoError(t, a.Append(t.Context(), replication.Entry{To: 1, Read: a.reply.Time}, epoch))
	_, err := a.publish(replication.Base{Began: a.reply.Time}, "the list")
	require.NoError(t, err)

	m.SetTime(now.Add(-900 * time.Millisecond)) // as far as clocks differ
	assert.Equal(t, epoch, a.sync(both, false).Epoch)
	m.SetTime(now.Add(2 * time.Hour))
	assert.Equal(t, epoch, a.sync(both, false).Epoch, "put forward it makes everything older, and nothing wrong")
	m.SetTime(now.Add(time.Hour))
	r := a.sync([replication.Kinds]bool{}, false)
	assert.NotEqual(t, epoch, r.Epoch)
	assert.Equal(t, replication.Base{}, r.Base)
	assert.Zero(t, r.Wanted)
	assert.ErrorIs(t, a.Append(t.Context(), replication.Entry{To: 1, Read: a.reply.Time}, epoch), replication.ErrRefused)

	// A replica can have it begin anew, if it has noticed what Redis has not.
	again, err := a.Sync(t.Context(), replication.Action{Void: r.Epoch})
	require.NoError(t, err)
	assert.NotEqual(t, r.Epoch, again.Epoch)
	same, err := a.Sync(t.Context(), replication.Action{Void: r.Epoch})
	require.NoError(t, err)
	assert.Equal(t, again.Epoch, same.Epoch, "once")
}

func TestLeasesRunOut(t *testing.T) {
	t.Parallel()
	m := miniredis.RunT(t)
	s := &server{client: connect(t, &redis.Options{Addr: m.Addr()}), addr: m.Addr()}
	now := time.Unix(2_000_000_000, 0)
	m.SetTime(now)
	a, b := &follower{t: t, Store: s.of(t, secret, 10*time.Second)}, &follower{t: t, Store: s.of(t, secret, 10*time.Second)}
	a.sync(both, false)
	m.SetTime(now.Add(10*time.Second - time.Millisecond))
	assert.Equal(t, [replication.Kinds]bool{}, b.sync(both, false).Granted)
	m.SetTime(now.Add(10*time.Second + time.Millisecond))
	_, err := a.publish(replication.Base{Began: now.UnixNano()}, "too late")
	require.ErrorIs(t, err, replication.ErrRefused)
	assert.Equal(t, both, b.sync(both, false).Granted)
	assert.Equal(t, [replication.Kinds]bool{}, a.sync(both, false).Granted)
}

func TestTheBudgetIsShared(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *server) {
		replicas := []*store.Store{s.replica(t), s.replica(t), s.replica(t)}
		for i := range 40 {
			ok, wait, err := replicas[i%3].Spend(t.Context(), 30)
			require.NoError(t, err)
			assert.Equal(t, i < 30, ok, "%d", i)
			assert.Positive(t, wait)
			assert.LessOrEqual(t, wait, time.Minute)
		}
		key := s.find(t, "deny")
		require.NoError(t, s.client.Persist(t.Context(), key).Err())
		_, _, err := replicas[0].Spend(t.Context(), 30)
		require.NoError(t, err)
		assert.Positive(t, s.client.PTTL(t.Context(), key).Val(), "a counter without an end would refuse for ever")
		require.NoError(t, s.client.Set(t.Context(), key, "nonsense", 0).Err())
		ok, _, err := replicas[0].Spend(t.Context(), 30)
		require.NoError(t, err)
		assert.True(t, ok)
	})
}

// Fault 53: what is forged, or of another app, is not believed, and does not last.
func TestForgedValues(t *testing.T) {
	t.Parallel()
	forgeries := map[string]func(t *testing.T, s *server){
		"another beginning": func(t *testing.T, s *server) { s.set(t, "began", "1900000000000000") },
		"another name":      func(t *testing.T, s *server) { s.set(t, "name", "x") },
		"another seal":      func(t *testing.T, s *server) { s.set(t, "seal", strings.Repeat("x", 28)) },
		"a state of text":   func(t *testing.T, s *server) { s.put(t, "state") },
		"a log of text":     func(t *testing.T, s *server) { s.put(t, "log") },
		"a base of text":    func(t *testing.T, s *server) { s.put(t, "base:") },
		"a chunk of something": func(t *testing.T, s *server) {
			require.NoError(t, s.client.HSet(t.Context(), s.find(t, "base:"), "0", "x").Err())
		},
		"a chunk without end": func(t *testing.T, s *server) {
			require.NoError(t, s.client.HSet(t.Context(), s.find(t, "base:"), "0", make([]byte, 2<<20)).Err())
		},
		"an entry": func(t *testing.T, s *server) {
			require.NoError(t, s.client.XAdd(t.Context(), &redis.XAddArgs{Stream: s.find(t, "log"), Values: []any{"r", "x"}}).Err())
		},
		"an entry of other fields": func(t *testing.T, s *server) {
			require.NoError(t, s.client.XAdd(t.Context(), &redis.XAddArgs{Stream: s.find(t, "log"), Values: []any{"a", "b", "c", "d"}}).Err())
		},
		"an entry without end": func(t *testing.T, s *server) {
			require.NoError(t, s.client.XAdd(t.Context(), &redis.XAddArgs{Stream: s.find(t, "log"), Values: []any{"r", make([]byte, 4<<20)}}).Err())
		},
		"a lease for ever": func(t *testing.T, s *server) { s.set(t, "t1", "x", "u1", "9999999999999999") },
		"no number":        func(t *testing.T, s *server) { s.set(t, "clock", "x", "wanted", "-1", "u0", "1e99", "logb", "") },
		"everything gone": func(t *testing.T, s *server) {
			keys, err := s.keys(t)
			require.NoError(t, err)
			require.NoError(t, s.client.Del(t.Context(), keys...).Err())
		},
	}
	onEach(t, func(t *testing.T, s *server) {
		for name, forge := range forgeries {
			keys, err := s.keys(t)
			require.NoError(t, err)
			if len(keys) > 0 {
				require.NoError(t, s.client.Del(t.Context(), keys...).Err())
			}
			a, b := &follower{t: t, Store: s.replica(t)}, &follower{t: t, Store: s.replica(t)}
			a.sync(both, false)
			require.NoError(t, a.Append(t.Context(), replication.Entry{To: 1, Read: a.reply.Time, Rows: []byte("rows")}, a.reply.Epoch))
			_, err = a.publish(replication.Base{Began: a.reply.Time}, "the list")
			require.NoError(t, err)
			forge(t, s)
			r, err := b.Sync(t.Context(), replication.Action{})
			if err == nil && r.Base != (replication.Base{}) {
				b.known = r.Base
				if text, err := b.load(); err == nil {
					assert.Equal(t, "the list", text, name)
				}
			}
			for _, e := range r.Entries {
				assert.Equal(t, "rows", string(e.Rows), name)
			}
			// Replicas that go on publish over it.
			c := &follower{t: t, Store: s.replica(t)}
			for range 3 {
				r, err := c.Sync(t.Context(), replication.Action{Cursor: c.cursor, Known: c.known, Want: both})
				if err != nil {
					c.known = replication.Base{}
					continue
				}
				c.cursor, c.known, c.reply = r.Cursor, r.Base, r
			}
			_ = a.Release(t.Context(), replication.Full, 0)
			assert.NoError(t, c.over(), name)
		}
	})
}

// A scale weighs what a client is answered.
type scale struct{ heaviest int }

func (s *scale) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s *scale) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (s *scale) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if c, ok := cmd.(*redis.Cmd); ok {
			s.heaviest = max(s.heaviest, weight(c.Val()))
		}
		return err
	}
}

func weight(v any) (n int) {
	switch v := v.(type) {
	case string:
		return len(v)
	case []any:
		for _, item := range v {
			n += weight(item)
		}
	}
	return n
}

// Whoever can write into Redis makes no replica fetch much.
func TestForgedValuesAreNotFetched(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *server) {
		for _, field := range []string{"epoch", "clock", "name", "began", "seal", "chunks", "wanted", "logb", "t0", "u0", "t1", "u1"} {
			a := &follower{t: t, Store: s.replica(t)}
			a.sync(both, false)
			s.set(t, field, strings.Repeat("7", 4<<20))
			client := connect(t, &redis.Options{Addr: s.addr})
			weighs := &scale{}
			client.AddHook(weighs)
			made, err := store.New(client, secret, "rolegate", list, lease)
			require.NoError(t, err)
			b := &follower{t: t, Store: made}
			for range 3 {
				_, err := b.Sync(t.Context(), replication.Action{Want: both})
				require.NoError(t, err, field)
			}
			assert.Less(t, weighs.heaviest, 4<<10, field)
			assert.Positive(t, weighs.heaviest, field)
			require.NoError(t, s.client.FlushAll(t.Context()).Err())
		}
	})
}

// over publishes as replicas do when what there is cannot be used.
func (f *follower) over() error {
	var err error
	for range 5 {
		var r replication.Reply
		r, err = f.Sync(f.t.Context(), replication.Action{Cursor: f.cursor, Known: f.known, Want: both})
		if err != nil {
			return err
		}
		f.cursor, f.known, f.reply = r.Cursor, r.Base, r
		if r.Granted[replication.Full] {
			_, err = f.publish(replication.Base{Began: r.Time}, "published over it")
			return err
		}
		err = errors.New("it does not get the lease")
	}
	return err
}

func (s *server) set(t *testing.T, values ...any) {
	t.Helper()
	require.NoError(t, s.client.HSet(t.Context(), s.find(t, "state"), values...).Err())
}

func (s *server) put(t *testing.T, part string) {
	t.Helper()
	require.NoError(t, s.client.Set(t.Context(), s.find(t, part), "something else", 0).Err())
}

func TestListsAndSecretsDoNotMeet(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *server) {
		a, b := &follower{t: t, Store: s.replica(t)}, &follower{t: t, Store: s.of(t, secret+" that was changed", lease)}
		assert.Equal(t, both, a.sync(both, false).Granted)
		assert.Equal(t, both, b.sync(both, false).Granted, "while a secret is being changed there are two groups")
	})
}

// The user of Redis may have exactly the rights that docs/replicas.md names.
func TestRights(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/replicas.md")
	require.NoError(t, err)
	documented := regexp.MustCompile("(?m)^~rolegate:.*$").FindString(string(page))
	require.NotEmpty(t, documented)
	onPrograms(t, func(t *testing.T, program string, cluster bool) {
		version, err := exec.Command(program, "--version").Output()
		require.NoError(t, err)
		rights := documented
		if old, err := regexp.Match(`v=([1-6]\.|7\.[01]\.)`, version); err == nil && !old {
			rights += " +client|setinfo"
		}
		acl := filepath.Join(t.TempDir(), "users.acl")
		require.NoError(t, os.WriteFile(acl, []byte("user default on nopass ~* &* +@all\nuser rolegate on >password "+rights+"\n"), 0o600))
		s := start(t, program, cluster, &login{"rolegate", "password"}, "--aclfile", acl)
		a, b := &follower{t: t, Store: s.replica(t)}, &follower{t: t, Store: s.replica(t)}
		a.sync(both, true)
		require.NoError(t, a.Append(t.Context(), replication.Entry{To: 1, Read: a.reply.Time}, a.reply.Epoch))
		_, err = a.publish(replication.Base{Began: a.reply.Time}, "the list")
		require.NoError(t, err)
		_, _, err = a.Spend(t.Context(), 30)
		require.NoError(t, err)
		b.sync(both, false)
		text, err := b.load()
		require.NoError(t, err)
		assert.Equal(t, "the list", text)
		require.NoError(t, a.Release(t.Context(), replication.Full, 0))
		assert.Error(t, s.client.Set(context.Background(), "another", "x", 0).Err())
		log, err := connect(t, &redis.Options{Addr: s.addr}).Do(t.Context(), "ACL", "LOG").Slice()
		require.NoError(t, err)
		assert.Len(t, log, 1, "nothing but that was refused: %v", log)
	})
}
