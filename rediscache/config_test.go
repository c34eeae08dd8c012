package rediscache_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

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
		"zero":             {rediscache.Config{}, []string{"Client is nil", "Secret has 0 bytes", "openssl rand"}},
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
			_, _, joined := c.Join(list)
			require.Equal(t, err, joined)
		})
	}
	require.ErrorContains(t, (*rediscache.Cache)(nil).Validate(), "make it with New")
	require.ErrorContains(t, new(rediscache.Cache).Validate(), "make it with New")
}

func TestSecretIsNotTold(t *testing.T) {
	t.Parallel()
	cfg := rediscache.Config{Client: newClient(t, miniredis.RunT(t).Addr()), Secret: secret}
	cache := rediscache.New(cfg)
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
