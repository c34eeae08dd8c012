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
				{"the one that refreshes is killed", refresherKilled},
				{"the one that refreshes is paused", refresherPaused},
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
					d.check(t, begun)
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

// All start at once, with nothing in Redis: one of them makes a full refresh.
func startedTogether(t *testing.T, d *drill) {
	begun := time.Now()
	for i := range drillReplicas {
		d.apps = append(d.apps, d.start(t, "replica-"+string(rune('a'+i)), newLink(d.life, d.redis.addr)))
	}
	d.up(t, d.apps...)
	d.inStep(t)
	fulls := d.market.seen(begun)
	first := fulls[0]
	for _, w := range fulls {
		assert.Equal(t, first.who, w.who, "nobody else makes a full refresh")
	}
	t.Logf("ready and in step after %v, with %d full refreshes, of which the first took %v", time.Since(begun).Round(time.Millisecond), len(fulls), first.to.Sub(first.from).Round(time.Millisecond))
}

// While all is well, one makes full refreshes at a time, and a change is seen by all within three
// seconds of the first that sees it: each asks about once a second.
func calm(t *testing.T, d *drill) {
	length, _ := howLong(t)
	d.inStep(t)
	begun := time.Now()
	for time.Since(begun) < length {
		d.spread = append(d.spread, d.change(t, 1)...)
	}
	fulls := d.market.seen(begun)
	most, tell := atOnce(fulls)
	assert.Equal(t, 1, most, tell)
	assert.NotEmpty(t, d.spread)
	t.Logf("%v: %d full refreshes, never two at a time; a change reached the others after %v (median of %d), %v (99 of 100)",
		time.Since(begun).Round(time.Second), len(fulls), quantile(d.spread, 50), len(d.spread), quantile(d.spread, 99))
	assert.Less(t, quantile(d.spread, 99), 3*time.Second)
}

// One that is killed in the middle of a full refresh is replaced when its lease is over.
func refresherKilled(t *testing.T, d *drill) {
	_, times := howLong(t)
	for range times {
		d.inStep(t)
		old := d.fullReader(t)
		d.watch.stop(old)
		killed := time.Now()
		old.kill()
		next := d.fullsAfter(t, old, killed)
		late := d.watch.lateness(killed)
		t.Logf("after %s, %s refreshed %v later", old.name, next.who, next.from.Sub(killed).Round(time.Millisecond))
		assert.Less(t, next.from.Sub(killed), drillLease+2*time.Second+late)
		again := d.start(t, old.name, old.link)
		d.replace(old, again)
		d.up(t, again)
		d.inStep(t)
		most, tell := atOnce(d.market.seen(killed))
		assert.LessOrEqual(t, most, 2, tell)
	}
}

// fullReader waits until a replica is in the middle of a full refresh.
func (d *drill) fullReader(t *testing.T) (who *process) {
	t.Helper()
	require.Eventually(t, func() bool {
		for _, a := range d.apps {
			if d.market.refreshing(a.name) {
				who = a
				return true
			}
		}
		return false
	}, patience, time.Millisecond, "nobody makes a full refresh")
	return who
}

// fullsAfter waits until another replica makes a full refresh.
func (d *drill) fullsAfter(t *testing.T, old *process, since time.Time) (full seenFull) {
	t.Helper()
	require.Eventually(t, func() bool {
		for _, full = range d.market.seen(since) {
			if full.who != old.name {
				return true
			}
		}
		return false
	}, patience, 20*time.Millisecond, "nobody makes a full refresh")
	return full
}

// One that is paused for longer than its lease, in the middle of a full refresh,
// publishes nothing when it wakes up.
func refresherPaused(t *testing.T, d *drill) {
	d.inStep(t)
	old := d.fullReader(t)
	paused := time.Now()
	d.watch.stop(old)
	require.NoError(t, old.cmd.Process.Signal(syscall.SIGSTOP))
	next := d.fullsAfter(t, old, paused)
	user := d.revoke(t, d.others(old)...)
	require.NoError(t, old.cmd.Process.Signal(syscall.SIGCONT))
	woken := time.Now()
	require.Eventually(t, func() bool {
		code, err := old.ask(t.Context(), user, "/grades")
		return err == nil && code == 403
	}, patience, 20*time.Millisecond)
	t.Logf("%s refreshed %v after %s was paused, which knew of a revocation %v after it woke up", next.who,
		next.from.Sub(paused).Round(time.Millisecond), old.name, time.Since(woken).Round(time.Millisecond))
	d.watch.begin(old)
	d.inStep(t)
}

func (d *drill) flush(t testing.TB) {
	require.NoError(t, d.redis.client.FlushAll(t.Context()).Err())
}

// inOrder waits until all are in step, and everybody sees changes again.
func (d *drill) inOrder(t *testing.T, since time.Time) {
	t.Helper()
	d.inStep(t)
	t.Logf("in step after %v", time.Since(since).Round(time.Millisecond))
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
	assert.LessOrEqual(t, most, 2, tell)
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
	fulls := d.market.seen(away)
	most, _ := atOnce(fulls)
	t.Logf("%d full refreshes, %d at a time", len(fulls), most)
	back := time.Now()
	d.redis.start(t, "--appendonly", "yes")
	d.inOrder(t, back)
}

// An old backup has users in it who were revoked since.
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

// Five replicas cannot reach Redis: each of them refreshes by itself, and one of
// the rest for those.
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
			if !s.Replica.Connected {
				alone++
			}
		}
		return ok && alone == len(cut)
	}, patience, 200*time.Millisecond, "those who are cut off say so")
	t.Logf("all saw a revocation and a change after %v", time.Since(begun).Round(time.Millisecond))
	repaired := time.Now()
	for _, a := range cut {
		a.link.repair()
	}
	d.inOrder(t, repaired)
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
		a.link.repair()
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
