//go:build drill

package e2e

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rediscache"
	"github.com/rolegate/rolegate/rolegatetest"
)

// A store is a Redis of some kind, in which replicas share a list.
type store struct {
	addr   string
	client *redis.Client
	server *redisServer // nil for a miniredis
}

// onEachRedis runs a test on a miniredis, and on the Redis of this machine.
func onEachRedis(t *testing.T, test func(*testing.T, *store)) {
	t.Helper()
	t.Run("miniredis", func(t *testing.T) {
		t.Parallel()
		m := miniredis.RunT(t)
		client := redis.NewClient(&redis.Options{Addr: m.Addr(), DisableIdentity: true})
		t.Cleanup(func() { _ = client.Close() })
		test(t, &store{m.Addr(), client, nil})
	})
	for _, program := range redisPrograms {
		t.Run("Redis", func(t *testing.T) {
			t.Parallel()
			s := startRedis(t, program)
			test(t, &store{s.addr, s.client, s})
		})
	}
}

// down ends it for those replicas.
func (s *store) down(all []*replica) {
	if s.server != nil {
		s.server.kill()
	}
	for _, r := range all {
		r.link.drop()
	}
}

// up starts it again, with nothing in it.
func (s *store) up(t testing.TB, all []*replica) {
	t.Helper()
	if s.server != nil {
		s.server.start(t)
	} else {
		require.NoError(t, s.client.FlushAll(t.Context()).Err())
	}
	for _, r := range all {
		r.link.repair()
	}
}

// A copied is a key of Redis with what it has.
type copied struct {
	key     string
	fields  map[string]string
	entries []redis.XMessage
}

// backUp copies all keys.
func (s *store) backUp(t testing.TB) (all []copied) {
	t.Helper()
	ctx := t.Context()
	keys, err := s.client.Keys(ctx, "*").Result()
	require.NoError(t, err)
	for _, key := range keys {
		c := copied{key: key}
		if kind := s.client.Type(ctx, key).Val(); kind == "hash" {
			c.fields, err = s.client.HGetAll(ctx, key).Result()
		} else {
			c.entries, err = s.client.XRange(ctx, key, "-", "+").Result()
		}
		require.NoError(t, err)
		all = append(all, c)
	}
	return all
}

// restore puts everything in place of what there is, under names that begin
// otherwise.
func (s *store) restore(t testing.TB, all []copied, from, to string) {
	t.Helper()
	_, err := s.client.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
		p.FlushAll(t.Context())
		for _, c := range all {
			key := strings.Replace(c.key, from, to, 1)
			if len(c.fields) > 0 {
				p.HSet(t.Context(), key, c.fields)
			}
			for _, e := range c.entries {
				p.XAdd(t.Context(), &redis.XAddArgs{Stream: key, ID: e.ID, Values: e.Values})
			}
		}
		return nil
	})
	require.NoError(t, err)
}

// base is what the names of a list's keys begin with.
func base(all []copied) string {
	for _, c := range all {
		if b, ok := strings.CutSuffix(c.key, "state"); ok {
			return b
		}
	}
	return ""
}

// A list is what a marketplace has, and who pulls it.
type list struct {
	*rolegatetest.Static
	key string

	mu         sync.Mutex
	refreshing int
	most       int // full refreshes at once
	fulls      int
}

func newList(key string, records ...rolegate.Record) *list {
	return &list{Static: rolegatetest.NewStatic(records...), key: key}
}

// A puller is the list as one replica reaches it.
type puller struct {
	*list
	mu    sync.Mutex
	pulls []time.Time // when they began
	hold  chan struct{}
	held  chan struct{} // gets one for each full refresh that has everything, and is held
}

// CacheKey says which list it is.
func (p *puller) CacheKey() string { return p.key }

// Pull notes that somebody pulls.
func (p *puller) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	p.mu.Lock()
	p.pulls = append(p.pulls, time.Now())
	hold := p.hold
	p.mu.Unlock()
	if after > 0 {
		return p.Static.Pull(ctx, after, yield)
	}
	p.list.mu.Lock()
	p.refreshing++
	p.fulls++
	p.most = max(p.most, p.refreshing)
	p.list.mu.Unlock()
	defer func() {
		p.list.mu.Lock()
		defer p.list.mu.Unlock()
		p.refreshing--
	}()
	err := p.Static.Pull(ctx, after, yield)
	if hold != nil {
		p.held <- struct{}{}
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

// holdFulls has the full refreshes of this replica take until the returned function is
// called.
func (p *puller) holdFulls() (release func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	hold := make(chan struct{})
	p.hold, p.held = hold, make(chan struct{}, 10)
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		close(hold)
		p.hold = nil
	})
}

func (p *puller) since(begun time.Time) (pulls []time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, at := range p.pulls {
		if at.After(begun) {
			pulls = append(pulls, at)
		}
	}
	return pulls
}

func (l *list) refreshed() (fulls, most int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fulls, l.most
}

// A replica is a gate in this process, with its way to Redis.
type replica struct {
	*rolegate.Gate
	source *puller
	link   *link
	admit  http.Handler
}

const faultSecret = "a secret of these tests, for nothing else"

// A setting is how a replica is set up.
type setting struct {
	secret         string
	refresh, fulls time.Duration
	lease          time.Duration
}

// quick is how replicas are set up that are to notice everything soon.
var quick = setting{secret: faultSecret, refresh: time.Second, fulls: 5 * time.Second, lease: 3 * time.Second}

// join starts a replica.
func (s *store) join(t testing.TB, l *list, as setting) *replica {
	t.Helper()
	r := &replica{source: &puller{list: l}, link: newLink(t, s.addr)}
	client := redis.NewClient(&redis.Options{Addr: r.link.addr, DisableIdentity: true})
	t.Cleanup(func() { _ = client.Close() })
	gate, err := rolegate.Open(t.Context(), rolegate.Config{
		Source: r.source, StartEmpty: true, Logger: slog.New(slog.DiscardHandler),
		Identify: rolegate.ByUserID(func(r *http.Request) (int64, error) {
			return strconv.ParseInt(r.Header.Get("X-User-Id"), 10, 64)
		}),
		OnDeny:  rolegate.OnDeny{Off: true},
		Refresh: rolegate.Refresh{Every: as.refresh, ResyncEvery: as.fulls},
		Cache:   rediscache.New(rediscache.Config{Client: client, Secret: rediscache.Secret(as.secret), Lease: as.lease}),
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, gate.Close()) })
	r.Gate = gate
	r.admit = gate.Admit(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	return r
}

// lets reports whether a request of that user gets through.
func (r *replica) lets(user int64) bool {
	req := httptest.NewRequest(http.MethodGet, "/", nil)
	req.Header.Set("X-User-Id", strconv.FormatInt(user, 10))
	w := httptest.NewRecorder()
	r.admit.ServeHTTP(w, req)
	return w.Code == http.StatusOK
}

// soon waits for something.
func soon(t testing.TB, what string, is func() bool) {
	t.Helper()
	require.Eventually(t, is, patience, 20*time.Millisecond, what)
}

// inStep waits until all of them reach Redis and go by the same full refresh.
func inStep(t testing.TB, all ...*replica) {
	t.Helper()
	soon(t, "all are in step", func() bool {
		first := all[0].Status().Replica
		for _, r := range all {
			s := r.Status()
			if s.State != rolegate.StateReady || !s.Replica.Connected || s.Replica.Base.IsZero() || !s.Replica.Base.Equal(first.Base) {
				return false
			}
		}
		return true
	})
}

// allLet waits until all of them let that user in, or none does.
func allLet(t testing.TB, user int64, in bool, all ...*replica) {
	t.Helper()
	for _, r := range all {
		soon(t, "user "+strconv.FormatInt(user, 10), func() bool { return r.lets(user) == in })
	}
}

// A guardian sees that replicas go on answering at once, that they admit who is
// listed and never who is not, and that no index goes back.
type guardian struct {
	end  context.CancelFunc
	done sync.WaitGroup

	mu    sync.Mutex
	slow  time.Duration
	late  time.Duration // of a timer
	wrong map[string]int
}

// guard begins to watch.
func guard(t testing.TB, listed, unlisted int64, all ...*replica) *guardian {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	g := &guardian{end: end, wrong: map[string]int{}}
	const every = 40 * time.Millisecond
	for _, r := range all {
		g.done.Go(func() {
			before := r.Status()
			for begun := time.Now(); pause(ctx, every); begun = time.Now() {
				late := time.Since(begun) - every
				begun := time.Now()
				in := r.lets(listed)
				took := time.Since(begun)
				out := !r.lets(unlisted)
				s := r.Status()
				g.mu.Lock()
				g.slow, g.late = max(g.slow, took), max(g.late, late)
				for what, is := range map[string]bool{
					"who is listed was refused": !in, "who is not listed was admitted": !out,
					"the cursor went back":     s.Cursor < before.Cursor && !s.Verified.After(before.Verified), // a full refresh may do that
					"the index grew older":     s.Verified.Before(before.Verified.Add(-100 * time.Millisecond)),
					"the list was not served ": s.State != rolegate.StateReady,
				} {
					if is {
						g.wrong[what]++
					}
				}
				g.mu.Unlock()
				before = s
			}
		})
	}
	t.Cleanup(g.stop)
	return g
}

func (g *guardian) stop() {
	g.end()
	g.done.Wait()
}

// check ends it, and says what was wrong.
func (g *guardian) check(t testing.TB) {
	t.Helper()
	g.stop()
	assert.Empty(t, g.wrong)
	assert.Less(t, g.slow, 500*time.Millisecond+g.late, "a request waited")
}

// freeRedis is the address of a miniredis that nobody uses.
func freeRedis(t testing.TB) string {
	t.Helper()
	return miniredis.RunT(t).Addr()
}

// noise is bytes that cannot be made shorter.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}
