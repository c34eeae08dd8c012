package settings

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"go.yaml.in/yaml/v4"
)

// A Redis is where replicas share one list: one server, the one that Sentinels name,
// or a cluster.
type Redis struct {
	Address  string    `yaml:"address"`
	Sentinel *Sentinel `yaml:"sentinel"`
	Cluster  []string  `yaml:"cluster"` // addresses of some of its servers

	Username string   `yaml:"username"`
	Password *Secret  `yaml:"password"`
	Database int      `yaml:"database"`
	TLS      RedisTLS `yaml:"tls"`
	Secret   Secret   `yaml:"secret"`
	Prefix   string   `yaml:"prefix"`
	Lease    Duration `yaml:"lease"`
}

// A Sentinel says which server the replicas' Redis is at the moment.
type Sentinel struct {
	Master    string   `yaml:"master"`
	Addresses []string `yaml:"addresses"`
	Username  string   `yaml:"username"`
	Password  *Secret  `yaml:"password"`
}

// RedisTLS is how connections to Redis, and to its Sentinels, are encrypted: true or
// false, or the files that it takes.
type RedisTLS struct {
	On bool

	CA               string // who has signed the server's certificate; "" for those that the system trusts
	Certificate, Key string // this client's; they are read for each connection, so that they may be renewed
	ServerName       string // in the server's certificate; "" for the host of the address
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (t *RedisTLS) UnmarshalYAML(n *yaml.Node) error {
	const expected = "expected true, or {ca: PATH, certificate: PATH, key: PATH, server_name: NAME}, with what is needed of these"
	n = resolved(n)
	if n.Kind == yaml.ScalarNode {
		if err := n.Decode(&t.On); err != nil {
			return at(n, expected)
		}
		return nil
	}
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		return at(n, expected)
	}
	t.On = true
	keys := map[string]*string{"ca": &t.CA, "certificate": &t.Certificate, "key": &t.Key, "server_name": &t.ServerName}
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], resolved(n.Content[i+1])
		field := keys[key.Value]
		if field == nil || value.Kind != yaml.ScalarNode || strings.TrimSpace(value.Value) == "" {
			return at(n, expected)
		}
		*field = value.Value
	}
	if (t.Certificate == "") != (t.Key == "") {
		return at(n, "expected certificate and key, or neither")
	}
	return nil
}

// Config returns the config of a TLS client, nil without TLS.
func (t *RedisTLS) Config() (*tls.Config, error) {
	if !t.On {
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		if cfg.RootCAs = x509.NewCertPool(); !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca: %s has no certificate in it: expected PEM", t.CA)
		}
	}
	if t.Certificate != "" {
		load := func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(t.Certificate, t.Key)
			return &pair, err
		}
		if _, err := load(); err != nil {
			return nil, fmt.Errorf("certificate: %w", err)
		}
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	return cfg, nil
}

// Addresses are those of the server, of the Sentinels, or of the cluster.
func (r *Redis) Addresses() []string {
	switch {
	case r.Sentinel != nil:
		return r.Sentinel.Addresses
	case len(r.Cluster) > 0:
		return r.Cluster
	}
	return []string{r.Address}
}

// check looks for what no parser sees.
func (r *Redis) check(wrong func(place, format string, args ...any)) {
	ways := 0
	for _, is := range []bool{r.Address != "", r.Sentinel != nil, len(r.Cluster) > 0} {
		if is {
			ways++
		}
	}
	if ways > 1 {
		wrong("cache.redis", "expected one of address, sentinel and cluster")
		return
	}
	place := "cache.redis.address"
	switch s := r.Sentinel; {
	case s != nil:
		place = "cache.redis.sentinel.addresses"
		if s.Master == "" {
			wrong("cache.redis.sentinel.master", "expected the name by which the Sentinels know it, such as mymaster")
		}
		if len(s.Addresses) == 0 {
			wrong(place, "expected a list of host:port")
		}
	case len(r.Cluster) > 0:
		place = "cache.redis.cluster"
		if r.Database != 0 {
			wrong("cache.redis.database", "expected 0: a cluster has no other")
		}
	}
	for _, address := range r.Addresses() {
		if port, ok := portOf(address); !ok || strings.HasPrefix(address, ":") || port == "0" {
			wrong(place, "expected host:port")
			break
		}
	}
	if r.Secret.IsZero() {
		wrong("cache.redis.secret", "expected {env: NAME} or {file: PATH} of a secret that all replicas have; make it with: openssl rand -base64 48")
	}
}

// slotsReload is how often it is looked up which server of a cluster has the list.
// go-redis does so once a minute, unless something fails.
const slotsReload = 5 * time.Second

// Client returns a client of that Redis, and does not connect yet.
func (r *Redis) Client() (redis.UniversalClient, error) {
	var errs []error
	read := func(place string, s *Secret) (text string) {
		if s != nil {
			var err error
			if text, err = s.Read(); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", place, err))
			}
		}
		return text
	}
	o := redis.UniversalOptions{
		Addrs: r.Addresses(), Username: r.Username, Password: read("cache.redis.password", r.Password), DB: r.Database,
	}
	if s := r.Sentinel; s != nil {
		o.MasterName, o.SentinelUsername, o.SentinelPassword = s.Master, s.Username, read("cache.redis.sentinel.password", s.Password)
	}
	var err error
	if o.TLSConfig, err = r.TLS.Config(); err != nil {
		errs = append(errs, fmt.Errorf("cache.redis.tls.%w", err))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	switch {
	case r.Sentinel != nil:
		return redis.NewFailoverClient(o.Failover()), nil
	case len(r.Cluster) > 0:
		cluster := o.Cluster()
		cluster.ClusterStateReloadInterval = slotsReload
		return redis.NewClusterClient(cluster), nil
	}
	return redis.NewClient(o.Simple()), nil
}
