package rolegate

import (
	"context"
	"crypto/rand"
	"encoding/json"
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
)

// A DenyFunc shapes the answer to a refused request: it sets headers on h and
// returns the body. The gate itself writes the status of the [Reason], so that
// no shape can turn a refusal into a success. The one freedom: a Location
// header on a 401 to a GET or HEAD makes it a redirect (303), as
// [DenyRedirect] does.
//
// It runs in the request's goroutine. If it panics, the client gets
// [DenyProblem]. It must not tell a client why he got a 403, at least none who
// should not learn which users exist; [DenyProblem] and the others here give
// the same bytes for every 403.
type DenyFunc func(h http.Header, r *http.Request, d Denial) (body []byte)

// A Denial is what a [DenyFunc] may know of a refusal.
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
	}{"about:blank", http.StatusText(d.Status), d.Status, detail(d.Status), d.ID})
}

// DenyWith gives a guard a shape of its own for what a refused client sees, in
// place of Config.Deny: pages that send browsers to a login page beside an
// interface that does not. It panics if f is nil.
func DenyWith(f DenyFunc) Option {
	if f == nil {
		panic("rolegate: DenyWith: the func is nil")
	}
	return denyOption{f}
}

type denyOption struct{ f DenyFunc }

func (o denyOption) addTo(s *policySpec) {
	if s.deny != nil {
		panic("rolegate: DenyWith is given twice: a refusal has one shape")
	}
	s.deny = o.f
}

// DenyEnvelope answers in the marketplace's own form:
// {"code":403,"status":"fail","message":"…","data":{"decision":"…"}}.
func DenyEnvelope(h http.Header, _ *http.Request, d Denial) []byte {
	h.Set("Content-Type", "application/json")
	status := "fail"
	if d.Status >= http.StatusInternalServerError {
		status = "error"
	}
	return mustJSON(struct {
		Code    int          `json:"code"`
		Status  string       `json:"status"`
		Message string       `json:"message"`
		Data    decisionData `json:"data"`
	}{d.Status, status, detail(d.Status), decisionData{d.ID}})
}

// DenyR answers in BladeX' form R:
// {"code":403,"success":false,"data":{"decision":"…"},"msg":"…"}.
func DenyR(h http.Header, _ *http.Request, d Denial) []byte {
	h.Set("Content-Type", "application/json")
	return mustJSON(struct {
		Code    int          `json:"code"`
		Success bool         `json:"success"`
		Data    decisionData `json:"data"`
		Msg     string       `json:"msg"`
	}{d.Status, false, decisionData{d.ID}, detail(d.Status)})
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

type decisionData struct {
	Decision string `json:"decision"`
}

// detail is what a client is told in words: the same for every reason of a
// status.
func detail(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "You are not logged in."
	case http.StatusForbidden:
		return "You may not do this. If you think you should, tell your administrator the decision's id."
	case http.StatusServiceUnavailable:
		return "Whether you may do this cannot be told at the moment. Try again later."
	default:
		return "Who you are could not be found out. If this goes on, tell your administrator the decision's id."
	}
}

func mustJSON(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers always marshal
	}
	return append(body, '\n')
}

// refuse answers a request that may not pass, and logs why.
func (g *Gate) refuse(w http.ResponseWriter, r *http.Request, p *Policy, d Decision) {
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

	out := w.Header()
	for _, name := range []string{"Content-Encoding", "Content-Length", "Content-Range", "Etag", "Last-Modified"} {
		out.Del(name) // of a success that a middleware outside prepared
	}
	for _, name := range []string{"Vary", "Set-Cookie"} {
		// A new slice: others share theirs between requests.
		if all := slices.Concat(out[name], h[name]); len(all) > 0 {
			h[name] = all
		}
	}
	maps.Copy(out, h)
	out.Set("Content-Length", strconv.Itoa(len(body)))
	if status == http.StatusUnauthorized && h.Get("Location") != "" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		status = http.StatusSeeOther
	} else {
		out.Del("Location")
	}
	g.logRefused(r, p, d, denial)
	p.observer.observe(p, &d, r, denial.ID)
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // a client that has gone away is no concern of the gate's
	}
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
				"decision", d.ID, "err", panicError(name, v))
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
// pull may have mended it.
func (g *Gate) retryAfter(reason Reason) time.Duration {
	if g == nil || g.refresher == nil || reason == Closed {
		return 30 * time.Second
	}
	switch reason {
	case Expired:
		g.refresher.expired()
	case TooOld:
		return min(max(g.refresher.untilWalkForAge(), time.Second), time.Minute)
	}
	return min(max(g.refresher.untilNextWalk(), time.Second), time.Minute)
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
	case denial.Status == http.StatusInternalServerError || d.Reason == ConditionFailed && d.err != nil:
		level = slog.LevelError
	case denial.Status == http.StatusServiceUnavailable || d.Reason == OrgUnreadable || d.Reason == Ambiguous:
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
		slog.String("method", r.Method),
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
