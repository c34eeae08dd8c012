package bearer

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/go-jose/go-jose/v4"
)

// A Secret is what tokens are signed with that HMACSecret verifies. It is never
// printed and never logged.
type Secret []byte

// minSecret is what RFC 7518 §3.2 asks for with HS256.
const minSecret = 32

const withheld = "(withheld)"

// Format implements fmt.Formatter, for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, withheld) }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(withheld) }

// MarshalText keeps it out of JSON.
func (Secret) MarshalText() ([]byte, error) { return []byte(withheld), nil }

// shared is a secret as a set of one key, an oidc.KeySet.
type shared Secret

// VerifySignature implements oidc.KeySet.
func (s shared) VerifySignature(_ context.Context, token string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.HS256})
	if err != nil {
		return nil, errUnknownKey
	}
	payload, err := jws.Verify([]byte(s))
	if err != nil {
		return nil, errUnknownKey
	}
	return payload, nil
}
