// Command replicas is the app of the command example that shares its list with
// all that use the same Redis.
//
//	go run ./example/replicas -redis 127.0.0.1:6379
//
// What one of them has read of the marketplace counts for all. -redis also takes a
// URL: rediss://host:6379 by TLS, redis://sentinel:26379?master_name=mymaster behind
// Sentinel, redis://host:6379?addr=other:6379 of a cluster. By TLS, ROLEGATE_REDIS_CA is
// the file with who has signed the server's certificate, if the system does not trust it,
// and ROLEGATE_REDIS_CERT and ROLEGATE_REDIS_KEY are those of this replica's own.
// ROLEGATE_REDIS_SECRET is the secret that they have in common,
// ROLEGATE_REDIS_PASSWORD the password of that Redis if it has one, and
// ROLEGATE_REDIS_LEASE how long it takes until another one replaces the one that
// pulls, if that dies.
package main

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
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
	client, err := connect(addr, access{
		password: getenv("ROLEGATE_REDIS_PASSWORD"), ca: getenv("ROLEGATE_REDIS_CA"),
		certificate: getenv("ROLEGATE_REDIS_CERT"), key: getenv("ROLEGATE_REDIS_KEY"),
	})
	if err != nil {
		return nil, nil, err
	}
	return rediscache.New(rediscache.Config{Client: client, Secret: rediscache.Secret(secret), Lease: lease}), client.Close, nil
}

// errAddress does not have the URL in it, which may have a password.
var errAddress = errors.New("-redis: expected host:port, or a URL such as rediss://host:6379 or redis://sentinel:26379?master_name=mymaster")

// access is what a Redis may ask for: a password, and files for TLS. Each may be "".
type access struct{ password, ca, certificate, key string }

// tls returns what completes the settings of TLS, which are nil without it.
func (a access) tls() (complete func(*tls.Config), err error) {
	var trusted *x509.CertPool // nil: those that the system trusts
	if a.ca != "" {
		pem, err := os.ReadFile(a.ca)
		if err != nil {
			return nil, fmt.Errorf("ROLEGATE_REDIS_CA: %w", err)
		}
		if trusted = x509.NewCertPool(); !trusted.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ROLEGATE_REDIS_CA: %s has no certificate in it: expected PEM", a.ca)
		}
	}
	var own []tls.Certificate
	if a.certificate != "" || a.key != "" {
		pair, err := tls.LoadX509KeyPair(a.certificate, a.key)
		if err != nil {
			return nil, fmt.Errorf("ROLEGATE_REDIS_CERT and ROLEGATE_REDIS_KEY: expected two files in PEM that belong together: %w", err)
		}
		own = append(own, pair)
	}
	return func(cfg *tls.Config) {
		if cfg != nil {
			cfg.RootCAs, cfg.Certificates = trusted, own
		}
	}, nil
}

// connect returns a client of that Redis, and does not connect yet.
func connect(addr string, a access) (redis.UniversalClient, error) {
	if !strings.Contains(addr, "://") {
		addr = "redis://" + addr
	}
	u, err := url.Parse(addr)
	if err != nil || u.Port() == "" {
		return nil, errAddress
	}
	complete, err := a.tls()
	switch {
	case err != nil:
		return nil, err
	case u.Scheme != "rediss" && (a.ca != "" || a.certificate != "" || a.key != ""):
		return nil, errors.New("ROLEGATE_REDIS_CA, _CERT and _KEY are for TLS: expected -redis rediss://…")
	}
	switch q := u.Query(); {
	case q.Has("master_name"):
		o, err := redis.ParseFailoverURL(addr)
		if err != nil {
			return nil, errAddress
		}
		complete(o.TLSConfig)
		o.Password = cmp.Or(o.Password, a.password)
		return redis.NewFailoverClient(o), nil
	case q.Has("addr"):
		o, err := redis.ParseClusterURL(addr)
		if err != nil {
			return nil, errAddress
		}
		complete(o.TLSConfig)
		o.Password = cmp.Or(o.Password, a.password)
		o.ClusterStateReloadInterval = 5 * time.Second // see docs/replicas.md
		return redis.NewClusterClient(o), nil
	default:
		o, err := redis.ParseURL(addr)
		if err != nil {
			return nil, errAddress
		}
		complete(o.TLSConfig)
		o.Password = cmp.Or(o.Password, a.password)
		return redis.NewClient(o), nil
	}
}
