package forwardauth_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/forwardauth"
	"github.com/rolegate/rolegate/rolegatetest"
)

// A gate that nginx asks (docs/proxies/nginx.conf), for an app behind nginx
// that need not know of it.
func Example() {
	gate, err := rolegate.Open(context.Background(), rolegate.Config{
		Source:   rolegatetest.NewStatic(rolegate.Record{UserID: 42, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "teacher"}}}),
		Identify: bySession, // the cookie of the app's own login
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gate.Close()

	h, err := forwardauth.New(gate, forwardauth.Config{
		Proxy:   forwardauth.Nginx,
		Trusted: rolegate.Loopback(), // nginx runs beside the gate
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	h.Admit("GET /{$}")
	h.Handle("GET /grades/{id}", rolegate.AnyRole("teacher"))
	h.Handle("POST /orgs/{orgID}/reports", rolegate.AnyRole("teacher"), rolegate.InOrg(rolegate.PathOrg("orgID")))
	server := httptest.NewServer(h)
	defer server.Close()

	ask := func(method, uri string) { // as nginx does
		r, _ := http.NewRequest(http.MethodGet, server.URL, nil)
		r.Header.Set("X-Original-Method", method)
		r.Header.Set("X-Original-Host", "school.example")
		r.Header.Set("X-Original-URI", uri)
		r.Header.Set("Cookie", "session=42")
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			fmt.Println(err)
			return
		}
		answer.Body.Close()
		fmt.Printf("%s %s: %d %q %q\n", method, uri, answer.StatusCode,
			answer.Header.Get(forwardauth.UserHeader), answer.Header.Get(forwardauth.RolesHeader))
	}
	ask("GET", "/grades/5?term=1")
	ask("POST", "/orgs/7/reports")
	ask("POST", "/orgs/8/reports")
	ask("GET", "/grades/../settings")
	http.DefaultClient.CloseIdleConnections()
	// Output:
	// GET /grades/5?term=1: 200 "42" "7:teacher"
	// POST /orgs/7/reports: 200 "42" "7:teacher"
	// POST /orgs/8/reports: 403 "" ""
	// GET /grades/../settings: 403 "" ""
}
