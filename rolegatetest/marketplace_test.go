package rolegatetest_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPageIsSpeltAsDocumented(t *testing.T) {
	t.Parallel()
	alice := rolegatetest.User{
		ID: 1542135022016057346, Account: "alice", Email: "a@example.com", Nickname: "艾丽 \"A\"", Gender: 2,
		ThirdAccount: "al", ThirdUserID: "9007199254740993", ThirdUserName: "Alice",
		Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "x"}},
	}
	const (
		head = `{"code":200,"status":"success","message":"请求成功","data":[`
		text = `"account":"alice","email":"a@example.com","gender":2,"nickname":"艾丽 \"A\"","thirdAccount":"al",`
	)
	for name, tc := range map[string]struct {
		ids  rolegatetest.IDs
		user rolegatetest.User
		want string
	}{
		"numbers": {rolegatetest.IDsNumber, alice, head +
			`{"userId":1542135022016057346,` + text + `"thirdUserId":9007199254740993,"thirdUserName":"Alice","roleList":[` +
			`{"orgId":7,"roleCode":"x","roleId":6319107344173173635,"roleName":"x","userId":1542135022016057346}],"lastSequence":1}]}`},
		"strings": {rolegatetest.IDsString, alice, head +
			`{"userId":"1542135022016057346",` + text + `"thirdUserId":"9007199254740993","thirdUserName":"Alice","roleList":[` +
			`{"orgId":"7","roleCode":"x","roleId":"6319107344173173635","roleName":"x","userId":"1542135022016057346"}],"lastSequence":"1"}]}`},
		"mixed": {rolegatetest.IDsMixed, alice, head +
			`{"userId":1542135022016057346,` + text + `"thirdUserId":"9007199254740993","thirdUserName":"Alice","roleList":[` +
			`{"orgId":7,"roleCode":"x","roleId":"6319107344173173635","roleName":"x","userId":1542135022016057346}],"lastSequence":"1"}]}`},
		"nothing known": {rolegatetest.IDsNumber, rolegatetest.User{}, head +
			`{"userId":0,"account":"","email":"","gender":0,"nickname":"","thirdAccount":"","thirdUserId":0,"thirdUserName":"","roleList":[],"lastSequence":1}]}`},
		"third id not canonical": {rolegatetest.IDsNumber, rolegatetest.User{ID: -1, ThirdUserID: "007"}, head +
			`{"userId":-1,"account":"","email":"","gender":0,"nickname":"","thirdAccount":"","thirdUserId":"007","thirdUserName":"","roleList":[],"lastSequence":1}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{IDs: tc.ids})
			m.Put(tc.user)
			got := newReader(m).get(t.Context(), 0, 10)
			require.NoError(t, got.err)
			assert.Equal(t, tc.want, got.body)
			assert.True(t, json.Valid([]byte(got.body)))
			assert.Equal(t, "application/json;charset=UTF-8", got.header.Get("Content-Type"))
		})
	}
}

func TestFullRefresh100000UsersWithStringIDs(t *testing.T) {
	t.Parallel()
	const count, first = 100_000, int64(1)<<53 + 1
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{IDs: rolegatetest.IDsString, FirstSequence: 1 << 60})
	for n := range int64(count) {
		m.Grant(first+n, 1<<54+1, "teacher")
	}
	c := newReader(m)
	got, err := c.full(t, 0, 1000)
	require.NoError(t, err)
	require.Len(t, got, count)
	for n, r := range got {
		if int64(r.UserID) != first+int64(n) || int64(r.LastSequence) != 1<<60+int64(n) || int64(r.RoleList[0].OrgID) != 1<<54+1 {
			t.Fatalf("record %d came as %+v", n, r)
		}
	}
	assert.Equal(t, 101, m.RequestCount(), "100 full pages and an empty one")
	assert.Equal(t, 1, m.FullRefreshes())
}

func TestCursor(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		cfg      rolegatetest.MarketplaceConfig
		limit    int
		want     []int64
		requests int
		err      error
	}{
		"exclusive, a tie within a page":      {limit: 10, want: []int64{1, 2, 3, 4, 5, 6}, requests: 2},
		"exclusive, a tie across pages":       {limit: 3, want: []int64{1, 2, 3, 6}, requests: 3},
		"inclusive, a tie within a page":      {cfg: rolegatetest.MarketplaceConfig{Inclusive: true}, limit: 10, want: []int64{1, 2, 3, 4, 5, 6, 6}, requests: 2},
		"inclusive, a tie across pages":       {cfg: rolegatetest.MarketplaceConfig{Inclusive: true}, limit: 4, want: []int64{1, 2, 3, 4, 3, 4, 5, 6, 6}, requests: 3},
		"inclusive, a tie as long as a page":  {cfg: rolegatetest.MarketplaceConfig{Inclusive: true}, limit: 3, want: []int64{1, 2, 3, 3, 4, 5}, requests: 2, err: errStuck},
		"capped below the limit":              {cfg: rolegatetest.MarketplaceConfig{PageCap: 5}, limit: 10, want: []int64{1, 2, 3, 4, 5, 6}, requests: 3},
		"capped, inclusive, with a tie":       {cfg: rolegatetest.MarketplaceConfig{PageCap: 4, Inclusive: true}, limit: 10, want: []int64{1, 2, 3, 4, 3, 4, 5, 6, 6}, requests: 3},
		"capped above the limit":              {cfg: rolegatetest.MarketplaceConfig{PageCap: 50}, limit: 10, want: []int64{1, 2, 3, 4, 5, 6}, requests: 2},
		"sequences at the end of the numbers": {cfg: rolegatetest.MarketplaceConfig{FirstSequence: math.MaxInt64}, limit: 10, want: []int64{1, 2, 3, 4, 5, 6}, requests: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := rolegatetest.NewMarketplace(tc.cfg)
			m.Put(users(1, 2)...)
			m.PutTied(users(3, 5)...) // one sequence
			m.Put(users(6, 6)...)
			got, err := newReader(m).full(t, 0, tc.limit)
			require.ErrorIs(t, err, tc.err)
			assert.Equal(t, tc.want, ids(got))
			assert.Equal(t, tc.requests, m.RequestCount())
		})
	}
}

func TestSetPageCap(t *testing.T) {
	t.Parallel()
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	m.Put(users(1, 5)...)
	c := newReader(m)
	m.SetPageCap(2)
	assert.Len(t, c.page(t, 0, 10), 2)
	m.SetPageCap(0)
	assert.Len(t, c.page(t, 0, 10), 5)
}

func TestValidation(t *testing.T) {
	t.Parallel()
	app := http.Header{"X-App-Id": {rolegatetest.DefaultAppID}}
	const good = "/app/user/list?accessToken=" + rolegatetest.DefaultToken
	for name, tc := range map[string]struct {
		method, target string
		header         http.Header
		unauthorized   bool // MarketplaceConfig.UnauthorizedHTTP
		status, code   int
	}{
		"defaults":               {target: good, status: 200, code: 200},
		"unknown parameter":      {target: good + "&x=1", status: 200, code: 200},
		"POST":                   {method: http.MethodPost, target: good, status: 405, code: 405},
		"another path":           {target: "/app/user/list/?accessToken=" + rolegatetest.DefaultToken, status: 404, code: 404},
		"no app id":              {target: good, header: http.Header{}, status: 200, code: 400},
		"empty app id":           {target: good, header: http.Header{"X-App-Id": {""}}, status: 200, code: 400},
		"app id twice":           {target: good, header: http.Header{"X-App-Id": {"test-app", "test-app"}}, status: 200, code: 400},
		"wrong app id":           {target: good, header: http.Header{"X-App-Id": {"other"}}, status: 200, code: 401},
		"wrong app id over HTTP": {target: good, header: http.Header{"X-App-Id": {"other"}}, unauthorized: true, status: 401, code: 401},
		"no token":               {target: "/app/user/list", status: 200, code: 400},
		"empty token":            {target: "/app/user/list?accessToken=", status: 200, code: 400},
		"token twice":            {target: good + "&accessToken=" + rolegatetest.DefaultToken, status: 200, code: 400},
		"wrong token":            {target: "/app/user/list?accessToken=AT-1-old", status: 200, code: 401},
		"wrong token over HTTP":  {target: "/app/user/list?accessToken=AT-1-old", unauthorized: true, status: 401, code: 401},
		"limit 0":                {target: good + "&limit=0", status: 200, code: 400},
		"limit 1":                {target: good + "&limit=1", status: 200, code: 200},
		"limit 1000":             {target: good + "&limit=1000", status: 200, code: 200},
		"limit 1001":             {target: good + "&limit=1001", status: 200, code: 400},
		"limit of letters":       {target: good + "&limit=all", status: 200, code: 400},
		"limit empty":            {target: good + "&limit=", status: 200, code: 400},
		"limit twice":            {target: good + "&limit=1&limit=2", status: 200, code: 400},
		"sequence at its end":    {target: good + "&lastSequence=9223372036854775807", status: 200, code: 200},
		"sequence beyond it":     {target: good + "&lastSequence=9223372036854775808", status: 200, code: 400},
		"sequence below 0":       {target: good + "&lastSequence=-1", status: 200, code: 400},
		"query that is none":     {target: good + "&%zz", status: 200, code: 400},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{UnauthorizedHTTP: tc.unauthorized})
			if tc.header == nil {
				tc.header = app
			}
			got := newReader(m).do(t.Context(), tc.method, tc.target, tc.header)
			require.NoError(t, got.err)
			assert.Equal(t, tc.status, got.status)
			var envelope struct {
				Code   int
				Status string
				Data   json.RawMessage
			}
			require.NoError(t, json.Unmarshal([]byte(got.body), &envelope))
			assert.Equal(t, tc.code, envelope.Code)
			if tc.code == 200 {
				assert.JSONEq(t, "[]", string(envelope.Data))
				assert.Equal(t, "success", envelope.Status)
			} else {
				assert.JSONEq(t, "{}", string(envelope.Data))
				assert.Equal(t, "fail", envelope.Status)
			}
		})
	}
}

func TestConfigIsKept(t *testing.T) {
	t.Parallel()
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{AppID: "school", Token: "AT-3-x", Path: "v2/users"})
	assert.Equal(t, "school", m.AppID())
	assert.Equal(t, "AT-3-x", m.Token())
	c := newReader(m)
	got := c.do(t.Context(), http.MethodGet, "/v2/users?accessToken=AT-3-x", http.Header{"X-App-Id": {"school"}})
	assert.Contains(t, got.body, `"code":200`)
	assert.Equal(t, 1, m.FullRefreshes())
}

func TestSetToken(t *testing.T) {
	t.Parallel()
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	old := newReader(m)
	m.SetToken("AT-2-new")
	assert.Contains(t, old.get(t.Context(), 0, 10).body, `"code":401`)
	assert.Contains(t, newReader(m).get(t.Context(), 0, 10).body, `"code":200`)
	assert.Equal(t, []bool{false, true}, []bool{m.Requests()[0].TokenOK, m.Requests()[1].TokenOK})
	m.SetToken("")
	assert.Contains(t, old.get(t.Context(), 0, 10).body, `"code":401`)
}

func TestLatency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{Latency: 3 * time.Second})
		c := newReader(m)
		start := time.Now()
		c.page(t, 0, 10)
		assert.Equal(t, 3*time.Second, time.Since(start))

		m.SetLatency(time.Hour)
		c.Timeout = 5 * time.Second
		start = time.Now()
		err := c.get(t.Context(), 0, 10).err
		require.Error(t, err)
		var timeout interface{ Timeout() bool }
		require.ErrorAs(t, err, &timeout)
		assert.True(t, timeout.Timeout())
		assert.Equal(t, 5*time.Second, time.Since(start))
		assert.Zero(t, m.Requests()[1].Status)
	})
}

func TestRequestsAreRecorded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
		assert.Nil(t, m.Requests())
		m.Put(users(1, 3)...)
		c := newReader(m)
		c.page(t, 0, 2)
		c.page(t, 2, 2)
		c.do(t.Context(), http.MethodHead, "/elsewhere", http.Header{"X-Trace": {"1"}})

		got := m.Requests()
		require.Len(t, got, 3)
		assert.Equal(t, time.Now(), got[0].Time)
		assert.Equal(t, []int64{0, 2, 200, 2}, []int64{got[0].After, got[0].Limit, int64(got[0].Status), int64(got[0].Rows)})
		assert.Equal(t, []int64{2, 2, 200, 1}, []int64{got[1].After, got[1].Limit, int64(got[1].Status), int64(got[1].Rows)})
		assert.True(t, got[0].BeginsFullRefresh() && got[0].TokenOK && !got[0].GoesOn())
		assert.True(t, got[1].GoesOn() && !got[1].BeginsFullRefresh())
		assert.Equal(t, "test-app", got[1].AppID)
		assert.Equal(t, []string{"HEAD", "/elsewhere", "1"}, []string{got[2].Method, got[2].Path, got[2].Header.Get("X-Trace")})
		assert.Equal(t, 404, got[2].Status)
		assert.False(t, got[2].TokenOK || got[2].BeginsFullRefresh() || got[2].GoesOn())
		assert.Equal(t, []int{3, 1}, []int{m.RequestCount(), m.FullRefreshes()})
	})
}

func TestRecordOfRequestsIsBounded(t *testing.T) {
	t.Parallel()
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	c := newReader(m)
	c.page(t, 0, 1)
	m.ResetRequests()
	for n := range 10_003 {
		c.page(t, int64(n), 1)
	}
	got := m.Requests()
	require.Len(t, got, 10_000)
	assert.Equal(t, int64(3), got[0].After)
	assert.Equal(t, int64(10_002), got[9_999].After)
	for _, r := range got {
		assert.Equal(t, 200, r.Status)
	}
	assert.Equal(t, []int{10_003, 1}, []int{m.RequestCount(), m.FullRefreshes()})
	m.ResetRequests()
	assert.Nil(t, m.Requests())
	assert.Equal(t, []int{0, 0}, []int{m.RequestCount(), m.FullRefreshes()})
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{IDs: rolegatetest.IDsMixed})
	m.Put(users(1, 300)...)
	var wg sync.WaitGroup
	for g := range int64(8) {
		wg.Go(func() {
			c := newReader(m)
			for n := range int64(40) {
				user := 1 + (g*40+n)%300
				m.Grant(user, n+1, "teacher", fmt.Sprint("role", n))
				m.Respell(user, func(record string) string { return record })
				m.Take(user, n+1, "teacher")
				m.FailNext(1, rolegatetest.ErrorEnvelope(500, ""))
				c.get(t.Context(), 0, 100)
				m.Recover()
				m.Revoke(user)
				c.get(t.Context(), n, 100)
				m.Restore(m.Backup())
				m.SetToken(m.Token())
				_, _, _ = m.Users(), m.Requests(), m.Sequence()
			}
		})
	}
	wg.Wait()
	assert.Equal(t, 8*80, m.RequestCount())
}
