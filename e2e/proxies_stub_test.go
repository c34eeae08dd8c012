//go:build drill

package e2e

import (
	"bufio"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"

	"github.com/rolegate/rolegate/forwardauth"
)

// Traefik and Envoy are not in Debian. These stubs ask as they do, so that the
// tests of the others run with them too; what the programs themselves make of a
// strange request is not tested.
//
// Traefik: pkg/middlewares/auth/forward.go of v3, without trustForwardHeader.
// Envoy: ext_authz over HTTP with a path_prefix, the allowed_headers of docs/proxies.md and
// allowed_upstream_headers x-rolegate-*, without a body.

const stubPrefix = "/check"

var rolegateHeaders = []string{
	forwardauth.UserHeader, forwardauth.AccountHeader, forwardauth.OrgHeader, forwardauth.RolesHeader, forwardauth.DecisionHeader,
}

// startStub returns a proxy that asks as this one does.
func startStub(kind forwardauth.Proxy, app, auth string) *httptest.Server {
	ask := askAsTraefik
	if kind == forwardauth.Envoy {
		ask = askAsEnvoy
	}
	to := &url.URL{Scheme: "http", Host: app}
	pass := &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host
		r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
		r.SetXForwarded()
	}}
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, err := ask(r, auth)
		if err != nil {
			w.WriteHeader(map[forwardauth.Proxy]int{forwardauth.Traefik: http.StatusInternalServerError, forwardauth.Envoy: http.StatusForbidden}[kind])
			return
		}
		defer answer.Body.Close()
		letPass := answer.StatusCode/100 == 2
		if kind == forwardauth.Envoy {
			letPass = answer.StatusCode == http.StatusOK
			if answer.StatusCode >= 500 {
				answer.StatusCode = http.StatusForbidden
			}
		}
		if !letPass {
			maps.Copy(w.Header(), answer.Header)
			w.WriteHeader(answer.StatusCode)
			_, _ = io.Copy(w, answer.Body)
			return
		}
		for _, name := range rolegateHeaders {
			r.Header.Del(name)
			if values, ok := answer.Header[name]; ok {
				r.Header[name] = values
			}
		}
		for name := range r.Header { // as docs/proxies.md says
			if strings.Contains(name, "_") && kind == forwardauth.Envoy || slices.Contains([]string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override", "X-Original-Url", "X-Rewrite-Url"}, name) {
				r.Header.Del(name)
			}
		}
		if kind == forwardauth.Envoy && r.Header.Get("Upgrade") != "websocket" {
			r.Header.Del("Upgrade") // upgrade_configs names the only ones that it knows
		}
		pass.ServeHTTP(w, r)
	}))
}

func askAsTraefik(r *http.Request, auth string) (*http.Response, error) {
	q, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "http://"+auth+"/", nil)
	if err != nil {
		return nil, err
	}
	q.Header = r.Header.Clone()
	for _, list := range r.Header["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			q.Header.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailers", "Transfer-Encoding", "Upgrade", "Content-Length"} {
		q.Header.Del(name)
	}
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	q.Header.Set("X-Forwarded-For", host)
	q.Header.Set("X-Forwarded-Method", r.Method)
	q.Header.Set("X-Forwarded-Proto", "http")
	q.Header.Set("X-Forwarded-Host", r.Host)
	q.Header.Set("X-Forwarded-Uri", r.URL.RequestURI())
	transport := &http.Transport{DisableKeepAlives: true}
	return transport.RoundTrip(q)
}

func askAsEnvoy(r *http.Request, auth string) (*http.Response, error) {
	conn, err := net.Dial("tcp", auth)
	if err != nil {
		return nil, err
	}
	lines := []string{r.Method + " " + stubPrefix + r.RequestURI + " HTTP/1.1", "Host: " + r.Host, "Content-Length: 0", "Connection: close"}
	for _, name := range []string{"Authorization", "Cookie", "Accept", "Sec-Fetch-Mode", "Sec-Fetch-Dest", "X-Requested-With", "Turbo-Frame", "Hx-Request", "Origin", "Access-Control-Request-Method"} {
		for _, value := range r.Header[name] {
			lines = append(lines, name+": "+value)
		}
	}
	if _, err := io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
		conn.Close()
		return nil, err
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: r.Method})
	if err != nil {
		conn.Close()
		return nil, err
	}
	answer.Body = struct {
		io.Reader
		io.Closer
	}{answer.Body, conn}
	return answer, nil
}
