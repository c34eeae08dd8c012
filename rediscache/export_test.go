package rediscache

// For the tests: what a Cache calls a key of Redis, and what reads bytes that
// come from there.

func Key(c *Cache, name string) string { return c.group.base + name }

func ParseVersion(s string) (string, bool) {
	v, ok := parseVersion(s)
	return v.String(), ok
}

func ParsePointer(s string) (string, bool) {
	p, ok := parsePointer(s)
	return p.String(), ok
}

func Unpack(packed []byte) ([]byte, error) { return unpack(packed) }

func Pack(plain []byte) []byte { return pack(plain) }
