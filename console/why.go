package console

import (
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/ids"
)

// This file explains decisions. What it says comes from rolegate.Explanation,
// which the code that decides has made; here it is put into words.

// A question is what the form of Why has in it. An identity other than a user
// id is never shown again.
type question struct {
	Kind, User, Org, Route string
	Wrong                  string // what is wrong with it, in words
}

// An answer is why a user may or may not pass.
type answer struct {
	Verdict string // "ok", "no" or "ask"
	Says    string
	Reason  string // in the words of logs and metrics
	Meaning string
	Status  string
	Who     string
	Users   []foundUser // with the account or id that was asked about
	More    bool        // there are more of them
	Digest  string      // by which the log has the identity, "" for a user id
	Refused []refusalLine
	Guards  []guardAnswer
	Actions []actionLine // if every route was asked about
}

// A guardAnswer is what one guard says of the user.
type guardAnswer struct {
	Title, Policy string
	Steps         []step
}

// A step is one step of a decision.
type step struct {
	Mark     string // "ok", "no", "ask" or "note"
	Question string
	Says     string
	Orgs     []orgAnswer
	More     string
}

type orgAnswer struct {
	Name, Roles string
	Mark        string
	Checks      []checkAnswer
}

// A checkAnswer is what one check comes to.
type checkAnswer struct {
	Mark, Word string // the sign, and what it means
	Check, By  string
	Either     []checkAnswer
}

// MarkText says in a word what the sign of a mark means.
func (v *view) MarkText(mark string) string { return v.T("mark." + mark) }

// Kinds are the kinds of identity that can be asked about.
func (v *view) Kinds() []rolegate.Kind {
	kinds := []rolegate.Kind{rolegate.KindUserID}
	for k := rolegate.KindAccount; k <= rolegate.KindThirdUserID; k++ {
		if id, err := rolegate.NewIdentity(k, "x"); err == nil {
			if _, known := v.gate.FindUsers(id, 0); known {
				kinds = append(kinds, k)
			}
		}
	}
	return kinds
}

// KindText names a kind of identity.
func (v *view) KindText(k rolegate.Kind) string { return v.kind(k) }

// shownOrgs is how many organisations of one user an answer goes through.
const shownOrgs = 8

// explain answers the form of Why.
func (v *view) explain(r *http.Request) (status int) {
	form := r.PostForm
	v.Ask = question{Kind: form.Get("kind"), Org: strings.TrimSpace(form.Get("org")), Route: form.Get("route")}
	id, who := v.identity(form.Get("user"))
	org, err := ids.Parse(v.Ask.Org)
	if v.Ask.Org != "" && err != nil {
		v.wrong("why.bad.org")
	}
	route, every := v.Ask.Route, v.Ask.Route == everyRoute && v.Routes.Known
	if every {
		route = admitOnly
	}
	guards, known := v.guardsOf(route)
	if !known {
		v.wrong("why.bad.route")
	}
	if v.Ask.Wrong != "" {
		return http.StatusUnprocessableEntity
	}
	v.Why = v.answer(r, guards, id, org)
	v.Why.Who = who
	v.Why.Users, v.Why.More = v.usersOf(id)
	e := v.gate.Explain(r.Context(), id)
	v.Why.Digest = e.IdentityDigest
	v.Why.Refused = v.refusalsOf(e, id)
	if every {
		v.Why.Actions = v.actions(r, id, org)
	}
	return http.StatusOK
}

func (v *view) wrong(text string) {
	if v.Ask.Wrong == "" {
		v.Ask.Wrong = v.T(text)
	}
}

// identity reads who is asked about, and how to show them.
func (v *view) identity(text string) (id rolegate.Identity, who string) {
	if text == "" || len(text) > 1<<10 || !utf8.ValidString(text) {
		v.wrong("why.bad.who")
		return id, ""
	}
	who = v.T("why.withheld")
	if kind := rolegate.ParseKind(v.Ask.Kind); kind != rolegate.KindUserID {
		if id, err := rolegate.NewIdentity(kind, text); err == nil {
			return id, who
		}
	}
	n, err := ids.Parse(strings.TrimSpace(text))
	if err != nil {
		v.wrong("why.bad.user")
		return id, ""
	}
	v.Ask.Kind = rolegate.KindUserID.String()
	v.Ask.User = strconv.FormatInt(n, 10)
	return rolegate.UserID(n), v.Ask.User
}

// admitOnly is asked about instead of a route: whether the user is listed.
const admitOnly = ""

func (v *view) guardsOf(route string) (guards []*rolegate.Policy, known bool) {
	if route == admitOnly {
		return nil, true
	}
	for _, l := range v.Routes.Lines {
		if len(l.guards) > 0 && l.Value() == route {
			return l.guards, true
		}
	}
	return nil, false
}

// answer asks the guards from the outside in. The first that refuses decides.
func (v *view) answer(r *http.Request, guards []*rolegate.Policy, id rolegate.Identity, org int64) *answer {
	ctx := r.Context()
	if len(guards) == 0 {
		e := v.gate.Explain(ctx, id)
		a := &answer{Guards: []guardAnswer{{Policy: plain(e.Policy), Steps: v.steps(e, id)}}}
		v.conclude(a, e)
		return a
	}
	a := &answer{}
	depends := false
	for i, p := range guards {
		ga := guardAnswer{Title: v.T("why.guard", i+1, len(guards)), Policy: plain(p.String())}
		switch {
		case a.Verdict != "" && a.Verdict != "ok":
			ga.Steps = []step{{Mark: "note", Says: v.T("why.not.reached")}}
		case p.Gate() != v.gate:
			ga.Steps = []step{{Mark: "note", Says: v.T("why.other.gate")}}
		default:
			where := org
			if !p.HasOrg() {
				where = 0
			}
			e := p.Explain(ctx, id, where)
			ga.Steps = v.steps(e, id)
			if e.NeedsRequest && !e.Decision.Allowed() {
				depends = true
			}
			v.conclude(a, e)
		}
		a.Guards = append(a.Guards, ga)
	}
	if a.Verdict == "no" && depends {
		a.Verdict, a.Says = "ask", v.T("why.depends")
	}
	return a
}

// conclude says what a guard's decision means for the request.
func (v *view) conclude(a *answer, e rolegate.Explanation) {
	d := e.Decision
	a.Verdict, a.Says = "no", v.T("why.refused")
	a.Reason, a.Meaning = d.String(), v.reason(d.Reason)
	a.Status = v.T("why.answer", d.Reason.Status(), http.StatusText(d.Reason.Status()))
	if d.Allowed() {
		a.Verdict, a.Says, a.Status = "ok", v.T("why.passes"), ""
	}
}

// steps puts an explanation into words, as far as the decision went.
func (v *view) steps(e rolegate.Explanation, id rolegate.Identity) []step {
	list := step{Mark: "no", Question: v.T("step.list")}
	contact, verified, limit := v.age(e.ContactAge), v.age(e.VerifiedAge), v.duration(e.ExpireAfter)
	switch e.State {
	case rolegate.StateReady, rolegate.StateStale:
		list.Mark, list.Says = "ok", v.T("step.list."+string(e.State), contact, verified, limit)
	case rolegate.StateExpired:
		list.Says = v.T("step.list.expired", verified, limit)
	default:
		list.Says = v.T("step.list." + string(e.State))
	}
	steps := []step{list}
	if !e.State.Serving() {
		return steps
	}
	steps = append(steps, v.userStep(e, id))
	if e.Decision.User.ID() != 0 {
		steps = append(steps, v.roleSteps(e)...)
	}
	switch {
	case e.Decision.Shadowed && e.Shadow && e.Decision.User.ID() != 0:
		steps = append(steps, step{Mark: "ok", Question: v.T("step.shadow"), Says: v.T("step.shadow.yes")})
	case e.Decision.Allowed():
	case e.Decision.Reason == rolegate.ReasonNotAuthorized || e.Decision.Reason == rolegate.ReasonRoleMissing:
		s := step{Mark: "note", Question: v.T("step.refresh"), Says: v.T("step.refresh.no")}
		if e.Wait > 0 {
			s.Says = v.T("step.refresh.yes", v.duration(e.Wait))
		}
		steps = append(steps, s)
	}
	return steps
}

func (v *view) userStep(e rolegate.Explanation, id rolegate.Identity) step {
	s := step{Mark: "no", Question: v.T("step.user")}
	switch {
	case e.Decision.Held:
		s.Mark, s.Says = "ok", v.T("step.user.held", e.Decision.User.ID())
	case e.Found == rolegate.ReasonGranted:
		s.Mark, s.Says = "ok", v.T("step.user.listed", e.Decision.User.ID())
		if id.Kind() != rolegate.KindUserID {
			s.Says += " (" + v.kind(id.Kind()) + ")"
		}
	case e.InvalidRecord:
		s.Says = v.T("step.user.invalid_record")
	default:
		s.Says = v.T("step.user." + e.Found.String())
		if e.Decision.Shadowed {
			s.Says += " " + v.T("step.user.shadow")
		}
	}
	return s
}

// roleSteps are the steps of a user who is listed.
func (v *view) roleSteps(e rolegate.Explanation) (steps []step) {
	if e.Decision.Reason == rolegate.ReasonOrgUnreadable {
		return []step{{Mark: "no", Question: v.T("step.org"), Says: v.T("step.org.unreadable")}}
	}
	checked := len(e.Orgs) > 0 && len(e.Orgs[0].Checks) > 0
	if checked {
		s := step{Mark: "note", Question: v.T("step.org"), Says: v.T("step.org.any")}
		if e.Decision.Org != 0 {
			s.Says = v.T("step.org.one", e.Decision.Org)
		}
		steps = append(steps, s, v.checksStep(e))
	}
	reason := e.Decision.Reason
	if e.MaxAge > 0 && (reason == rolegate.ReasonGranted || reason == rolegate.ReasonTooOld) {
		s := step{Mark: "ok", Question: v.T("step.maxage"), Says: v.T("step.maxage.ok", v.age(e.Age), v.duration(e.MaxAge))}
		if reason == rolegate.ReasonTooOld {
			s.Mark, s.Says = "no", v.T("step.maxage.no", v.age(e.Age), v.duration(e.MaxAge), v.duration(e.Wait))
		}
		steps = append(steps, s)
	}
	return steps
}

func (v *view) checksStep(e rolegate.Explanation) step {
	s := step{Mark: "no", Question: v.T("step.checks")}
	switch reason := e.Decision.Reason; {
	case reason == rolegate.ReasonGranted || reason == rolegate.ReasonTooOld:
		s.Mark = "ok"
	case e.NeedsRequest:
		s.Mark, s.Says = "ask", v.T("step.checks.asks")
	}
	// An organisation in which the user passes tells more than one in which they
	// do not.
	passing, others := []orgAnswer{}, []orgAnswer{}
	for _, o := range e.Orgs {
		if a := v.orgAnswer(o); a.Mark == "ok" {
			passing = append(passing, a)
		} else {
			others = append(others, a)
		}
	}
	s.Orgs = append(passing, others...)
	if more := len(s.Orgs) - shownOrgs; more > 0 {
		s.Orgs, s.More = s.Orgs[:shownOrgs], v.T("step.checks.more", more)
	}
	return s
}

func (v *view) orgAnswer(o rolegate.OrgExplanation) orgAnswer {
	a := orgAnswer{Name: v.T("step.checks.org", o.Org), Mark: "ok", Roles: v.T("step.checks.roles", v.listed(o.Roles))}
	if o.Org == 0 {
		a.Name, a.Roles = v.T("step.checks.none"), ""
	}
	for _, c := range o.Checks {
		ca := v.checkAnswer(c)
		a.Checks = append(a.Checks, ca)
		switch {
		case ca.Mark == "no":
			a.Mark = "no"
		case ca.Mark == "ask" && a.Mark == "ok":
			a.Mark = "ask"
		}
	}
	return a
}

func (v *view) checkAnswer(c rolegate.CheckExplanation) checkAnswer {
	a := checkAnswer{Check: plain(c.Check), Mark: "no"}
	switch {
	case c.Holds:
		a.Mark = "ok"
	case c.NeedsRequest:
		a.Mark = "ask"
	}
	a.Word = v.MarkText(a.Mark)
	switch {
	case len(c.Roles) == 0:
	case a.Mark == "ok":
		a.By = v.T("step.checks.by", v.listed(c.Roles))
	default:
		a.By = v.T("step.checks.has", v.listed(c.Roles))
	}
	for _, child := range c.Either {
		a.Either = append(a.Either, v.checkAnswer(child))
	}
	return a
}

// listed writes role codes one after the other.
func (v *view) listed(codes []string) string {
	if len(codes) == 0 {
		return v.T("none")
	}
	shown := make([]string, len(codes))
	for i, code := range codes {
		shown[i] = plain(code)
	}
	return strings.Join(shown, v.T("comma"))
}
