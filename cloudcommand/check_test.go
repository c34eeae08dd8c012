package cloudcommand_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
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

func TestRequestIsAsDocumented(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"https://command.test/x", "https://command.test/x/"} {
		t.Run(base, func(t *testing.T) {
			t.Parallel()
			var requests []*http.Request
			var form string
			c := client(transport(func(r *http.Request) (*http.Response, error) {
				requests = append(requests, r)
				if r.Body != nil {
					b, _ := io.ReadAll(r.Body)
					form = string(b)
					return reply(200, `{"access_token":"A.b-c","token_type":"Bearer"}`), nil
				}
				return reply(200, said("x")), nil
			}), func(c *cloudcommand.Config) {
				c.BaseURL, c.ClientID, c.ClientSecret, c.SyncID = base, "sword", "sword_secret", 1542135022016057346
				c.Username, c.Password = "a b", "p&w"
			})
			requireState(t, rolegate.SyncUnknown, c)
			require.Len(t, requests, 2)

			r := requests[0]
			assert.Equal(t, "POST https://command.test/x/oauth/token", r.Method+" "+r.URL.String())
			assert.Equal(t, "Basic c3dvcmQ6c3dvcmRfc2VjcmV0", r.Header.Get("Authorization"))
			assert.Equal(t, "000000", r.Header.Get("Tenant-Id"))
			assert.Equal(t, "application/x-www-form-urlencoded", r.Header.Get("Content-Type"))
			assert.Empty(t, r.Header.Get("Blade-Auth"))
			assert.Equal(t, "grant_type=password&password=p%26w&scope=all&tenantId=000000&username=a+b", form)

			r = requests[1]
			assert.Equal(t, "GET https://command.test/x/api/blade-external/checkSyncData?id=1542135022016057346", r.Method+" "+r.URL.String())
			assert.Equal(t, "Basic c3dvcmQ6c3dvcmRfc2VjcmV0", r.Header.Get("Authorization"))
			assert.Equal(t, "Bearer A.b-c", r.Header.Get("Blade-Auth"))
			assert.Empty(t, r.Header.Get("Tenant-Id"))
		})
	}
}

func TestConfiguredRequest(t *testing.T) {
	t.Parallel()
	var urls []string
	id := int64(7)
	c := client(transport(func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodPost {
			require.NoError(t, r.ParseForm())
			urls = append(urls, r.URL.String()+" "+r.PostForm.Encode()+" "+r.Header.Get("Tenant-Id"))
			return reply(200, tokenAnswer), nil
		}
		urls = append(urls, r.URL.String())
		return reply(200, said("x")), nil
	}), func(c *cloudcommand.Config) {
		c.Username, c.Password = "", ""
		c.TenantID, c.Scope, c.TokenPath, c.Path = "000007", "read", "/blade-auth/oauth/token", "check"
		c.CurrentSyncID = func() int64 { return id }
	})
	for _, id = range []int64{7, 0, -1} {
		requireState(t, rolegate.SyncUnknown, c)
	}
	assert.Equal(t, []string{
		"https://command.test/x/blade-auth/oauth/token grant_type=client_credentials&scope=read&tenantId=000007 000007",
		"https://command.test/x/check?id=7", "https://command.test/x/check", "https://command.test/x/check",
	}, urls)
}

func TestStates(t *testing.T) {
	t.Parallel()
	const run, done, unknown = rolegate.SyncRunning, rolegate.SyncDone, rolegate.SyncUnknown
	none := func(*cloudcommand.Config) {}
	texts := func(c *cloudcommand.Config) { c.Running, c.Done = []string{"syncing"}, []string{"ready ", "完成"} }
	cases := []struct {
		name string
		edit func(*cloudcommand.Config)
		body string
		want rolegate.SyncState
		text string
	}{
		{"the document's example", none, `{"code":0,"data":{"name":"同步组织用户","ak":"qz_zhdt-Kxi35Ao8I21Wxc9GJFVzQf","message":"正在同步数据中...!"},"msg":"","success":true}`, run, "正在同步数据中...!"},
		{"the framework's code", none, strings.Replace(said("正在同步数据中"), `"code":0`, `"code":200`, 1), run, "正在同步数据中"},
		{"a code as text", none, strings.Replace(said("正在同步数据中"), `"code":0`, `"code":"0"`, 1), run, "正在同步数据中"},
		{"no success, code 0", none, `{"code":0,"data":{"message":"正在同步数据中"}}`, run, "正在同步数据中"},
		{"no success, code 200", none, `{"code":200,"data":{"message":"正在同步数据中"},"success":null}`, run, "正在同步数据中"},
		{"keys that are not known", none, `{"code":0,"data":{"message":"正在同步数据中","x":[1]},"y":{}}`, run, "正在同步数据中"},
		{"in other words", none, said("同步中"), unknown, "同步中"},
		{"done, by default", none, said("同步完成"), unknown, "同步完成"},
		{"no message", none, `{"code":0,"data":{"name":"x"},"success":true}`, unknown, ""},
		{"a null message", none, `{"code":0,"data":{"message":null},"success":true}`, unknown, ""},
		{"data {}", none, `{"code":0,"data":{},"success":true}`, unknown, ""},
		{"data null", none, `{"code":0,"data":null,"success":true}`, unknown, ""},
		{"data of an empty string", none, `{"code":0,"data":"","success":true}`, unknown, ""},
		{"data -1", none, `{"code":0,"data":-1,"success":true}`, unknown, ""},
		{"no data", none, `{"code":0,"success":true}`, unknown, ""},
		{"own text, running", texts, said("still syncing, wait"), run, "still syncing, wait"},
		{"own text, done", texts, said(" 完成 "), done, " 完成 "},
		{"own text with a blank, done", texts, said("ready"), done, "ready"},
		{"own text, done of a part", texts, said("部分完成"), unknown, "部分完成"},
		{"own text instead of the default", texts, said("正在同步数据中"), unknown, "正在同步数据中"},
		{"running goes before done", func(c *cloudcommand.Config) { c.Running, c.Done = []string{"a"}, []string{"ab"} }, said("ab"), run, "ab"},
		{"interpreted", func(c *cloudcommand.Config) {
			c.Done = nil
			c.Interpret = func(d cloudcommand.Data) rolegate.SyncState {
				assert.Equal(t, cloudcommand.Data{Name: "n", Message: "m"}, d)
				return done
			}
		}, said("m"), done, "m"},
		{"interpreted as nonsense", func(c *cloudcommand.Config) {
			c.Done = nil
			c.Interpret = func(cloudcommand.Data) rolegate.SyncState { return 9 }
		}, said("m"), unknown, "m"},
		{"control bytes", none, said("a\nb\u202e"), unknown, `a\nb\u202e`},
		{"200 characters", none, said(strings.Repeat("汉", 201)), unknown, strings.Repeat("汉", 200) + "…"},
		{"the app key in the message", none, said("key " + rolegatetest.AppKey + "!"), unknown, "key [***]!"},
		{"the password in the message", none, said("pw " + url.QueryEscape(rolegatetest.DefaultPassword)), unknown, "pw [***]"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tc.text, requireState(t, tc.want, client(always(200, tc.body), tc.edit)).Text)
		})
	}
}

func TestConfigIsCopied(t *testing.T) {
	t.Parallel()
	cfg := config(always(200, said("x")))
	cfg.Done = []string{"x"}
	c := cloudcommand.New(cfg)
	cfg.Done[0] = "y"
	requireState(t, rolegate.SyncDone, c)
}

func TestCheckFailures(t *testing.T) {
	t.Parallel()
	big := said(strings.Repeat("x", 300_000))
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = z.Write([]byte(big))
	_ = z.Close()
	echo := fmt.Sprintf("%s %s %s", rolegatetest.DefaultClientSecret, "fake-access-token-0", "bearer abcdefgh")
	cases := []struct {
		name string
		tr   transport
		want rolegate.Failure
		says string
	}{
		{"HTML", always(200, "<html></html>"), wire.FailureMalformed, "not the expected JSON"},
		{"empty", always(200, ""), wire.FailureMalformed, "no JSON"},
		{"null", always(200, "null"), wire.FailureMalformed, "no object"},
		{"an array", always(200, "[]"), wire.FailureMalformed, "no object"},
		{"no code", always(200, `{"success":true}`), wire.FailureMalformed, "no code"},
		{"a code of 2^31", always(200, `{"code":2147483648}`), wire.FailureMalformed, "code"},
		{"a code of 200.0", always(200, `{"code":200.0}`), wire.FailureMalformed, "code"},
		{"success as text", always(200, `{"code":200,"success":"true"}`), wire.FailureMalformed, "success"},
		{"msg of a number", always(200, `{"code":200,"msg":5}`), wire.FailureMalformed, "msg"},
		{"a key twice", always(200, `{"code":200,"code":0}`), wire.FailureMalformed, "twice"},
		{"a key twice inside", always(200, `{"code":0,"data":{"message":"a","message":"b"}}`), wire.FailureMalformed, "twice"},
		{"a key twice deep inside", always(200, `{"code":0,"data":{"x":{"y":1,"y":2}}}`), wire.FailureMalformed, "twice"},
		{"a key in another case", always(200, `{"code":200,"Success":true}`), wire.FailureMalformed, "success: expected this key in this case"},
		{"a key in another case inside", always(200, `{"code":0,"data":{"Message":"a"}}`), wire.FailureMalformed, "data: message: expected"},
		{"invalid UTF-8", always(200, "{\"code\":0,\"data\":{\"message\":\"\xff\"}}"), wire.FailureMalformed, "byte"},
		{"trailing bytes", always(200, said("x")+"x"), wire.FailureMalformed, "after the end"},
		{"a second value", always(200, said("x")+"{}"), wire.FailureMalformed, "after the end"},
		{"cut short", always(200, said("x")[:20]), wire.FailureMalformed, "breaks off"},
		{"nested deeply", always(200, `{"code":0,"data":`+strings.Repeat("[", 100_000)), wire.FailureMalformed, "byte"},
		{"data of an array", always(200, `{"code":0,"data":[]}`), wire.FailureMalformed, "data: expected an object"},
		{"data of text", always(200, `{"code":0,"data":"正在同步数据中"}`), wire.FailureMalformed, "data: expected an object"},
		{"data of a number", always(200, `{"code":0,"data":-2}`), wire.FailureMalformed, "data: expected an object"},
		{"a message of a number", always(200, `{"code":0,"data":{"message":-1}}`), wire.FailureMalformed, "message: expected a string"},
		{"an app key of a number", always(200, `{"code":0,"data":{"ak":12345},"msg":"12345"}`), wire.FailureMalformed, "ak: expected a string"},
		{"success false", always(200, `{"code":200,"success":false,"msg":"忙"}`), wire.FailureUpstream, "HTTP status 200, code 200, success false, msg “忙”"},
		{"success false, data like a success", always(200, strings.Replace(said("正在同步数据中"), "true", "false", 1)), wire.FailureUpstream, "code 0"},
		{"code 500", always(200, `{"code":500,"msg":"`+echo+`"}`), wire.FailureUpstream, "msg “[***] [***] bearer [***]”"},
		{"an app key in msg", always(200, `{"code":500,"msg":"`+rolegatetest.AppKey+`","data":{"ak":"`+rolegatetest.AppKey+`"}}`), wire.FailureUpstream, "msg “[***]”"},
		{"HTTP 403", always(403, `{"code":403,"msg":"`+echo+`"}`), rolegate.FailureHTTPStatus, "HTTP status 403, code 403, msg “[***] [***] bearer [***]”"},
		{"HTTP 404 of a page", always(404, "<html>"+echo), rolegate.FailureHTTPStatus, "HTTP status 404"},
		{"HTTP 500 with a success", always(500, said("正在同步数据中")), rolegate.FailureHTTPStatus, "HTTP status 500, code 0"},
		{"a malformed refusal", always(200, `{"code":401,"code":401}`), wire.FailureMalformed, "twice"},
		{"a redirect", always(302, "", "Location", "https://evil.test/"), rolegate.FailureHTTPStatus, "HTTP status 302"},
		{"too large", always(200, big), rolegate.FailureTooLarge, "Config.MaxBytes, 200000 bytes"},
		{"compressed unasked", always(200, bomb.String(), "Content-Encoding", "gzip"), wire.FailureMalformed, "Content-Encoding"},
		{"from a cache", always(200, said("x"), "Age", "30"), wire.FailureCachedReply, "Age"},
		{"no reply", states(func(*http.Request) (*http.Response, error) { return nil, nil }), wire.FailureNetwork, "neither"},
		{"an url.Error", states(func(r *http.Request) (*http.Response, error) {
			return nil, &url.Error{Op: "Get", URL: "https://u:" + rolegatetest.DefaultPassword + "@h/", Err: io.EOF}
		}), wire.FailureNetwork, "EOF"},
		{"credentials in an error", states(func(r *http.Request) (*http.Response, error) {
			return nil, errors.New("sent " + r.Header.Get("Authorization") + " and " + r.Header.Get("Blade-Auth"))
		}), wire.FailureNetwork, "sent Basic [***] and bearer [***]"},
		{"a panic", states(func(*http.Request) (*http.Response, error) { panic(echo) }), rolegate.FailurePanic, "a panic with a string"},
		{"a body that breaks off", states(func(*http.Request) (*http.Response, error) {
			res := reply(200, "")
			res.Body = io.NopCloser(io.MultiReader(strings.NewReader("{"), failing{io.ErrUnexpectedEOF}))
			return res, nil
		}), wire.FailureMalformed, "breaks off after 1 bytes"},
		{"a connection that is reset", states(func(*http.Request) (*http.Response, error) {
			res := reply(200, "")
			res.Body = io.NopCloser(failing{errors.New("reset")})
			return res, nil
		}), wire.FailureNetwork, "reset"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var others atomic.Int64
			c := client(transport(func(r *http.Request) (*http.Response, error) {
				if r.URL.Host != "command.test" {
					others.Add(1)
				}
				return tc.tr(r)
			}), func(c *cloudcommand.Config) { c.MaxBytes = 200_000 })
			_, err := c.CheckSync(t.Context())
			pe := requireFailure(t, tc.want, err)
			require.ErrorContains(t, pe, tc.says)
			assert.Zero(t, others.Load(), "no other host sees a request")
			if tc.want != rolegate.FailurePanic {
				assert.ErrorContains(t, pe, "cloudcommand: GET https://command.test/x/api/blade-external/checkSyncData: ")
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestAppsFunctionsPanic(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*cloudcommand.Config){
		"Interpret": func(c *cloudcommand.Config) {
			c.Done, c.Interpret = nil, func(cloudcommand.Data) rolegate.SyncState { panic("oh no") }
		},
		"CurrentSyncID": func(c *cloudcommand.Config) { c.CurrentSyncID = func() int64 { panic("oh no") } },
		"Refused":       func(c *cloudcommand.Config) { c.Refused = func(int, int) bool { panic("oh no") } },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := client(always(200, said("x")), edit).CheckSync(t.Context())
			require.ErrorContains(t, requireFailure(t, rolegate.FailurePanic, err), "a panic with a string")
		})
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	_, err := client(always(503, "", "Retry-After", "7")).CheckSync(t.Context())
	assert.Equal(t, 7*time.Second, requireFailure(t, rolegate.FailureHTTPStatus, err).RetryAfter)
	_, err = client(transport(func(*http.Request) (*http.Response, error) { return reply(429, "", "Retry-After", "9999"), nil })).CheckSync(t.Context())
	assert.Equal(t, 5*time.Minute, requireFailure(t, wire.FailureToken, err).RetryAfter)
}

func TestCheckIsBounded(t *testing.T) {
	t.Parallel()
	for name, slow := range map[string]struct {
		when func(rolegatetest.CloudRequest) bool
		f    rolegatetest.Fault
		want rolegate.Failure
	}{
		"the token hangs":   {rolegatetest.CloudRequest.AsksForToken, rolegatetest.Hang(), wire.FailureToken},
		"the state hangs":   {rolegatetest.CloudRequest.AsksForState, rolegatetest.Hang(), rolegate.FailureTimeout},
		"the state drips":   {rolegatetest.CloudRequest.AsksForState, rolegatetest.Drip(time.Second), rolegate.FailureTimeout},
		"both are slow":     {func(rolegatetest.CloudRequest) bool { return true }, rolegatetest.Slow(3 * time.Second), rolegate.FailureTimeout},
		"the token is slow": {rolegatetest.CloudRequest.AsksForToken, rolegatetest.Slow(time.Minute), wire.FailureToken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cloud := rolegatetest.NewCloudCommand(rolegatetest.CloudCommandConfig{})
				cloud.FailWhen(slow.when, slow.f)
				began := time.Now()
				_, err := of(cloud).CheckSync(t.Context())
				pe := requireFailure(t, slow.want, err)
				require.ErrorIs(t, pe, context.DeadlineExceeded)
				assert.Equal(t, 5*time.Second, time.Since(began))
			})
		})
	}
}

func TestCallersContextEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cloud := rolegatetest.NewCloudCommand(rolegatetest.CloudCommandConfig{})
		c := of(cloud)
		for _, when := range []func(rolegatetest.CloudRequest) bool{rolegatetest.CloudRequest.AsksForToken, rolegatetest.CloudRequest.AsksForState} {
			cloud.FailWhen(when, rolegatetest.Hang())
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := c.CheckSync(ctx)
			require.ErrorIs(t, requireFailure(t, rolegate.FailureTimeout, err), context.DeadlineExceeded)
			cancel()
			_, err = c.CheckSync(ctx)
			require.ErrorIs(t, err, context.DeadlineExceeded)

			ctx, cancel = context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			_, err = c.CheckSync(ctx)
			pe := requireFailure(t, rolegate.FailureOther, err)
			require.ErrorIs(t, pe, context.Canceled)
			require.NotErrorIs(t, pe, context.DeadlineExceeded)
			cloud.Recover()
		}
	})
}

func TestOverASocket(t *testing.T) {
	t.Parallel()
	cloud := rolegatetest.NewCloudCommand(rolegatetest.CloudCommandConfig{})
	cloud.Running("")
	c := client(nil, func(cfg *cloudcommand.Config) { cfg.BaseURL = cloud.Start(t) })
	t.Cleanup(c.CloseIdleConnections)
	assert.Equal(t, rolegatetest.RunningMessage, requireState(t, rolegate.SyncRunning, c).Text)
	cloud.FailWhen(rolegatetest.CloudRequest.AsksForState, rolegatetest.Truncated())
	_, err := c.CheckSync(t.Context())
	requireFailure(t, wire.FailureMalformed, err)
	cloud.Recover()
	cloud.FailWhen(rolegatetest.CloudRequest.AsksForState, rolegatetest.HTTPStatus(302, "Location", "https://elsewhere.test/"))
	_, err = c.CheckSync(t.Context())
	requireFailure(t, rolegate.FailureHTTPStatus, err)
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(cloud.ClientID()+":"+cloud.ClientSecret()))
	for _, r := range cloud.Requests() {
		assert.Equal(t, want, r.Header.Get("Authorization"))
	}
}
