package permits_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/rolegate/rolegate/internal/permits"
)

func TestHandler(t *testing.T) {
	t.Parallel()
	handler := permits.Handler{Of: func(_ *http.Request, org int64) permits.User {
		u := permits.User{UserID: "9007199254740993", List: permits.NewList(), Orgs: []permits.Org{{OrgID: org, Roles: []string{}, List: permits.NewList()}}}
		u.Add("a", true, false)
		u.Add("b", false, true)
		u.Add("c", false, false)
		u.Orgs[0].Add("d", true, true)
		return u
	}}
	const all = `{"user_id":"9007199254740993","permissions":["a"],"conditional":["b"],"orgs":[{"org_id":"%","roles":[],"permissions":["d"],"conditional":[]}]}` + "\n"
	for _, c := range []struct {
		name, method, target string
		status               int
		org                  string // in the answer
	}{
		{"each organisation", "GET", "/", 200, "0"},
		{"another parameter", "GET", "/?a=b", 200, "0"},
		{"one organisation", "GET", "/?org=9007199254740993", 200, "9007199254740993"},
		{"no body", "HEAD", "/?org=7", 200, ""},
		{"a POST", "POST", "/?org=7", 405, ""},
		{"two organisations", "GET", "/?org=7&org=7", 400, ""},
		{"none", "GET", "/?org=", 400, ""},
		{"0", "GET", "/?org=0", 400, ""},
		{"another spelling", "GET", "/?org=07", 400, ""},
		{"no query", "GET", "/?org=7;a=b", 400, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest(c.method, c.target, nil))
			assert.Equal(t, c.status, w.Code)
			assert.Equal(t, "private, no-store", w.Header().Get("Cache-Control"))
			assert.Equal(t, c.status == 405, w.Header().Get("Allow") == "GET, HEAD")
			switch {
			case c.org != "":
				assert.Equal(t, strings.Replace(all, "%", c.org, 1), w.Body.String())
			case c.status == 200:
				assert.Empty(t, w.Body.String())
				assert.NotEqual(t, "0", w.Header().Get("Content-Length"))
			default:
				assert.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
				assert.Contains(t, w.Body.String(), http.StatusText(c.status))
			}
		})
	}
}
