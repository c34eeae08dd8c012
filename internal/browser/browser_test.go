package browser_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/rolegate/rolegate/internal/browser"
)

func TestWantsPage(t *testing.T) {
	t.Parallel()
	const chrome = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	for _, c := range []struct {
		name, method string
		header       map[string]string
		want         bool
	}{
		{"a browser over plain HTTP", "GET", map[string]string{"Accept": chrome}, true},
		{"HEAD", "HEAD", map[string]string{"Accept": chrome}, true},
		{"a form", "POST", map[string]string{"Accept": chrome}, false},
		{"a form over HTTPS", "POST", map[string]string{"Accept": chrome, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, false},
		{"a navigation", "GET", map[string]string{"Accept": chrome, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, true},
		{"a navigation of an old browser", "GET", map[string]string{"Sec-Fetch-Mode": "navigate"}, true},
		{"a navigation in a frame", "GET", map[string]string{"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, true},
		{"an embedded object", "GET", map[string]string{"Accept": chrome, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "object"}, false},
		{"fetch", "GET", map[string]string{"Accept": chrome, "Sec-Fetch-Mode": "cors"}, false},
		{"an image", "GET", map[string]string{"Accept": chrome, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, false},
		{"jQuery", "GET", map[string]string{"Accept": "text/html, */*; q=0.01", "X-Requested-With": "XMLHttpRequest"}, false},
		{"Turbo", "GET", map[string]string{"Accept": "text/html", "Turbo-Frame": "main"}, false},
		{"htmx", "GET", map[string]string{"Accept": "text/html", "HX-Request": "true"}, false},
		{"HTML is refused", "GET", map[string]string{"Accept": "application/json, text/html;q=0"}, false},
		{"HTML is refused in full", "GET", map[string]string{"Accept": "text/html; q=0.000, */*"}, false},
		{"HTML is the last resort", "GET", map[string]string{"Accept": "application/json, TEXT/HTML ; q=0.1"}, true},
		{"XHTML", "GET", map[string]string{"Accept": "application/xhtml+xml"}, true},
		{"a broken weight", "GET", map[string]string{"Accept": "text/html;q=x"}, false},
		{"everything", "GET", map[string]string{"Accept": "*/*"}, false},
		{"a longer name", "GET", map[string]string{"Accept": "text/htmlx"}, false},
		{"nothing", "GET", nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(c.method, "/", nil)
			for name, value := range c.header {
				r.Header.Set(name, value)
			}
			assert.Equal(t, c.want, browser.WantsPage(r))
			seen := r.Clone(t.Context())
			seen.Header = http.Header{}
			for _, name := range browser.Headers() {
				if values, ok := r.Header[name]; ok {
					seen.Header[name] = values
				}
			}
			assert.Equal(t, c.want, browser.WantsPage(seen), "Headers names all that count")
		})
	}
}
