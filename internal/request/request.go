// Package request names requests for logs, and knows which headers suit a refusal.
// It imports nothing of rolegate.
package request

import (
	"net/http"
	"net/textproto"
	"strings"

	"github.com/go-chi/chi/v5"
)

// Method names the request's method, "other" for one that RFC 9110 and RFC 5789 do
// not know: clients can write anything there, of any length.
func Method(r *http.Request) string {
	switch r.Method {
	case "":
		return http.MethodGet
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return r.Method
	}
	return "other"
}

// Route names the route by its pattern. The path itself may have names in it
// and is not logged. In front of the routing, as in chi's r.Use, the router is asked
// where the request would go. It is no longer than 1,024 bytes: a gRPC server with a
// handler for unknown services has what the client writes there.
func Route(r *http.Request) string {
	name := route(r)
	if len(name) > maxRoute {
		name = strings.ToValidUTF8(strings.Clone(name[:maxRoute]), "")
	}
	return name
}

const maxRoute = 1024

func route(r *http.Request) string {
	known, c := r.Pattern, chi.RouteContext(r.Context())
	if c == nil {
		return known
	}
	if known == "" {
		known = c.RoutePattern()
	}
	// Where another router is mounted, the pattern ends so until that has routed.
	if c.Routes != nil && (known == "" || strings.HasSuffix(known, "/*")) {
		path := r.URL.RawPath
		if path == "" {
			path = r.URL.Path
		}
		if found := c.Routes.Find(chi.NewRouteContext(), r.Method, path); found != "" {
			return found
		}
	}
	return known
}

// IsTwice reports whether a route of chi has two wildcards of that name, as
// /orgs/{id} has that mounts /members/{id}: the inner one's value is what the request
// has then. http.ServeMux and chi refuse such a pattern, but not one made of two. A
// ServeMux below a chi router tells nothing of it, but that the request has another
// value than chi has found.
func IsTwice(r *http.Request, name string) bool {
	c := chi.RouteContext(r.Context())
	if c == nil {
		return false
	}
	n := 0
	for _, key := range c.URLParams.Keys {
		if key == name {
			n++
		}
	}
	return n > 1 || n == 1 && c.URLParam(name) != r.PathValue(name)
}

// Wildcards are the names that chi has found a value for so far.
func Wildcards(r *http.Request) (names []string) {
	if c := chi.RouteContext(r.Context()); c != nil {
		for _, key := range c.URLParams.Keys {
			if key != "*" {
				names = append(names, key)
			}
		}
	}
	return names
}

// SetPathValues gives a request the n parameters that another router has found. One
// whose name is there twice is empty: whoever reads it cannot know which is meant.
func SetPathValues(r *http.Request, n int, param func(i int) (name, value string)) {
	for i := range n {
		name, value := param(i)
		for j := range n {
			if other, _ := param(j); j != i && other == name {
				value = ""
			}
		}
		r.SetPathValue(name, value)
	}
}

// SuitsRefusal reports whether a header that a middleware outside has set suits a
// refusal too.
func SuitsRefusal(name string) bool {
	name = textproto.CanonicalMIMEHeaderKey(name)
	switch name {
	case "Alt-Svc", "Connection", "Content-Security-Policy", "Content-Security-Policy-Report-Only", "Date", "Nel", "Origin-Agent-Cluster",
		"Permissions-Policy", "Referrer-Policy", "Report-To", "Reporting-Endpoints", "Server", "Server-Timing", "Set-Cookie",
		"Strict-Transport-Security", "Timing-Allow-Origin", "Traceparent", "Traceresponse", "Tracestate", "Vary", "Via":
		return true
	}
	for _, family := range []string{"Access-Control-", "Cross-Origin-", "Ratelimit"} {
		if strings.HasPrefix(name, family) {
			return true
		}
	}
	// Of an app's own headers those that make proxies cache, send or hide
	// something do not.
	own, found := strings.CutPrefix(name, "X-")
	if !found {
		return false
	}
	for word := range strings.SplitSeq(own, "-") {
		for _, family := range []string{"Accel", "Archive", "Cache", "Cdn", "Lighttpd", "Litespeed", "Reproxy", "Sendfile", "Surrogate", "Ttl", "Varnish"} {
			if strings.HasPrefix(word, family) {
				return false
			}
		}
	}
	return true
}
