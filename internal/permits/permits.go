// Package permits is the answer that tells a front end what its user may do. It
// decides nothing, and imports no package that does.
package permits

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"github.com/rolegate/rolegate/internal/ids"
)

// A List has the names of the policies that hold, and of those that hold if their
// conditions do.
type List struct {
	Permissions []string `json:"permissions"`
	Conditional []string `json:"conditional"`
}

// NewList returns an empty list, which is [] in JSON.
func NewList() List { return List{[]string{}, []string{}} }

// Add adds a policy, if it holds, or if it does provided that its conditions do.
func (l *List) Add(name string, holds, conditional bool) {
	switch {
	case holds:
		l.Permissions = append(l.Permissions, name)
	case conditional:
		l.Conditional = append(l.Conditional, name)
	}
}

// An Org has what holds in one organisation, and the roles that the user has there.
type Org struct {
	OrgID int64    `json:"org_id,string"`
	Roles []string `json:"roles"`
	List
}

// A User has what holds for the user.
type User struct {
	UserID string `json:"user_id"` // "" for one who is not listed
	List          // what does not depend on the organisation
	Orgs   []Org  `json:"orgs"`
}

// A Handler answers with what Of says of the user of a request, in one organisation,
// or, if org is 0, in each of theirs. Nobody may keep the answer.
type Handler struct {
	Of func(r *http.Request, org int64) User
}

// ServeHTTP implements http.Handler.
func (h Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "private, no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed, "Expected GET or HEAD.")
		return
	}
	org, ok := orgIn(r.URL.RawQuery)
	if !ok {
		refuse(w, http.StatusBadRequest, "org: expected one decimal number above 0, or leave it out.")
		return
	}
	body := mustJSON(h.Of(r, org))
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodGet {
		_, _ = w.Write(body) // a client that has gone away is nobody's concern
	}
}

func refuse(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = w.Write(mustJSON(struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{"about:blank", http.StatusText(status), status, detail}))
}

// orgIn reads which organisation is asked about, 0 for each of the user's.
func orgIn(query string) (org int64, ok bool) {
	values, err := url.ParseQuery(query)
	if err != nil || len(values["org"]) > 1 {
		return 0, false
	}
	if !values.Has("org") {
		return 0, true
	}
	org, err = ids.Parse(values.Get("org"))
	return org, err == nil
}

func mustJSON(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers always marshal
	}
	return append(body, '\n')
}
