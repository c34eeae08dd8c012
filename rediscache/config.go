package rediscache

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// A Config says which Redis is shared, and how.
type Config struct {
	// Client is the app's own: a *redis.Client, with or without Sentinel, or a
	// *redis.ClusterClient. At rest the Cache uses at most two of its connections, and
	// some more while it reads or writes a list. It does not close it.
	Client redis.UniversalClient

	// Secret keeps what is stored from being read or forged by whoever else
	// reaches that Redis. All replicas have the same one, of at least 32 bytes,
	// and nobody else has it. Make it with: openssl rand -base64 48
	Secret Secret

	// Prefix is what the names of all keys begin with. The default is
	// "rolegate". Lists that differ have different keys, whatever the prefix.
	Prefix string

	// Lease is how long the lease to refresh lasts without being renewed, and so how
	// long it takes until another replica refreshes in place of one that died: from
	// 1 s to 1 min. Zero is 10 s. Give all replicas the same.
	Lease time.Duration

	_ struct{} // keeps literals keyed
}

// A Secret prints and marshals as "[redacted]". Package fmt finds that out only
// for exported fields of a struct: do not keep it in an unexported one that is
// printed.
type Secret string

const redacted = "[redacted]"

// String returns "[redacted]".
func (Secret) String() string { return redacted }

// Format writes "[redacted]", whatever the verb.
func (Secret) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(redacted)) }

// LogValue returns "[redacted]".
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]", so that JSON, XML and YAML have nothing
// else.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

const (
	defaultPrefix = "rolegate"
	maxPrefix     = 128

	minSecret = 32

	defaultLease = 10 * time.Second
	minLease     = time.Second
	maxLease     = time.Minute
)

// Validate returns all that is wrong with the Config. rolegate.Open calls it,
// so that the app does not start with a cache that is of no use. It does not
// ask Redis: one that is away now may be back soon.
func (c *Cache) Validate() error {
	if c == nil || c.cfg == nil {
		return errors.New("rediscache: the Cache is nil or zero: make it with New")
	}
	cfg := c.cfg()
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf("rediscache: "+format, args...)) }
	if v := reflect.ValueOf(cfg.Client); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		wrong("Client is nil: give the app's redis.UniversalClient, such as redis.NewClient(&redis.Options{Addr: \"localhost:6379\"})")
	}
	if n := len(cfg.Secret); n < minSecret {
		wrong("Secret has %d bytes, which is less than %d: all replicas need the same one; make it with: openssl rand -base64 48", n, minSecret)
	}
	switch {
	case len(cfg.Prefix) > maxPrefix:
		wrong("Prefix has %d bytes, which is more than %d", len(cfg.Prefix), maxPrefix)
	case strings.ContainsAny(cfg.Prefix, "{}") || strings.IndexFunc(cfg.Prefix, func(r rune) bool { return r <= ' ' || r > '~' }) >= 0:
		wrong("Prefix %q may have only visible ASCII characters in it, and neither { nor }", cfg.Prefix)
	}
	if cfg.Lease < minLease || cfg.Lease > maxLease {
		wrong("Lease is %v: it must be from %v to %v, or zero for %v", cfg.Lease, minLease, maxLease, defaultLease)
	}
	return errors.Join(errs...)
}
