package bearer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// maxAnswer is how large an answer of the issuer may be.
const maxAnswer = 1 << 20

// fetchTimeout is how long discovery and keys may take together. A fetch belongs
// to no request: those who wait for it may leave.
const fetchTimeout = 15 * time.Second

var errUnknownKey = errors.New("no key of the issuer's made the signature")

// A noKeysError says that whether a token is good cannot be told. rolegate answers
// 503 for its RetryAfter.
type noKeysError struct{ wait time.Duration }

func (noKeysError) Error() string               { return "the issuer's keys cannot be had" }
func (e noKeysError) RetryAfter() time.Duration { return e.wait }

// keys is the issuer's key set, an oidc.KeySet.
type keys struct {
	issuer           string
	url              string // of the key set; "": the discovery document says
	client           *http.Client
	log              *slog.Logger
	algorithms       []jose.SignatureAlgorithm
	min, every, last time.Duration

	mu      sync.Mutex
	set     []jose.JSONWebKey
	since   time.Time // start of the fetch that set is of
	tried   time.Time // start of the last fetch
	err     error     // of the last fetch that ended
	running chan struct{}
}

func newKeys(cfg Config) *keys {
	client := *cfg.Client
	transport := client.Transport
	if transport == nil {
		transport = http.DefaultTransport
	}
	client.Transport = capped{transport}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client.Jar = nil
	k := &keys{
		issuer: cfg.Issuer, url: cfg.KeysURL, client: &client, log: cfg.Logger,
		min: cfg.KeysMin, every: cfg.KeysEvery, last: cfg.KeysExpire,
	}
	for _, name := range cfg.Algorithms {
		k.algorithms = append(k.algorithms, jose.SignatureAlgorithm(name))
	}
	return k
}

// VerifySignature implements oidc.KeySet. Its error wraps errUnknownKey if the
// signature is bad, a noKeysError if that cannot be told, or is ctx's.
func (k *keys) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(token, k.algorithms)
	if err != nil {
		return nil, errUnknownKey
	}
	set, have := k.current()
	payload, named := verify(jws, set)
	if payload != nil || named {
		return payload, orUnknown(payload)
	}
	// The key is not known: perhaps it is new.
	if set, err = k.fetched(ctx, have); err != nil {
		return nil, err
	}
	payload, _ = verify(jws, set)
	return payload, orUnknown(payload)
}

func orUnknown(payload []byte) error {
	if payload == nil {
		return errUnknownKey
	}
	return nil
}

// verify returns the payload if one of the keys has signed it, and whether there
// is one of the name that the token gives. A token without a name is tried with
// each.
func verify(jws *jose.JSONWebSignature, set []jose.JSONWebKey) (payload []byte, named bool) {
	header := jws.Signatures[0].Header
	for i := range set {
		key := &set[i]
		if header.KeyID != "" && key.KeyID != header.KeyID || key.Algorithm != "" && key.Algorithm != header.Algorithm {
			continue
		}
		named = named || header.KeyID != ""
		if payload, err := jws.Verify(key); err == nil {
			return payload, true
		}
	}
	return nil, named
}

// current returns the keys that may be used, and since when they are known. If
// they are not young any more, new ones are fetched meanwhile.
func (k *keys) current() ([]jose.JSONWebKey, time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	age := since(k.since)
	if k.since.IsZero() || age > k.last {
		return nil, time.Time{}
	}
	if age > k.every {
		k.start()
	}
	return k.set, k.since
}

// since is how long ago something was, by the clock, monotonic or wall, that says
// longer: a machine that has slept has old keys.
func since(t time.Time) time.Duration {
	return max(time.Since(t), time.Now().Round(0).Sub(t.Round(0)))
}

// start begins a fetch, unless one is running or the last one was a moment ago.
// k.mu is held.
func (k *keys) start() {
	if k.running != nil || !k.tried.IsZero() && since(k.tried) < k.min {
		return
	}
	k.tried = time.Now()
	k.running = make(chan struct{})
	go k.fetch(k.tried, k.running)
}

// fetched returns keys that are newer than those of have: it starts a fetch and
// waits for it, or for the one that is running. If it is too soon for another,
// what the last one came to holds.
func (k *keys) fetched(ctx context.Context, have time.Time) ([]jose.JSONWebKey, error) {
	k.mu.Lock()
	if k.since.Equal(have) || since(k.since) > k.last { // else somebody has fetched meanwhile
		k.start()
	}
	running := k.running
	k.mu.Unlock()
	if running != nil {
		select {
		case <-running:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err != nil || k.since.IsZero() || since(k.since) > k.last {
		return nil, noKeysError{k.min - since(k.tried)}
	}
	return k.set, nil
}

// fetch gets the keys. It always ends within fetchTimeout.
func (k *keys) fetch(started time.Time, done chan struct{}) {
	defer close(done)
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	set, err := k.getSafely(ctx)
	if err != nil {
		k.log.Error("bearer: the issuer's keys could not be fetched", "issuer", k.issuer, "err", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.running, k.err = nil, err
	if err == nil {
		k.set, k.since = set, started
	}
}

// getSafely is get, for a transport of the app's that panics.
func (k *keys) getSafely(ctx context.Context) (set []jose.JSONWebKey, err error) {
	defer func() {
		if v := recover(); v != nil {
			set, err = nil, fmt.Errorf("the transport panicked with a %T", v)
		}
	}()
	return k.get(ctx)
}

// discover asks the issuer where its keys are.
func (k *keys) discover(ctx context.Context) (string, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, k.client), k.issuer)
	if err != nil {
		return "", fmt.Errorf("discovery: %w", tersely(err))
	}
	var found struct {
		URL string `json:"jwks_uri"`
	}
	if err := provider.Claims(&found); err != nil {
		return "", errors.New("discovery: the document has no jwks_uri")
	}
	if err := checkURL(found.URL); err != nil {
		return "", fmt.Errorf("jwks_uri: %w", err)
	}
	return found.URL, nil
}

// get asks the issuer where its keys are, and then for them: the answer to the
// first may change.
func (k *keys) get(ctx context.Context) ([]jose.JSONWebKey, error) {
	url, err := k.url, error(nil)
	if url == "" {
		if url, err = k.discover(ctx); err != nil {
			return nil, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, errors.New("jwks_uri: it is not a URL")
	}
	r.Header.Set("Cache-Control", "no-cache")
	answer, err := k.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("keys: status %d", answer.StatusCode)
	}
	var document struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&document); err != nil {
		return nil, errors.New("keys: the answer is no key set")
	}
	var set []jose.JSONWebKey
	for _, raw := range document.Keys {
		var key jose.JSONWebKey
		// What is not understood, is secret or not for signatures is passed over
		// (RFC 7517 §5).
		if json.Unmarshal(raw, &key) == nil && key.Valid() && key.IsPublic() && key.Use != "enc" {
			set = append(set, key)
		}
	}
	if len(set) == 0 {
		return nil, errors.New("keys: none of them can be used")
	}
	return set, nil
}

// tersely keeps an answer's text out of the log: go-oidc puts it into its errors.
func tersely(err error) error {
	var mismatch *oidc.IssuerMismatchError
	var network interface{ Timeout() bool }
	switch {
	case errors.As(err, &mismatch):
		return errors.New("the document is of another issuer: Config.Issuer must be what it says, byte for byte")
	case errors.As(err, &network):
		return err
	default:
		return errors.New("the answer is not a discovery document")
	}
}

// capped cuts off answers that are too large.
type capped struct{ http.RoundTripper }

func (c capped) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := c.RoundTripper.RoundTrip(r)
	if err == nil {
		answer.Body = struct {
			io.Reader
			io.Closer
		}{&capReader{r: answer.Body, left: maxAnswer}, answer.Body}
	}
	return answer, err
}

// A capReader fails where an io.LimitReader would look complete.
type capReader struct {
	r    io.Reader
	left int
}

func (c *capReader) Read(p []byte) (int, error) {
	if len(p) > c.left+1 {
		p = p[:c.left+1]
	}
	n, err := c.r.Read(p)
	if c.left -= n; c.left < 0 {
		return 0, errors.New("the answer is too large")
	}
	return n, err
}
