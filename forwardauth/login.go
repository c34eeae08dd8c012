package forwardauth

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/browser"
)

// A login is where browsers are sent that nobody is logged in with.
type login struct {
	to    *url.URL // nil: nowhere
	param string
	// direct proxies pass the answer on as it is, so that it can be a redirect.
	// nginx and HAProxy make one of X-Rolegate-Login.
	direct bool
}

func newLogin(cfg Config) (l login, err error) {
	l = login{param: cfg.ReturnParam, direct: cfg.Proxy != Nginx && cfg.Proxy != HAProxy}
	if l.param == "" {
		l.param = "return_to"
	}
	if cfg.LoginURL == "" {
		if cfg.ReturnParam != "" {
			return l, errors.New("ReturnParam is there without LoginURL")
		}
		return l, nil
	}
	u, err := url.Parse(cfg.LoginURL)
	const expected = "LoginURL: expected an https URL, or a path such as /login, without a fragment"
	switch {
	case err != nil || u.Fragment != "" || u.User != nil || u.Opaque != "" || strings.ContainsFunc(cfg.LoginURL, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '\\' }):
		return l, errors.New(expected)
	case u.Host == "" && (u.Scheme != "" || !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(u.Path, "//")):
		return l, errors.New(expected)
	case u.Host != "" && u.Scheme != "https" && u.Scheme != "http":
		return l, errors.New(expected)
	case u.Query().Has(l.param):
		return l, errors.New("LoginURL has the query parameter " + l.param + " already: choose another ReturnParam")
	}
	l.to = u
	return l, nil
}

// deny is the shape of a rule's refusals.
func (h *Handler) deny(header http.Header, r *http.Request, d rolegate.Denial) []byte {
	if d.Status == http.StatusUnauthorized && h.login.to != nil && browser.WantsPage(r) {
		h.sendToLogin(header, r)
	}
	return denyProblem(header, r, d)
}

// sendToLogin puts the login page into a refusal, with the page that was asked
// for. That is a path of the same site: it begins with one slash, and has no
// backslash, or it would not have got here.
func (h *Handler) sendToLogin(header http.Header, r *http.Request) {
	if browser.LeadsBack(h.login.to.String(), r) {
		if h.toldLoop.Swap(true) {
			return
		}
		h.log.WarnContext(r.Context(), "forwardauth: the login page itself is guarded: no browser is sent to it from there; let your proxy pass it without asking")
		return
	}
	to := *h.login.to
	query := url.Values{h.login.param: {r.URL.RequestURI()}}.Encode()
	if to.RawQuery != "" {
		query = to.RawQuery + "&" + query
	}
	to.RawQuery = query
	header.Set(LoginHeader, to.String())
	if h.login.direct {
		header.Set("Location", to.String())
	}
}
