package rolegate

import (
	"context"
	"errors"
	"hash/maphash"
	"net/http"
	"net/url"

	"github.com/rolegate/rolegate/internal/carry"
	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/panics"
	"github.com/rolegate/rolegate/internal/refresh"
)

// This file decides requests and writes nothing. The guards of middleware.go
// are built on it, and so are those of other frameworks.

// An Admission is a request that may pass: what [Policy.Check] and
// [Policy.CheckCall] return without a [Denial]. The caller hands on Context or
// Request, and calls End when the handler has returned. The zero Admission is
// not one.
type Admission struct {
	// Decision is why it may pass, with the user and the organisation. Its
	// Reason is [ReasonGranted] unless it is Shadowed.
	Decision

	ctx          context.Context
	outer, inner *http.Request // nil after CheckCall
	watch        *watch        // nil without EndOnRevoke
}

// Context returns what the handler must get in place of the context that was
// checked: [Gate.UserFrom] and [Gate.OrgFrom] find in it what was decided, and
// with [EndOnRevoke] it ends when the access does.
func (a *Admission) Context() context.Context { return a.ctx }

// Request returns what the handler must get in place of the request that was
// checked: a shallow copy with Context. It is nil after [Policy.CheckCall].
func (a *Admission) Request() *http.Request { return a.inner }

// KeepPrivate writes Cache-Control: private into the headers of the answer, before
// the handler runs, unless there is a Cache-Control or Config.AllowSharedCaches is
// set. A handler that sets its own replaces it. Guards do this; whoever calls
// [Policy.Check] or [Policy.CheckCall] does so with what their framework has.
func (a *Admission) KeepPrivate(h http.Header) {
	c, ok := a.ctx.(*guardedContext)
	if _, there := h["Cache-Control"]; !ok || there || c.gate.cfg.AllowSharedCaches {
		return
	}
	c.private[0] = "private"
	h["Cache-Control"] = c.private[:1:1]
}

// End says that the handler has returned. It writes what the handler wrote into
// Request, such as the files of an upload, into the request that was checked, so
// that net/http cleans up after it; and with [EndOnRevoke] it ends Context and
// releases what was begun for that. Calling it again is harmless.
func (a *Admission) End() {
	if a.inner != nil {
		carry.Back(a.outer, a.inner)
	}
	if a.watch != nil {
		a.watch.end()
	}
}

// Check decides a request as a guard does, and writes nothing: for frameworks
// that have a middleware type of their own. It returns an [Admission], or a
// [Denial] with the answer that the client must get. It identifies the user,
// and logs, counts and reports the decision, as a guard does; so each request
// must be checked once for each guard.
//
// It blocks as a guard does: while the func of Config.Identify, of [InOrg] or of
// a [Where] runs, for OnDeny.Wait at most before it denies a user who may have
// been granted access meanwhile, and for Refresh.MaxAgeWait at most for a
// [MaxAge]. The nil and the zero Policy deny.
func (p *Policy) Check(r *http.Request) (a Admission, denial *Denial) { return p.check(r, nil) }

// check is Check for a guard in front of next, which may be a router that has not
// routed the request yet.
func (p *Policy) check(r *http.Request, next http.Handler) (a Admission, denial *Denial) {
	if p == nil {
		p = &Policy{name: p.String()}
	}
	id, known := p.identify(&a.Decision, r)
	if known {
		p.settle(r.Context(), &a.Decision, id, orgScope{}, r)
	}
	p.observer.count(&a.Decision)
	if !a.Allowed() || a.Shadowed || p.observer.reports() {
		setPattern(r, next)
	}
	if !a.Allowed() {
		return Admission{}, p.gate.deny(r, p, id, a.Decision)
	}
	a.begin(r.Context(), p, id)
	p.observer.observe(p.name, &a.Decision, id, r, "")
	if a.Shadowed {
		p.gate.logShadowed(r, p, id, a.Decision)
	}
	a.outer, a.inner = r, r.WithContext(a.ctx)
	return a, nil
}

// A Call is a request that is no *http.Request, for [Policy.CheckCall].
type Call struct {
	// Identity says who is asking. Err, if not nil, says why that is not known:
	// [ErrNobody] is answered 401 and everything else 500, as from the func of
	// an [Identifier].
	Identity Identity
	Err      error

	// Org is the organisation in which roles are looked for, if it is above 0,
	// as if [InOrg] had yielded it. With 0, InOrg reads it from Request. A
	// negative one says that the organisation cannot be told.
	Org int64

	// Method and Route name the call in the log and in events. Route must be a
	// pattern, with no personal data in it.
	Method, Route string

	// Request, if not nil, makes an *http.Request of the call: for a policy with
	// InOrg or [Where], and for what shapes a refusal. It is called only if there
	// is need of it, once at most. Without it a Where denies, as it does in
	// [Policy.Decide], and so does an InOrg for which Org is not given.
	Request func() *http.Request
}

// Identify asks the func of Config.Identify who is asking, for a [Call] whose
// Request has what it reads. It returns [ErrNobody] or another error if that is
// not known; a panic in the func becomes one. A nil or zero Gate knows nobody.
func (g *Gate) Identify(r *http.Request) (Identity, error) {
	if g == nil {
		return Identity{}, ErrNobody
	}
	return g.cfg.identify(r)
}

// CheckCall is [Policy.Check] for frameworks that are not net/http, and for RPC:
// all of it but the identifying, without a copy of each request.
func (p *Policy) CheckCall(ctx context.Context, c Call) (a Admission, denial *Denial) {
	if p == nil {
		p = &Policy{name: p.String()}
	}
	var r *http.Request
	if c.Request != nil && (len(p.wheres) > 0 || p.org != nil && c.Org == 0) {
		r = c.Request().WithContext(ctx)
	}
	scope := orgScope{}
	if r == nil || c.Org != 0 {
		scope = p.scopeOf(c.Org)
	}
	if p.known(ctx, &a.Decision, c.Err) {
		p.settle(ctx, &a.Decision, c.Identity, scope, r)
	}
	p.observer.count(&a.Decision)
	if !a.Allowed() {
		return Admission{}, p.gate.deny(c.request(ctx, r), p, c.Identity, a.Decision)
	}
	a.begin(ctx, p, c.Identity)
	if p.observer.reports() || a.Shadowed {
		r = c.request(ctx, r)
		p.observer.observe(p.name, &a.Decision, c.Identity, r, "")
		if a.Shadowed {
			p.gate.logShadowed(r, p, c.Identity, a.Decision)
		}
	}
	return a, nil
}

// request returns the call as a request: r, if it was made before.
func (c *Call) request(ctx context.Context, r *http.Request) *http.Request {
	if r == nil && c.Request != nil {
		r = c.Request().WithContext(ctx)
	}
	if r == nil {
		r = (&http.Request{Header: http.Header{}, URL: &url.URL{Path: "/"}}).WithContext(ctx)
	}
	if c.Method != "" {
		r.Method = c.Method
	}
	if c.Route != "" {
		r.Pattern = c.Route
	}
	return r
}

// setPattern asks an http.ServeMux behind the guard for the pattern of the request
// that it would set itself, were it called.
func setPattern(r *http.Request, next http.Handler) {
	for r.Pattern == "" {
		switch h := next.(type) {
		case interface {
			Guarded() (*Policy, http.Handler)
		}:
			_, next = h.Guarded()
		case *http.ServeMux:
			_, r.Pattern = h.Handler(r)
			return
		default:
			return
		}
	}
}

// identify finds out who is asking. If that cannot be told, d says why.
func (p *Policy) identify(d *Decision, r *http.Request) (id Identity, known bool) {
	if p.gate == nil {
		return Identity{}, false // the zero Decision is ReasonNotReady
	}
	id, err := p.gate.cfg.identify(r)
	return id, p.known(r.Context(), d, err)
}

// known reports whether it is known who is asking. If it is not, d says why.
func (p *Policy) known(ctx context.Context, d *Decision, err error) bool {
	if err == nil {
		return true
	}
	if clientGone(ctx, err) {
		d.Reason, d.err = ReasonClientGone, err
		return false
	}
	// A gate that cannot tell about anybody says so to nobody too.
	if _, _, reason := p.store.current(); reason != ReasonGranted {
		d.Reason = reason
		return false
	}
	d.Reason, d.err = ReasonIdentifyFailed, err
	if errors.Is(err, ErrNobody) {
		d.Reason = ReasonNoIdentity
	}
	return false
}

// settle decides; and once more, if a refusal was worth a look at what the
// marketplace has granted meanwhile.
func (p *Policy) settle(ctx context.Context, d *Decision, id Identity, scope orgScope, r *http.Request) {
	g := p.gate
	p.evaluate(d, id, scope, r, clock.Instant{})
	again := func() bool {
		p.evaluate(d, id, d.scope(scope), r, clock.Instant{})
		return !d.mayHaveChanged() && d.Reason != ReasonAmbiguous
	}
	switch {
	case g == nil || g.onDeny == nil:
	case d.Reason == ReasonAmbiguous && g.onDeny.untangle(ctx, again):
		again()
	case d.mayHaveChanged() && g.onDeny.refresh(ctx, id, again):
		if again(); d.mayHaveChanged() {
			g.onDeny.refuse(id)
		}
	}
	if d.Reason == ReasonTooOld {
		asked := g.clock()
		g.refresher.resyncFor(ctx, p.maxAge, asked, d.User.ID())
		p.evaluate(d, id, d.scope(scope), r, asked)
		if d.Reason == ReasonTooOld && clientGone(ctx, nil) {
			d.Reason = ReasonClientGone // and did not wait until the end
		}
	}
}

// clientGone reports whether the request was cancelled, as the server does when its
// client leaves, so that err says nothing about what was asked. A deadline is the
// app's own. A panic stays one, and that nobody is asking is known.
func clientGone(ctx context.Context, err error) bool {
	return errors.Is(ctx.Err(), context.Canceled) && !errors.Is(err, ErrNobody) && !errors.As(err, new(*panics.Error))
}

// scope is where a decision is made again: where it was made, if it got so far.
func (d *Decision) scope(first orgScope) orgScope {
	if d.Org != 0 {
		return orgScope{id: d.Org}
	}
	return first
}

// begin makes the context that an admitted request goes on with.
func (a *Admission) begin(ctx context.Context, p *Policy, id Identity) {
	org := p.gate.orgFor(ctx, &a.Decision)
	if p.endOnRevoke && a.Reason == ReasonGranted {
		a.watch, ctx = p.gate.watches.begin(p, id, &a.Decision, ctx)
	}
	a.ctx = &guardedContext{Context: ctx, gate: p.gate, user: a.User, org: org}
}

// orgFor returns the organisation that the handler is to see: the one that
// this guard checked or, if it named none, the one that a guard around it
// checked for the same user.
func (g *Gate) orgFor(ctx context.Context, d *Decision) int64 {
	if d.Org != 0 {
		return d.Org
	}
	if outer := g.guarded(ctx); outer != nil && outer.user.ID() == d.User.ID() {
		return outer.org
	}
	return 0
}

// A denyRefresher decides whether a refusal is worth a refresh, by identity.
type denyRefresher struct {
	f    *refresher
	seed maphash.Seed
	deny *refresh.OnDeny[refusedKey]
}

// A refusedKey is an identity without its text, which may be as long as a
// header: a thousand of them must not fill the memory.
type refusedKey struct {
	kind Kind
	hash uint64
}

func newDenyRefresher(f *refresher) *denyRefresher {
	o := &f.cfg.OnDeny
	limit := refresh.NewLimit(o.PerMinute)
	may := func(ctx context.Context) bool {
		local := func() bool { return limit.Take(f.clock()) == 0 }
		if f.replica != nil {
			return f.replica.spend(ctx, local)
		}
		return local()
	}
	return &denyRefresher{f: f, seed: maphash.MakeSeed(), deny: refresh.NewOnDeny[refusedKey](f.loop, f.clock, may, o.Wait, o.TTL)}
}

func (d *denyRefresher) key(id Identity) refusedKey {
	if id.kind == KindUserID {
		return refusedKey{KindUserID, uint64(id.id)}
	}
	return refusedKey{id.kind, maphash.String(d.seed, id.text)}
}

// refresh reports whether it is worth deciding again: a refresh has ended that
// this refusal caused or joined, or again, which is called whenever something
// was published, has returned true. It blocks for OnDeny.Wait at most.
func (d *denyRefresher) refresh(ctx context.Context, id Identity, again func() bool) bool {
	return d.deny.Refresh(ctx, d.key(id), d.f.now.Published, again)
}

// refuse remembers an identity that a refresh did not help.
func (d *denyRefresher) refuse(id Identity) { d.deny.Refuse(d.key(id)) }

// untangle waits, if an incremental refresh has made an alias ambiguous, for the
// full refresh that is owed for that: the platform may have made somebody anew,
// and only that shows that the one before is gone. It reports whether it is worth
// deciding again, and blocks for OnDeny.Wait at most.
func (d *denyRefresher) untangle(ctx context.Context, again func() bool) bool {
	return d.f.onAge.AwaitOwed(ctx, d.f.cfg.OnDeny.Wait, d.f.now.Published, again)
}

// A guardedContext is the request's context with what the guard has decided. It
// is a type of its own, rather than two of context.WithValue, because it is
// made for every request.
type guardedContext struct {
	context.Context
	gate *Gate
	user User
	org  int64

	// private is the value of a header, which needs no allocation here and is no
	// other request's.
	private [1]string
}

// A guardedKey is what a gate's values are found by: each gate has its own, so
// that the guard of another app on the same server puts nothing in its place.
type guardedKey struct{ gate *Gate }

// Value implements context.Context.
func (c *guardedContext) Value(key any) any {
	if k, ok := key.(guardedKey); ok && k.gate == c.gate {
		return c
	}
	return c.Context.Value(key)
}

func (g *Gate) guarded(ctx context.Context) *guardedContext {
	c, _ := ctx.Value(guardedKey{g}).(*guardedContext)
	return c
}
