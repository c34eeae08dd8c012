package cloudcommand_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cloudcommand"
	"github.com/rolegate/rolegate/internal/wire"
	"github.com/rolegate/rolegate/rolegatetest"
)

// grants are the grant types of the requests for tokens, and "state" for those
// for the state.
func grants(c *rolegatetest.CloudCommand) (all []string) {
	for _, r := range c.Requests() {
		if r.AsksForToken() {
			all = append(all, r.GrantType)
		} else {
			all = append(all, "state")
		}
	}
	return all
}

func noUser(c *cloudcommand.Config) { c.Username, c.Password = "", "" }

func TestTokenIsKeptAndRenewed(t *testing.T) {
	t.Parallel()
	for _, camel := range []bool{false, true} {
		for _, text := range []bool{false, true} {
			for _, user := range []bool{false, true} {
				t.Run(fmt.Sprintf("camel=%v/text=%v/user=%v", camel, text, user), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						cloud := rolegatetest.NewCloudCommand(rolegatetest.CloudCommandConfig{Camel: camel, TextNumbers: text, TokenLife: 100 * time.Second})
						cloud.Done("")
						c, grant := of(cloud), "password"
						if !user {
							c, grant = of(cloud, noUser), "client_credentials"
						}
						requireState(t, rolegate.SyncDone, c)
						<-time.After(90*time.Second - 1)
						requireState(t, rolegate.SyncDone, c)
						assert.Equal(t, []string{grant, "state", "state"}, grants(cloud))
						<-time.After(time.Nanosecond) // a tenth of its life is left
						requireState(t, rolegate.SyncDone, c)
						assert.Equal(t, []string{"refresh_token", "state"}, grants(cloud)[3:])
						<-time.After(time.Hour)
						cloud.RevokeRefreshTokens()
						requireState(t, rolegate.SyncDone, c)
						assert.Equal(t, []string{"refresh_token", grant, "state"}, grants(cloud)[5:])
					})
				})
			}
		}
	}
}

func TestTokenWithoutRefreshToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cloud := rolegatetest.NewCloudCommand(rolegatetest.CloudCommandConfig{NoRefresh: true})
		c := of(cloud)
		requireState(t, rolegate.SyncUnknown, c)
		<-time.After(time.Hour - 30*time.Second - 1) // 30 seconds are left, and no tenth
		requireState(t, rolegate.SyncUnknown, c)
		<-time.After(time.Nanosecond)
		requireState(t, rolegate.SyncUnknown, c)
		assert.Equal(t, []string{"password", "state", "state", "password", "state"}, grants(cloud))
	})
}

func TestTokenOfUnknownLifeIsUsedUntilRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cloud := rolegatetest.NewCloudCommand(rolegatetest.CloudCommandConfig{TokenLife: -1})
		c := of(cloud)
		requireState(t, rolegate.SyncUnknown, c)
		<-time.After(1000 * time.Hour)
		requireState(t, rolegate.SyncUnknown, c)
		cloud.RevokeTokens()
		requireState(t, rolegate.SyncUnknown, c)
		assert.Equal(t, []string{"password", "state", "state", "state", "refresh_token", "state"}, grants(cloud))
	})
}

func TestRefusedTokenIsRenewedOnce(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string]rolegatetest.Refusal{
		"HTTP 401 with R":          rolegatetest.RefuseHTTP,
		"HTTP 401 without success": rolegatetest.RefuseBare,
		"code 401 in the body":     rolegatetest.RefuseInBody,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := rolegatetest.NewCloudCommand(rolegatetest.CloudCommandConfig{Refusal: refusal})
			c := of(cloud)
			cloud.FailWhen(rolegatetest.CloudRequest.AsksForState, rolegatetest.RefuseToken())
			for range 2 {
				cloud.ResetRequests()
				_, err := c.CheckSync(t.Context())
				pe := requireFailure(t, rolegate.FailureRefused, err)
				assert.ErrorContains(t, pe, "code 401")
				assert.ErrorContains(t, pe, "msg “请求未授权”")
				assert.Equal(t, []string{"password", "state", "refresh_token", "state"}, grants(cloud),
					"a second refusal is final, and what was refused is not kept")
			}
			cloud.Recover()
			requireState(t, rolegate.SyncUnknown, c)
			cloud.RevokeTokens()
			cloud.ResetRequests()
			requireState(t, rolegate.SyncUnknown, c)
			assert.Equal(t, []string{"state", "refresh_token", "state"}, grants(cloud))
		})
	}
}

func TestRefusedAsTheAppSays(t *testing.T) {
	t.Parallel()
	cloud := rolegatetest.NewCloudCommand(rolegatetest.CloudCommandConfig{})
	c := of(cloud, func(c *cloudcommand.Config) {
		c.Refused = func(httpStatus, code int) bool { return httpStatus == 200 && code == 4001 }
	})
	cloud.FailWhen(rolegatetest.CloudRequest.AsksForState, rolegatetest.ErrorR(4001, "expired"))
	_, err := c.CheckSync(t.Context())
	requireFailure(t, rolegate.FailureRefused, err)
	assert.Equal(t, []string{"password", "state", "refresh_token", "state"}, grants(cloud))
}

func TestOtherFailuresKeepTheToken(t *testing.T) {
	t.Parallel()
	cloud := rolegatetest.NewCloudCommand(rolegatetest.CloudCommandConfig{})
	c := of(cloud)
	for _, f := range []rolegatetest.Fault{
		rolegatetest.HTTPStatus(403), rolegatetest.HTTPStatus(500), rolegatetest.ErrorR(500, ""),
		rolegatetest.Garbage(), rolegatetest.Reset(), rolegatetest.HTMLPage(),
	} {
		cloud.FailWhen(rolegatetest.CloudRequest.AsksForState, f)
		_, err := c.CheckSync(t.Context())
		require.Error(t, err)
		require.NotErrorIs(t, err, rolegate.ErrRefused)
	}
	assert.Equal(t, 1, cloud.TokenRequests())
}

func TestWrongCredentials(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*cloudcommand.Config){
		"client secret": func(c *cloudcommand.Config) { c.ClientSecret = "another-secret" },
		"password":      func(c *cloudcommand.Config) { c.Password = "another-password" },
		"tenant":        func(c *cloudcommand.Config) { c.TenantID = "000001" },
	} {
		for _, camel := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/camel=%v", name, camel), func(t *testing.T) {
				t.Parallel()
				cloud := rolegatetest.NewCloudCommand(rolegatetest.CloudCommandConfig{Camel: camel})
				_, err := of(cloud, edit).CheckSync(t.Context())
				pe := requireFailure(t, rolegate.FailureRefused, err)
				require.ErrorContains(t, pe, "check Config.ClientID, ClientSecret")
				require.ErrorContains(t, pe, "cloudcommand: POST "+rolegatetest.BaseURL+"/oauth/token: HTTP status")
				assert.NotContains(t, pe.Error(), "another-")
				assert.Equal(t, 1, cloud.RequestCount(), "nothing is asked without a token")
			})
		}
	}
}

func TestTokenFailures(t *testing.T) {
	t.Parallel()
	always := func(status int, body string) transport {
		return func(*http.Request) (*http.Response, error) { return reply(status, body), nil }
	}
	leak := "xyz " + rolegatetest.DefaultPassword + " refresh_token=abc"
	own := errors.New("own")
	cases := []struct {
		name string
		tr   transport
		want rolegate.Failure
		says string
	}{
		{"HTML", always(200, "<html>"), wire.FailureToken, "not the expected JSON"},
		{"empty", always(200, ""), wire.FailureToken, "no JSON"},
		{"no token", always(200, "{}"), wire.FailureToken, "no access_token"},
		{"an empty token", always(200, `{"access_token":""}`), wire.FailureToken, "no access_token"},
		{"a null token", always(200, `{"access_token":null}`), wire.FailureToken, "no access_token"},
		{"R without a token", always(200, `{"code":200,"success":true,"data":null}`), wire.FailureToken, "no access_token"},
		{"a token in R that failed", always(200, `{"code":500,"success":false,"msg":"`+leak+`","data":{"accessToken":"fake-access-token-0"}}`), wire.FailureToken, "code 500, success false, msg “xyz [***] refresh_token=[***]”"},
		{"a token that no header can carry", always(200, `{"access_token":"a\nb"}`), wire.FailureToken, "header"},
		{"a type that no header can carry", always(200, `{"access_token":"a","token_type":"a b"}`), wire.FailureToken, "header"},
		{"an enormous token", always(200, `{"access_token":"`+strings.Repeat("x", 9000)+`"}`), wire.FailureToken, "8192 bytes"},
		{"trailing bytes", always(200, tokenAnswer+"x"), wire.FailureToken, "after the end"},
		{"cut short", always(200, tokenAnswer[:50]), wire.FailureToken, "breaks off"},
		{"error_code under HTTP 200", always(200, `{"error_code":400,"error_description":"`+leak+`"}`), rolegate.FailureRefused, "error_code 400, error_description “xyz [***] refresh_token=[***]”"},
		{"error_code as text", always(200, `{"error_code":"401"}`), rolegate.FailureRefused, "error_code 401"},
		{"error_code of the server's", always(200, `{"error_code":500,"error_description":"x"}`), wire.FailureToken, "error_code 500"},
		{"OAuth's error", always(400, `{"error":"invalid_grant"}`), rolegate.FailureRefused, "HTTP status 400, error “invalid_grant”"},
		{"OAuth's error under HTTP 200", always(200, `{"error":"invalid_grant","access_token":"a"}`), wire.FailureToken, "error “invalid_grant”"},
		{"HTTP 401 without anything", always(401, ""), rolegate.FailureRefused, "HTTP status 401: "},
		{"HTTP 404", always(404, `{"timestamp":"2026","status":404,"error":"Not Found"}`), wire.FailureToken, "HTTP status 404, error “Not Found”"},
		{"a redirect", always(302, tokenAnswer), wire.FailureToken, "HTTP status 302"},
		{"a transport's error", transport(func(*http.Request) (*http.Response, error) { return nil, fmt.Errorf("%s: %w", leak, own) }), wire.FailureToken, "xyz [***] refresh_token=[***] own"},
		{"a panic", transport(func(*http.Request) (*http.Response, error) { panic(leak) }), wire.FailureToken, "a panic with a string"},
		{"the end of its goroutine", transport(func(*http.Request) (*http.Response, error) { runtime.Goexit(); return nil, nil }), wire.FailureToken, "goroutine"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := client(transport(func(r *http.Request) (*http.Response, error) {
				if r.Method != http.MethodPost {
					t.Error("asked without a token")
				}
				return tc.tr(r)
			}))
			for range 2 { // the first failure leaves nothing locked
				_, err := c.CheckSync(t.Context())
				require.ErrorContains(t, requireFailure(t, tc.want, err), tc.says)
				if tc.name == "a transport's error" {
					require.ErrorIs(t, err, own)
				}
			}
		})
	}
}

func TestRenewalIsNotTriedTwiceWhenThePlatformIsAway(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		f    rolegatetest.Fault
		want []string
	}{
		"broken connection": {rolegatetest.Reset(), []string{"state", "refresh_token"}},
		"asked to wait":     {rolegatetest.HTTPStatus(503, "Retry-After", "7"), []string{"state", "refresh_token"}},
		"HTTP 500":          {rolegatetest.HTTPStatus(500), []string{"state", "refresh_token", "password", "state"}},
		"refused":           {rolegatetest.HTTPStatus(401), []string{"state", "refresh_token", "password", "state"}},
		"no token in it":    {rolegatetest.Body("{}"), []string{"state", "refresh_token", "password", "state"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := rolegatetest.NewCloudCommand(rolegatetest.CloudCommandConfig{})
			c := of(cloud)
			requireState(t, rolegate.SyncUnknown, c)
			cloud.RevokeTokens()
			cloud.ResetRequests()
			cloud.FailWhen(func(r rolegatetest.CloudRequest) bool { return r.GrantType == "refresh_token" }, tc.f)
			_, err := c.CheckSync(t.Context())
			assert.Equal(t, tc.want, grants(cloud))
			if len(tc.want) > 2 {
				require.NoError(t, err)
				return
			}
			requireFailure(t, wire.FailureToken, err)
			cloud.Recover()
			requireState(t, rolegate.SyncUnknown, c) // the refresh token was kept
			assert.Equal(t, []string{"state", "refresh_token", "state"}, grants(cloud)[2:])
		})
	}
}

func TestOldRefreshTokenGoesOn(t *testing.T) {
	t.Parallel()
	var came []string
	c := client(transport(func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodGet {
			return reply(401, ""), nil
		}
		assert.NoError(t, r.ParseForm())
		came = append(came, r.PostForm.Get("refresh_token"))
		if len(came) == 1 {
			return reply(200, tokenAnswer), nil
		}
		return reply(200, `{"access_token":"fake-access-token-1"}`), nil
	}))
	_, err := c.CheckSync(t.Context())
	requireFailure(t, rolegate.FailureRefused, err)
	assert.Equal(t, []string{"", "fake-refresh-token-0"}, came)
}

func TestConcurrentChecksShareOneToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cloud := rolegatetest.NewCloudCommand(rolegatetest.CloudCommandConfig{Latency: time.Second})
		c := of(cloud)
		all := func() {
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					_, err := c.CheckSync(t.Context())
					assert.NoError(t, err)
				})
			}
			wg.Wait()
		}
		all()
		assert.Equal(t, 1, cloud.TokenRequests())
		cloud.RevokeTokens()
		all()
		assert.Equal(t, 2, cloud.TokenRequests())
	})
}

func TestFirstOfManyGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cloud := rolegatetest.NewCloudCommand(rolegatetest.CloudCommandConfig{Latency: time.Second})
		c := of(cloud)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := c.CheckSync(ctx)
			assert.ErrorIs(t, err, context.Canceled)
		})
		synctest.Wait()
		wg.Go(func() {
			_, err := c.CheckSync(t.Context())
			assert.NoError(t, err)
		})
		synctest.Wait()
		cancel()
		wg.Wait()
		assert.Equal(t, 1, cloud.TokenRequests())
	})
}

func TestDecodeToken(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, body string
		want       cloudcommand.Sent
		says       string
	}{
		{"flat", `{"tenant_id":"000000","access_token":"a","token_type":"bearer","refresh_token":"r","expires_in":3599,"scope":"all"}`, cloudcommand.Sent{Header: "bearer a", Refresh: "r", Usable: 3569 * time.Second}, ""},
		{"camel in R", `{"code":200,"success":true,"data":{"accessToken":"a","tokenType":"Bearer","refreshToken":"r","expiresIn":100},"msg":""}`, cloudcommand.Sent{Header: "Bearer a", Refresh: "r", Usable: 90 * time.Second}, ""},
		{"camel, flat", `{"accessToken":"a","expiresIn":"3600"}`, cloudcommand.Sent{Header: "bearer a", Usable: 3570 * time.Second}, ""},
		{"snake in R", `{"code":0,"data":{"access_token":"a","token_type":""}}`, cloudcommand.Sent{Header: "bearer a"}, ""},
		{"nulls", `{"access_token":"a","token_type":null,"refresh_token":null,"expires_in":null,"error":null,"error_code":"","error_description":""}`, cloudcommand.Sent{Header: "bearer a"}, ""},
		{"null as -1", `{"access_token":"a","expires_in":-1,"refresh_token":""}`, cloudcommand.Sent{Header: "bearer a"}, ""},
		{"no life", `{"access_token":"a","expires_in":0}`, cloudcommand.Sent{Header: "bearer a"}, ""},
		{"an empty life", `{"access_token":"a","expires_in":""}`, cloudcommand.Sent{Header: "bearer a"}, ""},
		{"a second", `{"access_token":"a","expires_in":1}`, cloudcommand.Sent{Header: "bearer a", Usable: 900 * time.Millisecond}, ""},
		{"for ever", fmt.Sprintf(`{"access_token":"a","expires_in":%d}`, int64(math.MaxInt64)), cloudcommand.Sent{Header: "bearer a", Usable: 365*24*time.Hour - 30*time.Second}, ""},
		{"a life of half a second", `{"access_token":"a","expires_in":0.5}`, cloudcommand.Sent{}, "expires_in"},
		{"a life in words", `{"access_token":"a","expires_in":"an hour"}`, cloudcommand.Sent{}, "expires_in"},
		{"both spellings", `{"access_token":"a","accessToken":"b"}`, cloudcommand.Sent{}, "once"},
		{"both lives", `{"access_token":"a","expires_in":5,"expiresIn":6}`, cloudcommand.Sent{}, "once"},
		{"inside and outside", `{"code":200,"access_token":"a","data":{"access_token":"b"}}`, cloudcommand.Sent{}, "once"},
		{"another case", `{"Access_Token":"a"}`, cloudcommand.Sent{}, "in this case"},
		{"another case inside", `{"code":200,"data":{"AccessToken":"a"}}`, cloudcommand.Sent{}, "in this case"},
		{"a number", `{"access_token":5}`, cloudcommand.Sent{}, "expected a string"},
		{"a list", `{"code":200,"data":[{"accessToken":"a"}]}`, cloudcommand.Sent{}, "no access_token"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := cloudcommand.DecodeToken([]byte(tc.body))
			if tc.says != "" {
				require.ErrorContains(t, err, tc.says)
			} else {
				require.NoError(t, err)
			}
			assert.Equal(t, tc.want, got)
		})
	}
}
