package rolegatetest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// A request as a client of the marketplace sends it.
func ask(m *rolegatetest.Marketplace, client *http.Client, baseURL string, after int64) {
	r, _ := http.NewRequest(http.MethodGet, fmt.Sprintf("%s/app/user/list?accessToken=%s&lastSequence=%d", baseURL, m.Token(), after), nil)
	r.Header.Set("X-App-Id", m.AppID())
	resp, err := client.Do(r)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(resp.StatusCode, string(body), err)
}

// In a test, m.Start(t) takes the place of Listen and stop.
func ExampleMarketplace() {
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{IDs: rolegatetest.IDsString})
	baseURL, stop, err := m.Listen()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stop()
	m.Put(rolegatetest.User{ID: 1542135022016057346, Account: "wangfang"})
	ask(m, http.DefaultClient, baseURL, 0)
	// Output:
	// 200 {"code":200,"status":"success","message":"请求成功","data":[{"userId":"1542135022016057346","account":"wangfang","email":"","gender":0,"nickname":"","thirdAccount":"","thirdUserId":"","thirdUserName":"","roleList":[],"lastSequence":"1"}]} <nil>
}

// No socket is needed to get an answer, or a bad one.
func ExampleMarketplace_FailNext() {
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	m.FailNext(1, rolegatetest.ErrorEnvelope(500, "系统繁忙"))
	m.FailWhen(rolegatetest.Request.GoesOn, rolegatetest.HTTPStatus(503, "Retry-After", "7"))

	ask(m, m.Client(), rolegatetest.BaseURL, 0)
	ask(m, m.Client(), rolegatetest.BaseURL, 0)
	ask(m, m.Client(), rolegatetest.BaseURL, 12)
	fmt.Println(m.RequestCount(), "requests,", m.FullRefreshes(), "full refreshes")
	// Output:
	// 200 {"code":500,"data":{},"message":"系统繁忙","status":"fail"} <nil>
	// 200 {"code":200,"status":"success","message":"请求成功","data":[]} <nil>
	// 503 {"code":503,"data":{},"message":"Service Unavailable","status":"fail"} <nil>
	// 3 requests, 2 full refreshes
}

// A restored backup gives sequences out a second time.
func ExampleMarketplace_Restore() {
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	m.Grant(42, 7, "teacher")
	backup := m.Backup()
	m.Grant(42, 7, "admin")
	m.Restore(backup)
	user, _ := m.User(42)
	fmt.Println(user.Grants, m.Sequence())
	// Output: [{7 teacher}] 1
}

// A record that no User can be: the same key twice.
func ExampleMarketplace_Raw() {
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	m.Grant(42, 7)
	m.Raw(42, `{"userId":42,"userId":1,"roleList":[],"lastSequence":1}`)
	ask(m, m.Client(), rolegatetest.BaseURL, 0)
	// Output: 200 {"code":200,"status":"success","message":"请求成功","data":[{"userId":42,"userId":1,"roleList":[],"lastSequence":1}]} <nil>
}

func ExampleStatic() {
	source := rolegatetest.NewStatic(
		rolegate.Record{UserID: 42, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "teacher"}}},
		rolegate.Record{UserID: 43},
	)
	show := func(r rolegate.Record) { fmt.Println(r.Sequence, r.UserID, r.Grants) }

	fmt.Println(source.Pull(context.Background(), 0, show))
	source.Remove(42) // an incremental refresh sees nothing of it
	source.Put(rolegate.Record{UserID: 44})
	fmt.Println(source.Pull(context.Background(), 2, show))
	source.Fail(errors.New("no connection"))
	fmt.Println(source.Pull(context.Background(), 0, show))
	// Output:
	// 1 42 [{7 teacher}]
	// 2 43 []
	// <nil>
	// 3 44 []
	// <nil>
	// no connection
}
