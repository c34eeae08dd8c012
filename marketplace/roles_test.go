package marketplace_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

func withRoles(c *marketplace.Config) { c.RoleListPath = "app/role/list" }

func TestRoleCodes(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		data string
		want []string
	}{
		"none":                    {`[]`, nil},
		"with all its keys":       {`[{"roleCode":"teacher","roleId":1542135022016057346,"roleName":"教师"},{"roleCode":"admin","roleId":"2","roleName":null}]`, []string{"teacher", "admin"}},
		"a code alone":            {`[{"roleCode":"a"}]`, []string{"a"}},
		"keys in another order":   {`[{"roleName":"A","roleCode":"a"}]`, []string{"a"}},
		"in the order of the app": {`[{"roleCode":"c"},{"roleCode":"a"},{"roleCode":"b"}]`, []string{"c", "a", "b"}},
		"doubled":                 {`[{"roleCode":"b"},{"roleCode":"a"},{"roleCode":"b","roleId":9}]`, []string{"b", "a"}},
		"empty":                   {`[{"roleCode":""},{"roleCode":"a"},{"roleCode":""}]`, []string{"a"}},
		"nothing but empty":       {`[{"roleCode":""}]`, nil},
		"bytes are kept":          {`[{"roleCode":"Teacher "},{"roleCode":"teacher"},{"roleCode":"\u6559\u5e08"},{"r\u006fleCode":"a\"b"}]`, []string{"Teacher ", "teacher", "教师", `a"b`}},
		"unknown keys":            {`[{"roleCode":"a","x":{"roleCode":"b"},"y":[1,[]]}]`, []string{"a"}},
		"blanks":                  {" [ \n{ \"roleCode\" : \"a\" } , {\"roleCode\":\"b\"}\t] ", []string{"a", "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := client(always(200, `{"code":200,"data":`+tc.data+`}`), withRoles).RoleCodes(t.Context())
			require.NoError(t, err)
			assert.Equal(t, tc.want, got)
		})
	}
}

func TestRoleCodesOfAPageThatIsNone(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]rolegate.Failure{
		`<html>`: marketplace.FailureMalformed, `{"code":200,"data":[}]}`: marketplace.FailureMalformed, `{"data":[]}`: marketplace.FailureMalformed,
		`{"code":200}`: marketplace.FailureMalformed, `{"code":500,"data":[{}]}`: marketplace.FailureUpstream,
	} {
		_, err := client(always(200, body), withRoles).RoleCodes(t.Context())
		requireFailure(t, want, err)
	}
}

// Nothing is returned of a list with a role in it that cannot be understood.
func TestRolesThatCannotBeUnderstood(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ role, says string }{
		"a string":              {`"hunter2"`, "expected an object"},
		"null":                  {`null`, "expected an object"},
		"an array":              {`[]`, "expected an object"},
		"an empty object":       {`{}`, "roleCode"},
		"no code":               {`{"roleId":1,"roleName":"hunter2"}`, "roleCode"},
		"code null":             {`{"roleCode":null}`, "roleCode"},
		"code a number":         {`{"roleCode":7}`, "roleCode"},
		"code an object":        {`{"roleCode":{}}`, "roleCode"},
		"code twice":            {`{"roleCode":"hunter2","roleCode":"a"}`, "once"},
		"code twice, escaped":   {`{"roleCode":"hunter2","role\u0043ode":"a"}`, "once"},
		"another case":          {`{"rolecode":"hunter2"}`, "this case"},
		"another case besides":  {`{"roleCode":"a","RoleCode":"hunter2"}`, "this case"},
		"no UTF-8 in the code":  {"{\"roleCode\":\"hunter2\xff\"}", "UTF-8"},
		"half a surrogate pair": {`{"roleCode":"hunter2\ud800"}`, "UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := client(always(200, ok(`{"roleCode":"first"}`, tc.role, `{"roleCode":"last"}`)), withRoles).RoleCodes(t.Context())
			pe := requireFailure(t, marketplace.FailureMalformed, err)
			assert.ErrorContains(t, pe, "role 2 of the list")
			assert.ErrorContains(t, pe, tc.says)
			assert.NotContains(t, pe.Error(), "hunter2")
			assert.Nil(t, got)
		})
	}
}

// What a page of users must be, a page of roles must be too: one case of each
// kind.
func TestRoleCodesFailAsPagesOfUsersDo(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reply func() *http.Response
		want  rolegate.Failure
	}{
		"HTML":            {func() *http.Response { return reply(200, "<html>") }, marketplace.FailureMalformed},
		"no code":         {func() *http.Response { return reply(200, `{"data":[]}`) }, marketplace.FailureMalformed},
		"data an object":  {func() *http.Response { return reply(200, `{"code":200,"data":{}}`) }, marketplace.FailureMalformed},
		"data null":       {func() *http.Response { return reply(200, `{"code":200,"data":null}`) }, marketplace.FailureMalformed},
		"data twice":      {func() *http.Response { return reply(200, `{"code":200,"data":[],"data":[]}`) }, marketplace.FailureMalformed},
		"cut":             {func() *http.Response { return reply(200, `{"code":200,"data":[{"roleCode":"a"}`) }, marketplace.FailureMalformed},
		"more behind it":  {func() *http.Response { return reply(200, ok()+ok()) }, marketplace.FailureMalformed},
		"code 500":        {func() *http.Response { return reply(200, `{"code":500,"data":{},"status":"fail"}`) }, marketplace.FailureUpstream},
		"404":             {func() *http.Response { return reply(404, "") }, rolegate.FailureHTTPStatus},
		"a redirect":      {func() *http.Response { return reply(302, "", "Location", "http://market.test/login") }, rolegate.FailureHTTPStatus},
		"401":             {func() *http.Response { return reply(401, "") }, rolegate.FailureRefused},
		"an Age":          {func() *http.Response { return reply(200, ok(), "Age", "5") }, marketplace.FailureCachedReply},
		"brotli":          {func() *http.Response { return reply(200, ok(), "Content-Encoding", "br") }, marketplace.FailureMalformed},
		"above the cap":   {func() *http.Response { return reply(200, ok()+strings.Repeat(" ", 1000)) }, rolegate.FailureTooLarge},
		"nested too deep": {func() *http.Response { return reply(200, ok(strings.Repeat("[", 450)+strings.Repeat("]", 450))) }, marketplace.FailureMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := client(transport(func(*http.Request) (*http.Response, error) { return tc.reply(), nil }), withRoles,
				func(c *marketplace.Config) { c.MaxPageBytes = 1000 })
			got, err := c.RoleCodes(t.Context())
			assert.ErrorContains(t, requireFailure(t, tc.want, err), "GET http://market.test/api/app/role/list: ")
			assert.Nil(t, got)
		})
	}
}

func TestRoleCodesRequest(t *testing.T) {
	t.Parallel()
	var seen *http.Request
	c := client(transport(func(r *http.Request) (*http.Response, error) {
		seen = r
		return reply(200, ok()), nil
	}), func(c *marketplace.Config) { c.RoleListPath, c.CacheBuster = "/v2/roles/", "_" })
	_, err := c.RoleCodes(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "GET http://market.test/api/v2/roles/", seen.Method+" "+strings.Split(seen.URL.String(), "?")[0])
	q := seen.URL.Query()
	assert.Equal(t, secret, q.Get("accessToken"))
	assert.NotEmpty(t, q.Get("_"))
	assert.Len(t, q, 2, "no cursor, and no limit")
	assert.Equal(t, "app-1", seen.Header.Get("X-App-Id"))
	assert.Equal(t, "no-cache", seen.Header.Get("Cache-Control"))

	assert.Equal(t, "http://market.test/api/app/user/list app-1", c.CacheKey(), "the roles do not tell lists apart")
	_, err = pull(t, c, 0)
	require.NoError(t, err)
	assert.Equal(t, "/api/app/user/list", seen.URL.Path)
}

func TestRoleCodesWithoutAPath(t *testing.T) {
	t.Parallel()
	c := client(transport(func(*http.Request) (*http.Response, error) {
		t.Error("a request was sent")
		return reply(200, ok()), nil
	}))
	require.NoError(t, c.Validate())
	got, err := c.RoleCodes(t.Context())
	require.ErrorContains(t, err, "Config.RoleListPath is empty: set it")
	assert.Nil(t, got)
}

// Roles and users share one token, and its renewal.
func TestRoleCodesRenewTheToken(t *testing.T) {
	t.Parallel()
	tr := &accepting{accept: func(token string) bool { return token == "token-2" }}
	c := client(tr, tokenFrom(new(issuer)), withRoles)
	_, err := c.RoleCodes(t.Context())
	require.NoError(t, err)
	_, err = pull(t, c, 0)
	require.NoError(t, err)
	assert.Equal(t, []string{"token-1", "token-2", "token-2"}, tr.came)

	tr.accept = func(string) bool { return false }
	_, err = c.RoleCodes(t.Context())
	requireFailure(t, rolegate.FailureRefused, err)
	assert.Equal(t, []string{"token-2", "token-3"}, tr.came[3:], "a second refusal is final")
}

func TestRoleCodesEndInTime(t *testing.T) {
	t.Parallel()
	hanging := transport(func(r *http.Request) (*http.Response, error) {
		res := reply(200, "")
		res.Body = blocked{r.Context()}
		return res, nil
	})
	t.Run("PageTimeout", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			_, err := client(hanging, withRoles).RoleCodes(t.Context())
			requireFailure(t, rolegate.FailureTimeout, err)
			assert.Equal(t, 15*time.Second, time.Since(begun))
		})
	})
	t.Run("ctx", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			begun := time.Now()
			_, err := client(hanging, withRoles).RoleCodes(ctx)
			requireFailure(t, rolegate.FailureTimeout, err)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Equal(t, time.Second, time.Since(begun))
		})
	})
	t.Run("ctx that is over", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := client(always(200, ok()), withRoles).RoleCodes(ctx)
		require.ErrorIs(t, err, context.Canceled)
	})
}

// The first page of a full refresh and the roles may well come in the same second.
func TestRoleCodesFromACacheWithoutAge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := client(always(200, ok(), "Date", "Mon, 02 Mar 2026 08:00:00 GMT"), withRoles)
		_, err := c.RoleCodes(t.Context())
		require.NoError(t, err)
		<-time.After(3 * time.Second)
		_, err = pull(t, c, 0)
		require.NoError(t, err)
		_, err = c.RoleCodes(t.Context())
		requireFailure(t, marketplace.FailureCachedReply, err)
	})
}

func TestRoleCodesOfTheFake(t *testing.T) {
	t.Parallel()
	for _, spelling := range []rolegatetest.IDs{rolegatetest.IDsNumber, rolegatetest.IDsString, rolegatetest.IDsMixed} {
		m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{IDs: spelling})
		c := marketplace.New(marketplace.Config{
			BaseURL: rolegatetest.BaseURL, AppID: m.AppID(), Token: marketplace.StaticToken(m.Token()), Transport: m.Transport(),
			RoleListPath: rolegatetest.DefaultRoleListPath,
		})
		_, err := c.RoleCodes(t.Context())
		requireFailure(t, rolegate.FailureHTTPStatus, err)
		m.SetRoles("teacher", "", "教师", "teacher")
		got, err := c.RoleCodes(t.Context())
		require.NoError(t, err)
		assert.Equal(t, []string{"teacher", "教师"}, got)
	}
}

func FuzzRoleCodes(f *testing.F) {
	for _, seed := range []string{
		`[]`, `[{"roleCode":"a","roleId":1,"roleName":"A"}]`, `[{"roleCode":"a"},{"roleCode":""},{"roleCode":"a"}]`,
		`[{"roleCode":"a","roleCode":"b"}]`, `[{"RoleCode":"a"}]`, `[null]`, `[{"roleCode":null}]`, "[{\"roleCode\":\"\xff\"}]", `[{"roleCode":"\ud800"}]`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data string) {
		got, err := client(always(200, fmt.Sprintf(`{"code":200,"data":%s}`, data)), withRoles).RoleCodes(t.Context())
		if err != nil {
			requireClean(t, err, secret)
			assert.Nil(t, got)
			return
		}
		// What is accepted is what any reader of JSON would make of it.
		var roles []struct {
			RoleCode string `json:"roleCode"`
		}
		if json.Unmarshal([]byte(data), &roles) != nil {
			return // data that ends the envelope and begins a key of its own
		}
		var want []string
		for _, r := range roles {
			seen := r.RoleCode == ""
			for _, code := range want {
				seen = seen || code == r.RoleCode
			}
			if !seen {
				want = append(want, r.RoleCode)
			}
		}
		assert.Equal(t, want, got)
	})
}
