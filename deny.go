package rolegate

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/rolegate/rolegate/internal/refresh"
)

// A DenyFunc shapes the answer to a refused request: it sets headers on h and
// returns the body. The gate itself writes the status of the [Reason], so that
// no shape can turn a refusal into a success. The one freedom: a Location
// header on a 401 to a GET or HEAD makes it a redirect (303), as
// [DenyRedirect] does.
//
// It runs in the request's goroutine. If it panics, the client gets
// [DenyProblem]. It must not say why a request got a 403 to a client who should not learn
// which users exist: [DenyProblem] and the others give the same bytes for every
// 403.
type DenyFunc func(h http.Header, r *http.Request, d Denial) (body []byte)

// A Denial is a refusal: what a [DenyFunc] may know of it, and what
// [Policy.Check] returns, with the answer. It is an http.Handler that writes the
// answer, and an error for frameworks that want one.
type Denial struct {
	_ struct{}

	// Status is the HTTP status that the client gets.
	Status int

	// Reason is why.
	Reason Reason

	// ID names this decision: the operator finds it in the log, with what the
	// client is not told.
	ID string

	// RetryAfter is when it is worth trying again, for a 503; else 0. It is
	// already in the Retry-After header.
	RetryAfter time.Duration

	// Header and Body are the answer that the DenyFunc has shaped; nil while it
	// does so.
	Header http.Header
	Body   []byte
}

// DenyProblem answers with application/problem+json (RFC 9457). It is the
// default.
func DenyProblem(h http.Header, _ *http.Request, d Denial) []byte {
	h.Set("Content-Type", "application/problem+json")
	return mustJSON(struct {
		Type     string `json:"type"`
		Title    string `json:"title"`
		Status   int    `json:"status"`
		Detail   string `json:"detail"`
		Decision string `json:"decision"`
	}{"about:blank", cmp.Or(http.StatusText(d.Status), "Client Closed Request"), d.Status, d.Message(), d.ID})
}

// DenyRedirect sends browsers that are not logged in to loginURL (303): a 401
// to a GET or HEAD that asks for a page. Everything else is shaped by
// otherwise, nil for [DenyProblem]. The login page itself must not be guarded.
//
// It panics if loginURL is empty or no URL.
func DenyRedirect(loginURL string, otherwise DenyFunc) DenyFunc {
	if u, err := url.Parse(loginURL); err != nil || loginURL == "" || strings.ContainsAny(loginURL, "\r\n") || u.Scheme != "" && u.Host == "" {
		panic("rolegate: DenyRedirect: give the URL of the login page, such as /login")
	}
	if otherwise == nil {
		otherwise = DenyProblem
	}
	return func(h http.Header, r *http.Request, d Denial) []byte {
		if d.Status == http.StatusUnauthorized && wantsPage(r) {
			h.Set("Location", loginURL)
		}
		return otherwise(h, r, d)
	}
}

// wantsPage reports whether a browser wants to show the answer as a page, in
// contrast to a script that wants to read it.
func wantsPage(r *http.Request) bool {
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" {
		return mode == "navigate"
	}
	return strings.Contains(r.Header.Get("Accept"), "text/html")
}

// Message is a sentence for the client: the same for every reason that has the
// status.
func (d Denial) Message() string {
	switch d.Status {
	case http.StatusUnauthorized:
		return "You are not logged in."
	case http.StatusForbidden:
		return "You do not have permission to do this. If you think you should, contact your administrator and quote the decision id."
	case http.StatusServiceUnavailable:
		return "Authorization is temporarily unavailable. Try again later."
	case statusClientGone:
		return "The request was cancelled."
	default:
		return "Your identity could not be determined. If this keeps happening, contact your administrator and quote the decision id."
	}
}

func mustJSON(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers always marshal
	}
	return append(body, '\n')
}

// deny logs and reports a refusal, and makes the answer to it.
func (g *Gate) deny(r *http.Request, p *Policy, d Decision) *Denial {
	status := d.Reason.Status()
	if status < 400 { // cannot be; and if it could, it must not pass for a success
		status = http.StatusForbidden
	}
	denial := Denial{Status: status, Reason: d.Reason, ID: rand.Text()}
	h := http.Header{
		"Cache-Control":          {"no-store"},
		"X-Content-Type-Options": {"nosniff"},
	}
	switch status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", g.challenge())
	case http.StatusServiceUnavailable:
		denial.RetryAfter = g.retryAfter(d.Reason)
		h.Set("Retry-After", strconv.Itoa(int((denial.RetryAfter+time.Second-1)/time.Second)))
	}
	body, h := g.shape(h, r, p, denial)
	g.logRefused(r, p, d, denial)
	p.observer.observe(p, &d, r, denial.ID)
	if status == http.StatusUnauthorized && h.Get("Location") != "" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		denial.Status = http.StatusSeeOther
	} else {
		h.Del("Location")
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	denial.Header, denial.Body = h, body
	return &denial
}

// ServeHTTP writes the answer: the status, the headers, and the body unless r is a
// HEAD. Of the headers that a middleware outside has set, those stay that are about
// the connection, the client or the site (cookies, CORS, security, rate limits,
// ids of requests); what describes or caches a success goes.
func (d *Denial) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := w.Header()
	maps.DeleteFunc(out, func(name string, _ []string) bool { return !suitsRefusal(name) })
	for name, values := range d.Header {
		if name == "Vary" || name == "Set-Cookie" {
			values = slices.Concat(out[name], values) // a new slice: others share theirs between requests
		}
		out[name] = values
	}
	w.WriteHeader(d.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(d.Body) // a client that has gone away is no concern of the gate's
	}
}

// suitsRefusal reports whether a header that a middleware outside has set suits a
// refusal too.
func suitsRefusal(name string) bool {
	name = textproto.CanonicalMIMEHeaderKey(name)
	switch name {
	case "Alt-Svc", "Connection", "Content-Security-Policy", "Content-Security-Policy-Report-Only", "Date", "Nel", "Origin-Agent-Cluster",
		"Permissions-Policy", "Referrer-Policy", "Report-To", "Reporting-Endpoints", "Server", "Server-Timing", "Set-Cookie",
		"Strict-Transport-Security", "Timing-Allow-Origin", "Traceparent", "Traceresponse", "Tracestate", "Vary", "Via":
		return true
	}
	for _, family := range []string{"Access-Control-", "Cross-Origin-", "Ratelimit"} {
		if strings.HasPrefix(name, family) {
			return true
		}
	}
	// Of an app's own headers those that make proxies cache, send or hide
	// something do not.
	if !strings.HasPrefix(name, "X-") {
		return false
	}
	for _, family := range []string{"X-Accel-", "X-Cache", "X-Sendfile", "X-Lighttpd-", "X-Litespeed-"} {
		if strings.HasPrefix(name, family) {
			return false
		}
	}
	return true
}

// Error names the reason and the decision, for frameworks in which a refusal is
// an error. Clients must not be told the reason: give them Body.
func (d *Denial) Error() string {
	return fmt.Sprintf("rolegate: refused: %v (decision %s)", d.Reason, d.ID)
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
				"decision", d.ID, "err", newPanicError(name, v))
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

func (g *Gate) logger() *slog.Logger {
	if g == nil || g.log == nil {
		return slog.Default()
	}
	return g.log
}

// logRefused writes the line that the decision id of a refusal leads to.
func (g *Gate) logRefused(r *http.Request, p *Policy, d Decision, denial Denial) {
	level := slog.LevelInfo
	switch {
	case d.Reason == ReasonClientGone:
		level = slog.LevelDebug
	case denial.Status == http.StatusInternalServerError || d.Reason == ReasonConditionFailed && d.err != nil:
		level = slog.LevelError
	case denial.Status == http.StatusServiceUnavailable || d.Reason == ReasonOrgUnreadable || d.Reason == ReasonAmbiguous:
		level = slog.LevelWarn
	}
	g.logDecision(r.Context(), level, "rolegate: refused", r, p, d, slog.String("decision", denial.ID), slog.Int("status", denial.Status))
}

// logShadowed writes what a Shadow let pass.
func (g *Gate) logShadowed(r *http.Request, p *Policy, d Decision) {
	g.logDecision(r.Context(), slog.LevelInfo, "rolegate: let pass by a shadow", r, p, d)
}

func (g *Gate) logDecision(ctx context.Context, level slog.Level, msg string, r *http.Request, p *Policy, d Decision, more ...slog.Attr) {
	log := g.logger()
	if !log.Enabled(ctx, level) {
		return
	}
	attrs := append(more,
		slog.String("reason", d.Reason.String()),
		slog.String("method", method(r)),
		slog.String("route", route(r)),
		slog.String("guard", p.String()))
	if d.User.s != nil {
		attrs = append(attrs, slog.Int64("user_id", d.User.ID()))
	} else if d.asked > 0 {
		attrs = append(attrs, slog.Int64("user_id", d.asked)) // a user who is not listed
	}
	if d.Org != 0 {
		attrs = append(attrs, slog.Int64("org_id", d.Org))
	}
	if d.Held {
		attrs = append(attrs, slog.Bool("held", true))
	}
	if d.err != nil {
		attrs = append(attrs, slog.String("err", d.err.Error()))
	}
	log.LogAttrs(ctx, level, msg, attrs...)
}

// method names the request's method, "other" for one that RFC 9110 and RFC 5789 do
// not know: clients can write anything there, of any length.
func method(r *http.Request) string {
	switch r.Method {
	case "":
		return http.MethodGet
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return r.Method
	}
	return "other"
}

// route names the route by its pattern. The path itself may have names in it
// and is not logged; a guard in front of the routing knows no pattern.
func route(r *http.Request) string {
	if r.Pattern != "" {
		return r.Pattern
	}
	if c := chi.RouteContext(r.Context()); c != nil {
		return c.RoutePattern()
	}
	return ""
}
