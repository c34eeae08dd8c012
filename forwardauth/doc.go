// Package forwardauth lets a reverse proxy ask a gate before it passes a request
// on: nginx (auth_request), Traefik (ForwardAuth), Caddy (forward_auth), Envoy
// (ext_authz over HTTP) and HAProxy. So an app that is not written in Go, or
// cannot be changed, is guarded by the same list and the same checks.
//
//	h, err := forwardauth.New(gate, forwardauth.Config{
//		Proxy:   forwardauth.Nginx,
//		Trusted: rolegate.Loopback(), // where the proxy connects from
//	})
//	if err != nil {
//		return err
//	}
//	h.Admit("GET /{$}") // whoever is on the list
//	h.Handle("GET /grades/{id}", rolegate.AnyRole("teacher"))
//	h.Handle("POST /orgs/{orgID}/reports", rolegate.AnyRole("teacher"),
//		rolegate.InOrg(rolegate.PathOrg("orgID")))
//	err = http.ListenAndServe("127.0.0.1:9090", h)
//
// docs/proxies.md has the configuration of each proxy, which is what the tests
// run.
//
// # What is decided
//
// The rules are here, not at the proxy, and a client has no say in which one
// applies. The patterns are those of [http.ServeMux], matched by one, against
// the method, host and path of the original request. A request that no pattern
// matches is denied; so is one that a ServeMux would redirect. What anybody may
// see is what the proxy does not ask about.
//
// A path that two programs could read in two ways is denied, never cleaned and
// then matched: one with an empty, "." or ".." segment, with a semicolon or a
// backslash, with an encoded slash, backslash, dot, semicolon, percent sign,
// question mark, hash or control byte, with bytes that a URL does not have, or
// that does not decode to UTF-8. So is /%61dmin where a pattern says /admin: an app
// that matches a path before it decodes it, as with chi or Express, takes it for
// another. So is a target that is no path, the method CONNECT, a method or host
// that is not in its usual case, and a request in which one of these is missing or
// there twice. [Handler.Encoded] lets some of these bytes stand for a rule that
// needs them. A pattern that no request could match is a mistake, when it is
// registered.
//
// That is enough for an app that matches paths as ServeMux does. An app that
// takes /Grades or /grades/ for /grades needs rules that say so: give no
// pattern that matches more, such as "/", fewer checks than those within it.
//
// # Who is asking
//
// Config.Identify of the gate is called with the original request as far as it
// is known: its method, URL, host, and of its headers Accept-Language, Authorization, Cookie and
// those that Config.Headers names (with LoginURL, also those that tell a page
// from a script), without body, and with no TLS state. The
// RemoteAddr is the proxy's. The proxy passes a client's headers on, so that
// nothing else in them is to be believed: a header that names the user, and that
// something in front of the proxy has set, belongs into Config.Headers only if
// the proxy removes what clients send under that name.
//
// # What is answered
//
// A request that may pass is answered 200, with these headers, all of them
// always and empty if there is nothing to say, so that a proxy which copies them
// leaves nothing of a client's own in their place:
//
//	X-Rolegate-User      the marketplace's number of the user
//	X-Rolegate-Account   the user's account, if Config.Keep of the gate keeps it
//	X-Rolegate-Org       the organisation that InOrg named
//	X-Rolegate-Roles     7:teacher,8:homeroom – organisation and role code, as granted,
//	                     without the hierarchy; with InOrg, those of that organisation
//	X-Rolegate-Decision  the decision's id
//
// In account and role codes every byte is percent-encoded that is not printable
// ASCII, and blanks, commas, colons and percent signs: url.PathUnescape undoes
// it. The app behind must take a request in which X-Rolegate-User is missing or
// empty for one that nobody has admitted.
//
// Everything else is answered with the status of the [rolegate.Reason] (401, 403,
// 500, 503), [rolegate.DenyProblem] as the body, WWW-Authenticate or Retry-After,
// and the decision's id in X-Rolegate-Decision, which is in the log line that
// says why. Config.Deny of the gate has no say here.
//
// # Login
//
// With Config.LoginURL, a browser that opens a page without being logged in is
// sent there (303), with path and query of the page in a parameter. The answer
// has the whole URL in X-Rolegate-Login: nginx and HAProxy get 401, and make the
// redirect themselves. The proxy must pass the login page without asking. CORS
// preflights, which say nothing about who is asking, need [Handler.Preflight].
//
// # What is not known here
//
// The proxy asks once for each request. A WebSocket that it has admitted goes
// on after a revocation, and [rolegate.EndOnRevoke] has nothing to end.
// Config.ShadowAdmit of the gate opens no pattern of [Handler.Admit]. The gate's
// counters and OnDecision see only requests that a pattern matched.
package forwardauth
