package bearer_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/bearer"
	"github.com/rolegate/rolegate/rolegatetest"

	"github.com/rolegate/rolegate/internal/logbook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// An issuer is a real one as far as tokens go: discovery, keys, signatures.
type issuer struct {
	url string

	mu        sync.Mutex
	published []any // what is in the key set
	fetches   int   // of the key set
	discovers int
	fault     http.HandlerFunc // answers in its place, nil if it is well
	keysFault http.HandlerFunc // likewise for the key set alone
	document  map[string]any   // what is different in the discovery document
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		i.discovers++
		if i.fault != nil {
			i.fault(w, r)
			return
		}
		document := map[string]any{
			"issuer": i.url, "jwks_uri": i.url + "/keys", "authorization_endpoint": i.url + "/auth", "token_endpoint": i.url + "/token",
			"id_token_signing_alg_values_supported": []string{"RS256", "HS256", "none"},
		}
		maps.Copy(document, i.document)
		_ = json.NewEncoder(w).Encode(document)
	case "/keys":
		i.fetches++
		switch {
		case i.fault != nil:
			i.fault(w, r)
		case i.keysFault != nil:
			i.keysFault(w, r)
		default:
			_ = json.NewEncoder(w).Encode(map[string]any{"keys": i.published})
		}
	default:
		http.NotFound(w, r)
	}
}

// publish makes these the issuer's keys.
func (i *issuer) publish(keys ...key) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.published = nil
	for _, k := range keys {
		i.published = append(i.published, jose.JSONWebKey{Key: k.signer.Public(), KeyID: k.id, Algorithm: string(k.algorithm), Use: "sig"})
	}
}

func (i *issuer) change(f func(*issuer)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f(i)
}

func (i *issuer) asked() (discovers, fetches int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.discovers, i.fetches
}

// claims are those of a good token, with some changed; a nil one is left out.
func (i *issuer) claims(change map[string]any) map[string]any {
	now := time.Now()
	all := map[string]any{
		"iss": i.url, "aud": audience, "sub": "4711", "exp": now.Add(time.Hour).Unix(), "iat": now.Unix(),
		"user": json.Number("1542135022016057346"), "account": "wangfang",
	}
	for name, value := range change {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	return all
}

const audience = "https://school.example.com/api"

// A key signs tokens.
type key struct {
	id        string
	algorithm jose.SignatureAlgorithm
	signer    crypto.Signer
}

// sign makes a token with that header besides alg and kid.
func (k key) sign(t testing.TB, claims any, header map[jose.HeaderKey]any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	require.NoError(t, err)
	return k.signBytes(t, payload, header)
}

func (k key) signBytes(t testing.TB, payload []byte, header map[jose.HeaderKey]any) string {
	t.Helper()
	options := &jose.SignerOptions{ExtraHeaders: header}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: k.algorithm, Key: jose.JSONWebKey{Key: k.signer, KeyID: k.id}}, options)
	require.NoError(t, err)
	jws, err := signer.Sign(payload)
	require.NoError(t, err)
	token, err := jws.CompactSerialize()
	require.NoError(t, err)
	return token
}

func newKey(id string) key {
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key{id, jose.ES256, signer}
}

var newRSA = sync.OnceValue(func() *rsa.PrivateKey {
	signer, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return signer
})

func newEd(id string) key {
	_, signer, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return key{id, jose.EdDSA, signer}
}

// start serves the issuer over TLS and returns a client that trusts it.
func (i *issuer) start(t testing.TB) *http.Client {
	t.Helper()
	server := httptest.NewTLSServer(i)
	t.Cleanup(server.Close)
	i.url = server.URL
	client := server.Client()
	t.Cleanup(client.CloseIdleConnections)
	return client
}

// inMemory is a client that reaches the issuer without a socket.
func (i *issuer) inMemory() *http.Client {
	i.url = "https://login.example.com"
	return &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		i.ServeHTTP(w, r)
		return w.Result(), nil
	})}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// An app is a gate behind which one user may enter, with what it logs.
type app struct {
	handler  http.Handler
	log      *logBook
	verifier *bearer.Verifier
}

func newApp(t testing.TB, cfg bearer.Config, identify func(*bearer.Verifier) rolegate.Identifier) app {
	t.Helper()
	log := &logBook{}
	cfg.Logger = log.logger()
	if cfg.Audience == "" {
		cfg.Audience = audience
	}
	v, err := bearer.New(cfg)
	require.NoError(t, err)
	if identify == nil {
		identify = func(v *bearer.Verifier) rolegate.Identifier { return v.ByUserID("user") }
	}
	gate, err := rolegate.Open(context.Background(), rolegate.Config{
		Source: rolegatetest.NewStatic(rolegate.Record{
			UserID: 1542135022016057346, Account: "wangfang", Email: "wang@example.com", ThirdAccount: "wf-0815", ThirdUserID: "4711",
		}),
		Identify: identify(v), Deny: bearer.Deny(nil), Logger: log.logger(), OnDeny: rolegate.OnDeny{Off: true},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, gate.Close()) })
	return app{log: log, verifier: v, handler: gate.Admit(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, _ := gate.UserFrom(r.Context())
		_, _ = io.WriteString(w, u.String())
	}))}
}

// ask sends a request with these Authorization headers.
func (a app) ask(authorization ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "/", nil)
	if authorization != nil {
		r.Header["Authorization"] = authorization
	}
	w := httptest.NewRecorder()
	a.handler.ServeHTTP(w, r)
	return w
}

// why is the word of the last token that was refused.
func (a app) why() string {
	return a.log.last("bearer: a token was refused", "why")
}

// A logBook collects log lines as JSON objects.
type logBook struct{ logbook.Book }

func (b *logBook) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(b, nil)) }

// last returns an attribute of the last line with that message.
func (b *logBook) last(msg, name string) (value string) {
	for line := range bytes.Lines([]byte(b.String())) {
		var entry map[string]any
		if json.Unmarshal(line, &entry) == nil && entry["msg"] == msg {
			value = fmt.Sprint(entry[name])
		}
	}
	return value
}

// public is a key as a key set has it.
func public(t testing.TB, k key, use string) []byte {
	t.Helper()
	text, err := json.Marshal(jose.JSONWebKey{Key: k.signer.Public(), KeyID: k.id, Use: use})
	require.NoError(t, err)
	return text
}
