package cloudcommand

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/rolegate/rolegate/internal/wire"
)

// A Secret prints and marshals as "[redacted]". Package fmt finds that out only
// for exported fields of a struct: do not keep it in an unexported one that is
// printed.
type Secret string

// String returns "[redacted]".
func (Secret) String() string { return wire.Redacted }

// GoString returns "[redacted]".
func (Secret) GoString() string { return wire.Redacted }

// Format writes "[redacted]", whatever the verb.
func (Secret) Format(s fmt.State, _ rune) { wire.FormatRedacted(s) }

// LogValue returns "[redacted]".
func (Secret) LogValue() slog.Value { return slog.StringValue(wire.Redacted) }

// MarshalText returns "[redacted]", so that JSON, XML and YAML have nothing
// else.
func (Secret) MarshalText() ([]byte, error) { return []byte(wire.Redacted), nil }

// authorize returns what puts the Basic credentials into a header.
func authorize(id string, secret Secret, secrets *wire.Secrets) func(http.Header) {
	credentials := base64.StdEncoding.EncodeToString([]byte(id + ":" + string(secret)))
	secrets.Keep(string(secret))
	secrets.Keep(credentials)
	return func(h http.Header) { h.Set("Authorization", "Basic "+credentials) }
}

// grant returns what makes the form of the grant.
func grant(username string, password Secret, secrets *wire.Secrets) func() url.Values {
	if username == "" {
		return func() url.Values { return url.Values{"grant_type": {"client_credentials"}} }
	}
	secrets.Keep(username)
	secrets.Keep(string(password))
	return func() url.Values {
		return url.Values{"grant_type": {"password"}, "username": {username}, "password": {string(password)}}
	}
}
