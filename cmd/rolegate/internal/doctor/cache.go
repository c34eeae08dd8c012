package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/rolegate/rolegate/filecache"
)

// cache tries where the list is kept.
func (d *doctor) cache(ctx context.Context) {
	switch c := d.file.Cache; {
	case c.File != "":
		d.cacheFile(c.File)
	case c.Redis != nil && !d.told["cache.redis.password"]:
		d.redis(ctx)
	}
}

func (d *doctor) cacheFile(name string) {
	if err := filecache.New(name).Validate(); err != nil {
		d.say("cache.file_wrong", strings.TrimPrefix(err.Error(), "filecache: "))
		return
	}
	folder := filepath.Dir(name)
	if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
		folder = filepath.Dir(folder) // where it will be made
	}
	if err := writable(folder); err != nil {
		d.say("cache.folder_closed", folder, reason(err))
		return
	}
	switch info, err := os.Stat(name); {
	case errors.Is(err, fs.ErrNotExist):
		d.say("cache.file_new", name)
	case err != nil:
		d.say("cache.file_wrong", err)
	default:
		d.say("cache.file", name, size(int(info.Size())), info.ModTime().UTC().Format(time.RFC3339))
	}
}

// writable tries a folder with an empty file, which it removes.
func writable(folder string) error {
	f, err := os.CreateTemp(folder, ".rolegate-doctor-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// oldestRedis is what rediscache needs.
var oldestRedis = [2]int{6, 2}

// redis tries the Redis that replicas share. Its own errors are not shown: some
// name the user.
func (d *doctor) redis(ctx context.Context) {
	r := d.file.Cache.Redis
	cfg, err := r.TLS.Config()
	client, err2 := r.Client()
	if err != nil || err2 != nil {
		return // settings has said so
	}
	defer client.Close()
	ctx, cancel := aside(ctx)
	defer cancel()
	where := strings.Join(r.Addresses(), ", ")
	if !r.TLS.On && r.Password != nil && slices.ContainsFunc(r.Addresses(), func(address string) bool {
		host, _, _ := net.SplitHostPort(address)
		return !isLoopback(host)
	}) {
		d.say("cache.redis_plain", where)
	}
	// First without the client, which tries for seconds, and logs each time. One of
	// several servers is enough.
	for _, address := range r.Addresses() {
		if err = dial(ctx, address, cfg); err == nil {
			break
		}
	}
	if err != nil {
		d.say("cache.redis_away", where, inner(err))
		return
	}
	if err := client.Ping(ctx).Err(); err != nil {
		d.redisFailed(where, err)
		return
	}
	version := redisVersion(ctx, client)
	switch {
	case version == "":
		d.say("cache.redis_some", where)
	case !atLeast(version, oldestRedis):
		d.say("cache.redis_old", where, version)
	default:
		d.say("cache.redis", where, version)
	}
	before := d.Now()
	now, err := client.Time(ctx).Result()
	if err != nil {
		d.redisFailed(where, err)
		return
	}
	if skew := now.Sub(before).Abs(); skew > time.Minute+d.Now().Sub(before) {
		d.say("cache.redis_clock", where, duration(skew.Truncate(time.Second)))
	}
	// A script that reads one key that is never there: what the gate does,
	// without changing anything.
	prefix := r.Prefix
	if prefix == "" {
		prefix = "rolegate"
	}
	err = client.Eval(ctx, `return redis.call("HMGET", KEYS[1], "doctor")`, []string{prefix + ":{doctor}:state"}).Err()
	if err != nil && !errors.Is(err, redis.Nil) {
		d.redisFailed(where, err)
	}
}

// dial connects, by TLS if there is a config for it.
func dial(ctx context.Context, address string, cfg *tls.Config) error {
	var dialer interface {
		DialContext(ctx context.Context, network, address string) (net.Conn, error)
	} = new(net.Dialer)
	if cfg != nil {
		dialer = &tls.Dialer{Config: cfg}
	}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

func (d *doctor) redisFailed(where string, err error) {
	text := err.Error()
	var server redis.Error
	switch {
	case strings.HasPrefix(text, "NOAUTH"), strings.HasPrefix(text, "WRONGPASS"), strings.HasPrefix(text, "ERR AUTH"),
		strings.Contains(text, "invalid password"):
		d.say("cache.redis_password", where)
	case strings.Contains(text, "NOPERM"):
		d.say("cache.redis_rights", where)
	case errors.As(err, &server):
		word, _, _ := strings.Cut(text, " ")
		d.say("cache.redis_error", where, word)
	default:
		d.say("cache.redis_away", where, inner(err))
	}
}

// redisVersion is "" if the server does not tell: some services forbid INFO.
func redisVersion(ctx context.Context, client redis.UniversalClient) string {
	info, _ := client.Info(ctx, "server").Result()
	for line := range strings.SplitSeq(info, "\n") {
		if version, ok := strings.CutPrefix(strings.TrimSpace(line), "redis_version:"); ok {
			return version
		}
	}
	return ""
}

func atLeast(version string, least [2]int) bool {
	parts := append(strings.Split(version, "."), "0")
	major, err := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	return err == nil && err2 == nil && (major > least[0] || major == least[0] && minor >= least[1])
}
