package bearer_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/bearer"
)

func in(d time.Duration) int64 { return time.Now().Add(d).Unix() }

func segment(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// Which tokens are believed, and why the others are not.
func TestTokens(t *testing.T) {
	t.Parallel()
	login := &issuer{}
	client := login.start(t)
	es, ed, stranger := newKey("es"), newEd("ed"), newKey("es")
	rs := key{"rs", jose.RS256, newRSA()}
	rs384 := key{"rs384", jose.RS384, newRSA()}
	login.publish(es, ed, rs, rs384)
	good := func(change map[string]any) map[string]any { return login.claims(change) }
	with := func(name string, value any) string { return es.sign(t, good(map[string]any{name: value}), nil) }
	typ := func(value any) string { return es.sign(t, good(nil), map[jose.HeaderKey]any{"typ": value}) }
	hs256 := func(secret []byte) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: jose.JSONWebKey{Key: secret, KeyID: "rs"}}, nil)
		require.NoError(t, err)
		payload, err := json.Marshal(good(nil))
		require.NoError(t, err)
		jws, err := signer.Sign(payload)
		require.NoError(t, err)
		token, err := jws.CompactSerialize()
		require.NoError(t, err)
		return token
	}
	payload, err := json.Marshal(good(nil))
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(rs.signer.Public())
	require.NoError(t, err)
	token := es.sign(t, good(nil), nil)
	parts := strings.Split(token, ".")
	embedded, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: stranger.signer}, &jose.SignerOptions{EmbedJWK: true})
	require.NoError(t, err)
	own, err := embedded.Sign(payload)
	require.NoError(t, err)
	ownToken, err := own.CompactSerialize()
	require.NoError(t, err)

	for _, test := range []struct{ name, token, why string }{
		{"ES256", token, ""},
		{"EdDSA", ed.sign(t, good(nil), nil), ""},
		{"RS256", rs.sign(t, good(nil), nil), ""},
		{"no key id", key{"", jose.ES256, es.signer}.sign(t, good(nil), nil), ""},
		{"RS384, which is not asked for", rs384.sign(t, good(nil), nil), "algorithm"},
		{"HS256 with the public key as its secret", hs256(der), "algorithm"},
		{"none", segment(`{"alg":"none"}`) + "." + segment(string(payload)) + ".", "algorithm"},
		{"none in capitals", segment(`{"alg":"None","kid":"es"}`) + "." + segment(string(payload)) + ".", "algorithm"},
		{"none, with the old signature", segment(`{"alg":"none"}`) + "." + parts[1] + "." + parts[2], "algorithm"},
		{"no algorithm", segment(`{"kid":"es"}`) + "." + segment(string(payload)) + "." + parts[2], "algorithm"},
		{"signed by a key of that name that is another", stranger.sign(t, good(nil), nil), "signature"},
		{"signed by a key that the token brings along", ownToken, "signature"},
		{"by an RSA key under the name of an EC key", key{"es", jose.RS256, newRSA()}.sign(t, good(nil), nil), "signature"},
		{"unknown key id", key{"new", jose.ES256, es.signer}.sign(t, good(nil), nil), "signature"},
		{"another payload", parts[0] + "." + segment(strings.Replace(string(payload), "4711", "4712", 1)) + "." + parts[2], "signature"},
		{"no signature", parts[0] + "." + parts[1] + ".", "signature"},
		{"two parts", parts[0] + "." + parts[1], "malformed"},
		{"five parts", token + ".." + "x", "malformed"},
		{"no JWT", "opaque-token", "malformed"},
		{"unknown critical header", es.sign(t, good(nil), map[jose.HeaderKey]any{"crit": []string{"x"}, "x": 1}), "signature"},
		{"payload is no JSON", es.signBytes(t, []byte("x"), nil), "malformed"},
		{"payload is an array", es.signBytes(t, []byte("[]"), nil), "malformed"},
		{"a claim twice", es.signBytes(t, []byte(strings.Replace(string(payload), `"sub"`, `"user":1542135022016057346,"sub"`, 1)), nil), "malformed"},

		{"another issuer", with("iss", "https://evil.example.com"), "issuer"},
		{"the issuer with a slash", with("iss", login.url+"/"), "issuer"},
		{"no issuer", with("iss", nil), "issuer"},
		{"another audience", with("aud", "https://other.example.com/api"), "audience"},
		{"a part of the audience", with("aud", audience+"/v2"), "audience"},
		{"no audience", with("aud", nil), "audience"},
		{"no audience among none", with("aud", []string{}), "audience"},
		{"the audience among others", with("aud", []string{"x", audience}), ""},
		{"expired", with("exp", in(-90*time.Second)), "expired"},
		{"expired within the skew", with("exp", in(-30*time.Second)), ""},
		{"no expiry", with("exp", nil), "expired"},
		{"expiry is text", with("exp", "soon"), "malformed"},
		{"not yet valid", with("nbf", in(90*time.Second)), "not_yet_valid"},
		{"not yet valid by far", with("nbf", in(time.Hour)), "not_yet_valid"},
		{"not yet valid within the skew", with("nbf", in(30*time.Second)), ""},
		{"issued in the future", with("iat", in(90*time.Second)), "not_yet_valid"},
		{"issued with fractions", with("iat", float64(time.Now().UnixMilli())/1000), ""},
		{"no time of issue", with("iat", nil), ""},

		{"typ JWT", typ("JWT"), ""},
		{"typ at+jwt", typ("at+jwt"), ""},
		{"typ in full", typ("application/AT+JWT"), ""},
		{"a logout token", typ("logout+jwt"), "type"},
		{"a DPoP proof", typ("dpop+jwt"), "type"},
		{"empty typ", typ(""), "type"},
		{"typ is a number", typ(1), "type"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newApp(t, bearer.Config{Issuer: login.url, Client: client}, nil)
			w := b.ask("Bearer " + test.token)
			assert.Equal(t, test.why, b.why())
			if test.why == "" {
				assert.Equal(t, http.StatusOK, w.Code)
				return
			}
			assert.Equal(t, http.StatusUnauthorized, w.Code)
			assert.Equal(t, `Bearer error="invalid_token"`, w.Header().Get("WWW-Authenticate"))
			for _, part := range strings.Split(test.token, ".") {
				if len(part) > 20 {
					assert.NotContains(t, b.log.String(), part, "nothing of the token is logged")
				}
			}
		})
	}
}

// The two types, and what an ID token says of its audience.
func TestTypes(t *testing.T) {
	t.Parallel()
	login := &issuer{}
	client := login.start(t)
	k := newKey("1")
	login.publish(k)
	at := map[jose.HeaderKey]any{"typ": "at+jwt"}
	for _, test := range []struct {
		name   string
		kind   bearer.Type
		header map[jose.HeaderKey]any
		change map[string]any
		why    string
	}{
		{"access token", bearer.AccessToken, at, nil, ""},
		{"plain JWT as access token", bearer.AccessToken, nil, nil, "type"},
		{"JWT as access token", bearer.AccessToken, map[jose.HeaderKey]any{"typ": "JWT"}, nil, "type"},
		{"access token for others too", bearer.AccessToken, at, map[string]any{"aud": []string{audience, "x"}, "azp": "x"}, ""},
		{"ID token", bearer.IDToken, nil, nil, ""},
		{"ID token, named JWT", bearer.IDToken, map[jose.HeaderKey]any{"typ": "JWT"}, nil, ""},
		{"access token as ID token", bearer.IDToken, at, nil, "type"},
		{"ID token for this party", bearer.IDToken, nil, map[string]any{"aud": []string{audience, "x"}, "azp": audience}, ""},
		{"ID token for another party", bearer.IDToken, nil, map[string]any{"azp": "x"}, "audience"},
		{"ID token for several, and no party", bearer.IDToken, nil, map[string]any{"aud": []string{audience, "x"}}, "audience"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, bearer.Config{Issuer: login.url, Client: client, Type: test.kind}, nil)
			w := a.ask("Bearer " + k.sign(t, login.claims(test.change), test.header))
			assert.Equal(t, test.why, a.why())
			assert.Equal(t, test.why == "", w.Code == http.StatusOK)
		})
	}
}

// An algorithm that is asked for counts, and the others do not.
func TestAlgorithms(t *testing.T) {
	t.Parallel()
	login := &issuer{}
	client := login.start(t)
	es, rs := newKey("es"), key{"rs", jose.RS384, newRSA()}
	login.publish(es, rs)
	a := newApp(t, bearer.Config{Issuer: login.url, Client: client, Algorithms: []string{oidc.RS384}}, nil)
	assert.Equal(t, 200, a.ask("Bearer "+rs.sign(t, login.claims(nil), nil)).Code)
	assert.Equal(t, 401, a.ask("Bearer "+es.sign(t, login.claims(nil), nil)).Code)
	// The key says what it is for: another algorithm of the same family is none.
	b := newApp(t, bearer.Config{Issuer: login.url, Client: client, Algorithms: []string{oidc.RS256, oidc.RS384}}, nil)
	assert.Equal(t, 401, b.ask("Bearer "+key{"rs", jose.RS256, newRSA()}.sign(t, login.claims(nil), nil)).Code)
	assert.Equal(t, "signature", b.why())
}

// One Authorization header, and nothing else (RFC 6750 §2.1).
func TestHeader(t *testing.T) {
	t.Parallel()
	login := &issuer{}
	client := login.start(t)
	k := newKey("1")
	login.publish(k)
	token := k.sign(t, login.claims(nil), nil)
	session := rolegate.ByUserID(func(*http.Request) (int64, error) { return 1542135022016057346, nil })
	only := newApp(t, bearer.Config{Issuer: login.url, Client: client}, nil)
	both := newApp(t, bearer.Config{Issuer: login.url, Client: client}, func(v *bearer.Verifier) rolegate.Identifier {
		return rolegate.FirstOf(v.ByUserID("user"), session)
	})
	const plain, invalid = "Bearer", `Bearer error="invalid_token"`
	for _, test := range []struct {
		name          string
		authorization []string
		only, both    int
		challenge     string
	}{
		{"none", nil, 401, 200, plain},
		{"a good token", []string{"Bearer " + token}, 200, 200, ""},
		{"scheme in small letters", []string{"bearer " + token}, 200, 200, ""},
		{"scheme in capitals", []string{"BEARER " + token}, 200, 200, ""},
		{"more blanks", []string{"Bearer   " + token}, 200, 200, ""},
		{"another scheme", []string{"Basic d2FuZzpwdw=="}, 401, 200, plain},
		{"a scheme that begins alike", []string{"BearerX " + token}, 401, 200, plain},
		{"empty", []string{""}, 401, 200, plain},
		{"no scheme", []string{token}, 401, 200, plain},
		{"a bad token", []string{"Bearer x"}, 401, 401, invalid},
		{"no token", []string{"Bearer"}, 401, 401, invalid},
		{"blank token", []string{"Bearer "}, 401, 401, invalid},
		{"twice", []string{"Bearer " + token, "Bearer " + token}, 401, 401, invalid},
		{"beside another scheme", []string{"Basic d2FuZzpwdw==", "Bearer " + token}, 401, 401, invalid},
		{"two tokens", []string{"Bearer " + token + " " + token}, 401, 401, invalid},
		{"a list", []string{"Bearer " + token + ", Basic d2FuZzpwdw=="}, 401, 401, invalid},
		{"a tab", []string{"Bearer \t" + token}, 401, 401, invalid},
		{"blank behind", []string{"Bearer " + token + " "}, 401, 401, invalid},
		{"JSON", []string{`Bearer {"payload":"x"}`}, 401, 401, invalid},
		{"a bad token again", []string{"Bearer x"}, 401, 401, invalid},
		{"too long", []string{"Bearer " + token + strings.Repeat("x", 16<<10)}, 401, 401, invalid},
		{"a bad token beside a session", []string{"Bearer " + token + "x"}, 401, 401, invalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := only.ask(test.authorization...)
			assert.Equal(t, test.only, w.Code)
			assert.Equal(t, test.challenge, w.Header().Get("WWW-Authenticate"))
			if test.challenge == invalid && !strings.HasPrefix(test.name, "a bad token") {
				assert.Equal(t, "header", only.why())
			}
			assert.Equal(t, test.both, both.ask(test.authorization...).Code, "with a session beside it")
		})
	}
	t.Run("in the query or the body", func(t *testing.T) {
		r, err := http.NewRequest("POST", "/?access_token="+token, strings.NewReader("access_token="+token))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := &recorder{header: http.Header{}}
		only.handler.ServeHTTP(w, r)
		assert.Equal(t, 401, w.code)
	})
}

// recorder is the least that a handler can write to.
type recorder struct {
	header http.Header
	code   int
}

func (w *recorder) Header() http.Header         { return w.header }
func (w *recorder) WriteHeader(code int)        { w.code = code }
func (w *recorder) Write(p []byte) (int, error) { return len(p), nil }

// The claim says who it is, exactly or not at all.
func TestClaims(t *testing.T) {
	t.Parallel()
	login := &issuer{}
	client := login.start(t)
	k := newKey("1")
	login.publish(k)
	const id = "1542135022016057346"
	number := func(text string) json.RawMessage { return json.RawMessage(text) }
	userID := func(v *bearer.Verifier) rolegate.Identifier { return v.ByUserID("x") }
	account := func(v *bearer.Verifier) rolegate.Identifier { return v.ByAccount("x") }
	email := func(v *bearer.Verifier) rolegate.Identifier { return v.ByEmail() }
	thirdAccount := func(v *bearer.Verifier) rolegate.Identifier { return v.ByThirdAccount("x") }
	thirdUserID := func(v *bearer.Verifier) rolegate.Identifier { return v.ByThirdUserID("x") }
	for _, test := range []struct {
		name   string
		by     func(*bearer.Verifier) rolegate.Identifier
		change map[string]any
		status int
	}{
		{"number", userID, map[string]any{"x": number(id)}, 200},
		{"digits", userID, map[string]any{"x": id}, 200},
		{"what a float64 makes of it", userID, map[string]any{"x": number("1542135022016057300")}, 403},
		{"one more", userID, map[string]any{"x": number("1542135022016057347")}, 403},
		{"exponent", userID, map[string]any{"x": number("1542135022016057346e0")}, 401},
		{"fraction", userID, map[string]any{"x": number("1542135022016057346.0")}, 401},
		{"negative", userID, map[string]any{"x": number("-1")}, 401},
		{"zero", userID, map[string]any{"x": 0}, 401},
		{"zero before it", userID, map[string]any{"x": "0" + id}, 401},
		{"blank before it", userID, map[string]any{"x": " " + id}, 401},
		{"beyond 63 bits", userID, map[string]any{"x": "9223372036854775808"}, 401},
		{"null", userID, map[string]any{"x": number("null")}, 401},
		{"boolean", userID, map[string]any{"x": true}, 401},
		{"array", userID, map[string]any{"x": []string{id}}, 401},
		{"text", userID, map[string]any{"x": "wangfang"}, 401},
		{"missing", userID, nil, 401},
		{"in another case", userID, map[string]any{"X": id}, 401},

		{"account", account, map[string]any{"x": "wangfang"}, 200},
		{"account in another case", account, map[string]any{"x": "Wangfang"}, 403},
		{"account with a blank", account, map[string]any{"x": "wangfang "}, 403},
		{"account is a number", account, map[string]any{"x": 1}, 401},
		{"account is empty", account, map[string]any{"x": ""}, 401},
		{"account is null", account, map[string]any{"x": number("null")}, 401},

		{"e-mail", email, map[string]any{"email": "wang@example.com", "email_verified": true}, 200},
		{"e-mail that nobody has verified", email, map[string]any{"email": "wang@example.com", "email_verified": false}, 401},
		{"e-mail of which nothing is said", email, map[string]any{"email": "wang@example.com"}, 401},
		{"e-mail verified in words", email, map[string]any{"email": "wang@example.com", "email_verified": "true"}, 401},
		{"no e-mail", email, map[string]any{"email_verified": true}, 401},

		{"third account", thirdAccount, map[string]any{"x": "wf-0815"}, 200},
		{"third user id", thirdUserID, map[string]any{"x": "4711"}, 200},
		{"third user id as a number", thirdUserID, map[string]any{"x": 4711}, 200},
		{"third user id with a fraction", thirdUserID, map[string]any{"x": number("4711.0")}, 401},
		{"third user id with half a surrogate", thirdUserID, map[string]any{"x": number(`"4711\ud800"`)}, 401},
		{"third user id that is no UTF-8", thirdUserID, map[string]any{"x": number("\"4711\xff\"")}, 401},
		{"account with what stands for such a byte", account, map[string]any{"x": "wangfang\ufffd"}, 401},
		{"third user id unknown", thirdUserID, map[string]any{"x": "4712"}, 403},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, bearer.Config{Issuer: login.url, Client: client}, test.by)
			w := a.ask("Bearer " + k.sign(t, login.claims(test.change), nil))
			require.Equal(t, test.status, w.Code)
			if test.status == 401 {
				assert.Equal(t, "claim", a.why())
			}
		})
	}
}

// One issuer writes itself in two ways, with https and without. Only the one that is
// configured is believed.
func TestAnIssuerInAnotherSpelling(t *testing.T) {
	t.Parallel()
	login := &issuer{}
	client := login.inMemory()
	login.url = "https://accounts.google.com"
	es := newKey("es")
	login.publish(es)
	a := newApp(t, bearer.Config{Issuer: login.url, Client: client}, nil)
	assert.Equal(t, http.StatusOK, a.ask("Bearer "+es.sign(t, login.claims(nil), nil)).Code)
	assert.Equal(t, http.StatusUnauthorized, a.ask("Bearer "+es.sign(t, login.claims(map[string]any{"iss": "accounts.google.com"}), nil)).Code)
	assert.Equal(t, "issuer", a.why())
}

func TestNamelessClaims(t *testing.T) {
	t.Parallel()
	v, err := bearer.New(bearer.Config{Issuer: "https://login.example.com", Audience: audience})
	require.NoError(t, err)
	for name, by := range map[string]func(string) rolegate.Identifier{
		"ByUserID": v.ByUserID, "ByAccount": v.ByAccount, "ByThirdAccount": v.ByThirdAccount, "ByThirdUserID": v.ByThirdUserID,
	} {
		assert.PanicsWithValue(t, "bearer: "+name+": give the name of a claim, such as sub", func() { by("") })
	}
}

func BenchmarkRequest(b *testing.B) {
	login := &issuer{}
	client := login.inMemory()
	es, rs := newKey("es"), key{"rs", jose.RS256, newRSA()}
	login.publish(es, rs)
	a := newApp(b, bearer.Config{Issuer: login.url, Client: client}, nil)
	for _, k := range []key{es, rs} {
		token := "Bearer " + k.sign(b, login.claims(nil), nil)
		b.Run(string(k.algorithm), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if w := a.ask(token); w.Code != http.StatusOK {
					b.Fatal(w.Code)
				}
			}
		})
	}
}

// The gate's own line of a refusal, which the decision's id leads to, has why the token
// is not believed; and a session beside it is not asked for.
func TestRefusalSaysWhy(t *testing.T) {
	a := newApp(t, bearer.Config{Issuer: "school", HMACSecret: []byte("0123456789abcdef0123456789abcdef")}, func(v *bearer.Verifier) rolegate.Identifier {
		return rolegate.FirstOf(v.ByUserID("user"), rolegate.ByUserID(func(*http.Request) (int64, error) { return 1542135022016057346, nil }))
	})
	assert.Equal(t, http.StatusUnauthorized, a.ask("Bearer x").Code)
	assert.Equal(t, "the token is refused: malformed", a.log.last("rolegate: refused", "err"))
	assert.Equal(t, http.StatusOK, a.ask().Code)
}
