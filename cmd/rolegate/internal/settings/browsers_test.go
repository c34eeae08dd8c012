package settings_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
	"github.com/rolegate/rolegate/forwardauth"
	"github.com/rolegate/rolegate/rolegatetest"
)

const proxied = least + "identity: [{is: user_id, header: X-A, trusted: loopback}]\nforward_auth:\n  listen: ':1'\n  proxy: nginx\n  trusted: loopback\n"

// What browsers need of a server: a login page, preflights, and names of files.
func TestForwardAuthForBrowsers(t *testing.T) {
	t.Parallel()
	gate, err := rolegate.Open(t.Context(), rolegate.Config{
		Source:   rolegatetest.NewStatic(rolegate.Record{UserID: 1}),
		Identify: rolegate.ByUserID(func(*http.Request) (int64, error) { return 0, rolegate.ErrNobody }),
		Logger:   slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, gate.Close()) })
	f := parse(t, proxied+"  login_url: /login\n  return_param: next\n  rules:\n    - {route: /, admit: true}\n"+
		"    - {route: '/files/{name}', admit: true, encoded: '%#'}\n    - {route: /api/, preflight: true}\n")
	h, err := f.ForwardAuth.Handler(gate, nil, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	rules := h.Rules()
	require.Len(t, rules, 3)
	assert.Equal(t, "%#", rules[1].Encoded)
	assert.Nil(t, rules[2].Policy)
	w := asNginx(h, "/grades", "Accept", "text/html")
	assert.Equal(t, http.StatusUnauthorized, w.Code)
	assert.Equal(t, "/login?next=%2Fgrades", w.Header().Get(forwardauth.LoginHeader))

	for rule, want := range map[string]string{
		"{route: /api/, preflight: true, admit: true}":   "preflight: true alone",
		"{route: /api/, preflight: true, encoded: '%'}":  "preflight: true alone",
		"{route: /api/, preflight: true, any_role: [a]}": "preflight: true alone",
		"{route: 'OPTIONS /api/', preflight: true}":      "without a method",
		"{route: /files/, admit: true, encoded: 'x'}":    "expected some of",
		"{route: 'Admin.example/', admit: true}":         "can match no request",
		"{route: 'post /a', any_role: [a]}":              "can match no request",
	} {
		f := parse(t, proxied+"  rules: ["+rule+"]\n")
		_, err := f.ForwardAuth.Handler(gate, nil, slog.New(slog.DiscardHandler))
		assert.ErrorContains(t, err, want, rule)
	}
}

// asNginx asks the gate about a GET as nginx does, with a header of the client's.
func asNginx(h http.Handler, uri, header, value string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = "127.0.0.1:1"
	for name, value := range map[string]string{"X-Original-Method": "GET", "X-Original-Host": "a", "X-Original-Uri": uri, header: value} {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestForwardAuthListensOnAUnixSocket(t *testing.T) {
	t.Parallel()
	const rest = "\n  proxy: nginx\n  trusted: unix\n  rules: [{route: /, admit: true}]\n"
	_, err := settings.Parse([]byte(least + "identity: [{is: user_id, header: X-A, trusted: unix}]\nforward_auth:\n  listen: unix:/run/rolegate/proxy.sock" + rest))
	assert.NoError(t, err)
	for _, bad := range []string{"unix:proxy.sock", "unix:"} {
		_, err := settings.Parse([]byte(least + "identity: [{is: user_id, header: X-A, trusted: unix}]\nforward_auth:\n  listen: '" + bad + "'" + rest))
		assert.ErrorContains(t, err, "forward_auth.listen", bad)
	}
}

// Where a token is, and what signs it, in the words of the file.
func TestTokensOfTheFile(t *testing.T) {
	t.Parallel()
	id := withSecret(t) + "identity: [{is: user_id, issuer: login, audience: app, claim: sub"
	f := parse(t, id+`, hmac_secret: {file: "`+secretFile(t, strings.Repeat("s", 32))+`"}, token_cookie: token, token_header: Blade-Auth, token_subprotocol: bearer}]`+"\n"+
		"forward_auth:\n  listen: ':1'\n  proxy: nginx\n  trusted: loopback\n  rules: [{route: /, admit: true}]\n")
	assert.Len(t, f.GateSecrets(), 1)
	cfg, release, err := f.Gate(discard)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, release()) })
	assert.NotNil(t, cfg.Identify)
	for text, want := range map[string]string{
		`, hmac_secret: {file: "` + secretFile(t, "short") + `"}}]`: "at least 32",
		`, token_header: "a b"}]`:                                   "token_header",
		`}]`:                                                        "Issuer",
	} {
		_, err := settings.Parse([]byte(id + text + "\n"))
		if err == nil {
			_, _, err = parse(t, id+text+"\n").Gate(discard)
		}
		assert.ErrorContains(t, err, want, text)
	}
	_, err = settings.Parse([]byte(least + "identity: [{is: user_id, header: X-A, trusted: loopback, token_cookie: a}]\n"))
	assert.ErrorContains(t, err, "go with issuer")
}

// The proxy's subrequest is admitted by a token in each of the places that the file
// names, whether a secret or the keys at a URL verify it.
func TestTokensAreReadWhereTheFileSays(t *testing.T) {
	t.Parallel()
	secret := strings.Repeat("s", 32)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		assert.NoError(t, json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Algorithm: "ES256", Use: "sig"}}}))
	}))
	t.Cleanup(keys.Close)
	for name, c := range map[string]struct {
		verify, issuer string
		key            jose.SigningKey
	}{
		"by a secret":       {`hmac_secret: {file: "` + secretFile(t, secret) + `"}`, "login", jose.SigningKey{Algorithm: jose.HS256, Key: []byte(secret)}},
		"by keys elsewhere": {`keys_url: "` + keys.URL + `"`, "https://login.example", jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := parse(t, withSecret(t)+"identity: [{is: user_id, issuer: '"+c.issuer+"', audience: app, audience_claim: client_id, claim: sub, "+c.verify+
				", token_cookie: token, token_header: Blade-Auth, token_subprotocol: bearer}]\n"+
				"forward_auth:\n  listen: ':1'\n  proxy: nginx\n  trusted: loopback\n  rules: [{route: /, admit: true}]\n")
			cfg, release, err := f.Gate(discard)
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, release()) })
			cfg.Source, cfg.Cache = rolegatetest.NewStatic(rolegate.Record{UserID: 1}), nil
			gate, err := rolegate.Open(t.Context(), cfg)
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, gate.Close()) })
			h, err := f.ForwardAuth.Handler(gate, f.Identity, discard)
			require.NoError(t, err)
			token := func(audience string) string {
				signer, err := jose.NewSigner(c.key, nil)
				require.NoError(t, err)
				claims := map[string]any{"iss": c.issuer, "client_id": audience, "sub": "1", "exp": time.Now().Add(time.Hour).Unix()}
				text, err := jwt.Signed(signer).Claims(claims).Serialize()
				require.NoError(t, err)
				return text
			}
			for _, place := range []struct {
				header, before string
				audience       string
				want           int
			}{
				{"Authorization", "Bearer ", "app", http.StatusOK},
				{"Cookie", "token=", "app", http.StatusOK},
				{"Blade-Auth", "bearer ", "app", http.StatusOK},
				{"Sec-WebSocket-Protocol", "bearer, ", "app", http.StatusOK},
				{"Authorization", "Bearer ", "another app", http.StatusUnauthorized},
				{"Cookie", "session=", "app", http.StatusUnauthorized},
				{"X-Token", "bearer ", "app", http.StatusUnauthorized},
				{"Sec-WebSocket-Protocol", "graphql, ", "app", http.StatusUnauthorized},
			} {
				w := asNginx(h, "/", place.header, place.before+token(place.audience))
				assert.Equal(t, place.want, w.Code, "%s: %s", place.header, place.before)
			}
		})
	}
}

func TestConsoleBehindAProxy(t *testing.T) {
	t.Parallel()
	const admin = least + "identity: [{is: user_id, header: X-A, trusted: loopback}]\nadmin:\n  listen: ':1'\n"
	f := parse(t, admin+"  console: {any_role: [a]}\n  trusted_origins: ['https://ops.example']\n  console_path: /x/console\n")
	assert.Equal(t, []string{"https://ops.example"}, f.Admin.TrustedOrigins)
	for text, want := range map[string]string{
		"  console: {any_role: [a]}\n  trusted_origins: ['ops.example']\n":           "admin.trusted_origins[0]",
		"  console: {any_role: [a]}\n  trusted_origins: ['https://ops.example/a']\n": "admin.trusted_origins[0]",
		"  console: {any_role: [a]}\n  console_path: console\n":                      "admin.console_path",
		"  console_path: /console\n":                                                 "go with console",
	} {
		_, err := settings.Parse([]byte(admin + text))
		assert.ErrorContains(t, err, want, text)
	}
}
