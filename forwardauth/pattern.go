package forwardauth

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// checkPattern says why no request can match a pattern of http.ServeMux. Such a
// rule guards nothing: a wider one guards what it is meant for.
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

// fixedSegments says which segments of a pattern's path are no wildcards.
func fixedSegments(pattern string) (fixed []bool) {
	_, path, _ := strings.Cut(pattern, "/")
	for segment := range strings.SplitSeq(path, "/") {
		fixed = append(fixed, segment != "" && segment[0] != '{')
	}
	return fixed
}

// isWrittenPlainly reports whether a target has the fixed segments of the pattern
// that it matches as browsers write them. http.ServeMux takes "/%70ublic" for
// "/public"; chi, Express and others match a path before they decode it, and take
// it for a value of "/{name}".
func isWrittenPlainly(uri string, fixed []bool) bool {
	path, _, _ := strings.Cut(uri, "?")
	if !strings.Contains(path, "%") {
		return true // as most, which need no slice
	}
	segments := strings.Split(path[1:], "/")
	for i := range min(len(fixed), len(segments)) {
		if fixed[i] && hasNeedlessEscape(segments[i]) {
			return false
		}
	}
	return true
}

// hasNeedlessEscape reports whether a byte is encoded that browsers leave as it is,
// or is encoded in small letters, which they do not write. Proxies that are written
// in Go encode some of those that browsers leave.
func hasNeedlessEscape(segment string) bool {
	for {
		at := strings.IndexByte(segment, '%')
		if at < 0 {
			return false
		}
		hex := segment[at+1 : at+3]
		c := unhex(hex[0])<<4 | unhex(hex[1])
		if hex != strings.ToUpper(hex) || isPathByte(c) && strings.IndexByte("[]|^", c) < 0 {
			return true
		}
		segment = segment[at+3:]
	}
}

// muxHasMethods reports whether http.ServeMux knows methods and wildcards, as it
// has since Go 1.22, but for GODEBUG=httpmuxgo121=1.
func muxHasMethods() bool {
	mux := http.NewServeMux()
	mux.Handle("GET /{any}", http.NotFoundHandler())
	_, pattern := mux.Handler(&http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/a"}})
	return pattern != ""
}
