package replication_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/replication"
)

// memory is a Store in memory, which can be away. It is the simulation's.
type memory struct {
	calls atomic.Int64 // that failed

	mu     sync.Mutex
	world  simWorld
	store  simStore
	lists  map[string]string
	away   bool
	hang   bool
	spends int
	began  time.Time
}

func newMemory() *memory {
	m := &memory{lists: map[string]string{}, began: time.Now()}
	m.store = simStore{w: &m.world, count: map[string]int{}, wrong: func(what string) { panic(what) }}
	return m
}

var errAway = errors.New("connection refused")

func (m *memory) enter(ctx context.Context) (leave func(), err error) {
	m.mu.Lock()
	hang, away := m.hang, m.away
	m.mu.Unlock()
	switch {
	case hang:
		<-ctx.Done()
		return nil, ctx.Err()
	case away:
		return nil, fmt.Errorf("read tcp 127.0.0.1:%d: %w", 30000+m.calls.Add(1), errAway) // each connection has another port
	}
	m.mu.Lock()
	m.world.now = time.Since(m.began)
	return m.mu.Unlock, nil
}

// A seat is the Store of one replica.
type seat struct {
	*memory
	id int
}

func (s *seat) Sync(ctx context.Context, a replication.Action) (replication.Reply, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return replication.Reply{}, err
	}
	defer leave()
	return s.store.sync(s.id, &a), nil
}

func (s *seat) Release(ctx context.Context, k replication.Kind, keep time.Duration) error {
	leave, err := s.enter(ctx)
	if err == nil {
		defer leave()
		s.store.release(s.id, k, keep)
	}
	return err
}

func (s *seat) Append(ctx context.Context, e replication.Entry, epoch string) error {
	leave, err := s.enter(ctx)
	if err == nil {
		defer leave()
		s.store.append(e, epoch)
	}
	return err
}

func (s *seat) Load(ctx context.Context, b replication.Base) io.Reader {
	leave, err := s.enter(ctx)
	if err != nil {
		return strings.NewReader("")
	}
	defer leave()
	return strings.NewReader(s.lists[b.Name])
}

func (s *seat) Publish(ctx context.Context, b, _ replication.Base, epoch string, write func(io.Writer) error) (replication.Base, error) {
	var text strings.Builder
	if err := write(&text); err != nil {
		return b, err
	}
	leave, err := s.enter(ctx)
	if err != nil {
		return b, err
	}
	defer leave()
	published, ok := s.store.publish(s.id, b, epoch, &simList{})
	if !ok {
		return b, replication.ErrRefused
	}
	s.lists[published.Name] = text.String()
	return published, nil
}

func (s *seat) Spend(ctx context.Context, perMinute int) (bool, time.Duration, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return false, 0, err
	}
	defer leave()
	s.spends++
	return s.spends <= perMinute, time.Minute, nil
}

// A gate is a Host whose list is a text.
type gate struct {
	mu   sync.Mutex
	own  replication.Own
	text string
	rows []string
	soon int
}

func (g *gate) Own() replication.Own {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.own
}

func (g *gate) list() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.text + strings.Join(g.rows, "")
}

func (g *gate) Take(_ context.Context, r io.Reader, at clock.Instant, _ func(int64) clock.Instant) error {
	b, err := io.ReadAll(r)
	if err == nil && len(b) == 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.own.Loaded && at.Mono <= g.own.Began.Mono {
		return errors.New("it is older")
	}
	g.own, g.text, g.rows = replication.Own{Loaded: true, Began: at, Contact: at}, string(b), nil
	return nil
}

func (g *gate) Write(w io.Writer, at clock.Instant, stamp func(clock.Instant) int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.own.Began != at || stamp(at) <= 0 {
		return errors.New("it is another by now")
	}
	_, err := io.WriteString(w, g.text)
	return err
}

func (g *gate) Confirm(at clock.Instant) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.own.Began, g.own.Contact = at, at
}

func (g *gate) Apply(entries []replication.Entry) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range entries {
		g.rows = append(g.rows, string(e.Rows))
		g.own.Contact, g.own.Touched = clock.Later(g.own.Contact, e.At), true
	}
}

func (g *gate) Shift(by func(clock.Instant) clock.Instant, underWay bool) {
	if underWay {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.own.Began, g.own.Contact = by(g.own.Began), by(g.own.Contact)
}

func (g *gate) Soon(replication.Kind) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.soon++
}

// A peer is a replica with its gate.
type peer struct {
	*replication.Shell
	*gate
	log   *strings.Builder
	start time.Time
	skew  atomic.Int64 // of the wall clock
}

func (p *peer) now() clock.Instant { return p.instant(time.Now()) }

func (p *peer) instant(t time.Time) clock.Instant {
	return clock.Instant{Mono: int64(t.Sub(p.start)), Wall: t.UnixNano() + p.skew.Load()}
}

// refresh makes a full refresh, if it is this replica's to make.
func (p *peer) refresh(t *testing.T, demand bool, text string) bool {
	t.Helper()
	demanded := make(chan struct{})
	if demand {
		close(demanded)
	}
	run, err := p.Await(t.Context(), replication.Full, demanded, false)
	require.NoError(t, err)
	if run {
		began := p.now()
		time.Sleep(50 * time.Millisecond)
		p.mu.Lock()
		p.own, p.text, p.rows = replication.Own{Loaded: true, Began: began, Contact: began}, text, nil
		p.mu.Unlock()
		p.Ran(replication.Full, false, 0, clock.Instant{})
	}
	return run
}

// group runs a test with that many replicas, in virtual time.
func group(t *testing.T, n int, test func(t *testing.T, m *memory, peers []*peer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		var peers []*peer
		for i := range n {
			p := &peer{gate: &gate{}, log: &strings.Builder{}, start: time.Now().Add(-time.Hour)}
			cfg := replication.Config{
				Lease: simLease, Bound: [replication.Kinds]time.Duration{30 * time.Second, 150 * time.Second}, DemandBound: 10 * time.Second,
			}
			p.Shell = replication.Start(cfg, uint64(i), &seat{m, i + 1}, p.gate, p.now, slog.New(slog.NewTextHandler(p.log, nil)))
			defer p.Close()
			peers = append(peers, p)
		}
		time.Sleep(3 * time.Second)
		test(t, m, peers)
	})
}

func TestOneRefreshesForAll(t *testing.T) {
	t.Parallel()
	group(t, 5, func(t *testing.T, _ *memory, peers []*peer) {
		var wg sync.WaitGroup
		ran := make([]bool, len(peers))
		for i, p := range peers {
			wg.Go(func() { ran[i] = p.refresh(t, false, fmt.Sprint("the list of ", i)) })
		}
		wg.Wait()
		time.Sleep(5 * time.Second)
		n := 0
		for i, p := range peers {
			if ran[i] {
				n++
			}
			assert.Equal(t, peers[0].list(), p.list())
			assert.True(t, p.Status().Connected)
			assert.Empty(t, p.log.String())
		}
		assert.Equal(t, 1, n)
	})
}

func TestRowsReachAll(t *testing.T) {
	t.Parallel()
	group(t, 3, func(t *testing.T, _ *memory, peers []*peer) {
		require.True(t, peers[0].refresh(t, false, "list"))
		time.Sleep(5 * time.Second)
		peers[1].Read(peers[1].now(), replication.Entry{Complete: true, Rows: []byte(" and rows")})
		time.Sleep(2 * time.Second)
		for _, p := range peers {
			assert.Equal(t, "list and rows", p.list())
		}
	})
}

func TestWithoutTheStoreEachRefreshesAtOnce(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(*memory){
		"it is away":   func(m *memory) { m.away = true },
		"it is silent": func(m *memory) { m.hang = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			group(t, 3, func(t *testing.T, m *memory, peers []*peer) {
				require.True(t, peers[0].refresh(t, false, "list"))
				time.Sleep(5 * time.Second)
				m.mu.Lock()
				fail(m)
				m.mu.Unlock()
				for i, p := range peers {
					begun := time.Now()
					require.True(t, p.refresh(t, false, fmt.Sprint("list ", i)))
					assert.LessOrEqual(t, time.Since(begun), 2*replication.Timeout)
					time.Sleep(3 * time.Second)
				}
				time.Sleep(10 * time.Minute)
				for i, p := range peers {
					begun := time.Now()
					require.True(t, p.refresh(t, false, fmt.Sprint("list ", i)))
					assert.Equal(t, 50*time.Millisecond, time.Since(begun), "what has not answered is not waited for again")
					time.Sleep(3 * time.Second)
				}
				m.mu.Lock()
				m.away, m.hang = false, false
				m.mu.Unlock()
				time.Sleep(10 * time.Second)
				for _, p := range peers {
					assert.Equal(t, "list 2", p.list(), "the newest counts, whoever has it")
					lines := strings.Count(p.log.String(), "\n")
					assert.LessOrEqual(t, lines, 13, "once a minute: %s", p.log)
					assert.Contains(t, p.log.String(), "available again")
				}
			})
		})
	}
}

// A replica that was cut off, and has refreshed meanwhile, does not go back.
func TestNoReplicaGoesBack(t *testing.T) {
	t.Parallel()
	group(t, 2, func(t *testing.T, m *memory, peers []*peer) {
		require.True(t, peers[0].refresh(t, false, "with the role"))
		time.Sleep(5 * time.Second)
		require.Equal(t, "with the role", peers[1].list())
		m.mu.Lock()
		m.away = true
		m.mu.Unlock()
		require.True(t, peers[1].refresh(t, true, "without the role"))
		m.mu.Lock()
		m.away = false
		m.mu.Unlock()
		for range 12 * 60 {
			time.Sleep(time.Second)
			require.Equal(t, "without the role", peers[1].list())
		}
		assert.Equal(t, "without the role", peers[0].list(), "and the other follows")
	})
}

// A clock that is set by hours on one replica costs no more than a second.
func TestAClockThatJumps(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{2 * time.Hour, -2 * time.Hour, 45 * time.Minute, 70 * time.Minute} {
		t.Run(by.String(), func(t *testing.T) {
			t.Parallel()
			group(t, 2, func(t *testing.T, _ *memory, peers []*peer) {
				require.True(t, peers[0].refresh(t, false, "list"))
				time.Sleep(5 * time.Second)
				p := peers[1]
				p.skew.Store(int64(by))
				time.Sleep(1500 * time.Millisecond)
				age := p.Own().Began.Age(p.now())
				assert.Less(t, age, 20*time.Second, "it is not old")
				assert.Greater(t, age, 5*time.Second, "nor younger than it is")
			})
		})
	}
}

func TestADemandIsMetByARefreshAfterIt(t *testing.T) {
	t.Parallel()
	group(t, 3, func(t *testing.T, _ *memory, peers []*peer) {
		require.True(t, peers[0].refresh(t, false, "old"))
		time.Sleep(5 * time.Second)
		var wg sync.WaitGroup
		for _, p := range peers[1:] {
			wg.Go(func() { p.refresh(t, true, "new") })
		}
		wg.Wait()
		for _, p := range peers[1:] {
			assert.Equal(t, "new", p.list())
		}
	})
}

func TestTheBudget(t *testing.T) {
	t.Parallel()
	group(t, 3, func(t *testing.T, m *memory, peers []*peer) {
		local := func() bool { return false }
		n := 0
		for i := range 60 {
			if peers[i%3].Spend(t.Context(), 30, local) {
				n++
			}
		}
		assert.Equal(t, 30, n)
		assert.LessOrEqual(t, m.spends, 33, "who knows that it is spent does not ask again")
		time.Sleep(time.Minute)
		m.mu.Lock()
		m.away = true
		m.mu.Unlock()
		assert.True(t, peers[0].Spend(t.Context(), 30, func() bool { return true }), "its own counts without the store")
	})
}

func TestWhoGivesUpHoldsNothing(t *testing.T) {
	t.Parallel()
	group(t, 2, func(t *testing.T, m *memory, peers []*peer) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := peers[0].Await(ctx, replication.Full, nil, false)
		if err == nil {
			peers[0].Ran(replication.Full, true, 0, clock.Instant{})
		}
		time.Sleep(15 * time.Second)
		require.True(t, peers[1].refresh(t, false, "list"))
	})
}
