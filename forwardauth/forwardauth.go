package forwardauth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/net/http/httpguts"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/browser"
	"github.com/rolegate/rolegate/internal/peer"
)

// A Proxy is the program that asks. Each names the original request in its own
// way, and what others would use is not looked at.
type Proxy uint8

// The proxies. Zero is none, a mistake.
const (
	Nginx   Proxy = iota + 1 // X-Original-Method, -Host and -URI, which its configuration sets
	Traefik                  // X-Forwarded-Method, -Host and -Uri
	Caddy                    // X-Forwarded-Method, -Host and -Uri
	Envoy                    // the request itself, with Config.Prefix before its path
	HAProxy                  // X-Original-Method, -Host and -URI, which docs/proxies/rolegate.lua sets
	proxies
)

var proxyNames = [proxies]string{"none", "nginx", "Traefik", "Caddy", "Envoy", "HAProxy"}

// String returns the proxy's name.
func (p Proxy) String() string {
	if p < proxies {
		return proxyNames[p]
	}
	return fmt.Sprintf("Proxy(%d)", uint8(p))
}

// Config says who asks. Proxy and Trusted are needed.
type Config struct {
	_ struct{} // fields are named: a literal without names would break with each new one

	// Proxy is the program that asks.
	Proxy Proxy

	// Trusted are the networks that the proxy connects from, such as
	// [rolegate.Loopback], or [rolegate.TrustedUnix] for a Unix socket. Requests
	// from elsewhere are denied: whoever can connect from there can ask about any
	// path and learn who may do what. None, and one that is the whole Internet, are
	// mistakes.
	Trusted []netip.Prefix

	// Prefix is Envoy's path_prefix, such as "/check": what it puts before the
	// original path. Empty is none. With another proxy it is a mistake.
	Prefix string

	// Headers are the headers of the original request that Config.Identify of
	// the gate, a Where and an InOrg can see, besides Accept-Language, Authorization
	// and Cookie.
	// A client chooses what is in them, unless the proxy removes that.
	Headers []string

	// LoginURL is where browsers are sent that nobody is logged in with: an https
	// URL, or a path of the app's own site, such as /login. It must not be guarded.
	// "" sends nobody anywhere. See "Login" in the package comment.
	LoginURL string

	// ReturnParam is the query parameter of LoginURL that gets the path and query
	// that was asked for, "return_to" by default.
	ReturnParam string

	// Logger gets what is denied before a rule is asked; nil is slog.Default().
	// No path, query or header is in it.
	Logger *slog.Logger
}

// A Handler answers a proxy that asks whether a request may pass. [New] makes
// one. Give it a server, or at least a listener, of its own: with Envoy the
// path of a request is the one that is asked about, which a router in front
// would change. It is safe for concurrent use, also while rules are added.
//
// It never reads a body, and waits only where the gate does (OnDeny, MaxAge).
//
// The nil and the zero Handler deny everything.
type Handler struct {
	gate     *rolegate.Gate
	read     func(*http.Request) (original, error)
	trusted  peer.Trusted
	headers  []string // canonical
	proxy    Proxy
	log      *slog.Logger
	login    login
	toldLoop atomic.Bool // that the login page is guarded
	admit    *rolegate.Policy

	mux        *http.ServeMux
	preflights *http.ServeMux

	mu    sync.Mutex
	rules []Rule // guarded by mu
}

// A Rule is a pattern and what it asks for.
type Rule struct {
	Pattern string
	Policy  *rolegate.Policy // nil for one of [Handler.Preflight]
	Encoded string           // see [Handler.Encoded]
}

// Rules returns the rules in the order in which they were added.
func (h *Handler) Rules() []Rule {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.rules)
}

// New returns a handler without rules, which denies everything, or an error
// that names every mistake of the config.
func New(gate *rolegate.Gate, cfg Config) (*Handler, error) {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if gate == nil {
		wrong("the gate is nil")
	}
	read := map[Proxy]func(*http.Request) (original, error){
		Nginx: readHeaders("X-Original-"), HAProxy: readHeaders("X-Original-"),
		Traefik: readHeaders("X-Forwarded-"), Caddy: readHeaders("X-Forwarded-"),
		Envoy: readPrefixed(cfg.Prefix),
	}[cfg.Proxy]
	if read == nil {
		wrong("Proxy is %v: say which program asks, such as forwardauth.Nginx", cfg.Proxy)
	}
	if cfg.Prefix != "" && cfg.Proxy != Envoy {
		wrong("Prefix is for Envoy: %v does not put one before the path", cfg.Proxy)
	} else if err := checkPrefix(cfg.Prefix); err != nil {
		wrong("Prefix %q: %w: give a path such as /check", cfg.Prefix, err)
	}
	if len(cfg.Trusted) == 0 {
		wrong("Trusted is empty: say which networks the proxy connects from: without them every client could ask about any path")
	}
	trusted, not := peer.New(cfg.Trusted)
	for _, i := range not {
		wrong("Trusted: network %d (%v) is not one that a proxy of yours is in: give its address range, such as 10.1.2.0/24", i+1, cfg.Trusted[i])
	}
	to, err := newLogin(cfg)
	if err != nil {
		wrong("%w", err)
	}
	if !muxHasMethods() {
		wrong("GODEBUG has httpmuxgo121=1: http.ServeMux takes \"GET /grades/{id}\" for a path then, and no rule would match: remove it from the environment, go.mod and //go:debug lines")
	}
	headers := []string{"Accept-Language", "Authorization", "Cookie"}
	for _, name := range cfg.Headers {
		key := textproto.CanonicalMIMEHeaderKey(name)
		if !httpguts.ValidHeaderFieldName(name) || key == "Host" || isOurs(key) {
			wrong("Headers: %q is not the name of a header of the original request", name)
		}
		headers = append(headers, key)
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("rolegate: forwardauth: the config has mistakes:\n%w", errors.Join(errs...))
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if to.to != nil {
		headers = append(headers, browser.Headers()...)
	}
	h := &Handler{
		gate: gate, read: read, trusted: trusted, headers: headers, proxy: cfg.Proxy, log: cfg.Logger, login: to,
		mux: http.NewServeMux(), preflights: http.NewServeMux(),
	}
	h.admit = gate.Policy(rolegate.Listed(), rolegate.DenyWith(h.deny))
	return h, nil
}

// isOurs reports whether a header says something to the handler or comes from
// it: such a one is nothing that a client has said.
func isOurs(key string) bool {
	for _, prefix := range []string{"X-Original-", "X-Forwarded-", "X-Rolegate-"} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// Handle lets requests pass that match the pattern, which is one of
// [http.ServeMux], and come from a user who passes the options, which are
// those of [rolegate.Gate.Require]. With a wildcard in the pattern,
// [rolegate.PathOrg] reads the original path.
//
// It panics on what http.ServeMux panics on, such as a pattern that is there
// already, on a pattern that no request can match, such as one with a host in
// capitals, and on what Require does, such as no check at all.
func (h *Handler) Handle(pattern string, options ...rolegate.Option) {
	h.handle(pattern, options, 0)
}

// Admit lets requests pass that match the pattern and come from a listed user,
// whatever roles they have. It panics on a pattern on which Handle does.
func (h *Handler) Admit(pattern string) { h.add(pattern, h.admit, 0) }

func (h *Handler) handle(pattern string, options []rolegate.Option, encoded encodedSet) {
	h.add(pattern, h.gate.Policy(append(slices.Clone(options), rolegate.DenyWith(h.deny))...), encoded)
}

func (h *Handler) add(pattern string, p *rolegate.Policy, encoded encodedSet) {
	if err := checkPattern(pattern, encoded); err != nil {
		panic(fmt.Sprintf("rolegate: forwardauth: the pattern %q can match no request: %v", pattern, err))
	}
	guard, fixed := p.Wrap(http.HandlerFunc(h.allow)), fixedSegments(pattern)
	h.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		*w.(*match) = match{guard: guard, policy: p, request: r, encoded: encoded, fixed: fixed}
	})
	h.note(Rule{Pattern: pattern, Policy: p, Encoded: encoded.String()})
}

func (h *Handler) note(r Rule) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rules = append(h.rules, r)
}

// A match is the ResponseWriter with which a ServeMux is asked for the rule of
// a request: it keeps the rule, and nothing of what the mux answers itself when
// it has none or would redirect. There is one call for both the rule and the
// path values, so that rules may be added meanwhile.
type match struct {
	guard   http.Handler
	policy  *rolegate.Policy
	request *http.Request // with the pattern and its path values
	encoded encodedSet    // what the rule lets stand in a path
	fixed   []bool        // see fixedSegments
}

func (*match) Header() http.Header         { return http.Header{} }
func (*match) Write(b []byte) (int, error) { return len(b), nil }
func (*match) WriteHeader(int)             {}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		// The server reads what a handler has left of a body before it answers,
		// unless the connection is to be closed; a proxy may have announced a
		// body that it does not send.
		w.Header().Set("Connection", "close")
	}
	guard, o, err := h.rule(r)
	var a answer
	if err == nil {
		guard.ServeHTTP(&a, o)
	} else {
		h.refuse(&a, r, err)
	}
	a.send(w)
}

// rule returns the guard that checks what r asks about, and the original
// request to check.
func (h *Handler) rule(r *http.Request) (http.Handler, *http.Request, error) {
	if h == nil || h.mux == nil {
		return nil, nil, &denial{"unlisted", "the handler was not made by New"}
	}
	if trusted, err := h.trusted.Has(r); err != nil || !trusted {
		return nil, nil, &denial{"untrusted_peer", "the request does not come from a network in Trusted, nor from a Unix socket that TrustedUnix is there for"}
	}
	o, err := h.read(r)
	if err != nil {
		return nil, nil, err
	}
	request, used, err := o.request(r, h.headers)
	if err != nil {
		return nil, nil, err
	}
	if isPreflight(request.Method, r.Header) {
		if m, err := matchIn(h.preflights, request, used); err == nil {
			return m.guard, m.request, nil
		}
	}
	m, err := matchIn(h.mux, request, used)
	return m.guard, m.request, err
}

// matchIn returns the rule for an original request, in which these bytes are
// encoded.
func matchIn(mux *http.ServeMux, request *http.Request, used encodedSet) (m match, err error) {
	mux.ServeHTTP(&m, request)
	switch {
	case used&^m.encoded != 0:
		return match{}, ambiguous("the path has an encoded slash, backslash, semicolon, percent sign, question mark or hash, or a semicolon, and no rule for it that lets this stand")
	case m.guard == nil:
		return m, &denial{"unlisted", "no pattern matches the method, host and path, or only that of another path to which http.ServeMux would redirect"}
	case !isWrittenPlainly(request.RequestURI, m.fixed):
		return match{}, ambiguous("the path has a byte encoded that the pattern has as it is: an app that matches paths before it decodes them would take it for another one")
	}
	return m, nil
}

// A denial is why a request is denied before a rule is asked.
type denial struct{ reason, text string }

func (d *denial) Error() string { return d.text }

// refuse denies what no rule was asked about, with the answer that a rule gives
// to one who may not.
func (h *Handler) refuse(a *answer, r *http.Request, err error) {
	id, reason := rand.Text(), ""
	if d := (*denial)(nil); errors.As(err, &d) {
		reason = d.reason
	}
	a.Header().Set("Cache-Control", "no-store")
	a.Header().Set("X-Content-Type-Options", "nosniff")
	body := denyProblem(a.Header(), r, rolegate.Denial{Status: http.StatusForbidden, ID: id, Language: browser.Language(r.Header.Get("Accept-Language"))})
	a.WriteHeader(http.StatusForbidden)
	_, _ = a.Write(body)

	log, proxy := slog.Default(), Proxy(0)
	if h != nil && h.log != nil {
		log, proxy = h.log, h.proxy
	}
	level := slog.LevelInfo
	if reason == "untrusted_peer" || reason == "original_unknown" {
		level = slog.LevelWarn // the proxy is not configured as docs/proxies.md says, or somebody goes round it
	}
	log.LogAttrs(r.Context(), level, "forwardauth: refused",
		slog.String("decision", id), slog.Int("status", http.StatusForbidden), slog.String("reason", reason),
		slog.String("proxy", proxy.String()), slog.String("peer", r.RemoteAddr), slog.String("err", err.Error()))
}

// allow is what the guards of all rules guard.
func (h *Handler) allow(w http.ResponseWriter, r *http.Request) {
	user, _ := h.gate.UserFrom(r.Context())
	org, _ := h.gate.OrgFrom(r.Context())
	id := rand.Text()
	w.(*answer).allow(user, org, id)
	h.logAllowed(r.Context(), r.Pattern, user, id)
}

func (h *Handler) logAllowed(ctx context.Context, pattern string, user rolegate.User, id string) {
	if h.log.Enabled(ctx, slog.LevelDebug) {
		h.log.LogAttrs(ctx, slog.LevelDebug, "forwardauth: let pass",
			slog.String("decision", id), slog.Attr{Key: "user_id", Value: user.LogValue()}, slog.String("route", pattern))
	}
}
