package wire

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Redacted is what a secret prints as.
const Redacted = "[redacted]"

// FormatRedacted writes [Redacted], for a Format method that heeds no verb.
func FormatRedacted(s fmt.State) { _, _ = io.WriteString(s, Redacted) }

// Or returns v, or def if v is zero.
func Or[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// CheckBaseURL returns Config.BaseURL as a URL, or what is wrong with it.
// example is a good one.
func CheckBaseURL(s, example string) (*url.URL, error) {
	// What was given is not repeated: it may contain a password or a token.
	mistake := func(what string) (*url.URL, error) {
		return nil, fmt.Errorf("Config.BaseURL: %s: expected something like %s", what, example)
	}
	u, err := url.Parse(s)
	switch {
	case s == "":
		return mistake("it is empty")
	case err != nil:
		return mistake("it cannot be parsed as a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return mistake("its scheme is neither http nor https")
	case u.Hostname() == "":
		return mistake("it has no host")
	case u.User != nil:
		return mistake("it has a user name or password, which this interface does not use: remove them")
	case u.RawQuery != "" || u.ForceQuery:
		return mistake("it has a query, which the client writes itself: remove it")
	case u.Fragment != "" || strings.Contains(s, "#"):
		return mistake("it has a fragment: remove it")
	}
	u.Host = strings.ToLower(u.Host)
	return u, nil
}

// CheckPath returns what is wrong with a path below Config.BaseURL. field is
// its name in the Config, and example a good one.
func CheckPath(field, p, example string) error {
	mistake := func(what string) error {
		return fmt.Errorf("%s: %s: expected a path below BaseURL like %s", "Config."+field, what, example)
	}
	plain, err := url.PathUnescape(strings.Trim(p, "/"))
	switch {
	case err != nil || strings.ContainsFunc(plain, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return mistake("it cannot be part of a URL")
	case strings.ContainsAny(p, "?#"):
		return mistake("it has a query or a fragment")
	}
	for _, segment := range strings.Split(plain, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return mistake("it has an empty or dotted segment")
		}
	}
	return nil
}

// CheckRange tells a number that is below 0, or above most if that is not 0.
func CheckRange(field string, n, most int64, unit string) error {
	switch {
	case most > 0 && (n < 0 || n > most):
		return fmt.Errorf("%s: %d is out of range: expected 1 to %d %s", "Config."+field, n, most, unit)
	case n < 0:
		return fmt.Errorf("%s: it is below 0: expected %s", "Config."+field, unit)
	}
	return nil
}

// IsHeaderText reports whether s is visible ASCII without blanks, and so can be
// a header or a part of one.
func IsHeaderText(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// NewTransport returns the default transport, made smaller: it talks to one
// host, a request or two at a time.
func NewTransport() *http.Transport {
	t, ok := http.DefaultTransport.(*http.Transport)
	if ok {
		t = t.Clone()
	} else { // the app has replaced it by something of its own
		t = &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			ForceAttemptHTTP2:   true,
			TLSHandshakeTimeout: 10 * time.Second,
		}
	}
	t.MaxIdleConns = 2
	t.MaxIdleConnsPerHost = 2
	t.IdleConnTimeout = 30 * time.Second
	t.MaxResponseHeaderBytes = 64 << 10
	// A connection that has died without a word is found within half a minute.
	t.HTTP2 = &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second}
	return t
}
