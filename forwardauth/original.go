package forwardauth

import (
	"net/http"
	"strings"

	"github.com/rolegate/rolegate/internal/browser"
)

// An original is the request that a proxy asks about, as the proxy named it.
type original struct{ method, host, uri string }

// readHeaders reads the original request from three headers. All of them are
// needed, each once: a client's own could be one of two.
func readHeaders(prefix string) func(*http.Request) (original, error) {
	names := [3]string{prefix + "Method", prefix + "Host", prefix + "Uri"} // canonical
	return func(r *http.Request) (original, error) {
		var found [3]string
		for i, name := range names {
			values := r.Header[name]
			if len(values) != 1 || values[0] == "" {
				return original{}, &denial{"original_unknown", "the header " + name + " is missing, empty, or there more than once: configure the proxy as docs/proxies.md says"}
			}
			found[i] = values[0]
		}
		o := original{method: found[0], host: found[1], uri: found[2]}
		return o, o.checkURL(r.Header[prefix+"Url"])
	}
}

// checkURL compares the original request with the URL in X-Original-URL, if there
// is one (X-Forwarded-Url is nobody's). ingress-nginx always sends it and, unless it is told to, sends none of
// the three that are read: then these are the client's own, who would choose what
// is checked.
func (o original) checkURL(values []string) error {
	for _, value := range values {
		_, rest, _ := strings.Cut(value, "://")
		path := strings.IndexByte(rest, '/')
		if path < 0 || rest[path:] != o.uri || hostname(rest[:path]) != hostname(o.host) {
			return &denial{"original_unknown", "X-Original-URL names another request than the headers that are read: the proxy does not set those, as docs/proxies.md says, but passes on the client's"}
		}
	}
	return nil
}

// hostname is a host in lower case and without its port, as nginx' $host.
func hostname(host string) string {
	name, _ := browser.CutPort(host)
	return strings.ToLower(name)
}

// readPrefixed reads an original request that is the request itself, but for a
// prefix of the path.
func readPrefixed(prefix string) func(*http.Request) (original, error) {
	return func(r *http.Request) (original, error) {
		uri, ok := strings.CutPrefix(r.RequestURI, prefix)
		if !ok {
			return original{}, &denial{"original_unknown", "the path does not begin with Prefix: it must be Envoy's path_prefix"}
		}
		return original{r.Method, r.Host, uri}, nil
	}
}

func checkPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	if strings.HasSuffix(prefix, "/") {
		return ambiguous("it ends with a slash")
	}
	used, err := checkPath(prefix)
	if used != 0 {
		return ambiguous("it has a semicolon or an encoded byte that means something")
	}
	return err
}

func ambiguous(text string) error { return &denial{"ambiguous", text} }

// request makes the request to check. Of what the proxy sent it has the named
// headers only, and neither body nor TLS state, which would be the proxy's.
//
// used are the bytes of its path that only a rule can let stand.
func (o original) request(r *http.Request, headers []string) (_ *http.Request, used encodedSet, err error) {
	if err := checkMethod(o.method); err != nil {
		return nil, 0, err
	}
	if err := checkHost(o.host); err != nil {
		return nil, 0, err
	}
	u, used, err := parseURI(o.uri)
	if err != nil {
		return nil, 0, err
	}
	request := &http.Request{
		Method: o.method, URL: u, Host: o.host, RequestURI: o.uri,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header, len(headers)), Body: http.NoBody, RemoteAddr: r.RemoteAddr,
	}
	for _, name := range headers {
		if values, ok := r.Header[name]; ok {
			request.Header[name] = values
		}
	}
	return request.WithContext(r.Context()), used, nil
}

// checkMethod wants a method as all registered ones are written. CONNECT has
// no path, and http.ServeMux matches it by other rules.
func checkMethod(method string) error {
	for _, c := range []byte(method) {
		if (c < 'A' || c > 'Z') && c != '-' {
			return ambiguous("the method has other bytes than A to Z")
		}
	}
	if method == "" || method == http.MethodConnect {
		return ambiguous("the method is CONNECT, or none")
	}
	return nil
}

// checkHost wants a host as browsers send it, with a port or without.
// http.ServeMux compares hosts byte for byte, while proxies and apps do not: a
// host in capitals would miss the rules of its own.
func checkHost(host string) error {
	name, port, ported := host, "", false
	if strings.HasPrefix(host, "[") {
		end := strings.IndexByte(host, ']')
		if end < 0 || !all(host[1:end], "0123456789abcdef:.") {
			return ambiguous("the host is not an address in brackets")
		}
		name = host[1:end]
		if rest := host[end+1:]; rest != "" {
			if port, ported = strings.CutPrefix(rest, ":"); !ported {
				return ambiguous("the host has something behind its brackets")
			}
		}
	} else {
		name, port, ported = strings.Cut(host, ":")
		if !all(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") {
			return ambiguous("the host has capitals, or bytes that no host has")
		}
	}
	if name == "" || strings.HasSuffix(name, ".") || strings.HasPrefix(name, ".") || strings.Contains(name, "..") {
		return ambiguous("the host is empty, or has a dot too many")
	}
	if ported && (port == "" || !all(port, "0123456789")) {
		return ambiguous("the host's port is not a number")
	}
	return nil
}

func all(s, of string) bool { return strings.Trim(s, of) == "" }
