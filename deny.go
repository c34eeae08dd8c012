package rolegate

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rolegate/rolegate/internal/browser"
	"github.com/rolegate/rolegate/internal/request"
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

	// Language is what the request's Accept-Language likes better, "en" or "zh";
	// "" if it says nothing of either. It chooses the Message: a DenyFunc may set it.
	Language string

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

// DenyProblem answers with application/problem+json (RFC 9457), in Chinese to a
// request that prefers it. It is the default.
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
// to a GET or HEAD that asks for a page, by Sec-Fetch-* or Accept, and that no
// script says it has sent (X-Requested-With, Turbo-Frame, HX-Request). Everything
// else is shaped by otherwise, nil for [DenyProblem].
//
// A query parameter of loginURL without a value, such as return_to in
// /login?return_to=, gets the path and query that was asked for: always of the same
// site, and empty if it could be read as another's. The login page must check it
// all the same, since anybody can write a link to it.
//
// The login page itself must not be guarded. If it is, no browser is sent to it from
// there, and the log says so once.
//
// It panics if loginURL is empty or no URL.
func DenyRedirect(loginURL string, otherwise DenyFunc) DenyFunc {
	u, err := url.Parse(loginURL)
	if err != nil || loginURL == "" || strings.ContainsAny(loginURL, "\r\n") || u.Scheme != "" && u.Host == "" {
		panic("rolegate: DenyRedirect: give the URL of the login page, such as /login")
	}
	before, after, returns := browser.Blank(loginURL)
	if otherwise == nil {
		otherwise = DenyProblem
	}
	return func(h http.Header, r *http.Request, d Denial) []byte {
		if d.Status == http.StatusUnauthorized && browser.WantsPage(r) {
			to := before
			if returns {
				to += url.QueryEscape(browser.Return(r)) + after
			}
			h.Set("Location", to)
		}
		return otherwise(h, r, d)
	}
}

// Message is a sentence for the client, in Chinese if Language is "zh" and else in
// English: the same for every reason that has the status.
func (d Denial) Message() string {
	english, chinese := "Your identity could not be determined. If this keeps happening, contact your administrator and quote the decision id.",
		"无法确认您的身份。如果问题持续出现，请联系管理员，并提供判定编号。"
	switch d.Status {
	case http.StatusUnauthorized, http.StatusSeeOther: // to the login page
		english, chinese = "You are not logged in.", "您尚未登录。"
	case http.StatusForbidden:
		english, chinese = "You do not have permission to do this. If you think you should, contact your administrator and quote the decision id.",
			"您没有权限执行此操作。如有疑问，请联系管理员，并提供判定编号。"
	case http.StatusServiceUnavailable:
		english, chinese = "Authorization is temporarily unavailable. Try again later.", "暂时无法确认您的权限，请稍后再试。"
	case statusClientGone:
		english, chinese = "The request was cancelled.", "请求已取消。"
	}
	if d.Language == "zh" {
		return chinese
	}
	return english
}

func mustJSON(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers always marshal
	}
	return append(body, '\n')
}

// ServeHTTP writes the answer: the status, the headers, and the body unless r is a
// HEAD. Of the headers that a middleware outside has set, those stay that are about
// the connection, the client or the site (cookies, CORS, security, rate limits,
// ids of requests); what describes or caches a success goes.
func (d *Denial) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := w.Header()
	maps.DeleteFunc(out, func(name string, _ []string) bool { return !request.SuitsRefusal(name) })
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

// Error names the reason and the decision, for frameworks in which a refusal is
// an error. Clients must not be told the reason: give them Body.
func (d *Denial) Error() string {
	return fmt.Sprintf("rolegate: refused: %v (decision %s)", d.Reason, d.ID)
}
