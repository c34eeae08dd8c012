package settings

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// check returns every mistake that can be seen without making anything of the
// file, each with the place that it is in.
func (f *File) check() (all []*mistake) {
	wrong := func(place, format string, args ...any) { all = append(all, in(place, format, args...)) }
	f.Marketplace.check(wrong)
	if c := f.CloudCommand; c != nil && c.ClientSecret.IsZero() {
		wrong("cloud_command.client_secret", "expected {env: NAME} or {file: PATH}")
	}
	for i, id := range f.Identity {
		if err := id.check(); err != nil {
			wrong(fmt.Sprintf("identity[%d]", i), "%v", err)
		}
	}
	if f.Cache.File != "" && f.Cache.Redis != nil {
		wrong("cache", "expected file or redis, not both: what is in Redis outlives a restart too")
	}
	if r := f.Cache.Redis; r != nil {
		r.check(wrong)
	}
	f.checkListeners(wrong)
	if f.Drain < 0 {
		wrong("drain", "expected how long to go on after SIGTERM, such as 30s")
	}
	switch f.Log.Format {
	case "", "text", "json":
	default:
		wrong("log.format", "expected text or json")
	}
	return all
}

func (m *Marketplace) check(wrong func(place, format string, args ...any)) {
	if m.URL == "" {
		wrong("marketplace.url", "expected where the marketplace's interface begins, such as https://market.example.com/api")
	}
	if m.AppID == "" {
		wrong("marketplace.app_id", "expected the client id of the app")
	}
	if m.Token.IsZero() {
		wrong("marketplace.token", "expected {env: NAME} or {file: PATH}")
	}
}

// header is how headers are named (RFC 9110 §5.1).
var header = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

func (id *Identity) check() error {
	switch {
	case id.Is == 0:
		return errors.New("is: expected which of a user's names is read, such as user_id or third_user_id")
	case (id.Header == "") == (id.Issuer == ""):
		return errors.New("expected either header, which your proxy sets, or issuer, whose tokens are verified")
	case id.Header != "" && !header.MatchString(id.Header):
		return errors.New("header: expected the name of a header, such as X-User-Id")
	case id.Header != "" && len(id.Trusted) == 0:
		return errors.New("trusted: expected the networks that the proxy connects from: from elsewhere the header is not believed")
	case id.Header != "" && id.ofIssuer():
		return errors.New("audience, claim, and what else is about a token, go with issuer, not with header")
	case id.Issuer != "" && len(id.Trusted) > 0:
		return errors.New("trusted goes with header, not with issuer")
	case id.Issuer != "" && id.Audience == "":
		return errors.New("audience: expected what the claim aud must have in it")
	}
	if id.TokenHeader != "" && !header.MatchString(id.TokenHeader) {
		return errors.New("token_header: expected the name of a header, such as Blade-Auth")
	}
	switch id.TokenType {
	case "", "access", "id":
	default:
		return errors.New("token_type: expected access or id")
	}
	return nil
}

// checkListeners looks at who listens where, and for what the file is of no use.
func (f *File) checkListeners(wrong func(place, format string, args ...any)) {
	listen := func(where, address string, files *TLS, taken map[string]string) {
		if files != nil && (files.Certificate == "" || files.Key == "") {
			wrong(where+".tls", "expected certificate and key, the names of PEM files")
		}
		port, ok := portOf(address)
		if path, unix := strings.CutPrefix(address, "unix:"); unix && where == "forward_auth" {
			port, ok = path, strings.HasPrefix(path, "/")
		}
		switch other := taken[address]; {
		case !ok:
			wrong(where+".listen", "expected host:port, such as 127.0.0.1:9090")
		case other != "" && port != "0":
			wrong(where+".listen", "%s has that address: expected one of its own", other)
		}
		taken[address] = where
	}
	taken := map[string]string{}
	if a := f.ForwardAuth; a != nil {
		listen("forward_auth", a.Listen, a.TLS, taken)
		if a.Proxy == 0 {
			wrong("forward_auth.proxy", "expected which program asks, such as nginx")
		}
		if len(a.Trusted) == 0 {
			wrong("forward_auth.trusted", "expected the networks that the proxy connects from, such as loopback: whoever else could ask would learn who may do what")
		}
		if len(a.Rules) == 0 {
			wrong("forward_auth.rules", "expected rules: without any, everything is denied")
		}
	}
	if a := f.AuthZEN; a != nil {
		listen("authzen", a.Listen, a.TLS, taken)
		if len(a.Callers) == 0 {
			wrong("authzen.callers", "expected the programs that may ask, each with a token")
		}
		for i, c := range a.Callers {
			if c.Name == "" || c.Token.IsZero() {
				wrong(fmt.Sprintf("authzen.callers[%d]", i), "expected name and token")
			}
		}
		if len(a.Rules) == 0 {
			wrong("authzen.rules", "expected rules: without any, everything is denied")
		}
	}
	if a := f.Admin; a != nil {
		listen("admin", a.Listen, a.TLS, taken)
		for i, origin := range a.TrustedOrigins {
			if new(http.CrossOriginProtection).AddTrustedOrigin(origin) != nil {
				wrong(fmt.Sprintf("admin.trusted_origins[%d]", i), "expected an origin such as https://school.example, without a path")
			}
		}
		if a.ConsolePath != "" && !consolePath.MatchString(a.ConsolePath) {
			wrong("admin.console_path", "expected the path at which browsers find the console, such as /school/console")
		}
		if a.Console == nil && (len(a.TrustedOrigins) > 0 || a.ConsolePath != "") {
			wrong("admin", "trusted_origins and console_path go with console")
		}
		if a.Console != nil && a.Console.Shadow {
			wrong("admin.console.shadow", "expected checks that hold: with shadow, everybody on the list would see the console, and could press its button")
		}
	}
	if (f.ForwardAuth != nil || f.Admin != nil && f.Admin.Console != nil) && len(f.Identity) == 0 {
		wrong("identity", "expected how the user is identified: a header or an issuer")
	}
	if strings.ContainsRune(f.Control, 0) || len(f.Control) > maxSocket {
		wrong("control", "expected the path of a Unix socket, of at most %d bytes, which no system can go beyond", maxSocket)
	}
}

// maxSocket is how long the path of a Unix socket may be where it may be least.
const maxSocket = 103

var consolePath = regexp.MustCompile(`^/[A-Za-z0-9._~/-]*$`)

// portOf is the port of an address to listen on. A host may be missing, a port
// not: a listener would get one that nobody knows.
func portOf(address string) (port string, ok bool) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return port, err == nil
}
