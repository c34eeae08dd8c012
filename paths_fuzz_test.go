package rolegate_test

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// FuzzGuardedPaths sends requests of any method, to any target, through a
// ServeMux and a chi router, as a user who may do one thing in one
// organisation: nothing else ever reaches a guarded handler, however it is
// written.
func FuzzGuardedPaths(f *testing.F) {
	for _, seed := range []string{
		"/admin", "/admin/", "//admin", "/%61dmin", "/a/..%2fadmin", "/admin%2f", "/ADMIN", "/admin/.", "/public/../admin", "/admin;x=1", "*",
		"/orgs/7/reports", "/orgs/8/reports", "/orgs/07/reports", "/orgs/+7/reports", "/orgs/%37/reports", "/orgs/7%2f8/reports", "/orgs/7/../8/reports",
		"/orgs/8/../7/reports", "/orgs//reports", "/orgs/9223372036854775808/reports", "/orgs/-7/reports", "/orgs/7 /reports", "/orgs/7/reports/", "/orgs/7/reports?orgID=8",
		"http://other.example/orgs/8/reports", "/orgs/7/reports#/orgs/8", "/orgs/\x00/reports", "/orgs/７/reports",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS", "TRACE", "CONNECT", "get", "X"} {
			f.Add(method, seed, "Host: app.example\r\n")
		}
	}
	f.Add("GET", "/admin", "X-Forwarded-Uri: /public\r\nX-Original-URL: /public\r\nX-HTTP-Method-Override: GET\r\n")
	f.Add("GET", "/orgs/8/reports", "X-Forwarded-Prefix: /orgs/7\r\nX-User-Id: 2\r\n")

	gate := openGate(f, rolegate.Config{
		Source:   rolegatetest.NewStatic(record(1, in(7, "teacher")), record(2, in(8, "teacher"), in(8, "admin"))),
		Identify: rolegate.ByUserID(func(*http.Request) (int64, error) { return 1, nil }),
		OnDeny:   rolegate.OnDeny{Off: true},
	})
	admin := gate.Require(rolegate.AnyRole("admin"))
	reports := gate.Require(rolegate.AnyRole("teacher"), rolegate.InOrg(rolegate.PathOrg("orgID")))
	var fault string // what reached a handler that must not have
	never := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { fault = "the admin page was served" })
	seven := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if org, ok := gate.OrgFrom(r.Context()); !ok || org != 7 || r.PathValue("orgID") != "7" {
			fault = "organisation " + strconv.FormatInt(org, 10) + ", path value " + strconv.Quote(r.PathValue("orgID"))
		}
	})
	open := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})

	mux := http.NewServeMux()
	mux.Handle("/admin", admin(never))
	mux.Handle("/admin/", admin(never))
	mux.Handle("/orgs/{orgID}/reports", reports(seven))
	mux.Handle("/public/", open)
	router := chi.NewRouter()
	router.With(admin).Handle("/admin", never)
	router.With(admin).Handle("/admin/*", never)
	router.With(reports).Handle("/orgs/{orgID}/reports", seven)
	router.Handle("/public/*", open)

	f.Fuzz(func(t *testing.T, method, target, headers string) {
		// As net/http's server reads it, so that no request is one that cannot come.
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(method + " " + target + " HTTP/1.1\r\n" + headers + "\r\n")))
		if err != nil {
			return
		}
		for name, h := range map[string]http.Handler{"ServeMux": mux, "chi": router} {
			fault = ""
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r.Clone(t.Context()))
			if fault != "" {
				t.Fatalf("%s, %q: %s", name, r.RequestURI, fault)
			}
		}
	})
}
