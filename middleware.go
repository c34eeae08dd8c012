package rolegate

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/textproto"
	"strconv"
	"sync"
	"time"

	"github.com/rolegate/rolegate/internal/browser"
	"github.com/rolegate/rolegate/internal/panics"
	"github.com/rolegate/rolegate/internal/policy"
	"github.com/rolegate/rolegate/internal/pull"
	"github.com/rolegate/rolegate/internal/refresh"
	"github.com/rolegate/rolegate/internal/request"
	"github.com/rolegate/rolegate/internal/testuser"
)

// Admit guards next: only listed users get through. A middleware for chi's
// r.Use and r.With, and for http.ServeMux by wrapping a handler.
//
// The gate never wraps the ResponseWriter and never reads the body, so that
// what the handler does with them (hijacking, flushing, uploads) works as
// without it. Admit panics if next is nil.
func (g *Gate) Admit(next http.Handler) http.Handler {
	return newGuard(g.AdmitPolicy(), next)
}

// AdmitPolicy returns the policy of [Gate.Admit], for [Policy.Check],
// [Policy.CheckCall] and [Policy.Decide].
func (g *Gate) AdmitPolicy() *Policy {
	if g == nil || g.admit == nil {
		return &Policy{gate: g, store: g.state(), observer: g.observedBy(), name: "Admit", admits: true, program: new(policy.Program)}
	}
	return g.admit
}

// Require makes a middleware that lets a listed user through if all of the
// checks hold for them. It includes [Gate.Admit]. Guards may be stacked: each
// identifies and decides for itself, and nothing in a context or header counts
// as "already checked".
//
// Without [InOrg], all checks for roles that a user must have hold together in
// one same organisation: a user who is teacher in one and homeroom in another
// does not pass AllRoles("teacher", "homeroom"). With InOrg they hold in that
// one.
//
// Require panics on a mistake: no check at all, an empty role code, a nil
// option, two InOrg. It does so when the route is registered, as a bad pattern
// does in http.ServeMux, and never when a request is served.
func (g *Gate) Require(options ...Option) func(http.Handler) http.Handler {
	return g.policy("Require", options).Wrap
}

// Wrap guards next with the policy: [Gate.Require] with a policy that was
// compiled before. It panics if next is nil.
func (p *Policy) Wrap(next http.Handler) http.Handler {
	if p == nil {
		p = &Policy{name: p.String()}
	}
	return newGuard(p, next)
}

// A guard is a handler with the gate in front of it.
type guard struct {
	gate   *Gate
	policy *Policy
	next   http.Handler
}

// Guarded returns the policy of the guard, and the handler behind it. Package
// chiroutes looks for this method to list what guards the routes of a router.
func (g *guard) Guarded() (p *Policy, next http.Handler) { return g.policy, g.next }

func newGuard(p *Policy, next http.Handler) *guard {
	if next == nil {
		panic("rolegate: the handler to guard is nil")
	}
	return &guard{gate: p.gate, policy: p, next: next}
}

// ServeHTTP implements http.Handler.
func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a, denial := g.policy.check(r, g.next)
	if denial != nil {
		denial.ServeHTTP(w, r)
		return
	}
	defer a.End()
	a.KeepPrivate(w.Header())
	g.next.ServeHTTP(w, a.Request())
}

// UserFrom returns the user that a guard of this gate admitted. ok is false,
// and the User nobody, if no guard of this gate is in front of the handler (one
// of another gate does not count) or if Config.ShadowAdmit let an unlisted user
// pass.
func (g *Gate) UserFrom(ctx context.Context) (u User, ok bool) {
	if c := g.guarded(ctx); c != nil {
		return c.user, c.user.s != nil
	}
	return User{}, false
}

// OrgFrom returns the organisation that a guard with [InOrg] checked: what a
// handler must use, instead of reading the request again. ok is false if no
// guard of this gate in front of the handler named one.
func (g *Gate) OrgFrom(ctx context.Context) (org int64, ok bool) {
	if c := g.guarded(ctx); c != nil {
		return c.org, c.org != 0
	}
	return 0, false
}

// deny logs and reports a refusal, and makes the answer to it.
func (g *Gate) deny(r *http.Request, p *Policy, id Identity, d Decision) *Denial {
	status := d.Reason.Status()
	if status < 400 { // cannot be; and if it could, it must not pass for a success
		status = http.StatusForbidden
	}
	wait, away := awayFor(d)
	if away {
		status = http.StatusServiceUnavailable
	}
	denial := Denial{Status: status, Reason: d.Reason, ID: rand.Text(), Language: browser.Language(r.Header.Get("Accept-Language"))}
	h := http.Header{
		"Cache-Control":          {"no-store"},
		"X-Content-Type-Options": {"nosniff"},
	}
	switch status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", g.challenge())
	case http.StatusServiceUnavailable:
		if denial.RetryAfter = wait; !away {
			denial.RetryAfter = g.retryAfter(d.Reason)
		}
		h.Set("Retry-After", strconv.Itoa(int((denial.RetryAfter+time.Second-1)/time.Second)))
	}
	body, h := g.shape(h, r, p, denial)
	g.logRefused(r, p, id, d, denial)
	p.observer.observe(p.name, &d, id, r, denial.ID)
	if status == http.StatusUnauthorized && h.Get("Location") != "" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		denial.Status = http.StatusSeeOther
		if browser.LeadsBack(h.Get("Location"), r) {
			denial.Status = status
			h.Del("Location")
			g.logLoop(r)
		}
	} else {
		h.Del("Location")
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	denial.Header, denial.Body = h, body
	return &denial
}

// logLoop logs once that browsers are to be sent to the very page that they asked
// for.
func (g *Gate) logLoop(r *http.Request) {
	if g == nil || g.loop.Swap(true) {
		return
	}
	g.logger().WarnContext(r.Context(), "rolegate: the login page itself is guarded: no browser is sent to it from there; register it without a guard",
		"route", request.Route(r))
}

// shape calls the guard's DenyWith or Config.Deny, on headers of its own so that
// a panic leaves nothing half done.
func (g *Gate) shape(h http.Header, r *http.Request, p *Policy, d Denial) (body []byte, shaped http.Header) {
	deny, name := DenyFunc(DenyProblem), "Config.Deny"
	if g != nil && g.cfg.Deny != nil {
		deny = g.cfg.Deny
	}
	if p.deny != nil {
		deny, name = p.deny, "DenyWith"
	}
	defer func() {
		if v := recover(); v != nil {
			g.logger().ErrorContext(r.Context(), "rolegate: "+name+" panicked; the default body is sent",
				"decision", d.ID, "err", panics.Of(name, v))
			shaped = h
			body = DenyProblem(shaped, r, d)
		}
	}()
	shaped = h.Clone()
	body = deny(shaped, r, d)
	for name, values := range maps.Clone(shaped) { // no second Content-Length under another spelling
		if canonical := textproto.CanonicalMIMEHeaderKey(name); canonical != name {
			delete(shaped, name)
			shaped[canonical] = values
		}
	}
	shaped.Del("Content-Length")
	shaped.Del("Transfer-Encoding")
	for name := range h { // a 401 keeps its challenge, a 503 its Retry-After
		if shaped.Get(name) == "" {
			shaped[name] = h[name]
		}
	}
	return body, shaped
}

func (g *Gate) challenge() string {
	if g == nil || g.cfg.Challenge == "" {
		return "Bearer"
	}
	return g.cfg.Challenge
}

// retryAfter is when a client may come again after a 503: about when the next
// pull may have fixed it.
func (g *Gate) retryAfter(reason Reason) time.Duration {
	if g == nil || g.refresher == nil || reason == ReasonClosed {
		return 30 * time.Second
	}
	switch reason {
	case ReasonExpired:
		g.refresher.expired()
	case ReasonTooOld:
		return min(max(g.refresher.onAge.Until(), time.Second), time.Minute)
	}
	return min(max(g.refresher.loop.UntilLockFree(refresh.Full), time.Second), time.Minute)
}

// awayFor reports whether what an Identifier or InOrg needs is away, and when to come
// again, by the error that it has returned.
func awayFor(d Decision) (wait time.Duration, away bool) {
	if d.Reason != ReasonIdentifyFailed && d.Reason != ReasonOrgUnreadable {
		return 0, false
	}
	later, away := errors.AsType[interface {
		error
		RetryAfter() time.Duration
	}](d.err)
	if away {
		wait = min(max(later.RetryAfter(), time.Second), maxRetryAfter)
	}
	return wait, away
}

func (g *Gate) logger() *slog.Logger {
	if g == nil || g.log == nil {
		return slog.Default()
	}
	return g.log
}

// logRefused writes the line that the decision id of a refusal leads to.
func (g *Gate) logRefused(r *http.Request, p *Policy, id Identity, d Decision, denial Denial) {
	level := slog.LevelInfo
	switch {
	case d.Reason == ReasonClientGone:
		level = slog.LevelDebug
	case denial.Status == http.StatusInternalServerError || d.Reason == ReasonConditionFailed && d.err != nil:
		level = slog.LevelError
	case denial.Status == http.StatusServiceUnavailable || d.Reason == ReasonOrgUnreadable || d.Reason == ReasonAmbiguous:
		level = slog.LevelWarn
	}
	g.logDecision(r.Context(), level, "rolegate: refused", r, p, id, d, slog.String("decision", denial.ID), slog.Int("status", denial.Status))
}

// logShadowed writes what a Shadow let pass.
func (g *Gate) logShadowed(r *http.Request, p *Policy, id Identity, d Decision) {
	g.logDecision(r.Context(), slog.LevelInfo, "rolegate: let pass by a shadow", r, p, id, d)
}

func (g *Gate) logDecision(ctx context.Context, level slog.Level, msg string, r *http.Request, p *Policy, id Identity, d Decision, more ...slog.Attr) {
	log := g.logger()
	if !log.Enabled(ctx, level) {
		return
	}
	attrs := append(more,
		slog.String("reason", d.Reason.String()),
		slog.String("method", request.Method(r)),
		slog.String("route", request.Route(r)),
		slog.String("guard", p.String()))
	if d.User.s != nil {
		attrs = append(attrs, slog.Attr{Key: "user_id", Value: d.User.LogValue()})
	} else if id.id > 0 {
		attrs = append(attrs, slog.String("user_id", strconv.FormatInt(id.id, 10))) // a user who is not listed
	}
	if g != nil {
		if digest := id.digest(g.cfg.IdentityKey); digest != "" {
			attrs = append(attrs, slog.String("identity", id.kind.String()), slog.String("identity_digest", digest))
		}
	}
	if d.Org != 0 {
		attrs = append(attrs, slog.String("org_id", strconv.FormatInt(d.Org, 10)))
	}
	if d.Held {
		attrs = append(attrs, slog.Bool("held", true))
	}
	if d.err != nil {
		attrs = append(attrs, slog.String("err", d.err.Error()))
	}
	log.LogAttrs(ctx, level, msg, attrs...)
}

func init() {
	testuser.Put = func(ctx context.Context, gate, record any, org int64) context.Context {
		g, _ := gate.(*Gate)
		return &testContext{Context: ctx, gate: g, record: record.(Record), org: org}
	}
}

// A testContext is what rolegatetest.As makes: every gate finds a user in it. A
// guard does not look there, and puts the user that it admits in its place.
type testContext struct {
	context.Context
	gate   *Gate // of those who name none
	record Record
	org    int64
	found  sync.Map // *Gate to *guardedContext
}

// Value implements context.Context.
func (c *testContext) Value(key any) any {
	k, ok := key.(guardedKey)
	switch {
	case key == testuser.Key{}:
		return &Admission{Decision: Decision{Reason: ReasonGranted, User: c.gate.userOf(c.record), Org: c.org}}
	case !ok:
		return c.Context.Value(key)
	}
	found, ok := c.found.Load(k.gate)
	if !ok {
		found, _ = c.found.LoadOrStore(k.gate, &guardedContext{Context: c.Context, gate: k.gate, user: k.gate.userOf(c.record), org: c.org})
	}
	return found
}

// userOf returns the user of a record as the gate's list would have them: with its
// hierarchy, and with the strings that it keeps. A gate that was not opened has no
// hierarchy, and keeps all.
func (g *Gate) userOf(r Record) User {
	fields := Keep{true, true, true, true, true, true}.fields()
	if g != nil && g.roles != nil {
		fields = g.cfg.fields
	}
	of, err := pull.Single(g.roleSpace(), fields, func(list *pull.List) error { return take(list, &r) })
	if err != nil {
		panic(err)
	}
	return userIn(of, r.UserID)
}
