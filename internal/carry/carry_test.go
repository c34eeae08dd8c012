package carry_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/rolegate/rolegate/internal/carry"
)

func TestBack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		handler func(seen *http.Request)
		check   func(t *testing.T, r *http.Request)
	}{
		"nothing": {func(*http.Request) {}, func(t *testing.T, r *http.Request) {
			assert.Equal(t, "GET", r.Method)
			assert.Empty(t, r.Pattern)
		}},
		"the pattern and its values": {func(seen *http.Request) {
			seen.Pattern = "GET /orgs/{orgID}/files/{path...}"
			seen.SetPathValue("orgID", "7")
			seen.SetPathValue("path", "a/b")
			seen.SetPathValue("other", "x")
		}, func(t *testing.T, r *http.Request) {
			assert.Equal(t, "GET /orgs/{orgID}/files/{path...}", r.Pattern)
			assert.Equal(t, []string{"7", "a/b", "x"}, []string{r.PathValue("orgID"), r.PathValue("path"), r.PathValue("other")})
		}},
		"a pattern of chi": {func(seen *http.Request) {
			seen.Pattern = "/orgs/{orgID:[0-9]+}/*"
			seen.SetPathValue("orgID", "7")
			seen.SetPathValue("*", "rest")
		}, func(t *testing.T, r *http.Request) {
			assert.Equal(t, []string{"7", "rest"}, []string{r.PathValue("orgID"), r.PathValue("*")})
		}},
		"a pattern that breaks off": {func(seen *http.Request) { seen.Pattern = "/orgs/{orgID" }, func(t *testing.T, r *http.Request) {
			assert.Equal(t, "/orgs/{orgID", r.Pattern)
		}},
		"an upload": {func(seen *http.Request) {
			assert.NoError(t, seen.ParseMultipartForm(1<<10))
		}, func(t *testing.T, r *http.Request) {
			assert.Equal(t, "wang", r.MultipartForm.Value["name"][0])
			assert.Equal(t, "wang", r.PostForm.Get("name"))
		}},
		"another body of a type that cannot be compared": {func(seen *http.Request) {
			seen.Body = uncomparable{io.NopCloser(strings.NewReader("new"))}
		}, func(t *testing.T, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			assert.NoError(t, err)
			assert.Equal(t, "new", string(body))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const body = "--b\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nwang\r\n--b--\r\n"
			r := httptest.NewRequest("POST", "/", strings.NewReader(body))
			r.Method = "GET"
			r.Header.Set("Content-Type", "multipart/form-data; boundary=b")
			if name == "an upload" {
				r.Method = "POST"
			}
			seen := r.WithContext(t.Context())
			c.handler(seen)
			carry.Back(r, seen)
			c.check(t, r)
		})
	}
}

// An uncomparable is a body that == would panic on.
type uncomparable []io.ReadCloser

func (u uncomparable) Read(p []byte) (int, error) { return u[0].Read(p) }
func (u uncomparable) Close() error               { return u[0].Close() }
