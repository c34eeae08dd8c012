package main

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	goleak.VerifyTestMain(m)
}

func TestRoutes(t *testing.T) {
	var logged bytes.Buffer
	gate, err := rolegate.Open(t.Context(), rolegate.Config{
		Source: rolegatetest.NewStatic(
			rolegate.Record{UserID: 1, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "teacher"}}},
			rolegate.Record{UserID: 2, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "pupil"}}},
		),
		Identify: rolegate.ByUserID(func(r *http.Request) (int64, error) {
			return strconv.ParseInt("0"+r.Header.Get("X-User"), 10, 64) // only a test may believe it
		}),
		Logger: slog.New(slog.NewTextHandler(&logged, nil)), OnDeny: rolegate.OnDeny{Off: true},
	})
	require.NoError(t, err)
	defer gate.Close()
	app := routes(gate)
	for _, test := range []struct {
		name, user, method, path string
		status                   int
		body                     string
	}{
		{"nobody", "", "GET", "/grades", 401, ""},
		{"a stranger", "99", "GET", "/grades", 403, ""},
		{"a pupil", "2", "GET", "/grades", 403, ""},
		{"a teacher", "1", "GET", "/grades", 200, "grades for 1"},
		{"a teacher in his organisation", "1", "POST", "/orgs/7/reports", 200, "report filed for 7"},
		{"a teacher in another", "1", "POST", "/orgs/8/reports", 403, ""},
		{"an organisation that is none", "1", "POST", "/orgs/07/reports", 403, ""},
		{"an organisation with a slash in it", "1", "POST", "/orgs/7%2F8/reports", 0, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(test.method, test.path, nil)
			r.Header.Set("X-User", test.user)
			w := httptest.NewRecorder()
			app.ServeHTTP(w, r)
			if test.status == 0 {
				assert.GreaterOrEqual(t, w.Code, 400)
				return
			}
			assert.Equal(t, test.status, w.Code)
			if test.status == http.StatusOK {
				assert.Equal(t, test.body, w.Body.String())
				return
			}
			assert.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
			assert.Equal(t, 1, bytes.Count(w.Body.Bytes(), []byte("about:blank")), "nothing runs behind a refusal")
		})
	}
	assert.Contains(t, logged.String(), `route=/orgs/:orgID/reports`, "the log knows the route")
}
