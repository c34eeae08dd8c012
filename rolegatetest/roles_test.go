package rolegatetest_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/rolegate/rolegate/rolegatetest"
)

func TestRoleList(t *testing.T) {
	t.Parallel()
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	m.Grant(1, 7, "teacher")
	c := newReader(m)
	get := func(path, token string) string {
		got := c.do(t.Context(), http.MethodGet, path+"?accessToken="+token, http.Header{"X-App-Id": {c.app}})
		assert.NoError(t, got.err)
		return fmt.Sprint(got.status, " ", got.body)
	}
	const list = rolegatetest.DefaultRoleListPath
	const head = `200 {"code":200,"status":"success","message":"请求成功","data":[`

	assert.Contains(t, get(list, c.token), `404 {"code":404,`, "nobody has said that there are roles")
	roles := []string{"teacher", "教师"}
	m.SetRoles(roles...)
	roles[0] = "changed"
	assert.Equal(t, head+`{"roleCode":"teacher","roleId":979514797625887994,"roleName":"teacher"},{"roleCode":"教师","roleId":8364087281578656027,"roleName":"教师"}]}`, get(list, c.token))
	m.SetRoles()
	assert.Equal(t, head+`]}`, get(list, c.token))
	assert.Contains(t, get(list, "AT-1-old"), `200 {"code":401,`)
	m.FailNext(1, rolegatetest.HTTPStatus(503))
	assert.Contains(t, get(list, c.token), `503 {`)

	got := m.Requests()
	var seen []string
	for _, r := range got {
		assert.Equal(t, list, r.Path)
		assert.False(t, r.BeginsFullRefresh() || r.GoesOn(), "no request for users")
		seen = append(seen, fmt.Sprint(r.Status, r.Rows, r.TokenOK))
	}
	assert.Equal(t, []string{"404 0 true", "200 2 true", "200 0 true", "200 0 false", "503 0 true"}, seen)
	assert.Zero(t, m.FullRefreshes())
}

func TestRoleListElsewhere(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]rolegatetest.MarketplaceConfig{
		"with a slash":    {RoleListPath: "/v2/roles", IDs: rolegatetest.IDsString},
		"without a slash": {RoleListPath: "v2/roles", IDs: rolegatetest.IDsString},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := rolegatetest.NewMarketplace(cfg)
			m.SetRoles("teacher")
			c := newReader(m)
			got := c.do(t.Context(), http.MethodGet, "/v2/roles?accessToken="+c.token, http.Header{"X-App-Id": {c.app}})
			assert.Contains(t, got.body, `"roleId":"979514797625887994"`)
			assert.Empty(t, c.page(t, 0, 10), "users are where they were")
		})
	}
}
