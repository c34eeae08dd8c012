package bearer

import (
	"errors"
	"net/http"
	"net/textproto"
	"strings"

	"github.com/rolegate/rolegate"
)

// A TokenSource finds the token in a request. It returns rolegate.ErrNobody if
// there is none, and for every other error the request is refused. Make one with
// [FromAuthorization], [FromHeader], [FromCookie] or [FromSubprotocol].
type TokenSource func(*http.Request) (string, error)

// token asks the sources.
func (v *Verifier) token(r *http.Request) (string, error) {
	for _, from := range v.cfg.TokenFrom {
		token, err := from(r)
		switch {
		case err == nil && !isToken(token):
			return "", refusal("header")
		case err == nil:
			return token, nil
		case errors.As(err, new(refusal)) || !errors.Is(err, rolegate.ErrNobody):
			return "", err
		}
	}
	return "", rolegate.ErrNobody
}

// maxToken is how long a token may be.
const maxToken = 16 << 10

func isToken(token string) bool {
	return token != "" && len(token) <= maxToken &&
		strings.Trim(token, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/=") == ""
}

// FromAuthorization reads the one Authorization header (RFC 6750 §2.1). One of
// another scheme is somebody else's credentials, and as if it were not there.
func FromAuthorization() TokenSource { return fromHeader }

func fromHeader(r *http.Request) (string, error) {
	values := r.Header["Authorization"]
	if len(values) == 0 {
		return "", rolegate.ErrNobody
	}
	scheme, rest, _ := strings.Cut(values[0], " ")
	if len(values) > 1 {
		return "", refusal("header")
	}
	if !strings.EqualFold(scheme, "Bearer") {
		return "", rolegate.ErrNobody // somebody else's credentials
	}
	token := strings.TrimLeft(rest, " ")
	if !isToken(token) {
		return "", refusal("header")
	}
	return token, nil
}

// FromHeader reads a header of another name, such as Blade-Auth, with "bearer " in
// front of the token or without it. One that is there twice is refused. It panics
// if the name is empty.
func FromHeader(name string) TokenSource {
	key := textproto.CanonicalMIMEHeaderKey(named("FromHeader", name))
	return func(r *http.Request) (string, error) {
		values := r.Header[key]
		switch {
		case len(values) == 0 || len(values) == 1 && values[0] == "":
			return "", rolegate.ErrNobody
		case len(values) > 1:
			return "", refusal("header")
		}
		token := values[0]
		if scheme, rest, found := strings.Cut(token, " "); found && strings.EqualFold(scheme, "Bearer") {
			token = strings.TrimLeft(rest, " ")
		}
		return token, nil
	}
}

// FromCookie reads a cookie. One that is there twice is refused: another host of
// the same site may have set one of them. A browser sends cookies with requests
// that other sites make it send: the app needs SameSite or
// [http.CrossOriginProtection]. It panics if the name is empty.
func FromCookie(name string) TokenSource {
	named("FromCookie", name)
	return func(r *http.Request) (string, error) {
		cookies := r.CookiesNamed(name)
		switch {
		case len(cookies) == 0 || len(cookies) == 1 && cookies[0].Value == "":
			return "", rolegate.ErrNobody
		case len(cookies) > 1:
			return "", refusal("header")
		}
		return cookies[0].Value, nil
	}
}

// FromSubprotocol reads a WebSocket's Sec-WebSocket-Protocol, the one header that
// a script can choose for it: new WebSocket(url, ["bearer", token]), or
// ["bearer." + token], for the name bearer. The server must accept another
// subprotocol than these two. It panics if the name is empty.
func FromSubprotocol(name string) TokenSource {
	named("FromSubprotocol", name)
	return func(r *http.Request) (string, error) {
		var tokens []string
		next := false // the token is the next one
		for protocol := range strings.SplitSeq(strings.Join(r.Header["Sec-Websocket-Protocol"], ","), ",") {
			protocol = strings.Trim(protocol, " \t")
			token, found := strings.CutPrefix(protocol, name+".")
			switch {
			case next:
				tokens, next = append(tokens, protocol), false
			case found:
				tokens = append(tokens, token)
			default:
				next = protocol == name
			}
		}
		if next {
			tokens = append(tokens, "")
		}
		switch len(tokens) {
		case 0:
			return "", rolegate.ErrNobody
		case 1:
			return tokens[0], nil
		}
		return "", refusal("header")
	}
}

func named(caller, name string) string {
	if name == "" {
		panic("rolegate: bearer: " + caller + ": give a name")
	}
	return name
}
