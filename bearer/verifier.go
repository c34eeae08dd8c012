package bearer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/peer"
)

// A Verifier verifies the tokens of one issuer. [New] makes one. It is safe for
// concurrent use, and needs not be closed: it has no goroutine but that of a
// fetch, which ends by itself.
type Verifier struct {
	cfg        Config
	keys       *keys // nil with an HMACSecret
	algorithms []jose.SignatureAlgorithm
	verifier   *oidc.IDTokenVerifier
}

func newVerifier(cfg Config) *Verifier {
	v := &Verifier{cfg: cfg}
	var set oidc.KeySet = shared(cfg.HMACSecret)
	if len(cfg.HMACSecret) == 0 {
		v.keys = newKeys(cfg)
		set = v.keys
	}
	for _, name := range cfg.Algorithms {
		v.algorithms = append(v.algorithms, jose.SignatureAlgorithm(name))
	}
	v.verifier = oidc.NewVerifier(cfg.Issuer, noted{set}, &oidc.Config{
		ClientID:             cfg.Audience,
		SkipClientIDCheck:    cfg.AudienceClaim != "aud", // checkClaims looks at that one
		SupportedSigningAlgs: cfg.Algorithms,
		Now:                  func() time.Time { return time.Now().Add(-cfg.Skew) },
	})
	return v
}

// Ready fetches the issuer's keys unless it has some, so that a start fails where
// the first request would. It blocks until then, or until ctx ends, and returns
// an error if they cannot be had.
func (v *Verifier) Ready(ctx context.Context) error {
	if v.keys == nil {
		return nil
	}
	set, since := v.keys.current()
	if set != nil {
		return nil
	}
	if _, err := v.keys.fetched(ctx, since); err != nil {
		return fmt.Errorf("bearer: %w", err)
	}
	return nil
}

// ByUserID identifies by a claim that is the marketplace's number of the user: a
// string of digits, or a number, which is read exactly, also above 2^53.
func (v *Verifier) ByUserID(claim string) rolegate.Identifier {
	return rolegate.ByUserID(identify(v, "ByUserID", claim, Claims.ID))
}

// ByAccount identifies by a claim that is the user's account at the marketplace:
// a string, taken as it is.
func (v *Verifier) ByAccount(claim string) rolegate.Identifier {
	return rolegate.ByText(rolegate.KindAccount, identify(v, "ByAccount", claim, Claims.Text))
}

// ByEmail identifies by the claim email, and believes it only if the claim
// email_verified is true.
func (v *Verifier) ByEmail() rolegate.Identifier {
	return rolegate.ByText(rolegate.KindEmail, identify(v, "ByEmail", "email", func(c Claims, name string) (string, error) {
		if string(c["email_verified"]) != "true" {
			return "", refusal("claim")
		}
		return c.Text(name)
	}))
}

// ByThirdAccount identifies by a claim that is the account which the marketplace
// has bound to the user: a string, taken as it is.
func (v *Verifier) ByThirdAccount(claim string) rolegate.Identifier {
	return rolegate.ByText(rolegate.KindThirdAccount, identify(v, "ByThirdAccount", claim, Claims.Text))
}

// ByThirdUserID identifies by a claim that is the id which the marketplace has
// bound to the user, often sub: a string, or a whole number, taken by its digits.
func (v *Verifier) ByThirdUserID(claim string) rolegate.Identifier {
	return rolegate.ByText(rolegate.KindThirdUserID, identify(v, "ByThirdUserID", claim, Claims.digitsOrText))
}

// identify makes the func of an Identifier. A token that is refused identifies
// nobody, by the zero value and not by ErrNobody: FirstOf must not pass it over
// for another identity in the same request.
func identify[T any](v *Verifier, caller, claim string, read func(Claims, string) (T, error)) func(*http.Request) (T, error) {
	if claim == "" {
		panic("bearer: " + caller + ": give the name of a claim, such as sub")
	}
	return func(r *http.Request) (T, error) {
		var nobody, id T
		token, err := v.token(r)
		if err == nil {
			var c Claims
			if c, err = v.verify(r.Context(), token); err == nil {
				id, err = read(c, claim)
			}
		}
		var refused refusal
		switch {
		case err == nil:
			return id, nil
		case errors.As(err, &refused):
			v.cfg.Logger.LogAttrs(r.Context(), slog.LevelInfo, "bearer: a token was refused", slog.String("why", string(refused)))
			// Not passed over for another identity, and why is in the gate's line.
			return nobody, &peer.UnusableError{Why: refused.Error(), As: rolegate.ErrNobody}
		default:
			return nobody, err
		}
	}
}

// A refusal says in one word why a token is not believed: header, malformed,
// algorithm, type, signature, issuer, audience, expired, not_yet_valid or claim.
type refusal string

// Is makes it an ErrNobody for those who call Verify.
func (r refusal) Is(target error) bool { return target == rolegate.ErrNobody }

func (r refusal) Error() string { return "the token is refused: " + string(r) }

// Verify returns the claims of a token that is believed, for gRPC, sockets and
// jobs, which have no *http.Request. An error that is rolegate.ErrNobody says that
// the token is not believed; every other says that this could not be told, and has a
// method RetryAfter() time.Duration if the issuer is away. It
// blocks while keys are fetched, at most until ctx ends.
func (v *Verifier) Verify(ctx context.Context, token string) (Claims, error) {
	if !isToken(token) {
		return nil, refusal("malformed")
	}
	return v.verify(ctx, token)
}

// verify returns the claims of a token that is believed. An error that is no
// refusal says that it could not be told.
func (v *Verifier) verify(ctx context.Context, token string) (Claims, error) {
	if err := v.checkHeader(token); err != nil {
		return nil, err
	}
	n := &note{}
	verified, err := v.verifier.Verify(context.WithValue(ctx, noteKey{}, n), token)
	switch {
	case n.err != nil && !errors.Is(n.err, errUnknownKey):
		return nil, fmt.Errorf("bearer: whether the token is good cannot be told: %w", n.err)
	case n.err != nil:
		return nil, refusal("signature")
	}
	var c Claims
	if err != nil {
		return nil, v.why(err, n.payload)
	}
	if err := verified.Claims(&c); err != nil {
		return nil, refusal("malformed")
	}
	return c, v.checkClaims(c, verified)
}

// checkHeader checks what is known before the signature is.
func (v *Verifier) checkHeader(token string) error {
	jws, err := jose.ParseSignedCompact(token, v.algorithms)
	var algorithm *jose.ErrUnexpectedSignatureAlgorithm
	switch {
	case errors.As(err, &algorithm):
		return refusal("algorithm")
	case err != nil:
		return refusal("malformed")
	}
	value, there := jws.Signatures[0].Header.ExtraHeaders[jose.HeaderType]
	kind, isText := value.(string)
	if there && !isText {
		return refusal("type")
	}
	kind = strings.TrimPrefix(strings.ToLower(kind), "application/") // RFC 7515 §4.1.9
	isAccess, isPlain := kind == "at+jwt", kind == "jwt" || !there
	if !isAccess && !isPlain || v.cfg.Type == AccessToken && !isAccess || v.cfg.Type == IDToken && !isPlain {
		return refusal("type")
	}
	return nil
}

// why says what go-oidc found wrong with a token whose signature is good: of its
// errors only one has a type.
func (v *Verifier) why(err error, payload []byte) error {
	var expired *oidc.TokenExpiredError
	if errors.As(err, &expired) {
		return refusal("expired")
	}
	var c struct {
		Issuer    string           `json:"iss"`
		Audience  json.RawMessage  `json:"aud"`
		NotBefore *json.RawMessage `json:"nbf"`
	}
	switch {
	case json.Unmarshal(payload, &c) != nil:
		return refusal("malformed")
	case c.Issuer != v.cfg.Issuer:
		return refusal("issuer")
	case v.cfg.AudienceClaim == "aud" && !slices.Contains(audiences(c.Audience), v.cfg.Audience):
		return refusal("audience")
	case c.NotBefore != nil:
		return refusal("not_yet_valid")
	default:
		return refusal("malformed")
	}
}

// checkClaims checks what go-oidc leaves open.
func (v *Verifier) checkClaims(c Claims, t *oidc.IDToken) error {
	if t.Issuer != v.cfg.Issuer { // it lets one issuer write itself in two ways
		return refusal("issuer")
	}
	if name := v.cfg.AudienceClaim; name != "aud" && !slices.Contains(audiences(c[name]), v.cfg.Audience) {
		return refusal("audience")
	}
	latest := time.Now().Add(v.cfg.Skew)
	for _, name := range []string{"nbf", "iat"} {
		raw, there := c[name]
		if !there {
			continue
		}
		var seconds float64
		if json.Unmarshal(raw, &seconds) != nil {
			return refusal("malformed")
		}
		if seconds > float64(latest.UnixMilli())/1000 {
			return refusal("not_yet_valid")
		}
	}
	if _, there := c["azp"]; v.cfg.Type == IDToken && (there || len(t.Audience) > 1) {
		if party, err := c.Text("azp"); err != nil || party != v.cfg.Audience {
			return refusal("audience")
		}
	}
	return nil
}

func audiences(raw json.RawMessage) (all []string) {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}
	}
	_ = json.Unmarshal(raw, &all)
	return all
}

// A note takes out of go-oidc what it does not hand on: why a key set failed,
// and the payload whose signature was good.
type note struct {
	payload []byte
	err     error
}

type noteKey struct{}

// noted is a key set that writes notes.
type noted struct{ oidc.KeySet }

func (k noted) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	payload, err := k.KeySet.VerifySignature(ctx, token)
	if n, ok := ctx.Value(noteKey{}).(*note); ok {
		n.payload, n.err = payload, err
	}
	return payload, err
}

// Deny shapes refusals as next does, and tells a client whose token in Authorization
// was refused so, in the Bearer challenge of the WWW-Authenticate header of a 401 (RFC
// 6750 §3.1), whatever other schemes Config.Challenge has. One who sent none there is
// told no error. A nil next is rolegate.DenyProblem.
// A guard with rolegate.DenyWith needs one of its own.
func Deny(next rolegate.DenyFunc) rolegate.DenyFunc {
	if next == nil {
		next = rolegate.DenyProblem
	}
	return func(h http.Header, r *http.Request, d rolegate.Denial) []byte {
		const header = "Www-Authenticate" // a 401 has one
		if _, err := fromHeader(r); len(h[header]) > 0 && (errors.As(err, new(refusal)) || !errors.Is(err, rolegate.ErrNobody)) {
			h[header] = withError(h[header], "invalid_token")
		}
		return next(h, r, d)
	}
}
