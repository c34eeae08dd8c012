//go:build drill

package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/replication"
	"github.com/rolegate/rolegate/rediscache/internal/store"
)

// A host is a gate whose list is a text, and whose loop refreshes every two
// seconds.
type host struct {
	*replication.Shell
	mu    sync.Mutex
	own   replication.Own
	began time.Time // by the marketplace's clock: the list says it
	log   *lines
}

type lines struct {
	mu   sync.Mutex
	text []string
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, string(p))
	return len(p), nil
}

func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.text...)
}

func (h *host) Own() replication.Own {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.own
}

// age is how old the list is, in truth and as it is told.
func (h *host) age() (truth, told time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Since(h.began), h.own.Began.Age(clock.Read())
}

func (h *host) Take(_ context.Context, r io.Reader, at clock.Instant, _ func(int64) clock.Instant) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	began, err := time.Parse(time.RFC3339Nano, string(b))
	if err != nil {
		return err
	}
	return h.take(began, at)
}

func (h *host) take(began time.Time, at clock.Instant) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.own.Loaded && at.Mono <= h.own.Began.Mono {
		return errors.New("it is older")
	}
	h.own, h.began = replication.Own{Loaded: true, Began: at, Contact: at}, began
	return nil
}

func (h *host) Write(w io.Writer, at clock.Instant, _ func(clock.Instant) int64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.own.Began != at {
		return errors.New("it is another by now")
	}
	_, err := io.WriteString(w, h.began.Format(time.RFC3339Nano))
	return err
}

func (h *host) Confirm(clock.Instant)                   {}
func (h *host) Apply([]replication.Entry)               {}
func (h *host) Shift(func(clock.Instant) clock.Instant) {}
func (h *host) Soon(replication.Kind)                   {}
func (h *host) loop(ctx context.Context, refreshed *refreshes) {
	for ctx.Err() == nil {
		if h.Own().Began.Age(clock.Read()) < 2*time.Second && h.Own().Loaded {
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		run, err := h.Await(ctx, replication.Full, nil, false)
		if err != nil || !run {
			continue
		}
		began, at := time.Now(), clock.Read()
		refreshed.add()
		err = h.take(began, at)
		h.Ran(replication.Full, err != nil, 0, clock.Instant{})
	}
}

type refreshes struct {
	mu sync.Mutex
	at []time.Time
}

func (r *refreshes) add() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = append(r.at, time.Now())
}

// in counts those of a time.
func (r *refreshes) in(from, to time.Time) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, at := range r.at {
		if at.After(from) && at.Before(to) {
			n++
		}
	}
	return n
}

// A guarded primary and its replica, with one sentinel.
type guarded struct {
	nodes    [2]*exec.Cmd
	addrs    [2]string
	sentinel string
}

func startGuarded(t *testing.T) *guarded {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	require.NoError(t, err, "install it, for example with: apt-get install redis-server")
	g := &guarded{}
	for i := range g.nodes {
		g.addrs[i], g.nodes[i] = begin(t, path)
	}
	host, port, err := net.SplitHostPort(g.addrs[0])
	require.NoError(t, err)
	second := connect(t, &redis.Options{Addr: g.addrs[1]})
	require.NoError(t, second.ReplicaOf(t.Context(), host, port).Err())
	require.Eventually(t, func() bool {
		return strings.Contains(second.Info(t.Context(), "replication").Val(), "master_link_status:up")
	}, time.Minute, 50*time.Millisecond)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	g.sentinel = l.Addr().String()
	require.NoError(t, l.Close())
	_, own, err := net.SplitHostPort(g.sentinel)
	require.NoError(t, err)
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, "port %s\nbind 127.0.0.1\nsentinel monitor primary %s %s 1\nsentinel down-after-milliseconds primary 1000\nsentinel failover-timeout primary 5000\n", own, host, port), 0o600))
	proc := exec.Command(path, conf, "--sentinel")
	require.NoError(t, proc.Start())
	t.Cleanup(func() { end(proc) })
	client := redis.NewSentinelClient(&redis.Options{Addr: g.sentinel})
	t.Cleanup(func() { assert.NoError(t, client.Close()) })
	require.Eventually(t, func() bool {
		n, err := client.Replicas(t.Context(), "primary").Result()
		return err == nil && len(n) == 1
	}, time.Minute, 100*time.Millisecond)
	return g
}

func begin(t *testing.T, path string) (string, *exec.Cmd) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	proc := exec.Command(path, "--bind", "127.0.0.1", "--port", port, "--dir", t.TempDir(), "--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0")
	require.NoError(t, proc.Start())
	t.Cleanup(func() { end(proc) })
	client := connect(t, &redis.Options{Addr: addr})
	require.Eventually(t, func() bool { return client.Ping(t.Context()).Err() == nil }, time.Minute, 20*time.Millisecond)
	return addr, proc
}

func end(proc *exec.Cmd) {
	_ = proc.Process.Kill()
	_ = proc.Wait()
}

// The primary dies, or is stopped and continued, while replicas refresh: nobody's
// list grows old, no age is younger than the truth, and the log stays short.
func TestFailover(t *testing.T) {
	for name, strike := range map[string]func(t *testing.T, g *guarded){
		"the primary is killed": func(_ *testing.T, g *guarded) { end(g.nodes[0]) },
		"the primary is stopped and continued": func(t *testing.T, g *guarded) {
			require.NoError(t, g.nodes[0].Process.Signal(syscall.SIGSTOP))
			time.AfterFunc(8*time.Second, func() { _ = g.nodes[0].Process.Signal(syscall.SIGCONT) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := startGuarded(t)
			client := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "primary", SentinelAddrs: []string{g.sentinel}})
			defer client.Close()
			hosts, refreshed := startHosts(t, client)
			watch := func(lasts time.Duration) { hosts.watch(t, lasts) }
			begun := time.Now()
			watch(10 * time.Second)
			calm := refreshed.in(begun, time.Now())
			assert.LessOrEqual(t, calm, 6, "one refreshes for all")
			strike(t, g)
			watch(20 * time.Second)
			settled := time.Now()
			watch(10 * time.Second)
			again := refreshed.in(settled, time.Now())
			assert.LessOrEqual(t, again, 7, "and does so again on the new primary")
			hosts.wellAgain(t)
			t.Logf("refreshes in 10 s: %d before, %d after; log of the first: %s", calm, again, strings.Join(hosts[0].log.all(), ""))
		})
	}
}

type hosts []*host

// startHosts starts replicas, and ends them with the test.
func startHosts(t *testing.T, client redis.UniversalClient) (all hosts, refreshed *refreshes) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	refreshed = &refreshes{}
	for i := range 4 {
		s, err := store.New(client, secret, "rolegate", list, 3*time.Second)
		require.NoError(t, err)
		h := &host{log: &lines{}}
		h.Shell = replication.Start(replication.Config{
			Lease: 3 * time.Second, Bound: [replication.Kinds]time.Duration{5 * time.Second, 5 * time.Second}, DemandBound: 5 * time.Second,
		}, uint64(i), s, h, clock.Read, slog.New(slog.NewTextHandler(h.log, nil)))
		wg.Go(func() { h.loop(ctx, refreshed) })
		all = append(all, h)
	}
	t.Cleanup(func() {
		cancel()
		for _, h := range all {
			h.Close()
		}
		wg.Wait()
	})
	require.Eventually(t, func() bool {
		for _, h := range all {
			if !h.Own().Loaded {
				return false
			}
		}
		return true
	}, time.Minute, 50*time.Millisecond)
	return all, refreshed
}

// watch checks every answer for a while.
func (all hosts) watch(t *testing.T, lasts time.Duration) {
	t.Helper()
	for until := time.Now().Add(lasts); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		for i, h := range all {
			truth, told := h.age()
			assert.GreaterOrEqual(t, told, truth-20*time.Millisecond, "replica %d tells an age below the truth", i)
			assert.Less(t, truth, 20*time.Second, "replica %d has an old list", i)
		}
	}
}

func (all hosts) wellAgain(t *testing.T) {
	t.Helper()
	for i, h := range all {
		assert.True(t, h.Status().Connected, "replica %d", i)
		told := h.log.all()
		assert.LessOrEqual(t, len(told), 10, "%s", strings.Join(told, ""))
	}
}

// A cluster of three primaries and three replicas: the slot's primary dies, and
// the slot moves to another node.
func TestCluster(t *testing.T) {
	path, err := exec.LookPath("redis-server")
	require.NoError(t, err, "install it, for example with: apt-get install redis-server")
	cli, err := exec.LookPath("redis-cli")
	require.NoError(t, err, "install it, for example with: apt-get install redis-tools")
	procs := map[string]*exec.Cmd{}
	var addrs []string
	for range 6 {
		// The port of the bus is given too: the default may be taken.
		var ports [2]string
		for i := range ports {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			_, ports[i], err = net.SplitHostPort(l.Addr().String())
			require.NoError(t, err)
			require.NoError(t, l.Close())
		}
		proc := exec.Command(path, "--bind", "127.0.0.1", "--port", ports[0], "--dir", t.TempDir(), "--save", "", "--appendonly", "no",
			"--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-port", ports[1],
			"--cluster-node-timeout", "2000", "--repl-diskless-sync-delay", "0")
		require.NoError(t, proc.Start())
		t.Cleanup(func() { end(proc) })
		addr := net.JoinHostPort("127.0.0.1", ports[0])
		client := connect(t, &redis.Options{Addr: addr})
		require.Eventually(t, func() bool { return client.Ping(t.Context()).Err() == nil }, time.Minute, 20*time.Millisecond)
		procs[addr], addrs = proc, append(addrs, addr)
	}
	out, err := exec.CommandContext(t.Context(), cli, append(append([]string{"--cluster", "create"}, addrs...), "--cluster-replicas", "1", "--cluster-yes")...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs})
	defer client.Close()
	require.Eventually(t, func() bool {
		info, err := client.ClusterInfo(t.Context()).Result()
		return err == nil && strings.Contains(info, "cluster_state:ok") && client.Set(t.Context(), "x", "y", 0).Err() == nil
	}, time.Minute, 100*time.Millisecond)
	all, refreshed := startHosts(t, client)
	all.watch(t, 5*time.Second)

	var key string
	require.NoError(t, client.ForEachMaster(t.Context(), func(ctx context.Context, node *redis.Client) error {
		keys, err := node.Keys(ctx, "rolegate:*:state").Result()
		if len(keys) > 0 {
			key = keys[0]
		}
		return err
	}))
	owner, err := client.MasterForKey(t.Context(), key)
	require.NoError(t, err)
	died := owner.Options().Addr
	end(procs[died])
	killed := time.Now()
	require.Eventually(t, func() bool { // the cluster has a new owner
		for _, addr := range addrs {
			if addr == died {
				continue
			}
			node := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1})
			err := node.HGet(t.Context(), key, "epoch").Err()
			_ = node.Close()
			if err == nil {
				return true
			}
		}
		return false
	}, time.Minute, 50*time.Millisecond)
	owned := time.Now()
	require.Eventually(t, func() bool {
		for _, h := range all {
			if !h.Status().Connected || h.Status().Since.Before(killed) && time.Since(owned) < 3*time.Second {
				return false
			}
		}
		return true
	}, 10*time.Second, 50*time.Millisecond, "settled within 10 s of the new owner")
	t.Logf("a new owner after %v, all replicas with it %v later", owned.Sub(killed).Round(10*time.Millisecond), time.Since(owned).Round(10*time.Millisecond))
	all.watch(t, 5*time.Second)
	settled := time.Now()
	all.watch(t, 10*time.Second)
	assert.LessOrEqual(t, refreshed.in(settled, time.Now()), 7, "one refreshes for all")

	// The slot moves.
	slot := client.ClusterKeySlot(t.Context(), key).Val()
	from, err := client.MasterForKey(t.Context(), key)
	require.NoError(t, err)
	fromID := from.ClusterMyID(t.Context()).Val()
	var mu sync.Mutex // all nodes are asked at once
	var to *redis.Client
	require.NoError(t, client.ForEachMaster(t.Context(), func(ctx context.Context, node *redis.Client) error {
		if node.Ping(ctx).Err() == nil && node.ClusterMyID(ctx).Val() != fromID {
			mu.Lock()
			defer mu.Unlock()
			to = node
		}
		return nil
	}))
	toID := to.ClusterMyID(t.Context()).Val()
	move := func(on *redis.Client, what, id string) {
		require.NoError(t, on.Do(t.Context(), "CLUSTER", "SETSLOT", slot, what, id).Err())
	}
	move(to, "IMPORTING", fromID)
	move(from, "MIGRATING", toID)
	for {
		keys, err := from.ClusterGetKeysInSlot(t.Context(), int(slot), 100).Result()
		require.NoError(t, err)
		if len(keys) == 0 {
			break
		}
		host, port, err := net.SplitHostPort(to.Options().Addr)
		require.NoError(t, err)
		for _, k := range keys {
			require.NoError(t, from.Migrate(t.Context(), host, port, k, 0, 5*time.Second).Err())
		}
	}
	move(to, "NODE", toID)
	move(from, "NODE", toID)
	all.watch(t, 10*time.Second)
	settled = time.Now()
	all.watch(t, 10*time.Second)
	assert.LessOrEqual(t, refreshed.in(settled, time.Now()), 7, "one refreshes for all")
	all.wellAgain(t)
}
