package marketplace_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
)

func TestPagesThatAreNotTheList(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)
	cases := []struct {
		name, body string
		want       rolegate.Failure
		says       string
	}{
		{"empty", ``, marketplace.FailureMalformed, "no JSON"},
		{"blank", " \r\n", marketplace.FailureMalformed, "no JSON"},
		{"HTML", `<html><body>login</body></html>`, marketplace.FailureMalformed, "byte 0"},
		{"null", `null`, marketplace.FailureMalformed, "no object"},
		{"an array", `[]`, marketplace.FailureMalformed, "no object"},
		{"an empty object", `{}`, marketplace.FailureMalformed, "no code"},
		{"no code", `{"data":[]}`, marketplace.FailureMalformed, "no code"},
		{"no data", `{"code":200}`, marketplace.FailureMalformed, "no data"},
		{"data null", `{"code":200,"data":null}`, marketplace.FailureMalformed, "array"},
		{"data an object", `{"code":200,"data":{}}`, marketplace.FailureMalformed, "array"},
		{"data a string", `{"code":200,"data":"[]"}`, marketplace.FailureMalformed, "array"},
		{"code a word", `{"code":"ok","data":[]}`, marketplace.FailureMalformed, "code"},
		{"HTML after blanks", "\r\n <!DOCTYPE html><html>", marketplace.FailureMalformed, "HTML"},
		{"XML", "<?xml version=\"1.0\"?><error/>", marketplace.FailureMalformed, "XML"},
		{"UTF-16", "\xff\xfe{\x00", marketplace.FailureMalformed, "UTF-16"},
		{"gzip", "\x1f\x8b\x08\x00", marketplace.FailureMalformed, "gzip"},
		{"a message in GBK", "{\"code\":200,\"message\":\"\xc7\xeb\xc7\xf3\xb3\xc9\xb9\xa6\",\"data\":[]}", marketplace.FailureMalformed, "GBK"},
		{"a message of four bytes in GBK", "{\"code\":500,\"message\":\"\xc7\xeb\xc7\xf3\",\"data\":{}}", marketplace.FailureMalformed, "GBK"},
		{"a message that was cut in a character", "{\"code\":500,\"message\":\"sorry \xe5\xbc\",\"data\":{}}", marketplace.FailureUpstream, "sorry"},
		{"no JSON, of four bytes in GBK", "\xc7\xeb\xc7\xf3", marketplace.FailureMalformed, "it looks like GBK"},
		{"no JSON, of some characters", "\xc7x", marketplace.FailureMalformed, "byte 0"},
		{"names in GBK", "{\"code\":200,\"data\":[" + strings.TrimSuffix(strings.Repeat("{\"userId\":1,\"lastSequence\":1,\"roleList\":[],\"nickname\":\"\xd5\xc5\xc8\xfd\"},", 20), ",") + "]}", marketplace.FailureMalformed, "GBK"},
		{"millions of nothing", `{"code":200,"data":[` + strings.Repeat("0,", 100_000) + `0]}`, marketplace.FailureMalformed, "expected users"},
		{"code null", `{"code":null,"data":[]}`, marketplace.FailureMalformed, "code"},
		{"code a fraction", `{"code":200.0,"data":[]}`, marketplace.FailureMalformed, "code"},
		{"code with an exponent", `{"code":2e2,"data":[]}`, marketplace.FailureMalformed, "code"},
		{"code beyond int64", `{"code":99999999999999999999,"data":[]}`, marketplace.FailureMalformed, "code"},
		{"code twice", `{"code":500,"code":200,"data":[]}`, marketplace.FailureMalformed, "twice"},
		{"data twice", `{"code":200,"data":[],"data":[]}`, marketplace.FailureMalformed, "twice"},
		{"data twice, once with escapes", `{"code":200,"data":[],"d\u0061ta":[]}`, marketplace.FailureMalformed, "twice"},
		{"an unknown key twice", `{"code":200,"data":[],"x":1,"x":1}`, marketplace.FailureMalformed, "twice"},
		{"code in another case", `{"Code":500,"code":200,"data":[]}`, marketplace.FailureMalformed, "case"},
		{"data in another case", `{"code":200,"data":[],"DATA":[]}`, marketplace.FailureMalformed, "case"},
		{"status in another case", `{"code":200,"data":[],"STATUS":"fail"}`, marketplace.FailureMalformed, "case"},
		{"a key that is no UTF-8", "{\"code\":200,\"data\":[],\"\xff\":1}", marketplace.FailureMalformed, "UTF-8"},
		{"status a number", `{"code":200,"status":0,"data":[]}`, marketplace.FailureMalformed, "status"},
		{"too many keys", `{"code":200,"data":[]` + manyKeys(200) + `}`, marketplace.FailureMalformed, "keys"},
		{"a second envelope", ok() + ok(), marketplace.FailureMalformed, "after the end"},
		{"a comma after it", ok() + `,`, marketplace.FailureMalformed, "after the end"},
		{"a null byte after it", ok() + "\x00", marketplace.FailureMalformed, "after the end"},
		{"cut in the data", ok(user(1, 1))[:60], marketplace.FailureMalformed, "breaks off"},
		{"cut before the last brace", strings.TrimSuffix(ok(user(1, 1)), "}"), marketplace.FailureMalformed, "breaks off"},
		{"a comma too many", `{"code":200,"data":[` + user(1, 1) + `,]}`, marketplace.FailureMalformed, "byte"},
		{"a comma too few", `{"code":200,"data":[` + user(1, 1) + user(1, 1) + `]}`, marketplace.FailureMalformed, "byte"},
		{"wrong brackets", `{"code":200,"data":[}]`, marketplace.FailureMalformed, "byte"},
		{"single quotes", `{'code':200,'data':[]}`, marketplace.FailureMalformed, "byte"},
		{"NaN", `{"code":NaN,"data":[]}`, marketplace.FailureMalformed, "byte"},
		{"nested 100,000 deep", deep, marketplace.FailureMalformed, "byte"},
		{"a record nested 100,000 deep", ok(deep), marketplace.FailureMalformed, "byte"},
		{"an unknown key nested 100,000 deep", `{"code":200,"data":[],"x":` + deep + `}`, marketplace.FailureMalformed, "byte"},
		{"the document's error", `{"code":500,"data":{},"message":"sorry","status":"fail"}`, marketplace.FailureUpstream, "code 500"},
		{"its message", `{"code":500,"data":{},"message":"sorry","status":"fail"}`, marketplace.FailureUpstream, "“sorry”"},
		{"an error with an array", `{"code":500,"data":[` + user(1, 1) + `]}`, marketplace.FailureUpstream, "code 500"},
		{"an error after the data", `{"data":[` + user(1, 1) + `],"code":500}`, marketplace.FailureUpstream, "code 500"},
		{"an error without data", `{"code":500}`, marketplace.FailureUpstream, "code 500"},
		{"code 0", `{"code":0,"data":[]}`, marketplace.FailureUpstream, "code 0"},
		{"code -200", `{"code":-200,"data":[]}`, marketplace.FailureUpstream, "code -200"},
		{"status fail", `{"code":200,"status":"fail","data":[]}`, marketplace.FailureUpstream, "fail"},
		{"status error after the data", `{"code":200,"data":[` + user(1, 1) + `],"status":"error"}`, marketplace.FailureUpstream, "error"},
		{"code 401", `{"code":401,"data":{}}`, rolegate.FailureRefused, "Config.AppID"},
		{"code 401 without data", `{"code":401,"msg":"x"}`, rolegate.FailureRefused, "Config.AppID"},
		{"code 403", `{"code":403,"data":{}}`, marketplace.FailureUpstream, "code 403"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := pull(t, client(always(200, tc.body)), 0)
			pe := requireFailure(t, tc.want, err)
			assert.ErrorContains(t, pe, tc.says)
			assert.ErrorContains(t, pe, "http://market.test/api/app/user/list")
			assert.Empty(t, got, "nothing is yielded of a page that is not accepted")
		})
	}
}

// A few names in another encoding are a few bad records, and a page of them is a page
// in another encoding.
func TestHowManyNamesInAnotherEncoding(t *testing.T) {
	t.Parallel()
	name := [2]string{`{`, "{\"nickname\":\"\xd5\xc5\xc8\xfd\","}
	code := [2]string{`[]`, "[{\"orgId\":1,\"roleCode\":\"\xd5\xc5\xc8\xfd\"}]"}
	for _, c := range []struct {
		place           [2]string
		garbled, others int
		refused         bool
	}{
		{name, 9, 0, false}, {name, 10, 0, true}, {name, 10, 9, true}, {name, 10, 10, false}, {name, 11, 10, true}, {name, 10, 200, false},
		{code, 9, 0, false}, {code, 10, 0, true}, {code, 10, 10, false},
		{[2]string{`{`, `{"nickname":"\ud800",`}, 20, 0, false}, // half a character, in letters that are
	} {
		var records []string
		for id := range int64(c.garbled + c.others) {
			record := user(id+1, id+1)
			if id < int64(c.garbled) {
				record = strings.Replace(record, c.place[0], c.place[1], 1)
			}
			records = append(records, record)
		}
		got, err := pull(t, client(pages(ok(records...), ok()), func(cfg *marketplace.Config) { cfg.PageSize = 300 }), 0)
		if c.refused {
			assert.ErrorContains(t, requireFailure(t, marketplace.FailureMalformed, err), "GBK", "%d and %d", c.garbled, c.others)
		} else {
			require.NoError(t, err, "%d and %d", c.garbled, c.others)
			assert.Len(t, got, c.garbled+c.others)
		}
	}
}

func manyKeys(n int) (s string) {
	for i := range n {
		s += fmt.Sprintf(`,"k%d":0`, i)
	}
	return s
}

func TestPagesThatAreTheList(t *testing.T) {
	t.Parallel()
	u := user(1, 1)
	for name, body := range map[string]string{
		"data first":                `{"data":[` + u + `],"code":200}`,
		"no status":                 `{"code":200,"data":[` + u + `]}`,
		"status null":               `{"code":200,"status":null,"data":[` + u + `]}`,
		"unknown keys":              `{"code":200,"data":[` + u + `],"traceId":"x","page":{"a":[1,{}],"a":2}}`,
		"blanks":                    " \n{ \"code\" : 200 , \"data\" : [ \t" + u + "\r\n ] } \n",
		"keys with escapes":         `{"c\u006fde":200,"d\u0061ta":[` + u + `]}`,
		"code a string":             `{"code":"200","data":[` + u + `]}`,
		"a byte order mark":         "\ufeff" + ok(u),
		"status in capitals":        `{"code":200,"status":"SUCCESS","data":[` + u + `]}`,
		"a message of any kind":     `{"code":200,"message":{},"data":[` + u + `]}`,
		"a bad byte in the message": "{\"code\":200,\"message\":\"\xff\",\"data\":[" + u + "]}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := pull(t, client(pages(body, ok())), 0)
			require.NoError(t, err)
			require.Len(t, got, 1)
			assert.NoError(t, got[0].Bad)
		})
	}
}

func TestRequest(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name       string
		base, path string
		want       string
	}{
		{"the document's path", "", "", "/app/user/list"},
		{"a slash at the end", "/", "", "/app/user/list"},
		{"a path of its own", "/api/v1", "", "/api/v1/app/user/list"},
		{"and a slash", "/api/v1/", "", "/api/v1/app/user/list"},
		{"an escaped slash", "/a%2Fb/", "", "/a%2Fb/app/user/list"},
		{"another path", "/api", "users", "/api/users"},
		{"with slashes", "/api/", "/v2/users/", "/api/v2/users/"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var seen *http.Request
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				seen = r
				_, _ = io.WriteString(w, ok())
			}, func(c *marketplace.Config) { c.BaseURL += tc.base; c.Path, c.PageSize = tc.path, 1000 })
			require.NoError(t, c.Validate())
			_, err := pull(t, c, 41)
			require.NoError(t, err)
			assert.Equal(t, http.MethodGet, seen.Method)
			assert.Equal(t, tc.want, seen.URL.EscapedPath())
			assert.Equal(t, map[string][]string{"accessToken": {secret}, "lastSequence": {"41"}, "limit": {"1000"}}, map[string][]string(seen.URL.Query()))
			assert.Equal(t, "app-1", seen.Header.Get("X-App-Id"))
			assert.Equal(t, "no-cache", seen.Header.Get("Cache-Control"))
			assert.Equal(t, "application/json", seen.Header.Get("Accept"))
			assert.Equal(t, "rolegate", seen.UserAgent())
		})
	}
}

// The code is what counts; platforms that write "" for null write it here too.
func TestStatusMayBeLeftOut(t *testing.T) {
	t.Parallel()
	for _, status := range []string{``, `"status":null,`, `"status":"",`, `"status":"success",`} {
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"code":200,`+status+`"data":[]}`)
		})
		_, err := pull(t, c, 0)
		assert.NoError(t, err, status)
	}
}

// A cache that heeds no Cache-Control must not answer one full refresh with the pages
// of another: no two of a hundred have the same URL.
func TestNoTwoPullsAskTheSame(t *testing.T) {
	t.Parallel()
	limits := map[string]bool{}
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		limits[r.URL.Query().Get("limit")] = true
		_, _ = io.WriteString(w, ok())
	})
	for range 101 {
		_, err := pull(t, c, 0)
		require.NoError(t, err)
	}
	assert.Len(t, limits, 101)
	for limit := range limits {
		n, err := strconv.Atoi(limit)
		require.NoError(t, err)
		assert.True(t, n >= 900 && n <= 1000, limit)
	}
}

func TestCacheBuster(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	c := client(transport(func(r *http.Request) (*http.Response, error) {
		seen[r.URL.Query().Get("_")] = true
		return reply(200, ok()), nil
	}), func(c *marketplace.Config) { c.CacheBuster = "_" })
	for range 3 {
		_, err := pull(t, c, 0)
		require.NoError(t, err)
	}
	assert.Len(t, seen, 3)
	assert.NotContains(t, seen, "")
}

func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	var visits atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visits.Add(1) }))
	t.Cleanup(other.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+"/login?"+r.URL.RawQuery, status)
		})
		_, err := pull(t, c, 0)
		pe := requireFailure(t, rolegate.FailureHTTPStatus, err)
		assert.ErrorContains(t, pe, fmt.Sprint(status))
		assert.NotContains(t, pe.Error(), "login")
		assert.NotContains(t, pe.Error(), other.URL)
	}
	assert.Zero(t, visits.Load())
}

func TestHTTPStatus(t *testing.T) {
	t.Parallel()
	custom := func(status, code int) bool { return status == 403 && code == 1001 }
	cases := []struct {
		name    string
		status  int
		body    string
		refused func(int, int) bool
		want    rolegate.Failure
		says    string
	}{
		{"500", 500, "oops", nil, rolegate.FailureHTTPStatus, "HTTP status 500"},
		{"500 with the list", 500, ok(user(1, 1)), nil, rolegate.FailureHTTPStatus, "HTTP status 500"},
		{"201 with the list", 201, ok(user(1, 1)), nil, rolegate.FailureHTTPStatus, "HTTP status 201"},
		{"204", 204, "", nil, rolegate.FailureHTTPStatus, "HTTP status 204"},
		{"206 with the list", 206, ok(user(1, 1)), nil, rolegate.FailureHTTPStatus, "HTTP status 206"},
		{"500 with an envelope", 500, `{"code":1234,"message":"down for today","data":{}}`, nil, rolegate.FailureHTTPStatus, "code 1234, message “down for today”"},
		{"500 with a body without end", 500, `{"code":1234,"message":"` + strings.Repeat("x", 1<<20), nil, rolegate.FailureHTTPStatus, "HTTP status 500"},
		{"401", 401, "", nil, rolegate.FailureRefused, "HTTP status 401"},
		{"401 with an envelope", 401, `{"code":401,"msg":"缺失令牌","data":null}`, nil, rolegate.FailureRefused, "code 401"},
		{"401 in the body of a 500", 500, `{"code":401,"data":null}`, nil, rolegate.FailureRefused, "HTTP status 500, code 401"},
		{"403", 403, "", nil, rolegate.FailureHTTPStatus, "HTTP status 403"},
		{"403, as the app says", 403, `{"code":1001,"data":{}}`, custom, rolegate.FailureRefused, "code 1001"},
		{"401, as the app says", 401, "", custom, rolegate.FailureHTTPStatus, "HTTP status 401"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := pull(t, client(always(tc.status, tc.body), func(c *marketplace.Config) { c.Refused = tc.refused }), 0)
			assert.ErrorContains(t, requireFailure(t, tc.want, err), tc.says)
			assert.Empty(t, got)
		})
	}
}

func TestLittleIsReadOfAnError(t *testing.T) {
	t.Parallel()
	endless := &counter{}
	_, err := pull(t, client(transport(func(*http.Request) (*http.Response, error) {
		res := reply(500, "")
		res.Body = endless
		return res, nil
	})), 0)
	requireFailure(t, rolegate.FailureHTTPStatus, err)
	assert.LessOrEqual(t, endless.n, 65<<10)
	assert.True(t, endless.closed)
}

// A counter is a body of blanks, 16 MiB of them.
type counter struct {
	n      int
	closed bool
}

func (c *counter) Read(b []byte) (int, error) {
	if c.n > 16<<20 {
		return 0, io.EOF
	}
	for i := range b {
		b[i] = ' '
	}
	c.n += len(b)
	return len(b), nil
}

func (c *counter) Close() error {
	c.closed = true
	return nil
}

func TestMaxPageBytes(t *testing.T) {
	t.Parallel()
	page := ok(user(1, 1))
	limit := func(n int) func(*marketplace.Config) {
		return func(c *marketplace.Config) { c.MaxPageBytes = int64(n) }
	}
	_, err := pull(t, client(pages(page, ok()), limit(len(page))), 0)
	require.NoError(t, err)
	_, err = pull(t, client(always(200, page), limit(len(page)-1)), 0)
	assert.ErrorContains(t, requireFailure(t, rolegate.FailureTooLarge, err), fmt.Sprintf("MaxPageBytes, %d bytes", len(page)-1))

	// A valid list up to the cap, and then blanks: cut, it would be fine.
	_, err = pull(t, client(always(200, page+strings.Repeat(" ", 100)), limit(len(page)+10)), 0)
	requireFailure(t, rolegate.FailureTooLarge, err)
}

func TestGzipBomb(t *testing.T) {
	t.Parallel()
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = io.WriteString(z, `{"code":200,"data":[`)
	blanks := bytes.Repeat([]byte(" "), 1<<20)
	for range 64 {
		_, _ = z.Write(blanks)
	}
	_, _ = io.WriteString(z, `]}`)
	require.NoError(t, z.Close())
	require.Less(t, bomb.Len(), 1<<20)

	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		assert.Contains(t, r.Header.Get("Accept-Encoding"), "gzip")
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb.Bytes())
	})
	_, err := pull(t, c, 0)
	requireFailure(t, rolegate.FailureTooLarge, err)
}

func TestContentEncoding(t *testing.T) {
	t.Parallel()
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(z, ok())
	require.NoError(t, z.Close())
	gzipped := func(b []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(b)
		}
	}
	_, err := pull(t, serve(t, gzipped(zipped.Bytes())), 0)
	require.NoError(t, err)
	_, err = pull(t, serve(t, gzipped(zipped.Bytes()[:zipped.Len()-9])), 0)
	requireFailure(t, marketplace.FailureMalformed, err)
	_, err = pull(t, serve(t, gzipped([]byte("no gzip at all, but long enough for a header"))), 0)
	requireFailure(t, marketplace.FailureMalformed, err)
	_, err = pull(t, client(always(200, ok(), "Content-Encoding", "br")), 0)
	requireFailure(t, marketplace.FailureMalformed, err)
	_, err = pull(t, client(always(200, ok(), "Content-Encoding", "Identity")), 0)
	require.NoError(t, err)
}
