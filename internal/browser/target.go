package browser

import (
	"net/http"
	"net/url"
	"strings"
)

// target is the path and query that the client asked for: what a router in front
// has cut off, as http.StripPrefix does, is in it.
func target(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		return r.RequestURI
	}
	return r.URL.RequestURI()
}

// Return is where a browser may be sent back to after a login: the path and query
// that it asked for, on the same site. It is "" if that could be read as the
// address of another site, also by a script that takes the path out of it: that of
// /.//other.example is //other.example. Browsers ask for no path with dots.
func Return(r *http.Request) string {
	to := target(r)
	if !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsFunc(to, func(c rune) bool { return c <= ' ' || c == 0x7f || c == '\\' }) {
		return ""
	}
	path, _, _ := strings.Cut(to, "?")
	for segment := range strings.SplitSeq(path, "/") {
		if plain := dots.Replace(segment); plain == "." || plain == ".." {
			return ""
		}
	}
	return to
}

// dots are those that browsers take for one (URL standard §4.1).
var dots = strings.NewReplacer("%2e", ".", "%2E", ".")

// LeadsBack reports whether a Location leads to the very page that was asked for,
// whatever its query: a browser that is sent there would be sent there again.
func LeadsBack(location string, r *http.Request) bool {
	page, err := url.ParseRequestURI(target(r))
	if err != nil {
		return false
	}
	to, err := page.Parse(location)
	return err == nil && to.Path == page.Path && (to.Host == "" || sameHost(to.Host, r.Host))
}

// sameHost compares hosts as a browser does, with ports only where both have one
// that is not the usual: proxies such as nginx leave it out.
func sameHost(a, b string) bool {
	a, portA := CutPort(a)
	b, portB := CutPort(b)
	unusual := func(port string) bool { return port != "" && port != "80" && port != "443" }
	return strings.EqualFold(a, b) && (portA == portB || !unusual(portA) || !unusual(portB))
}

// CutPort cuts the port off a host; it is "" if there is none.
func CutPort(host string) (name, port string) {
	if end := strings.LastIndexByte(host, ':'); end > strings.LastIndexByte(host, ']') {
		return host[:end], host[end+1:]
	}
	return host, ""
}

// Blank cuts a URL behind the first parameter of its query that has no value, such
// as return_to in /login?return_to=. Without one, before is all of it.
func Blank(u string) (before, after string, found bool) {
	rest, _, _ := strings.Cut(u, "#")
	path, query, _ := strings.Cut(rest, "?")
	at := len(path) + 1
	for param := range strings.SplitSeq(query, "&") {
		at += len(param)
		if strings.IndexByte(param, '=') == len(param)-1 && len(param) > 1 {
			return u[:at], u[at:], true
		}
		at++
	}
	return u, "", false
}
