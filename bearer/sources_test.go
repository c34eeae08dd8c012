package bearer_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/bearer"
)

// Claims that differ by case alone are one for a decoder that folds it, of which
// the last wins.
func TestClaimsThatDifferByCase(t *testing.T) {
	t.Parallel()
	k := newKey("k")
	i := &issuer{}
	client := i.inMemory()
	i.publish(k)
	a := newApp(t, bearer.Config{Issuer: i.url, Client: client}, nil)
	good := func(more string) string {
		now := time.Now()
		return fmt.Sprintf(`{"iss":%q,"aud":%q,"sub":"4711","exp":%d,"iat":%d,"user":1542135022016057346%s}`, i.url, audience, now.Add(time.Hour).Unix(), now.Unix(), more)
	}
	require.Equal(t, 200, a.ask("Bearer "+k.signBytes(t, []byte(good("")), nil)).Code)
	for name, more := range map[string]string{
		"another audience":          `,"AUD":"x"`,
		"the same audience":         `,"Aud":"` + audience + `"`,
		"another expiry":            `,"Exp":99999999999`,
		"another issuer":            `,"ISS":"x"`,
		"not before":                `,"Nbf":0`,
		"a long s":                  `,"iſs":"x"`,
		"verified":                  `,"email_Verified":true`,
		"the claim that identifies": `,"User":7`,
		"a claim that nobody reads": `,"x":1,"X":2`,
		"the same claim twice":      `,"x":1,"x":2`,
		"the same audience twice":   `,"aud":"` + audience + `"`,
	} {
		w := a.ask("Bearer " + k.signBytes(t, []byte(good(more)), nil))
		assert.Equal(t, 401, w.Code, name)
	}
	only := bytes.ReplaceAll([]byte(good("")), []byte(`"aud"`), []byte(`"AUD"`))
	assert.Equal(t, 401, a.ask("Bearer "+k.signBytes(t, only, nil)).Code, "go-oidc takes it for aud")

	many := good("")[:len(good(""))-1]
	for n := range 300 {
		many += fmt.Sprintf(`,"c%d":0`, n)
	}
	assert.Equal(t, 401, a.ask("Bearer "+k.signBytes(t, []byte(many+"}"), nil)).Code, "too many claims")
}

func TestTokenFrom(t *testing.T) {
	t.Parallel()
	k := newKey("k")
	i := &issuer{}
	client := i.inMemory()
	i.publish(k)
	token := k.sign(t, i.claims(nil), nil)
	other := k.sign(t, i.claims(map[string]any{"user": 7}), nil)
	bad := token[:len(token)-4] + "AAAA"
	header := func(pairs ...string) func(http.Header) {
		return func(h http.Header) {
			for i := 0; i < len(pairs); i += 2 {
				h.Add(pairs[i], pairs[i+1])
			}
		}
	}
	blade, cookie, socket := bearer.FromHeader("blade-auth"), bearer.FromCookie("token"), bearer.FromSubprotocol("bearer")
	for _, c := range []struct {
		name string
		from []bearer.TokenSource
		set  func(http.Header)
		want int
		why  string
	}{
		{"Authorization by default", nil, header("Authorization", "Bearer "+token), 200, ""},
		{"a cookie does not count by default", nil, header("Cookie", "token="+token), 401, ""},
		{"a header", []bearer.TokenSource{blade}, header("Blade-Auth", "bearer "+token), 200, ""},
		{"a header without a scheme", []bearer.TokenSource{blade}, header("Blade-Auth", token), 200, ""},
		{"Authorization does not count then", []bearer.TokenSource{blade}, header("Authorization", "Bearer "+token), 401, ""},
		{"an empty header", []bearer.TokenSource{blade}, header("Blade-Auth", ""), 401, ""},
		{"a header twice", []bearer.TokenSource{blade}, header("Blade-Auth", token, "Blade-Auth", token), 401, "header"},
		{"a header of another scheme", []bearer.TokenSource{blade}, header("Blade-Auth", "Basic "+token), 401, "header"},
		{"a header of blanks", []bearer.TokenSource{blade}, header("Blade-Auth", "bearer "), 401, "header"},
		{"a cookie", []bearer.TokenSource{cookie}, header("Cookie", "a=b; token="+token), 200, ""},
		{"an empty cookie", []bearer.TokenSource{cookie}, header("Cookie", "token="), 401, ""},
		{"another cookie", []bearer.TokenSource{cookie}, header("Cookie", "Token="+token), 401, ""},
		{"two cookies", []bearer.TokenSource{cookie}, header("Cookie", "token="+token+"; token="+other), 401, "header"},
		{"a bad cookie", []bearer.TokenSource{cookie}, header("Cookie", "token="+bad), 401, "signature"},
		{"a subprotocol", []bearer.TokenSource{socket}, header("Sec-WebSocket-Protocol", "chat, bearer, "+token), 200, ""},
		{"a subprotocol in two lines", []bearer.TokenSource{socket}, header("Sec-WebSocket-Protocol", "bearer", "Sec-WebSocket-Protocol", token), 200, ""},
		{"a subprotocol in one word", []bearer.TokenSource{socket}, header("Sec-WebSocket-Protocol", "bearer."+token+",chat"), 200, ""},
		{"no subprotocol of that name", []bearer.TokenSource{socket}, header("Sec-WebSocket-Protocol", "chat, "+token), 401, ""},
		{"a subprotocol without a token", []bearer.TokenSource{socket}, header("Sec-WebSocket-Protocol", "chat, bearer"), 401, "header"},
		{"a subprotocol that is the token of another", []bearer.TokenSource{socket}, header("Sec-WebSocket-Protocol", "bearer, bearer.x, "+token), 401, "malformed"},
		{"two tokens", []bearer.TokenSource{socket}, header("Sec-WebSocket-Protocol", "bearer, "+token+", bearer."+other), 401, "header"},
		{"the first place that has one", []bearer.TokenSource{blade, bearer.FromAuthorization(), cookie}, header("Cookie", "token="+bad, "Authorization", "Bearer "+token), 200, ""},
		{"a bad one in the first place", []bearer.TokenSource{blade, bearer.FromAuthorization()}, header("Blade-Auth", bad, "Authorization", "Bearer "+token), 401, "signature"},
		{"another scheme in the first place", []bearer.TokenSource{bearer.FromAuthorization(), cookie}, header("Authorization", "Basic x", "Cookie", "token="+token), 200, ""},
		{"nothing", []bearer.TokenSource{blade, bearer.FromAuthorization(), cookie, socket}, header(), 401, ""},
		{"a source of one's own", []bearer.TokenSource{func(r *http.Request) (string, error) { return r.Header.Get("X"), nil }}, header("X", token), 200, ""},
		{"a source that fails", []bearer.TokenSource{func(*http.Request) (string, error) { return token, assert.AnError }, bearer.FromAuthorization()}, header("Authorization", "Bearer "+token), 500, ""},
		{"a source that returns what may be a token", []bearer.TokenSource{func(*http.Request) (string, error) { return strings.Repeat("a", 16<<10), nil }}, header(), 401, "malformed"},
		{"a source that returns more than a token can be", []bearer.TokenSource{func(*http.Request) (string, error) { return strings.Repeat("a", 16<<10+1), nil }}, header(), 401, "header"},
		{"a source that returns no token", []bearer.TokenSource{func(*http.Request) (string, error) { return "a b", nil }}, header(), 401, "header"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, bearer.Config{Issuer: i.url, Client: client, TokenFrom: c.from}, nil)
			r := httptest.NewRequest("GET", "/", nil)
			c.set(r.Header)
			w := httptest.NewRecorder()
			a.handler.ServeHTTP(w, r)
			assert.Equal(t, c.want, w.Code)
			assert.Equal(t, c.why, a.why())
			assert.NotContains(t, a.log.String(), token[:40])
		})
	}
	for _, f := range []func(){func() { bearer.FromHeader("") }, func() { bearer.FromCookie("") }, func() { bearer.FromSubprotocol("") }} {
		assert.Panics(t, f)
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	k := newKey("k")
	i := &issuer{}
	client := i.inMemory()
	i.publish(k)
	v := newApp(t, bearer.Config{Issuer: i.url, Client: client}, nil).verifier
	c, err := v.Verify(t.Context(), k.sign(t, i.claims(nil), nil))
	require.NoError(t, err)
	id, err := c.ID("user")
	require.NoError(t, err)
	assert.EqualValues(t, 1542135022016057346, id)
	sub, err := c.Text("sub")
	require.NoError(t, err)
	assert.Equal(t, "4711", sub)
	_, err = c.Text("user")
	assert.ErrorIs(t, err, rolegate.ErrNobody)
	_, err = c.ID("account")
	assert.ErrorIs(t, err, rolegate.ErrNobody)
	for name, token := range map[string]string{
		"nothing": "", "a blank": "a b", "no token": "abc", "expired": k.sign(t, i.claims(map[string]any{"exp": in(-time.Hour)}), nil),
		"another key": newKey("k").sign(t, i.claims(nil), nil),
	} {
		_, err := v.Verify(t.Context(), token)
		assert.ErrorIs(t, err, rolegate.ErrNobody, name)
	}
	i.change(func(i *issuer) { i.fault = away })
	v = newApp(t, bearer.Config{Issuer: i.url, Client: client}, nil).verifier
	_, err = v.Verify(t.Context(), k.sign(t, i.claims(nil), nil))
	require.Error(t, err)
	assert.NotErrorIs(t, err, rolegate.ErrNobody, "whether it is good is not known")
}

// A token is valid from as much before its time as the clocks may differ.
func TestNotYetValid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newKey("k")
		i := &issuer{}
		client := i.inMemory()
		i.publish(k)
		a := newApp(t, bearer.Config{Issuer: i.url, Client: client, Skew: 90 * time.Second}, nil)
		for _, name := range []string{"nbf", "iat"} {
			for late, want := range map[float64]int{0: 200, 90: 200, 90.001: 401, 91: 401} {
				at := float64(time.Now().Unix()) + late // which is a whole second here
				assert.Equal(t, want, a.ask("Bearer "+k.sign(t, i.claims(map[string]any{name: at}), nil)).Code, "%s %v", name, late)
			}
		}
	})
}

// Amazon Cognito's access tokens name the app in client_id, and have no aud.
func TestAudienceClaim(t *testing.T) {
	t.Parallel()
	k := newKey("k")
	i := &issuer{}
	client := i.inMemory()
	i.publish(k)
	a := newApp(t, bearer.Config{Issuer: i.url, Client: client, Audience: "school-app", AudienceClaim: "client_id"}, nil)
	for name, c := range map[string]struct {
		change map[string]any
		want   int
		why    string
	}{
		"its client":     {map[string]any{"aud": nil, "client_id": "school-app"}, 200, ""},
		"another client": {map[string]any{"aud": nil, "client_id": "other"}, 401, "audience"},
		"no client":      {map[string]any{"aud": nil}, 401, "audience"},
		"aud alone":      {map[string]any{"aud": "school-app"}, 401, "audience"},
		"a number":       {map[string]any{"aud": nil, "client_id": 5}, 401, "audience"},
		"expired":        {map[string]any{"aud": nil, "client_id": "school-app", "exp": in(-time.Hour)}, 401, "expired"},
		"not yet valid":  {map[string]any{"aud": nil, "client_id": "school-app", "nbf": in(time.Hour)}, 401, "not_yet_valid"},
	} {
		assert.Equal(t, c.want, a.ask("Bearer "+k.sign(t, i.claims(c.change), nil)).Code, name)
		if c.why != "" {
			assert.Equal(t, c.why, a.why(), name)
		}
	}
}

// An issuer that this machine knows by another address.
func TestKeysURL(t *testing.T) {
	t.Parallel()
	k := newKey("k")
	i := &issuer{}
	client := i.start(t)
	i.publish(k)
	keys := i.url + "/keys"
	i.url = "https://login.school.example/realms/school" // as it is called outside
	a := newApp(t, bearer.Config{Issuer: i.url, KeysURL: keys, Client: client}, nil)
	assert.Equal(t, 200, a.ask("Bearer "+k.sign(t, i.claims(nil), nil)).Code)
	assert.Equal(t, 401, a.ask("Bearer "+k.sign(t, i.claims(map[string]any{"iss": keys}), nil)).Code, "the issuer of a token is what it is called")
	discovers, fetches := i.asked()
	assert.Equal(t, 0, discovers)
	assert.Equal(t, 1, fetches)
}

func TestHMACSecret(t *testing.T) {
	t.Parallel()
	secret := bytes.Repeat([]byte("s"), 32)
	hs := func(t *testing.T, algorithm jose.SignatureAlgorithm, secret []byte, change map[string]any) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: secret}, nil)
		require.NoError(t, err)
		i := &issuer{url: "school-login"}
		payload, err := json.Marshal(i.claims(change))
		require.NoError(t, err)
		jws, err := signer.Sign(payload)
		require.NoError(t, err)
		token, err := jws.CompactSerialize()
		require.NoError(t, err)
		return token
	}
	given := bytes.Clone(secret)
	cfg := bearer.Config{Issuer: "school-login", HMACSecret: given}
	a := newApp(t, cfg, nil)
	given[0] = 'x' // the config is a copy
	require.NoError(t, a.verifier.Ready(t.Context()))
	for name, c := range map[string]struct {
		token string
		want  int
		why   string
	}{
		"good":              {hs(t, jose.HS256, secret, nil), 200, ""},
		"another secret":    {hs(t, jose.HS256, bytes.Repeat([]byte("t"), 32), nil), 401, "signature"},
		"another algorithm": {hs(t, jose.HS512, append(secret, secret...), nil), 401, "algorithm"},
		"a public key":      {newKey("k").sign(t, (&issuer{url: "school-login"}).claims(nil), nil), 401, "algorithm"},
		"expired":           {hs(t, jose.HS256, secret, map[string]any{"exp": in(-time.Hour)}), 401, "expired"},
		"another issuer":    {hs(t, jose.HS256, secret, map[string]any{"iss": "x"}), 401, "issuer"},
		"another audience":  {hs(t, jose.HS256, secret, map[string]any{"aud": "x"}), 401, "audience"},
	} {
		assert.Equal(t, c.want, a.ask("Bearer "+c.token).Code, name)
		if c.why != "" {
			assert.Equal(t, c.why, a.why(), name)
		}
	}
	// And without a secret, none is believed, whatever is published.
	i := &issuer{}
	client := i.inMemory()
	i.change(func(i *issuer) {
		i.published = []any{jose.JSONWebKey{Key: secret, KeyID: "k", Algorithm: "HS256", Use: "sig"}}
	})
	public := newApp(t, bearer.Config{Issuer: i.url, Client: client}, nil)
	assert.Equal(t, 401, public.ask("Bearer "+hs(t, jose.HS256, secret, map[string]any{"iss": i.url})).Code)

	for name, c := range map[string]struct {
		change func(*bearer.Config)
		says   string
	}{
		"31 bytes":          {func(c *bearer.Config) { c.HMACSecret = secret[:31] }, "expected at least 32"},
		"none of them":      {func(c *bearer.Config) { c.HMACSecret = bearer.Secret{} }, "expected at least 32"},
		"another algorithm": {func(c *bearer.Config) { c.Algorithms = []string{"RS256"} }, "not HS256"},
		"keys too":          {func(c *bearer.Config) { c.KeysURL = "https://a.example/keys" }, "one of the two"},
		"no issuer":         {func(c *bearer.Config) { c.Issuer = "" }, "Issuer: it is empty"},
		"HS256 without a secret": {func(c *bearer.Config) {
			c.HMACSecret, c.Issuer, c.Algorithms = nil, "https://a.example", []string{"HS256"}
		}, "HS256"},
		"keys over the network": {func(c *bearer.Config) {
			c.HMACSecret, c.Issuer, c.KeysURL = nil, "https://a.example", "http://a.example/keys"
		}, "KeysURL: it is not https"},
		"a source that is none": {func(c *bearer.Config) { c.TokenFrom = []bearer.TokenSource{nil} }, "source 1 is nil"},
	} {
		cfg := bearer.Config{Issuer: "school-login", HMACSecret: secret, Audience: audience}
		c.change(&cfg)
		_, err := bearer.New(cfg)
		assert.ErrorContains(t, err, c.says, name)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		assert.Equal(t, "(withheld)", fmt.Sprintf(verb, bearer.Secret(secret)))
		assert.NotContains(t, fmt.Sprintf(verb, cfg), "sss")
		assert.NotContains(t, fmt.Sprintf(verb, cfg), "115 115")
	}
	var b bytes.Buffer
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "secret", bearer.Secret(secret))
	text, err := json.Marshal(bearer.Secret(secret))
	require.NoError(t, err)
	assert.NotContains(t, b.String()+string(text), "sss")
	assert.Contains(t, b.String()+string(text), "(withheld)")
}
