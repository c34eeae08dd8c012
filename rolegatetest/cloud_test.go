package rolegatetest_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolegate/rolegate/rolegatetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// caller asks a CloudCommand as a client would.
type caller struct {
	*http.Client
	cloud *rolegatetest.CloudCommand
	base  string
}

func newCaller(cfg rolegatetest.CloudCommandConfig) *caller {
	cloud := rolegatetest.NewCloudCommand(cfg)
	return &caller{cloud.Client(), cloud, rolegatetest.BaseURL}
}

func (c *caller) do(t *testing.T, method, target, body string, header ...string) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, c.base+target, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(c.cloud.ClientID()+":"+c.cloud.ClientSecret())))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(r)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(got), err}
}

func (c *caller) token(t *testing.T, form url.Values, header ...string) reply {
	t.Helper()
	if form.Get("tenantId") == "" {
		form.Set("tenantId", rolegatetest.DefaultTenantID)
	}
	header = append([]string{"Content-Type", "application/x-www-form-urlencoded", "Tenant-Id", rolegatetest.DefaultTenantID}, header...)
	return c.do(t, http.MethodPost, "/oauth/token", form.Encode(), header...)
}

func (c *caller) state(t *testing.T, token string) reply {
	t.Helper()
	return c.do(t, http.MethodGet, "/api/blade-external/checkSyncData", "", "Blade-Auth", "bearer "+token)
}

// form makes a form of a grant type and its parameters.
func form(grantType string, values ...string) url.Values {
	f := url.Values{"grant_type": {grantType}}
	for i := 0; i < len(values); i += 2 {
		f.Set(values[i], values[i+1])
	}
	return f
}

func TestCloudStates(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		set  func(*rolegatetest.CloudCommand)
		want string
	}{
		"at first": {func(*rolegatetest.CloudCommand) {}, `{}`},
		"running":  {func(c *rolegatetest.CloudCommand) { c.Running("") }, `{"name":"同步组织用户","ak":"qz_zhdt-fakeAppKeyForTestsOnly","message":"正在同步数据中...!"}`},
		"in words": {func(c *rolegatetest.CloudCommand) { c.Running(`a "b"`) }, `{"name":"同步组织用户","ak":"qz_zhdt-fakeAppKeyForTestsOnly","message":"a \"b\""}`},
		"done":     {func(c *rolegatetest.CloudCommand) { c.Done("") }, `{"name":"同步组织用户","ak":"qz_zhdt-fakeAppKeyForTestsOnly","message":"同步数据完成"}`},
		"unknown":  {func(c *rolegatetest.CloudCommand) { c.Done("x"); c.Unknown() }, `{}`},
		"raw":      {func(c *rolegatetest.CloudCommand) { c.SetData("-1") }, `-1`},
	} {
		for _, code := range []int{0, 200} {
			t.Run(fmt.Sprintf("%s/code=%d", name, code), func(t *testing.T) {
				t.Parallel()
				c := newCaller(rolegatetest.CloudCommandConfig{SuccessCode: code})
				tc.set(c.cloud)
				require.Equal(t, 200, c.token(t, form("client_credentials")).status)
				got := c.state(t, "fake-access-token-1")
				require.NoError(t, got.err)
				assert.Equal(t, fmt.Sprintf(`{"code":%d,"data":%s,"msg":"","success":true}`, code, tc.want), got.body)
				assert.True(t, json.Valid([]byte(got.body)))
			})
		}
	}
}

func TestCloudTokens(t *testing.T) {
	t.Parallel()
	const rest = `"user_name":"","license":"powered by rolegatetest"`
	for name, tc := range map[string]struct {
		cfg  rolegatetest.CloudCommandConfig
		want string
	}{
		"flat":       {rolegatetest.CloudCommandConfig{}, `{"access_token":"fake-access-token-1","token_type":"bearer",` + rest + `,"refresh_token":"fake-refresh-token-1","expires_in":3600}`},
		"camel":      {rolegatetest.CloudCommandConfig{Camel: true}, `{"code":200,"success":true,"data":{"accessToken":"fake-access-token-1","tokenType":"bearer",` + rest + `,"refreshToken":"fake-refresh-token-1","expiresIn":3600},"msg":"操作成功"}`},
		"text":       {rolegatetest.CloudCommandConfig{TextNumbers: true, TokenLife: time.Minute}, `{"access_token":"fake-access-token-1","token_type":"bearer",` + rest + `,"refresh_token":"fake-refresh-token-1","expires_in":"60"}`},
		"no refresh": {rolegatetest.CloudCommandConfig{NoRefresh: true}, `{"access_token":"fake-access-token-1","token_type":"bearer",` + rest + `,"expires_in":3600}`},
		"for ever":   {rolegatetest.CloudCommandConfig{TokenLife: -1}, `{"access_token":"fake-access-token-1","token_type":"bearer",` + rest + `,"refresh_token":"fake-refresh-token-1"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCaller(tc.cfg)
			got := c.token(t, form("password", "username", c.cloud.Username(), "password", c.cloud.Password()))
			require.NoError(t, got.err)
			assert.Equal(t, tc.want, got.body)
			assert.True(t, json.Valid([]byte(got.body)))
			assert.Equal(t, 200, c.state(t, "fake-access-token-1").status)
		})
	}
}

func TestCloudTokensExpire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCaller(rolegatetest.CloudCommandConfig{TokenLife: time.Minute, Latency: time.Second})
		require.Equal(t, 200, c.token(t, form("client_credentials")).status)
		<-time.After(58 * time.Second)
		assert.Equal(t, 200, c.state(t, "fake-access-token-1").status)
		assert.Equal(t, 401, c.state(t, "fake-access-token-1").status, "it expired on the way")

		require.Equal(t, 200, c.token(t, form("refresh_token", "refresh_token", "fake-refresh-token-1")).status)
		assert.Equal(t, 200, c.state(t, "fake-access-token-2").status)
		assert.Equal(t, 400, c.token(t, form("refresh_token", "refresh_token", "fake-refresh-token-1")).status, "used up")
		c.cloud.RevokeRefreshTokens()
		assert.Equal(t, 400, c.token(t, form("refresh_token", "refresh_token", "fake-refresh-token-2")).status)
		assert.Equal(t, 200, c.state(t, "fake-access-token-2").status)
		c.cloud.RevokeTokens()
		assert.Equal(t, 401, c.state(t, "fake-access-token-2").status)
	})
}

func TestCloudIsStrict(t *testing.T) {
	t.Parallel()
	c := newCaller(rolegatetest.CloudCommandConfig{})
	require.Equal(t, 200, c.token(t, form("client_credentials")).status)
	const check, tok = "/api/blade-external/checkSyncData", "bearer fake-access-token-1"
	for name, tc := range map[string]struct {
		got    reply
		status int
		body   string
	}{
		"another path":        {c.do(t, "GET", "/x", ""), 404, `"code":404`},
		"POST of the state":   {c.do(t, "POST", check, "", "Blade-Auth", tok), 405, `"code":405`},
		"GET of a token":      {c.do(t, "GET", "/oauth/token", ""), 405, `"error_code":405`},
		"no Blade-Auth":       {c.do(t, "GET", check, ""), 401, `{"code":401,"data":null,"success":false,"msg":"请求未授权"}`},
		"another type":        {c.do(t, "GET", check, "", "Blade-Auth", "Bearer fake-access-token-1"), 401, `"code":401`},
		"another client":      {c.do(t, "GET", check, "", "Blade-Auth", tok, "Authorization", "Basic YTpi"), 401, `"code":401`},
		"a bad id":            {c.do(t, "GET", check+"?id=x", "", "Blade-Auth", tok), 200, `"code":400`},
		"two ids":             {c.do(t, "GET", check+"?id=1&id=1", "", "Blade-Auth", tok), 200, `"code":400`},
		"an id":               {c.do(t, "GET", check+"?id=9007199254740993", "", "Blade-Auth", tok), 200, `"code":0`},
		"token: client":       {c.token(t, form("client_credentials"), "Authorization", "Basic YTpi"), 401, `{"error_code":401,"error_description":"客户端认证失败"}`},
		"token: password":     {c.token(t, form("password", "username", c.cloud.Username(), "password", "x")), 400, `"error_code":400`},
		"token: grant":        {c.token(t, form("implicit")), 400, `"error_code":400`},
		"token: tenant":       {c.token(t, form("client_credentials"), "Tenant-Id", "1"), 400, `"error_code":400`},
		"token: other tenant": {c.token(t, form("client_credentials", "tenantId", "1")), 400, `"error_code":400`},
		"token: a huge form":  {c.token(t, form("client_credentials", "x", strings.Repeat("x", 1<<20))), 400, `"error_code":400`},
	} {
		require.NoError(t, tc.got.err, name)
		assert.Equal(t, tc.status, tc.got.status, name)
		assert.Contains(t, tc.got.body, tc.body, name)
	}
	camel := newCaller(rolegatetest.CloudCommandConfig{Camel: true})
	got := camel.token(t, form("password"))
	assert.Equal(t, `200 {"code":400,"data":null,"success":false,"msg":"用户名或密码错误"}`, fmt.Sprint(got.status, " ", got.body))
}

func TestCloudRefusals(t *testing.T) {
	t.Parallel()
	for refusal, want := range map[rolegatetest.Refusal]string{
		rolegatetest.RefuseHTTP:   `401 {"code":401,"data":null,"success":false,"msg":"请求未授权"}`,
		rolegatetest.RefuseBare:   `401 {"code":401,"msg":"请求未授权","data":null}`,
		rolegatetest.RefuseInBody: `200 {"code":401,"data":null,"success":false,"msg":"请求未授权"}`,
	} {
		c := newCaller(rolegatetest.CloudCommandConfig{Refusal: refusal})
		c.cloud.Fail(rolegatetest.RefuseToken())
		require.Equal(t, 200, c.token(t, form("client_credentials")).status, "requests for tokens are answered")
		got := c.state(t, "fake-access-token-1")
		assert.Equal(t, want, fmt.Sprint(got.status, " ", got.body))
	}
}

func TestCloudRequests(t *testing.T) {
	t.Parallel()
	c := newCaller(rolegatetest.CloudCommandConfig{Path: "check", TokenPath: "oauth/token"})
	assert.Empty(t, c.cloud.Requests())
	c.token(t, form("client_credentials"))
	c.do(t, "GET", "/check?id=7", "", "Blade-Auth", "bearer fake-access-token-1")
	c.cloud.FailNext(1, rolegatetest.ErrorR(500, "忙"))
	assert.Equal(t, `{"code":500,"data":null,"success":false,"msg":"忙"}`, c.do(t, "GET", "/check", "").body)
	c.cloud.FailWhen(rolegatetest.CloudRequest.AsksForState, rolegatetest.Reset())
	require.Error(t, c.do(t, "GET", "/check?id=x", "").err)

	type seen struct {
		path, grant, tenant string
		client, token       bool
		id                  int64
		status              int
	}
	var all []seen
	for _, r := range c.cloud.Requests() {
		all = append(all, seen{r.Path, r.GrantType, r.TenantID, r.ClientOK, r.TokenOK, r.SyncID, r.Status})
	}
	assert.Equal(t, []seen{
		{"/oauth/token", "client_credentials", "000000", true, false, 0, 200},
		{"/check", "", "", true, true, 7, 200},
		{"/check", "", "", true, false, 0, 200},
		{"/check", "", "", true, false, -1, 0},
	}, all)
	assert.Equal(t, []int{4, 1}, []int{c.cloud.RequestCount(), c.cloud.TokenRequests()})
	c.cloud.ResetRequests()
	c.cloud.Recover()
	assert.Equal(t, []int{0, 0}, []int{c.cloud.RequestCount(), c.cloud.TokenRequests()})
}

func TestCloudOverASocket(t *testing.T) {
	t.Parallel()
	c := newCaller(rolegatetest.CloudCommandConfig{})
	c.Client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	base, stop, err := c.cloud.Listen()
	require.NoError(t, err)
	defer stop()
	for _, c.base = range []string{base, c.cloud.Start(t)} {
		assert.Equal(t, 200, c.token(t, form("client_credentials")).status)
	}
	assert.Equal(t, 200, c.state(t, "fake-access-token-2").status)
}

func ExampleCloudCommand() {
	cloud := rolegatetest.NewCloudCommand(rolegatetest.CloudCommandConfig{Refusal: rolegatetest.RefuseInBody})
	cloud.Running("")
	resp, err := cloud.Client().Get(rolegatetest.BaseURL + rolegatetest.DefaultCheckPath)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(resp.StatusCode, string(body), err)
	fmt.Println(cloud.RequestCount(), "request,", cloud.TokenRequests(), "of them for a token")
	// Output:
	// 200 {"code":401,"data":null,"success":false,"msg":"请求未授权"} <nil>
	// 1 request, 0 of them for a token
}
