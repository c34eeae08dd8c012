package bearer_test

import (
	"net/http"
	"net/http/cookiejar"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/bearer"
	"github.com/rolegate/rolegate/cloudcommand"
)

func TestMistakes(t *testing.T) {
	t.Parallel()
	right := func() bearer.Config {
		return bearer.Config{Issuer: "https://login.example.com/realms/school", Audience: audience}
	}
	for _, test := range []struct {
		name   string
		change func(*bearer.Config)
		says   string
	}{
		{"nothing wrong", func(*bearer.Config) {}, ""},
		{"an issuer on this machine", func(c *bearer.Config) { c.Issuer = "http://127.0.0.1:8080" }, ""},
		{"an issuer on this machine by name", func(c *bearer.Config) { c.Issuer = "http://localhost:8080" }, ""},
		{"an issuer on this machine, version 6", func(c *bearer.Config) { c.Issuer = "http://[::1]:8080" }, ""},
		{"no issuer", func(c *bearer.Config) { c.Issuer = "" }, "Issuer: it is empty"},
		{"issuer without TLS", func(c *bearer.Config) { c.Issuer = "http://login.example.com" }, "Issuer: it is not https"},
		{"issuer that begins like this machine", func(c *bearer.Config) { c.Issuer = "http://127.0.0.1.example.com" }, "Issuer: it is not https"},
		{"issuer without scheme", func(c *bearer.Config) { c.Issuer = "login.example.com" }, "Issuer: it is not a URL of a host"},
		{"issuer with a password", func(c *bearer.Config) { c.Issuer = "https://a:b@login.example.com" }, "Issuer: it is not a URL of a host"},
		{"issuer with a query", func(c *bearer.Config) { c.Issuer = "https://login.example.com?x" }, "Issuer: it is not a URL of a host"},
		{"issuer is no URL", func(c *bearer.Config) { c.Issuer = "https://login example.com" }, "Issuer: it is not a URL"},
		{"no audience", func(c *bearer.Config) { c.Audience = "" }, "Audience is empty"},
		{"type that is none", func(c *bearer.Config) { c.Type = 3 }, "Type is 3"},
		{"none", func(c *bearer.Config) { c.Algorithms = []string{"none"} }, `Algorithms: "none"`},
		{"HS256", func(c *bearer.Config) { c.Algorithms = []string{"RS256", "HS256"} }, `Algorithms: "HS256"`},
		{"skew too large", func(c *bearer.Config) { c.Skew = 3 * time.Minute }, "Skew is 3m0s"},
		{"negative time", func(c *bearer.Config) { c.KeysMin = -1 }, "KeysMin is -1ns"},
		{"bare number", func(c *bearer.Config) { c.KeysEvery = 30 }, "KeysEvery is 30ns"},
		{"keys for ever", func(c *bearer.Config) { c.KeysExpire = 1000 * time.Hour }, "KeysExpire is 1000h"},
		{"keys expire before they are fetched", func(c *bearer.Config) { c.KeysExpire = 5 * time.Minute }, "KeysExpire (5m0s) is not more than KeysEvery (10m0s)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cfg := right()
			test.change(&cfg)
			v, err := bearer.New(cfg)
			if test.says == "" {
				require.NoError(t, err)
				assert.NotNil(t, v)
				return
			}
			assert.Nil(t, v)
			assert.ErrorContains(t, err, test.says)
		})
	}
	t.Run("all at once", func(t *testing.T) {
		t.Parallel()
		_, err := bearer.New(bearer.Config{Skew: -1})
		for _, says := range []string{"Issuer", "Audience", "Skew"} {
			assert.ErrorContains(t, err, says)
		}
	})
}

// The app's client is not changed, and changing the Config afterwards changes
// nothing.
func TestConfigIsCopied(t *testing.T) {
	t.Parallel()
	login := &issuer{}
	client := login.inMemory()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	client.Jar = jar
	before := *client
	k := newKey("1")
	login.publish(k)
	algorithms := []string{"ES256"}
	a := newApp(t, bearer.Config{Issuer: login.url, Client: client, Algorithms: algorithms}, nil)
	algorithms[0] = "RS256"
	assert.Equal(t, 200, a.ask("Bearer "+k.sign(t, login.claims(nil), nil)).Code)
	assert.Nil(t, client.CheckRedirect)
	assert.Equal(t, before.Jar, client.Jar)
}

// The challenge of a refused token, beside what the app has set.
func TestDeny(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, challenge, authorization string
		status                         int
		want                           string
	}{
		{"no token", "Bearer", "", 401, "Bearer"},
		{"refused token", "Bearer", "Bearer x", 401, `Bearer error="invalid_token"`},
		{"with a realm", `Bearer realm="app"`, "Bearer x", 401, `Bearer realm="app", error="invalid_token"`},
		{"another scheme asked for", "Basic", "Bearer x", 401, "Basic"},
		{"a malformed token, another scheme asked for", `Basic realm="app"`, "Bearer ;", 401, `Basic realm="app"`},
		{"two schemes", `Bearer realm="app", Basic realm="b"`, "Bearer x", 401, `Bearer realm="app", error="invalid_token", Basic realm="b"`},
		{"Bearer is the second", `Basic realm="b", charset="UTF-8", Bearer realm="app"`, "Bearer x", 401, `Basic realm="b", charset="UTF-8", Bearer realm="app", error="invalid_token"`},
		{"Bearer is in the middle", `Negotiate, bearer, DPoP algs="ES256 PS256"`, "Bearer x", 401, `Negotiate, bearer error="invalid_token", DPoP algs="ES256 PS256"`},
		{"the scheme is named in a realm", `Basic realm="a, Bearer b\", Bearer c", Bearer`, "Bearer x", 401, `Basic realm="a, Bearer b\", Bearer c", Bearer error="invalid_token"`},
		{"a token68", `Negotiate YII=, Bearer`, "Bearer x", 401, `Negotiate YII=, Bearer error="invalid_token"`},
		{"blanks around an equals sign", `Bearer realm = "app" , scope="a b", Basic`, "Bearer x", 401, `Bearer realm = "app", scope="a b", error="invalid_token", Basic`},
		{"Bearer twice", `Bearer realm="a", Bearer realm="b"`, "Bearer x", 401, `Bearer realm="a", error="invalid_token", Bearer realm="b"`},
		{"a token of another scheme", `Basic, Bearer`, "Basic x", 401, `Basic, Bearer`},
		{"another scheme sent", "Bearer", "Basic x", 401, "Bearer"},
		{"not a 401", "", "Bearer x", 403, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r, err := http.NewRequest("GET", "/", nil)
			require.NoError(t, err)
			if test.authorization != "" {
				r.Header.Set("Authorization", test.authorization)
			}
			h := http.Header{}
			if test.challenge != "" {
				h.Set("WWW-Authenticate", test.challenge)
			}
			body := bearer.Deny(cloudcommand.DenyBladeX)(h, r, rolegate.Denial{Status: test.status})
			assert.Equal(t, test.want, h.Get("WWW-Authenticate"))
			assert.Contains(t, string(body), `"success":false`)
		})
	}
}
