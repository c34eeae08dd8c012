// Command sizes measures what a shared index takes in Redis, and on the way, and
// prints the table of docs/replicas.md.
//
//	redis-server --port 7001 --save '' &
//	go run ./rediscache/internal/sizes -redis 127.0.0.1:7001
//
// It empties that Redis.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rediscache"
	"github.com/rolegate/rolegate/rolegatetest"
)

func main() {
	addr := flag.String("redis", "", "the `address` of a Redis that is emptied")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if err := run(ctx, *addr); err != nil {
		fmt.Fprintln(os.Stderr, "sizes:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, addr string) error {
	if addr == "" {
		return fmt.Errorf("say which Redis may be emptied: -redis 127.0.0.1:7001")
	}
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	fmt.Println("| Users | In Redis | A replica that starts reads | in | One user changes | 10 | 1,000 |")
	fmt.Println("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
	for _, n := range []int{1_000, 100_000, 1_000_000} {
		m, err := measure(ctx, client, n)
		if err != nil {
			return fmt.Errorf("%d users: %w", n, err)
		}
		fmt.Printf("| %s | %s | %s | %v | %s | %s | %s |\n", thousands(n), bytes(m.stored), bytes(m.read), m.took.Round(10*time.Millisecond),
			bytes(m.changes[0]), bytes(m.changes[1]), bytes(m.changes[2]))
	}
	return nil
}

// Sizes are what was measured of one list.
type sizes struct {
	stored, read int64
	took         time.Duration
	changes      [3]int64
}

func measure(ctx context.Context, client *redis.Client, n int) (m sizes, err error) {
	if err := client.FlushAll(ctx).Err(); err != nil {
		return m, err
	}
	empty, err := info(ctx, client, "memory", "used_memory_dataset")
	if err != nil {
		return m, err
	}
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	users := make([]rolegate.Record, n)
	for i := range users {
		users[i] = user(rng, int64(i))
	}
	source := rolegatetest.NewStatic(users...)
	leader, err := open(ctx, client, source)
	if err != nil {
		return m, err
	}
	defer leader.Close()
	if err := until(ctx, func() bool { return leader.Status().Cache.Stored > 0 }); err != nil {
		return m, err
	}
	full, err := info(ctx, client, "memory", "used_memory_dataset")
	if err != nil {
		return m, err
	}
	m.stored = full - empty

	before, err := info(ctx, client, "stats", "total_net_output_bytes")
	if err != nil {
		return m, err
	}
	begun := time.Now()
	follower, err := open(ctx, client, source)
	if err != nil {
		return m, err
	}
	defer follower.Close()
	m.took = time.Since(begun)
	after, err := info(ctx, client, "stats", "total_net_output_bytes")
	if err != nil {
		return m, err
	}
	m.read = after - before

	for i, k := range []int{1, 10, 1000} {
		changed := make([]rolegate.Record, k)
		for j := range changed {
			changed[j] = user(rng, int64(rng.IntN(n)))
		}
		source.Put(changed...)
		version := follower.Status().Replica.Version
		if err := leader.Refresh(ctx); err != nil {
			return m, err
		}
		if err := until(ctx, func() bool { return follower.Status().Replica.Version != version }); err != nil {
			return m, err
		}
		if m.changes[i], err = lastEntry(ctx, client); err != nil {
			return m, err
		}
	}
	return m, nil
}

// user is one of those that benchmarks/ has too: a long id, one to three grants
// in 2,000 organisations.
func user(rng *rand.Rand, i int64) rolegate.Record {
	r := rolegate.Record{UserID: 1_500_000_000_000_000_000 + i*7919}
	for range 1 + rng.IntN(3) {
		r.Grants = append(r.Grants, rolegate.Grant{OrgID: 1 + rng.Int64N(2000), RoleCode: fmt.Sprintf("role-%02d", rng.IntN(40))})
	}
	return r
}

func open(ctx context.Context, client *redis.Client, source rolegate.Source) (*rolegate.Gate, error) {
	return rolegate.Open(ctx, rolegate.Config{
		Source:   source,
		Identify: rolegate.ByUserID(rolegate.UserIDHeader("X-User-Id", rolegate.Loopback()...)),
		Cache:    rediscache.New(rediscache.Config{Client: client, Secret: "only to measure, in a Redis that is emptied"}),
		Logger:   slog.New(slog.DiscardHandler),
	})
}

func until(ctx context.Context, done func() bool) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func info(ctx context.Context, client *redis.Client, section, field string) (int64, error) {
	text, err := client.Info(ctx, section).Result()
	if err != nil {
		return 0, err
	}
	found := regexp.MustCompile(field + `:(\d+)`).FindStringSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("INFO has no %s", field)
	}
	return strconv.ParseInt(found[1], 10, 64)
}

// lastEntry is how many bytes the last entry of the log has.
func lastEntry(ctx context.Context, client *redis.Client) (n int64, err error) {
	keys, err := client.Keys(ctx, "*:log").Result()
	if err != nil || len(keys) != 1 {
		return 0, fmt.Errorf("there are %d logs: %w", len(keys), err)
	}
	entries, err := client.XRevRangeN(ctx, keys[0], "+", "-", 1).Result()
	if err != nil || len(entries) != 1 {
		return 0, fmt.Errorf("the log has %d entries: %w", len(entries), err)
	}
	for name, value := range entries[0].Values {
		n += int64(len(name) + len(fmt.Sprint(value)))
	}
	return n, nil
}

func bytes(n int64) string {
	switch {
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n >= 1e4:
		return fmt.Sprintf("%d kB", n/1000)
	}
	return thousands(int(n)) + " B"
}

func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
