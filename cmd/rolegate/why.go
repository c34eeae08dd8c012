package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/control"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/lang"
)

func newWhy(l lang.Language) *cobra.Command {
	var server serverFlags
	var q control.Question
	var host string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "why USER [ROUTE]",
		Short: "Tell why a user may pass, or may not",
		Long: `why asks the server that runs on this machine what it makes of a request, and
shows each step of the decision. Nobody is admitted or refused by it, and nothing
is counted. For another identity than a user's number it also shows by which
digest the log has it, so that its refusals can be found there.

USER is the marketplace's number of the user. Another kind of identity has its
name in front, if the server indexes that kind: account:wang, email:w@example.com,
third_account:w, third_user_id:42.

ROUTE is a request: a method and a path, or a URL; without a method it is GET. Without
ROUTE, why tells whether the user is on the list; with --resource and --action,
what an OpenID AuthZEN request would be answered.

It is answered by the rules of the server, without the request's headers: what a
proxy in front does is not in it. The exit code is 0 if the user may pass, 3 if not.`,
		Example: `  rolegate why 1542135022016057002 'GET /grades' -c rolegate.yaml
  rolegate why 1542135022016057002 'POST https://school.example.com/orgs/7/reports'
  rolegate why third_user_id:42
  rolegate why 1542135022016057002 --resource grades --action read --org 7
  docker compose exec rolegate rolegate why 1542135022016057002 /grades`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Kind, q.User = identityOf(args[0])
			switch {
			case len(args) == 2 && (q.Resource != "" || q.Action != ""):
				return usage(errors.New("expected a route, or --resource and --action, not both"))
			case (q.Resource == "") != (q.Action == ""):
				return usage(errors.New("expected --resource and --action together"))
			case q.Org < 0:
				return usage(errors.New("--org: expected an id above 0"))
			case q.Org != 0 && q.Resource == "":
				return usage(errors.New("--org goes with --resource: a route names its organisation itself"))
			case len(args) == 2:
				if err := routeOf(&q, args[1], host); err != nil {
					return usage(err)
				}
			}
			client, err := server.client()
			if err != nil {
				return err
			}
			a, err := client.Why(cmd.Context(), q)
			if refused := (*control.RefusedError)(nil); errors.As(err, &refused) {
				return usage(err)
			}
			if err != nil {
				return err
			}
			if asJSON {
				err = writeJSON(cmd.OutOrStdout(), a)
			} else {
				err = explain(cmd.OutOrStdout(), l, q, a)
			}
			if err == nil && !a.Allowed {
				err = no()
			}
			return err
		},
	}
	server.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&host, "host", "", "the `host` of the request, for rules that name one (localhost)")
	flags.StringVar(&q.Resource, "resource", "", "the `type` of a resource, as in authzen.rules")
	flags.StringVar(&q.Action, "action", "", "the `name` of an action, as in authzen.rules")
	flags.Int64Var(&q.Org, "org", 0, "the `id` of the organisation that the resource is of")
	flags.BoolVar(&asJSON, "json", false, "answer with JSON")
	return cmd
}

// identityOf tells a user's number from another identity, by the kind in front.
func identityOf(text string) (kind, user string) {
	for k := rolegate.KindAccount; k <= rolegate.KindThirdUserID; k++ {
		if user, ok := strings.CutPrefix(text, k.String()+":"); ok {
			return k.String(), user
		}
	}
	return rolegate.KindUserID.String(), strings.TrimPrefix(text, rolegate.KindUserID.String()+":")
}

// routeOf reads "GET /grades", "/grades" and URLs. Of a URL it takes what a
// browser would send.
func routeOf(q *control.Question, text, host string) error {
	q.Method, q.Host, q.URI = "GET", host, text
	if method, rest, found := strings.Cut(text, " "); found && !strings.Contains(method, "/") {
		q.Method, q.URI = strings.ToUpper(method), strings.TrimLeft(rest, " ")
	}
	if scheme, rest, found := strings.Cut(q.URI, "://"); found && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https")) {
		if host != "" {
			return errors.New("the host is in the route and in --host: expected one of them")
		}
		rest, _, _ = strings.Cut(rest, "#")
		end := strings.IndexAny(rest+"/", "/?")
		q.Host, q.URI = strings.ToLower(rest[:end]), rest[end:]
		q.Host = q.Host[strings.LastIndex(q.Host, "@")+1:]
		if q.Host == "" {
			return fmt.Errorf("route %q: expected a host behind ://", text)
		}
		if !strings.HasPrefix(q.URI, "/") {
			q.URI = "/" + q.URI
		}
	}
	if !strings.HasPrefix(q.URI, "/") {
		return fmt.Errorf("route %q: expected a method and a path, such as 'GET /grades', or a URL", text)
	}
	if q.Host == "" {
		q.Host = defaultHost
	}
	return nil
}

// defaultHost is what a rule without a host is asked for.
const defaultHost = "localhost"

// explain writes an answer for people.
func explain(w io.Writer, l lang.Language, q control.Question, a *control.Answer) error {
	b := &page{Language: l, width: 7}
	switch {
	case a.Allowed && a.Reason != rolegate.ReasonGranted.String():
		b.say("yes, but only because the rule is tried out: %s (%d)", a.Reason, a.Status)
	case a.Allowed:
		b.say("yes: %s (%d)", a.Reason, a.Status)
	default:
		b.say("no: %s (%d)", a.Reason, a.Status)
	}
	b.WriteByte('\n')
	route := q.Method + " " + q.URI
	if q.Host != defaultHost {
		route = q.Method + " " + q.Host + q.URI
	}
	if a.Denied != "" {
		b.line("route", "%s is denied to everybody: %s", route, l.Text(a.Denied))
		if q.Host == defaultHost && strings.HasPrefix(a.Denied, "no pattern") {
			b.line("", "rules that name a host are asked about with --host, or with a URL")
		}
		_, err := io.WriteString(w, b.String())
		return err
	}
	if a.Pattern != "" {
		b.line("route", "%s is ruled by %s", route, a.Pattern)
	}
	b.line("list", "%s", listText(l, a))
	b.line("user", "%s", foundText(l, q, a))
	if a.Digest != "" {
		b.line("log", "refusals have identity_digest=%s", a.Digest)
	}
	switch a.Policy {
	case "":
	case "Admit", "Listed":
		b.line("asks", "only that the user is on the list")
	default:
		b.line("asks", "%s", a.Policy)
	}
	if a.When {
		b.line("when", "conditions of the rule on the question must hold too, which why does not see")
	}
	if a.OrgErr != "" {
		b.line("org", "cannot be read from the request: %s", l.Text(a.OrgErr))
	}
	for _, o := range a.Orgs {
		switch {
		case o.Org == 0:
			b.line("roles", "none in any organisation")
		case len(o.Roles) == 0:
			b.line("org", "%d: no role", o.Org)
		default:
			b.line("org", "%d: %s", o.Org, strings.Join(o.Roles, ", "))
		}
		for _, c := range o.Checks {
			writeCheck(b, c, 11)
		}
	}
	for _, r := range a.UnassignedRoles {
		b.line("note", "%s", unassigned(l, r))
	}
	if a.MaxAge > 0 {
		b.line("age", "revocations must be known up to %s ago, and are up to %s ago", seconds(a.MaxAge), seconds(a.Age))
	}
	if !a.Allowed && a.Wait > 0 {
		b.line("then", "before it refuses, the gate looks once, for %s at most, whether that has changed", seconds(a.Wait))
	}
	if a.Shadow {
		b.line("shadow", "the rule is only tried out: users who lack a role pass, and are counted")
	}
	if a.ShadowAdmit {
		b.line("shadow", "shadow_admit is set: users who are not on the list pass, and are counted")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeCheck(b *page, c control.Check, indent int) {
	mark := map[string]string{"holds": "+", "fails": "-"}[c.Outcome]
	if mark == "" {
		mark = "?"
	}
	roles, text := strings.Join(c.Roles, ", "), ""
	switch {
	case roles == "":
		text = b.Sprintf("%s "+c.Outcome, c.Check)
	case c.Outcome == "holds":
		text = b.Sprintf("%s holds by %s", c.Check, roles)
	case strings.HasPrefix(c.Check, "NoRole("):
		text = b.Sprintf("%s "+c.Outcome+" because of %s", c.Check, roles)
	default:
		text = b.Sprintf("%s "+c.Outcome+", with %s alone", c.Check, roles)
	}
	fmt.Fprintf(b, "%*s%s %s\n", indent, "", mark, oneLine(text))
	for _, e := range c.Either {
		writeCheck(b, e, indent+2)
	}
}

func listText(l lang.Language, a *control.Answer) string {
	switch a.State {
	case string(rolegate.StateStarting):
		return l.Sprintf("starting: there is no list yet; rolegate status says why")
	case string(rolegate.StateClosed):
		return l.Sprintf("closed: the server is ending")
	}
	text := l.Sprintf("%s: last contact %s ago, revocations known up to %s ago (%s at most)",
		a.State, seconds(a.ContactAge), seconds(a.VerifiedAge), seconds(a.ExpireAfter))
	if a.State == string(rolegate.StateExpired) {
		text += l.Sprintf("; rolegate status says why")
	}
	return text
}

func foundText(l lang.Language, q control.Question, a *control.Answer) string {
	who := q.User
	if q.Kind != rolegate.KindUserID.String() {
		who = q.Kind + " " + q.User
		if a.UserID > 0 {
			who = fmt.Sprintf("%d (%s)", a.UserID, who)
		}
	}
	switch {
	case a.Held:
		return l.Sprintf("%s is gone from the list, but the removal is held back", who)
	case a.Invalid:
		return l.Sprintf("%s is on the list, but denied: the record could not be understood; the log says why", who)
	}
	switch a.Found {
	case rolegate.ReasonGranted.String():
		return l.Sprintf("%s is on the list", who)
	case rolegate.ReasonNotAuthorized.String():
		return l.Sprintf("%s is not on the list", who)
	case rolegate.ReasonAmbiguous.String():
		return l.Sprintf("%s is shared by several users: nobody enters by it", who)
	case rolegate.ReasonNoIdentity.String():
		return l.Sprintf("an empty %s names nobody", q.Kind)
	}
	return l.Sprintf("%s was not looked for", who)
}

// seconds writes a time for people.
func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	switch {
	case d < 10*time.Second:
		d = d.Round(100 * time.Millisecond)
	case d < time.Hour:
		d = d.Round(time.Second)
	default:
		d = d.Round(time.Minute)
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
