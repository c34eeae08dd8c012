package console

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/ids"
)

// This file answers what operators ask before they can ask why: who has an account,
// what a user may do at all, and what a decision id was about.

const (
	shownUsers    = 12 // who share an account
	shownRefusals = 20
)

// A foundUser is one of those with an account or an id.
type foundUser struct {
	ID    int64
	Roles []string // by organisation, in words
}

// usersOf lists the users with an identity other than a user id. The texts by which
// they are found are not shown.
func (v *view) usersOf(id rolegate.Identity) (found []foundUser, more bool) {
	if id.Kind() == rolegate.KindUserID {
		return nil, false
	}
	users, _ := v.gate.FindUsers(id, shownUsers+1)
	if more = len(users) > shownUsers; more {
		users = users[:shownUsers]
	}
	for _, u := range users {
		found = append(found, foundUser{u.ID(), v.rolesOf(u)})
	}
	return found, more
}

// rolesOf says which roles a user has, in the first organisations.
func (v *view) rolesOf(u rolegate.User) (lines []string) {
	in := map[int64][]string{}
	for _, g := range u.Grants() {
		in[g.OrgID] = append(in[g.OrgID], g.RoleCode)
	}
	orgs := u.Orgs()
	for _, roles := range in {
		slices.Sort(roles)
	}
	for _, org := range orgs[:min(len(orgs), shownOrgs)] {
		lines = append(lines, v.T("step.checks.org", org)+v.T("colon")+v.listed(in[org]))
	}
	if more := len(orgs) - shownOrgs; more > 0 {
		lines = append(lines, v.T("step.checks.more", more))
	}
	if len(orgs) == 0 {
		lines = []string{v.T("step.checks.none")}
	}
	return lines
}

// everyRoute is asked about instead of a route: what a user may do at all.
const everyRoute = "*"

// An actionLine is whether a user may use a route.
type actionLine struct {
	Mark, Word string // "ok", "no" or "ask"
	Route      string
	Says       string // where, or why not
}

// actions asks the guards of every route, in that organisation or, if org is 0, in
// the first of the user's.
func (v *view) actions(r *http.Request, id rolegate.Identity, org int64) (lines []actionLine) {
	orgs := []int64{org}
	if org == 0 {
		orgs = v.gate.Explain(r.Context(), id).Decision.User.Orgs()
		orgs = orgs[:min(len(orgs), shownOrgs)]
	}
	for _, l := range v.Routes.Lines {
		a := actionLine{Route: l.Label(v), Mark: "ok", Says: v.T("route.open")}
		if len(l.guards) > 0 {
			a.Mark, a.Says = v.action(r, l.guards, id, orgs)
		}
		a.Word = v.MarkText(a.Mark)
		lines = append(lines, a)
	}
	return lines
}

// action asks the guards of one route.
func (v *view) action(r *http.Request, guards []*rolegate.Policy, id rolegate.Identity, orgs []int64) (mark, says string) {
	inOrg := slices.ContainsFunc(guards, (*rolegate.Policy).HasOrg)
	if !inOrg || len(orgs) == 0 {
		orgs = []int64{0}
	}
	var passing, depending []string
	on := "actions.where"
	for _, org := range orgs {
		a := v.answer(r, guards, id, org)
		switch tooOld := a.Reason == rolegate.ReasonTooOld.String(); {
		case a.Verdict == "ok":
			passing = append(passing, strconv.FormatInt(org, 10))
		case tooOld || a.Verdict == "ask":
			if tooOld { // a request waits, and then passes by all that is known
				on = "actions.age"
			}
			depending = append(depending, strconv.FormatInt(org, 10))
		}
		if says = a.Meaning; a.Reason == rolegate.ReasonOrgUnreadable.String() {
			return "ask", v.T("actions.org")
		}
	}
	where := func(orgs []string) string {
		if orgs[0] == "0" {
			return ""
		}
		return v.T("actions.in", strings.Join(orgs, v.T("comma")))
	}
	others := slices.ContainsFunc(guards, func(p *rolegate.Policy) bool { return p.Gate() != v.gate })
	switch {
	case others && len(passing)+len(depending) > 0, says == "": // ours let pass, or there are none
		return "ask", v.T("why.other.gate")
	case len(passing) > 0:
		return "ok", where(passing)
	case len(depending) > 0:
		return "ask", strings.TrimSpace(v.T(on) + " " + where(depending))
	}
	return "no", says
}

// A refusalLine is one of the last refusals.
type refusalLine struct {
	At                     time.Time
	ID, Reason, Meaning    string
	User, Org, Request, By string // "–" for what is not known
}

// Refusals lists the last ones of this process.
func (v *view) Refusals() (lines []refusalLine) {
	for _, e := range v.gate.Refusals(shownRefusals) {
		lines = append(lines, v.refusal(e))
	}
	return lines
}

// refusalsOf lists the last refusals of an identity, and of the user who has it.
func (v *view) refusalsOf(e rolegate.Explanation, id rolegate.Identity) (lines []refusalLine) {
	user := e.Decision.User.ID()
	if id.Kind() == rolegate.KindUserID {
		user, _ = ids.Parse(v.Ask.User) // listed or not
	}
	for _, event := range v.gate.Refusals(1 << 20) {
		same := event.Identity == id.Kind() && event.IdentityDigest != "" && event.IdentityDigest == e.IdentityDigest
		if len(lines) < shownRefusals && (same || user != 0 && event.UserID == user) {
			lines = append(lines, v.refusal(event))
		}
	}
	return lines
}

func (v *view) refusal(e rolegate.DecisionEvent) refusalLine {
	number := func(n int64) string {
		if n == 0 {
			return "–"
		}
		return strconv.FormatInt(n, 10)
	}
	request := e.Route // a pattern of http.ServeMux may begin with the method
	if !strings.HasPrefix(request, e.Method+" ") {
		request = strings.TrimSpace(e.Method + " " + e.Route)
	}
	user := number(e.UserID)
	if e.UserID == 0 && e.IdentityDigest != "" {
		user = v.kind(e.Identity) + " " + e.IdentityDigest
	}
	return refusalLine{
		At: e.Time, ID: e.DecisionID, Reason: e.Reason.String(), Meaning: v.reason(e.Reason),
		User: user, Org: number(e.Org), Request: plain(request), By: plain(e.Guard),
	}
}

// findRefusal answers the form for a decision id, and fills in that of Why.
func (v *view) findRefusal(r *http.Request) (status int) {
	v.Decision = strings.TrimSpace(r.PostForm.Get("decision"))
	events := v.gate.Refusals(1 << 20)
	i := slices.IndexFunc(events, func(e rolegate.DecisionEvent) bool { return e.DecisionID == v.Decision && v.Decision != "" })
	if i < 0 {
		v.NotFound = v.T("refusal.none", group(uint64(len(events))))
		return http.StatusNotFound
	}
	e := events[i]
	found := v.refusal(e)
	v.Found = &found
	v.Ask = question{Kind: rolegate.KindUserID.String()}
	if e.UserID > 0 {
		v.Ask.User = strconv.FormatInt(e.UserID, 10)
	} else if e.IdentityDigest != "" { // whose text only the operator knows
		v.Ask.Kind = e.Identity.String()
	}
	if e.Org > 0 {
		v.Ask.Org = strconv.FormatInt(e.Org, 10)
	}
	for _, l := range v.Routes.Lines {
		if l.Value() == e.Route || l.Pattern == e.Route && (l.Any || slices.Contains(l.Methods, e.Method)) {
			v.Ask.Route = l.Value()
			break
		}
	}
	return http.StatusOK
}
