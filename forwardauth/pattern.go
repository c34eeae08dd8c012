package forwardauth

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// checkPattern says why no request can match a pattern of http.ServeMux. Such a
// rule guards nothing: what it is meant for goes by a wider one.
func checkPattern(pattern string, encoded encodedSet) error {
	method, rest, found := strings.Cut(pattern, " ")
	if !found {
		method, rest = "", pattern
	}
	if method != "" {
		if checkMethod(method) != nil {
			return errors.New("methods are written in capitals, and CONNECT has no path")
		}
	}
	rest = strings.TrimLeft(rest, " \t")
	slash := strings.IndexByte(rest, '/')
	if slash < 0 {
		return nil // http.ServeMux says what is wrong
	}
	host, path := rest[:slash], rest[slash:]
	if host != "" && (checkHost(host) != nil || strings.ContainsAny(host, ":[")) {
		return errors.New("hosts are written in small letters, without a port and a dot at their end, and without brackets")
	}
	return checkPatternPath(path, encoded)
}

func checkPatternPath(path string, encoded encodedSet) error {
	segments := strings.Split(path[1:], "/")
	for i, segment := range segments {
		if strings.HasPrefix(segment, "{") {
			continue
		}
		plain, err := url.PathUnescape(segment)
		if err != nil {
			plain = segment // as http.ServeMux takes it
		}
		used := encodedSet(0)
		for _, c := range []byte(plain) {
			if c < ' ' || c == 0x7f {
				return errors.New("a path with control bytes is denied")
			}
			used |= setOf(c)
		}
		switch {
		case plain == "" && i < len(segments)-1, isDots(plain):
			return errors.New("a path with an empty segment, or one of dots, is denied")
		case !utf8.ValidString(plain):
			return errors.New("a path that does not decode to UTF-8 is denied")
		case used&^encoded != 0:
			return errors.New("a path with one of " + encodable + " in a segment is denied: see Handler.Encoded")
		case checkPlain(plain, used) != nil:
			return errors.New("a path that could be decoded once more to another one is denied")
		}
	}
	return nil
}

// muxHasMethods reports whether http.ServeMux knows methods and wildcards, as it
// has since Go 1.22, but for GODEBUG=httpmuxgo121=1.
func muxHasMethods() bool {
	mux := http.NewServeMux()
	mux.Handle("GET /{any}", http.NotFoundHandler())
	_, pattern := mux.Handler(&http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/a"}})
	return pattern != ""
}
