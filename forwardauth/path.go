package forwardauth

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// parseURI parses the target of the original request, path and query, as
// net/http's server does, or says in which way it is ambiguous. used are the
// bytes of its path that only a rule can let stand.
func parseURI(uri string) (_ *url.URL, used encodedSet, err error) {
	path, query, _ := strings.Cut(uri, "?")
	if used, err = checkPath(path); err != nil {
		return nil, 0, err
	}
	for _, c := range []byte(query) {
		if c <= ' ' || c == 0x7f || c == '#' {
			return nil, 0, ambiguous("the query has a blank, a control byte or a fragment in it")
		}
	}
	u, err := url.ParseRequestURI(uri)
	plain, perr := url.PathUnescape(path)
	if err != nil || perr != nil || u.Host != "" || u.Path != plain {
		return nil, 0, ambiguous("net/http reads another path in it") // cannot be, after all that
	}
	return u, used, nil
}

// checkPath says in which way a path could be read as another one.
func checkPath(path string) (used encodedSet, err error) {
	if !strings.HasPrefix(path, "/") {
		return 0, ambiguous("the target is not a path")
	}
	segments := strings.Split(path[1:], "/")
	for i, segment := range segments {
		if segment == "" && i < len(segments)-1 {
			return 0, ambiguous("the path has an empty segment")
		}
		if isDots(segment) {
			return 0, ambiguous("the path has a segment of dots")
		}
		in, err := checkSegment(segment)
		if err != nil {
			return 0, err
		}
		used |= in
	}
	return used, nil
}

func isDots(segment string) bool { return segment == "." || segment == ".." }

func checkSegment(segment string) (used encodedSet, err error) {
	for rest := segment; rest != ""; {
		c := rest[0]
		if c != '%' {
			if c == ';' {
				used |= setOf(c)
			} else if !isPathByte(c) {
				return 0, ambiguous("the path has a byte that must be encoded")
			}
			rest = rest[1:]
			continue
		}
		if !isEscape(rest) {
			return 0, ambiguous("the path has a percent sign without two hexadecimal digits")
		}
		c = unhex(rest[1])<<4 | unhex(rest[2])
		if c < ' ' || c == 0x7f || c == '.' {
			return 0, ambiguous("the path has an encoded dot or control byte")
		}
		used |= setOf(c)
		rest = rest[3:]
	}
	plain, err := url.PathUnescape(segment)
	if err != nil || !utf8.ValidString(plain) {
		return 0, ambiguous("the path does not decode to UTF-8")
	}
	return used, checkPlain(plain, used)
}

// checkPlain looks at a segment as an app sees it that decodes it, or decodes it
// twice, or cuts it where something ends that the rule lets stand.
func checkPlain(plain string, used encodedSet) error {
	if used == 0 {
		return nil
	}
	for i := range len(plain) {
		if isEscape(plain[i:]) {
			return ambiguous("the path is encoded twice")
		}
	}
	for _, part := range strings.Split(strings.ReplaceAll(plain, `\`, "/"), "/") {
		if end := strings.IndexAny(part, ";?#"); end >= 0 {
			part = part[:end]
		}
		if part == "" || isDots(part) {
			return ambiguous("the path has a segment of dots, or an empty one, once it is decoded")
		}
	}
	return nil
}

// isEscape reports whether s begins with a percent sign and two hexadecimal
// digits.
func isEscape(s string) bool {
	return len(s) > 2 && s[0] == '%' && unhex(s[1]) <= 15 && unhex(s[2]) <= 15
}

// isPathByte reports whether c may stand in a segment as it is: by RFC 3986 §3.3,
// or since browsers do not encode it in a path (URL standard §1.3), as in a file's
// name "Klasse [3].pdf", and nobody takes it for anything but itself. The semicolon
// may too by the RFC, but some servers cut a segment there.
func isPathByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~!$&'()*+,=:@[]|^", c) >= 0
}

func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 0xff
}
