package bearer

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// Config says which tokens are believed. Issuer and Audience are needed. [New]
// takes a copy.
type Config struct {
	_ struct{} // fields are named: a literal without names would break with each new one

	// Issuer is the issuer's URL, byte for byte as in its discovery document and
	// in the claim iss. It must be https; http only for an address of the
	// machine itself, for tests and development.
	Issuer string

	// Audience is what the claim aud must be or contain: the identifier of this
	// app's interface for access tokens, its client id for ID tokens.
	Audience string

	// Type says what kind of token is believed: by default, any of the two.
	Type Type

	// AudienceClaim is the claim that Audience is compared with: "aud" by default.
	// The access tokens of Amazon Cognito have none, and name the app in
	// "client_id".
	AudienceClaim string

	// TokenFrom says where a token is: FromAuthorization by default. The first
	// place that has one counts, whether it is good or not.
	TokenFrom []TokenSource

	// KeysURL is where the issuer's key set is. "" asks the issuer's discovery
	// document. It is for an issuer that this machine knows by another address than
	// the one in its tokens, or that has no such document.
	KeysURL string

	// HMACSecret makes the verifier believe tokens that are signed with this secret
	// by HS256, and no others: those of an app's own login. It needs at least 32
	// random bytes. Whoever has it can sign tokens for everybody. Nothing is
	// fetched then, and Issuer is any text.
	HMACSecret Secret

	// Algorithms are the signing algorithms that count: oidc.RS256 and so on. By
	// default RS256, PS256, ES256 and EdDSA. Only those with a public key can be
	// named: neither none nor HS256, for which there is HMACSecret.
	Algorithms []string

	// Skew is by how much the issuer's clock may differ from this machine's: a
	// minute by default, two at most.
	Skew time.Duration

	// KeysMin is the time between two fetches of keys, whatever clients send:
	// 10 s by default.
	KeysMin time.Duration

	// KeysEvery is how old keys become before they are fetched anew while they
	// are used: 10 min by default.
	KeysEvery time.Duration

	// KeysExpire is how old keys may be: 1 h by default. It must be more than
	// KeysEvery.
	KeysExpire time.Duration

	// Client makes the requests to the issuer; nil is one with a timeout of 10 s.
	// No redirect is followed, whatever it says, and no answer may be larger than
	// 1 MiB.
	Client *http.Client

	// Logger gets refused tokens and failed fetches, without a token, a claim or
	// a key; nil is slog.Default().
	Logger *slog.Logger
}

// A Type is a kind of token, told apart by its header typ. Tokens for other
// purposes, such as logout tokens, are never believed.
type Type uint8

const (
	// AnyType believes tokens whose typ is JWT, at+jwt or not there. An access
	// token and an ID token are told apart by their audience alone then.
	AnyType Type = iota

	// AccessToken believes only access tokens of RFC 9068, whose typ is at+jwt.
	// Many issuers do not write it.
	AccessToken

	// IDToken believes only ID tokens: their typ is JWT or not there. The claim
	// azp must be the audience if it is there, or if there are several audiences
	// (OpenID Connect Core §3.1.3.7).
	IDToken
)

// algorithms are those that can be named, the first four by default.
var algorithms = []string{
	oidc.RS256, oidc.PS256, oidc.ES256, oidc.EdDSA,
	oidc.RS384, oidc.RS512, oidc.PS384, oidc.PS512, oidc.ES384, oidc.ES512,
}

// New checks the config; it asks the issuer nothing yet. Its error names every
// mistake.
func New(cfg Config) (*Verifier, error) {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	shared := cfg.HMACSecret != nil
	if shared {
		cfg.HMACSecret = slices.Clone(cfg.HMACSecret)
		if len(cfg.HMACSecret) < minSecret {
			wrong("HMACSecret has %d bytes: expected at least %d random ones: make them with openssl rand 32", len(cfg.HMACSecret), minSecret)
		}
		if cfg.KeysURL != "" {
			wrong("KeysURL and HMACSecret are both there: a token is signed with one of the two")
		}
		if cfg.Issuer == "" {
			wrong("Issuer: it is empty")
		}
	} else if err := checkURL(cfg.Issuer); err != nil {
		wrong("Issuer: %w", err)
	}
	if cfg.KeysURL != "" {
		if err := checkURL(cfg.KeysURL); err != nil {
			wrong("KeysURL: %w", err)
		}
	}
	if cfg.AudienceClaim == "" {
		cfg.AudienceClaim = "aud"
	}
	cfg.TokenFrom = slices.Clone(cfg.TokenFrom)
	if len(cfg.TokenFrom) == 0 {
		cfg.TokenFrom = []TokenSource{FromAuthorization()}
	}
	for i, from := range cfg.TokenFrom {
		if from == nil {
			wrong("TokenFrom: source %d is nil", i+1)
		}
	}
	if cfg.Audience == "" {
		wrong("Audience is empty: without it, a token that the issuer gave out for another app would open this one")
	}
	if cfg.Type > IDToken {
		wrong("Type is %d: use AnyType, AccessToken or IDToken", cfg.Type)
	}
	cfg.Algorithms = slices.Clone(cfg.Algorithms)
	for _, name := range cfg.Algorithms {
		if shared && name != string(jose.HS256) {
			wrong("Algorithms: %q is not HS256, the one for an HMACSecret", name)
		} else if !shared && !slices.Contains(algorithms, name) {
			wrong("Algorithms: %q is not a signing algorithm with a public key: use oidc.RS256, oidc.ES256, …", name)
		}
	}
	if shared {
		cfg.Algorithms = []string{string(jose.HS256)}
	} else if len(cfg.Algorithms) == 0 {
		cfg.Algorithms = algorithms[:4]
	}
	for _, d := range []struct {
		name          string
		value         *time.Duration
		standard, max time.Duration
	}{
		{"Skew", &cfg.Skew, time.Minute, 2 * time.Minute},
		{"KeysMin", &cfg.KeysMin, 10 * time.Second, time.Hour},
		{"KeysEvery", &cfg.KeysEvery, 10 * time.Minute, 24 * time.Hour},
		{"KeysExpire", &cfg.KeysExpire, time.Hour, 7 * 24 * time.Hour},
	} {
		switch {
		case *d.value < 0 || *d.value > d.max:
			wrong("%s is %v: expected a time from 0, which is the default of %v, to %v", d.name, *d.value, d.standard, d.max)
		case *d.value > 0 && *d.value < time.Millisecond:
			wrong("%s is %v: less than a millisecond is surely a mistake; a bare number is nanoseconds, write 30*time.Second", d.name, *d.value)
		case *d.value == 0:
			*d.value = d.standard
		}
	}
	if len(errs) == 0 && cfg.KeysExpire <= cfg.KeysEvery {
		wrong("KeysExpire (%v) is not more than KeysEvery (%v): keys would expire before they are fetched anew", cfg.KeysExpire, cfg.KeysEvery)
	}
	if cfg.Client == nil {
		cfg.Client = &http.Client{Timeout: 10 * time.Second}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("rolegate: bearer: the config has mistakes:\n%w", errors.Join(errs...))
	}
	return newVerifier(cfg), nil
}

// checkURL says what is wrong with the URL of an issuer, or of its keys.
func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return errors.New("it is empty")
	case err != nil:
		return errors.New("it is not a URL")
	case u.Hostname() == "" || u.User != nil || strings.ContainsAny(text, "?#"):
		return errors.New("it is not a URL of a host and a path alone")
	case u.Scheme == "https" || u.Scheme == "http" && isLocal(u.Hostname()):
		return nil
	default:
		return errors.New("it is not https: whoever is on the way could put other keys there")
	}
}

// isLocal reports whether a host is the machine itself.
func isLocal(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
