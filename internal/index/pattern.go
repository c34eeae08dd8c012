package index

import "strings"

// A role code that ends in a separator and an asterisk, such as teacher.*, is a
// pattern: it stands for every code that begins as it does, but not for the code
// without the separator. The separators are these.
const separators = ".:/-_"

// IsPattern reports whether a code is a pattern.
func IsPattern(code string) bool {
	n := len(code)
	return n > 2 && code[n-1] == '*' && strings.IndexByte(separators, code[n-2]) >= 0
}

// Matches reports whether a role code is the given one or, if that is a pattern,
// one of those that it stands for. It does not allocate.
func Matches(code, role string) bool {
	if IsPattern(code) {
		prefix := code[:len(code)-1]
		return len(role) > len(prefix) && strings.HasPrefix(role, prefix) && !IsPattern(role)
	}
	return code == role
}

// covers reports whether every code that b stands for is one that a stands for.
func covers(a, b string) bool {
	if IsPattern(a) {
		return a == b || strings.HasPrefix(b, a[:len(a)-1])
	}
	return a == b
}

// meet reports whether there can be a code that both stand for.
func meet(a, b string) bool { return covers(a, b) || covers(b, a) }
