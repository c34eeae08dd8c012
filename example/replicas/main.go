// Command replicas is the app of the command example that shares its list with
// all that use the same Redis.
//
//	go run ./example/replicas -redis 127.0.0.1:6379
//
// What one of them has read of the marketplace counts for all.
// ROLEGATE_REDIS_SECRET is the secret that they have in common,
// ROLEGATE_REDIS_PASSWORD the password of that Redis if it has one, and
// ROLEGATE_REDIS_LEASE how long it takes until another one replaces the one that
// pulls, if that dies.
package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/example/internal/school"
	"github.com/rolegate/rolegate/rediscache"
)

func main() { school.Main("replicas", share) }

// demoSecret is for the fake marketplace alone.
const demoSecret = "not a secret: the list of the fake marketplace"

func share(addr string, real bool, getenv func(string) string) (rolegate.Cache, func() error, error) {
	secret := getenv("ROLEGATE_REDIS_SECRET")
	switch {
	case secret == "" && real:
		return nil, nil, errors.New("set ROLEGATE_REDIS_SECRET, the same for all replicas, and no one else's; make it with: openssl rand -base64 48")
	case secret == "":
		secret = demoSecret
	}
	var lease time.Duration
	if text := getenv("ROLEGATE_REDIS_LEASE"); text != "" {
		var err error
		if lease, err = time.ParseDuration(text); err != nil || lease <= 0 {
			return nil, nil, fmt.Errorf("ROLEGATE_REDIS_LEASE=%q: expected a duration, such as 15s", text)
		}
	}
	client := redis.NewClient(&redis.Options{Addr: addr, Password: getenv("ROLEGATE_REDIS_PASSWORD")})
	return rediscache.New(rediscache.Config{Client: client, Secret: rediscache.Secret(secret), Lease: lease}), client.Close, nil
}
