// Package bearer finds out who is asking from a bearer token that an OpenID
// Connect issuer has signed: a JWT access token or an ID token.
//
//	tokens, err := bearer.New(bearer.Config{
//		Issuer:   "https://login.example.com/realms/school",
//		Audience: "https://school.example.com/api",
//	})
//	if err != nil {
//		return err
//	}
//	gate, err := rolegate.Open(ctx, rolegate.Config{
//		Source:   marketplace.New(…),
//		Identify: tokens.ByThirdUserID("sub"),
//		Deny:     bearer.Deny(rolegate.DenyProblem),
//	})
//
// The token comes in the one Authorization header of the request (RFC 6750
// §2.1), or from where Config.TokenFrom says: a cookie, another header such as
// Blade-Auth, a WebSocket's subprotocol; never from its query or body. github.com/coreos/go-oidc verifies it:
// discovery, signature, issuer, audience and expiry.
//
// # What each request comes to
//
//	no Authorization header, or of another scheme   401, and FirstOf asks the next
//	a token that is not to be believed              401, and FirstOf stops there
//	a token whose claim identifies nobody           401, and FirstOf stops there
//	the issuer's keys cannot be had                 503 identify_failed, with Retry-After
//
// A token that is not to be believed is malformed, signed by a key or an
// algorithm that does not count, of another issuer or audience, expired, not yet
// valid, or of another type. Why is logged, in a word and without anything of
// the token; the client is not told.
//
// Tokens of an app's own login, signed by HS256, need Config.HMACSecret.
// [Verifier.Verify] is for what is no HTTP request.
//
// The last line is an error and no 401 on purpose: whether the token is good is
// not known, and a client that is told 401 throws it away. It may come again when
// keys are fetched next.
//
// # Keys
//
// The issuer's discovery document and keys are fetched when the first token
// comes, by Verifier.Ready, and again when a token names a key that is not
// known, so that an issuer may rotate its keys at any time. Such fetches are at
// least Config.KeysMin apart, whatever clients send: tokens with invented key ids
// cost the issuer no more than that, and meanwhile an unknown key is a 401. Keys
// are fetched anew in the background when they are older than Config.KeysEvery,
// and those that are older than Config.KeysExpire are not believed: a key that
// the issuer has withdrawn does not count for longer. While the issuer is away,
// tokens signed by keys that are young enough are good.
package bearer
