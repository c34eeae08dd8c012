//go:build drill && unix

package e2e

import (
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Ten processes on one Redis: what they promise, while all is well and while
// hardly anything is.
func TestReplicas(t *testing.T) {
	for _, program := range redisPrograms {
		t.Run(filepath.Base(program), func(t *testing.T) {
			d := newDrill(t, program)
			for _, phase := range []struct {
				name string
				run  func(*testing.T, *drill)
			}{
				{"started together", startedTogether},
				{"calm", calm},
				{"bytes", bytesThroughRedis},
				{"the leader is killed", leaderKilled},
				{"the leader is paused", leaderPaused},
				{"Redis is flushed", func(t *testing.T, d *drill) { redisLoses(t, d, d.flush) }},
				{"Redis restarts empty", func(t *testing.T, d *drill) { redisLoses(t, d, d.redis.restartEmpty) }},
				{"Redis is away, and restarts with its log", redisAway},
				{"Redis is restored from an old backup", redisRestored},
				{"some are cut off from Redis", cutOff},
				{"the network to Redis is slow", slowRedis},
			} {
				passed := t.Run(phase.name, func(t *testing.T) {
					begun := time.Now()
					phase.run(t, d)
					d.judge(t, begun)
				})
				if !passed {
					for _, a := range d.apps {
						t.Log(a.last())
					}
					return
				}
			}
		})
	}
}

// All start at once, with nothing in Redis: one of them walks.
func startedTogether(t *testing.T, d *drill) {
	begun := time.Now()
	for i := range drillReplicas {
		d.apps = append(d.apps, d.start(t, "replica-"+string(rune('a'+i)), newLink(d.life, d.redis.addr)))
	}
	d.up(t, d.apps...)
	d.inStep(t)
	walks := d.market.seen(begun)
	first := walks[0]
	for _, w := range walks {
		assert.Equal(t, first.who, w.who, "nobody else walks")
	}
	t.Logf("ready and in step after %v, with %d walks, of which the first took %v", time.Since(begun).Round(time.Millisecond), len(walks), first.to.Sub(first.from).Round(time.Millisecond))
}

// While all is well, one walks at a time, and a change is seen by all within a
// second of the leader seeing it.
func calm(t *testing.T, d *drill) {
	length, _ := howLong(t)
	d.inStep(t)
	begun := time.Now()
	for time.Since(begun) < length {
		d.spread = append(d.spread, d.change(t, 1)...)
	}
	walks := d.market.seen(begun)
	most, tell := atOnce(walks)
	assert.Equal(t, 1, most, tell)
	assert.NotEmpty(t, d.spread)
	t.Logf("%v, which is %v of increments and %v of full refreshes in an app with the defaults: %d walks, never two at a time; "+
		"a change reached a follower after %v (median of %d), %v (99 of 100)",
		time.Since(begun).Round(time.Second), (time.Since(begun) * time.Duration(time.Minute/drillRefresh)).Round(time.Minute),
		(time.Since(begun) * time.Duration(10*time.Minute/drillResync)).Round(time.Minute),
		len(walks), quantile(d.spread, 50), len(d.spread), quantile(d.spread, 99))
	assert.Less(t, quantile(d.spread, 99), time.Second)
}

// What goes through Redis is in proportion to what has changed, and is never
// the whole index.
func bytesThroughRedis(t *testing.T, d *drill) {
	d.inStep(t)
	client, ctx := d.redis.client, t.Context()
	logs, err := client.Keys(ctx, "rolegate:*:log").Result()
	require.NoError(t, err)
	require.Len(t, logs, 1)
	whole := 0
	snaps, err := client.Keys(ctx, "rolegate:*:snap:*").Result()
	require.NoError(t, err)
	for _, key := range snaps {
		chunks, err := client.HVals(ctx, key).Result()
		require.NoError(t, err)
		one := 0
		for _, chunk := range chunks {
			one += len(chunk)
		}
		whole = max(whole, one)
	}
	require.Greater(t, whole, drillUsers, "the whole index")
	size := map[int]int{}
	for _, users := range []int{0, 1, 10, 1000} {
		last, err := client.XRevRangeN(ctx, logs[0], "+", "-", 1).Result()
		require.NoError(t, err)
		require.Len(t, last, 1)
		in, out := d.traffic(t)
		begun := time.Now()
		if users > 0 {
			d.change(t, users)
		}
		require.True(t, pause(ctx, 3*drillRefresh/2-time.Since(begun)))
		took := time.Since(begun)
		in2, out2 := d.traffic(t)
		entries, err := client.XRange(ctx, logs[0], "("+last[0].ID, "+").Result()
		require.NoError(t, err)
		require.NotEmpty(t, entries)
		for _, e := range entries {
			change, _ := e.Values["change"].(string)
			require.NotEmpty(t, change, "the whole index was published")
			size[users] = max(size[users], len(change))
		}
		t.Logf("%d of %d users: a change of %d bytes; in %v Redis received %d bytes and sent %d; the whole index has %d", users, drillUsers, size[users], took.Round(100*time.Millisecond), in2-in, out2-out, whole)
		assert.Less(t, in2-in, whole/4)
	}
	const head = 512 // what every change has, and what sealing and short texts make of it
	for users, bytes := range size {
		assert.Less(t, bytes, head+64*users)
	}
	assert.Less(t, size[1000], whole/4)
}

// traffic is how many bytes Redis has received and sent.
func (d *drill) traffic(t *testing.T) (in, out int) {
	t.Helper()
	info := d.redis.client.InfoMap(t.Context(), "stats")
	require.NoError(t, info.Err())
	return number(t, info, "Stats", "total_net_input_bytes"), number(t, info, "Stats", "total_net_output_bytes")
}

// A leader that is killed is replaced within its lease and two seconds, and
// nobody else walks meanwhile.
func leaderKilled(t *testing.T, d *drill) {
	_, times := howLong(t)
	for range times {
		old := d.inStep(t)
		before, _ := old.status(t.Context())
		d.watch.stop(old)
		killed := time.Now()
		old.kill()
		took, next := d.succeeded(t, old, before.Replica.Term, killed)
		late := d.watch.lateness(killed)
		t.Logf("%s was replaced by %s after %v", old.name, next.name, took.Round(time.Millisecond))
		assert.Less(t, took, drillLease+2*time.Second+late)
		again := d.start(t, old.name, old.link)
		d.replace(old, again)
		d.up(t, again)
		d.inStep(t)
		most, tell := atOnce(d.market.seen(killed))
		assert.LessOrEqual(t, most, 1, tell)
	}
}

// succeeded waits until another replica leads, and returns how long that took by
// what it says itself.
func (d *drill) succeeded(t *testing.T, old *process, term uint64, since time.Time) (took time.Duration, next *process) {
	t.Helper()
	require.Eventually(t, func() bool {
		for _, a := range d.others(old) {
			if s, ok := a.status(t.Context()); ok && s.Replica.Role == "leader" && s.Replica.Term > term {
				took, next = s.Replica.Since.Sub(since), a
				return true
			}
		}
		return false
	}, patience, 100*time.Millisecond, "nobody leads")
	return took, next
}

// A leader that is paused for longer than its lease, in the middle of a full refresh,
// publishes nothing when it wakes up.
func leaderPaused(t *testing.T, d *drill) {
	old := d.inStep(t)
	before, _ := old.status(t.Context())
	require.Eventually(t, func() bool { return d.market.walking(old.name) }, patience, time.Millisecond)
	paused := time.Now()
	d.watch.stop(old)
	require.NoError(t, old.cmd.Process.Signal(syscall.SIGSTOP))
	took, next := d.succeeded(t, old, before.Replica.Term, paused)
	user := d.revoke(t, d.others(old)...)
	require.NoError(t, old.cmd.Process.Signal(syscall.SIGCONT))
	woken := time.Now()
	require.Eventually(t, func() bool {
		code, err := old.ask(t.Context(), user, "/grades")
		return err == nil && code == 403
	}, patience, 20*time.Millisecond)
	t.Logf("%s was replaced by %s after %v, and knew of a revocation %v after it woke up", old.name, next.name, took.Round(time.Millisecond), time.Since(woken).Round(time.Millisecond))
	assert.Less(t, took, drillLease+2*time.Second+d.watch.lateness(paused))
	d.watch.begin(old)
	require.Equal(t, next, d.inStep(t), "it follows")
	require.True(t, pause(t.Context(), 2*time.Second))
	most, tell := atOnce(d.market.seen(paused.Add(-2 * time.Second)))
	assert.LessOrEqual(t, most, 2, tell)
}

func (d *drill) flush(t testing.TB) {
	require.NoError(t, d.redis.client.FlushAll(t.Context()).Err())
}

// inOrder waits until one replica leads, and everybody sees changes again.
func (d *drill) inOrder(t *testing.T, since time.Time) {
	t.Helper()
	lead := d.inStep(t)
	t.Logf("%s leads, and all follow, after %v", lead.name, time.Since(since).Round(time.Millisecond))
	d.change(t, 1)
}

// Redis loses everything: one replica publishes all of it anew.
func redisLoses(t *testing.T, d *drill, lose func(testing.TB)) {
	d.inStep(t)
	d.revoke(t, d.apps...)
	lost := time.Now()
	lose(t)
	d.change(t, 1)
	d.inOrder(t, lost)
	most, tell := atOnce(d.market.seen(lost))
	assert.LessOrEqual(t, most, 1, tell)
}

// While Redis is away, each pulls by itself. It comes back with what it has
// logged on its disk.
func redisAway(t *testing.T, d *drill) {
	client, ctx := d.redis.client, t.Context()
	require.NoError(t, client.ConfigSet(ctx, "appendonly", "yes").Err())
	require.Eventually(t, func() bool {
		info := client.InfoMap(ctx, "persistence")
		return info.Err() == nil && number(t, info, "Persistence", "aof_enabled") == 1 && number(t, info, "Persistence", "aof_rewrite_in_progress")+number(t, info, "Persistence", "aof_rewrite_scheduled") == 0
	}, patience, 50*time.Millisecond)
	d.inStep(t)
	away := time.Now()
	d.redis.kill()
	d.revoke(t, d.apps...)
	d.change(t, 1)
	t.Logf("each saw a revocation and a change by itself after %v", time.Since(away).Round(time.Millisecond))
	walks := d.market.seen(away)
	most, _ := atOnce(walks)
	t.Logf("%d walks, %d at a time", len(walks), most)
	back := time.Now()
	d.redis.start(t, "--appendonly", "yes")
	d.inOrder(t, back)
}

// An old backup has users in it who were revoked since, and terms that were
// others' since.
func redisRestored(t *testing.T, d *drill) {
	d.inStep(t)
	dump := d.redis.backUp(t)
	d.change(t, 1)
	d.revoke(t, d.apps...)
	d.change(t, 1)
	restored := time.Now()
	d.redis.restore(t, dump)
	d.inOrder(t, restored)
	d.revoke(t, d.apps...)
}

// The leader and four others cannot reach Redis: they go on alone, and another
// leads the rest.
func cutOff(t *testing.T, d *drill) {
	lead := d.inStep(t)
	cut := append([]*process{lead}, d.others(lead)[:4]...)
	begun := time.Now()
	for _, a := range cut {
		a.link.cut()
	}
	d.revoke(t, d.apps...)
	d.change(t, 1)
	require.Eventually(t, func() bool {
		all, ok := d.statuses(t)
		alone := 0
		for _, s := range all {
			if s.Replica.Role == "standalone" {
				alone++
			}
		}
		return ok && alone == len(cut)
	}, patience, 200*time.Millisecond, "those who are cut off go on alone")
	t.Logf("all saw a revocation and a change after %v", time.Since(begun).Round(time.Millisecond))
	mended := time.Now()
	for _, a := range cut {
		a.link.mend()
	}
	d.inOrder(t, mended)
}

// Each way to Redis takes a fifth of a second longer.
func slowRedis(t *testing.T, d *drill) {
	d.inStep(t)
	begun := time.Now()
	for _, a := range d.apps {
		a.link.slow(200 * time.Millisecond)
	}
	d.revoke(t, d.apps...)
	d.change(t, 1)
	most, tell := atOnce(d.market.seen(begun))
	assert.LessOrEqual(t, most, 2, tell)
	for _, a := range d.apps {
		a.link.mend()
	}
	d.inOrder(t, begun)
}

// number reads one of the numbers that Redis tells of itself.
func number(t testing.TB, info *redis.InfoCmd, section, name string) int {
	t.Helper()
	n, err := strconv.Atoi(info.Item(section, name))
	require.NoError(t, err, name)
	return n
}
