package forwardauth

import (
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/rolegate/rolegate"
)

// The headers of an answer: what a proxy is to copy into the request that it
// passes on, in place of whatever a client has sent under these names.
const (
	UserHeader     = "X-Rolegate-User"
	AccountHeader  = "X-Rolegate-Account"
	OrgHeader      = "X-Rolegate-Org"
	RolesHeader    = "X-Rolegate-Roles"
	DecisionHeader = "X-Rolegate-Decision" // in a refusal too
	LoginHeader    = "X-Rolegate-Login"    // in a 401 to a browser, if there is a LoginURL
)

// denyProblem is the shape of a refusal: the gate's default one, and the
// decision's id in a header, since nginx drops the body.
func denyProblem(h http.Header, r *http.Request, d rolegate.Denial) []byte {
	h.Set(DecisionHeader, d.ID)
	return rolegate.DenyProblem(h, r, d)
}

// An answer is the ResponseWriter that a guard writes to. The guard checks the
// original request and answers as if it came from the client; the proxy asks
// with a method of its own, which decides whether there is a body.
type answer struct {
	allowed bool
	header  http.Header
	status  int
	body    []byte
}

func (a *answer) Header() http.Header {
	if a.header == nil {
		a.header = http.Header{}
	}
	return a.header
}

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(b []byte) (int, error) {
	a.body = append(a.body, b...)
	return len(b), nil
}

// allow writes the answer for a request that may pass.
func (a *answer) allow(user rolegate.User, org int64, decision string) {
	a.allowed = true
	h := a.Header()
	h.Set("Cache-Control", "no-store")
	h.Set(UserHeader, decimal(user.ID()))
	h.Set(AccountHeader, encode(user.Account()))
	h.Set(OrgHeader, decimal(org))
	h.Set(RolesHeader, roles(user, org))
	h.Set(DecisionHeader, decision)
	a.WriteHeader(http.StatusOK)
}

// send writes the answer to the proxy. Only allow makes it a success, and only
// sendToLogin a redirect, of which the gate makes one with the status 303.
func (a *answer) send(w http.ResponseWriter) {
	toLogin := a.status == http.StatusSeeOther && a.header.Get(LoginHeader) != ""
	if !a.allowed && a.status < 400 && !toLogin {
		a.status = http.StatusForbidden
	}
	h := w.Header()
	maps.Copy(h, a.header)
	// Not what the guard says, which writes no body to a HEAD that the proxy may
	// have asked about with a GET.
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // to a HEAD of the proxy's the server writes none
}

// decimal writes an id, and nothing for none.
func decimal(id int64) string {
	if id <= 0 {
		return ""
	}
	return strconv.FormatInt(id, 10)
}

// roles writes a user's grants, those in org if it is not 0.
func roles(user rolegate.User, org int64) string {
	var b strings.Builder
	for _, g := range user.Grants() {
		if org != 0 && g.OrgID != org {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatInt(g.OrgID, 10))
		b.WriteByte(':')
		b.WriteString(encode(g.RoleCode))
	}
	return b.String()
}

// encode percent-encodes what is not printable ASCII, and what separates.
func encode(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || c == '%' || c == ',' || c == ':' {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}
