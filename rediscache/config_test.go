package rediscache_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rediscache"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{})
	t.Cleanup(func() { _ = client.Close() })
	var none *redis.Client
	for name, tt := range map[string]struct {
		cfg  rediscache.Config
		want []string
	}{
		"good":             {rediscache.Config{Client: client, Secret: secret}, nil},
		"good, with all":   {rediscache.Config{Client: client, Secret: secret, Prefix: "school:a", Lease: time.Minute}, nil},
		"zero":             {rediscache.Config{}, []string{"Client is nil", "Secret is empty", "openssl rand"}},
		"a nil client":     {rediscache.Config{Client: none, Secret: secret}, []string{"Client is nil"}},
		"a short secret":   {rediscache.Config{Client: client, Secret: "short"}, []string{"Secret has 5 bytes, which is less than 32", "openssl rand"}},
		"braces":           {rediscache.Config{Client: client, Secret: secret, Prefix: "a{b"}, []string{`Prefix "a{b"`}},
		"a blank":          {rediscache.Config{Client: client, Secret: secret, Prefix: "a b"}, []string{"visible ASCII"}},
		"a long prefix":    {rediscache.Config{Client: client, Secret: secret, Prefix: strings.Repeat("a", 129)}, []string{"129 bytes"}},
		"a short lease":    {rediscache.Config{Client: client, Secret: secret, Lease: time.Millisecond}, []string{"Lease is 1ms", "1s to 1m0s"}},
		"a long lease":     {rediscache.Config{Client: client, Secret: secret, Lease: time.Hour}, []string{"Lease is 1h0m0s"}},
		"a negative lease": {rediscache.Config{Client: client, Secret: secret, Lease: -1}, []string{"Lease is -1ns"}},
		"everything":       {rediscache.Config{Secret: "short", Prefix: "{", Lease: 1}, []string{"Client", "Secret", "Prefix", "Lease"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := rediscache.New(tt.cfg)
			err := c.Validate()
			if tt.want == nil {
				require.NoError(t, err)
				return
			}
			for _, want := range tt.want {
				require.ErrorContains(t, err, want)
			}
			require.NotContains(t, err.Error(), "short\"")
			require.Equal(t, err, c.Join(list))
		})
	}
	require.ErrorContains(t, (*rediscache.Cache)(nil).Validate(), "make it with New")
	require.ErrorContains(t, new(rediscache.Cache).Validate(), "make it with New")
}

// Before Join, everything is an error, and nothing a panic.
func TestNotJoined(t *testing.T) {
	t.Parallel()
	s := startMini(t)
	joined := rediscache.New(rediscache.Config{Client: s.client(t), Secret: secret})
	require.ErrorContains(t, joined.Join(""), "CacheKey")
	require.NoError(t, joined.Join(list))
	require.ErrorContains(t, joined.Join(list), "one gate")
	for name, c := range map[string]*rediscache.Cache{
		"nil": nil, "zero": {}, "new": rediscache.New(rediscache.Config{Client: s.client(t), Secret: secret}),
	} {
		t.Run(name, func(t *testing.T) {
			for what, call := range map[string]func(context.Context) error{
				"time":    func(ctx context.Context) error { _, err := c.Time(ctx); return err },
				"lease":   func(ctx context.Context) error { _, err := c.Lease(ctx, true, 0); return err },
				"release": func(ctx context.Context) error { return c.Release(ctx) },
				"publish": func(ctx context.Context) error {
					_, err := c.Publish(ctx, 1, rolegate.Version{}, text("", ""))
					return err
				},
				"follow": func(ctx context.Context) error { _, err := c.Follow(ctx, rolegate.Version{}); return err },
				"ask":    func(ctx context.Context) error { return c.Ask(ctx, nil) },
				"asked":  func(ctx context.Context) error { _, err := c.Asked(ctx, ""); return err },
				"load":   func(ctx context.Context) error { _, err := c.Load(ctx); return err },
				"store":  func(ctx context.Context) error { return c.Store(ctx, func(io.Writer) error { return nil }) },
			} {
				require.ErrorContains(t, call(soon(t)), "Join has not been called", what)
			}
		})
	}
}

func TestSecretIsNotTold(t *testing.T) {
	t.Parallel()
	s := startMini(t)
	cfg := rediscache.Config{Client: s.client(t), Secret: secret}
	cache := s.replica(t)
	var all bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&all, verb+"\n", cfg.Secret)
		fmt.Fprintf(&all, verb+"\n", cfg)
		fmt.Fprintf(&all, verb+"\n", cache)
	}
	log := slog.New(slog.NewJSONHandler(&all, nil))
	log.Info("x", "secret", cfg.Secret, "cache", cache)
	slog.New(slog.NewTextHandler(&all, nil)).Info("x", "secret", cfg.Secret, "cache", cache)
	b, err := json.Marshal(map[string]any{"secret": cfg.Secret})
	require.NoError(t, err)
	all.Write(b)
	require.Contains(t, all.String(), "[redacted]")
	require.NotContains(t, all.String(), secret)
	require.NotContains(t, strings.ToLower(all.String()), fmt.Sprintf("%x", secret))
}

// Two lists, or two prefixes, on one Redis know nothing of each other.
func TestApart(t *testing.T) {
	t.Parallel()
	onEach(t, servers, func(t *testing.T, s *server) {
		a := s.replica(t)
		other := rediscache.New(rediscache.Config{Client: s.client(t), Secret: secret})
		require.NoError(t, other.Join("https://marketplace.example|production|app-2"))
		prefix := s.replica(t, func(cfg *rediscache.Config) { cfg.Prefix = "another" })
		va := publish(t, a, lead(t, a, 0), rolegate.Version{}, "", "a")
		vo := publish(t, other, lead(t, other, 0), rolegate.Version{}, "", "other")
		vp := publish(t, prefix, lead(t, prefix, 0), rolegate.Version{}, "", "prefix")
		require.Equal(t, "a", catchUp(t, a, va))
		require.Equal(t, "other", catchUp(t, other, vo))
		require.Equal(t, "prefix", catchUp(t, prefix, vp))
	})
}
