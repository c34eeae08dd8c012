package authzen

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/rolegate/rolegate"
)

// Config says what a [PDP] answers. Gate, Caller, Subjects and Rules are needed.
// [New] takes a copy: changing a Config afterwards changes nothing.
type Config struct {
	_ struct{} // fields are named: a literal without names would break with each new one

	// Gate is the gate that made the policies of Rules. New asks it which kinds
	// of identity it indexes.
	Gate *rolegate.Gate

	// Caller authenticates the program that asks, by its request: nil lets it
	// ask, an error that wraps [rolegate.ErrNobody] is 401, one that wraps
	// [ErrForbidden] 403, one with a method RetryAfter() time.Duration 503, any other
	// 500; and 499, with no line above debug level, if the caller has left
	// meanwhile. It runs in the request's goroutine,
	// before the body is read, which it must leave alone. A panic in it is
	// recovered and answered 500. The text of an error is logged as it is: keep
	// secrets out of it.
	Caller func(*http.Request) error

	// Subjects says what the id of a subject is, by the subject's type: with
	// {"user": rolegate.KindUserID} the id of a user is the marketplace's number
	// in canonical decimal. The gate must index the kind: see
	// rolegate.Config.Aliases.
	Subjects map[string]rolegate.Kind

	// Rules says which policy decides about which action on which type of
	// resource. What no rule names is refused.
	Rules []Rule

	// URL is the identifier of this decision point, an https URL such as
	// https://pdp.example.com, below which the endpoints are found. One with a
	// path, such as https://example.com/pdp, puts all of them below that path.
	// "" serves no metadata.
	URL string

	// MaxEvaluations is how many items a batch may have: 1,000 by default, at
	// most 10,000. More are answered 400.
	MaxEvaluations int

	// Challenge is the WWW-Authenticate header of a 401 (RFC 9110 §11.6.1). "" is
	// Bearer.
	Challenge string

	// Logger gets what the app's own funcs failed with; nil is slog.Default().
	Logger *slog.Logger
}

// A Rule is the policy for one action on one type of resource.
type Rule struct {
	_ struct{}

	Resource string           // the type of the resource
	Action   string           // the name of the action
	Policy   *rolegate.Policy // of Config.Gate

	// Org reads from the resource in which organisation roles are looked for,
	// usually [OrgFromProperty] or [OrgFromID]. An error, a panic, and an id that
	// is not above 0 deny with org_unreadable. It runs in the request's
	// goroutine, and concurrently with itself. The text of an error is logged as
	// it is. Nil looks in any one organisation, as a guard without InOrg does.
	Org func(Resource) (int64, error)

	// When looks at the question once the policy has granted it: "the owner may".
	// [Meets] makes one of what properties must be. False and a panic deny with
	// condition_failed. It runs in the request's goroutine, and concurrently with
	// itself. Nil asks nothing more.
	When func(Question) bool
}

// ErrForbidden is what Config.Caller returns for a program that is known and may
// not ask. The answer is 403.
var ErrForbidden = errors.New("authzen: the caller may not ask for decisions")

const (
	defaultEvaluations = 1000
	mostEvaluations    = 10_000
)

// New checks the config and returns the decision point. Its error names every
// mistake of the config.
func New(cfg Config) (*PDP, error) {
	p := &PDP{
		caller: cfg.Caller, subjects: maps.Clone(cfg.Subjects), rules: map[target]Rule{}, types: map[string]bool{}, actions: map[string][]string{},
		limit: cfg.MaxEvaluations, challenge: cfg.Challenge, log: cfg.Logger,
	}
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if cfg.Gate == nil {
		wrong("Gate is nil: give the gate that made the policies")
	}
	if cfg.Caller == nil {
		wrong("Caller is nil: say which programs may ask; without it everybody could find out who is listed")
	}
	if len(cfg.Subjects) == 0 {
		wrong("Subjects is empty: say what the id of a subject is, such as {\"user\": rolegate.KindUserID}")
	}
	indexed := cfg.Gate.Status().Ambiguous // has a key for each kind but the user id
	for _, name := range slices.Sorted(maps.Keys(cfg.Subjects)) {
		kind := cfg.Subjects[name]
		p.longest = max(p.longest, len(name))
		_, ok := indexed[kind]
		switch {
		case name == "":
			wrong("Subjects: a type is empty")
		case kind < rolegate.KindUserID || kind > rolegate.KindThirdUserID:
			wrong("Subjects: %q: %v is not a kind of identity: use rolegate.KindUserID, rolegate.KindAccount, …", name, kind)
		case cfg.Gate != nil && kind != rolegate.KindUserID && !ok:
			wrong("Subjects: %q: the gate does not index the kind %v: add it to the Aliases of its Config", name, kind)
		}
	}
	if len(cfg.Rules) == 0 {
		wrong("Rules is empty: say which policy decides about which action on which type of resource")
	}
	for i, rule := range cfg.Rules {
		at := target{rule.Resource, rule.Action}
		_, twice := p.rules[at]
		switch {
		case rule.Resource == "" || rule.Action == "":
			wrong("Rules: rule %d lacks the type of a resource or the name of an action", i+1)
		case twice:
			wrong("Rules: rule %d is the second for action %q on a resource of type %q", i+1, rule.Action, rule.Resource)
		case rule.Policy == nil || rule.Policy.String() == "":
			wrong("Rules: rule %d (%q on %q) has no policy: make one with gate.Policy(…)", i+1, rule.Action, rule.Resource)
		}
		p.rules[at], p.types[rule.Resource] = rule, true
		p.longest = max(p.longest, len(rule.Resource), len(rule.Action))
		p.actions[rule.Resource] = append(p.actions[rule.Resource], rule.Action)
	}
	if err := p.publish(cfg.URL); err != nil {
		wrong("URL: %w", err)
	}
	if p.limit < 0 || p.limit > mostEvaluations {
		wrong("MaxEvaluations is %d: expected a number from 1 to %d; 0 is the default of %d", p.limit, mostEvaluations, defaultEvaluations)
	}
	if p.limit == 0 {
		p.limit = defaultEvaluations
	}
	if p.challenge == "" {
		p.challenge = "Bearer"
	}
	if strings.TrimSpace(p.challenge) != p.challenge || strings.ContainsFunc(p.challenge, func(c rune) bool { return c < ' ' || c > '~' }) {
		wrong("Challenge: %q is not a WWW-Authenticate header: give a scheme and its parameters, such as Bearer realm=\"pdp\"", p.challenge)
	}
	if p.log == nil {
		p.log = slog.Default()
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("rolegate: authzen: the config has mistakes:\n%w", errors.Join(errs...))
	}
	return p, nil
}

// publish makes the metadata, and finds out below which path all of it is.
func (p *PDP) publish(identifier string) error {
	p.paths = map[string]http.HandlerFunc{evaluationPath: p.Evaluation, evaluationsPath: p.Evaluations, searchPath: p.ActionSearch}
	if identifier == "" {
		return nil
	}
	u, err := url.Parse(identifier)
	switch {
	case err != nil:
		return errors.New("it cannot be parsed")
	case u.Scheme != "https" || u.Hostname() == "" || u.User != nil:
		return errors.New("it is not an https URL, such as https://pdp.example.com")
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(identifier, "#"):
		return errors.New("it has a query or a fragment, which the specification rules out")
	case u.RawPath != "" || strings.Contains(u.Path, "//") || strings.Contains(u.Path+"/", "/../") || strings.Contains(u.Path+"/", "/./"):
		return errors.New("its path is not a plain one")
	}
	below := strings.TrimSuffix(u.Path, "/")
	base := strings.TrimSuffix(identifier, "/")
	p.metadata = mustJSON(struct {
		PDP         string `json:"policy_decision_point"`
		Evaluation  string `json:"access_evaluation_endpoint"`
		Evaluations string `json:"access_evaluations_endpoint"`
		Actions     string `json:"search_action_endpoint"`
	}{identifier, base + evaluationPath, base + evaluationsPath, base + searchPath})
	// The well-known part stands between host and path (RFC 8615 §3).
	p.paths = map[string]http.HandlerFunc{
		below + evaluationPath: p.Evaluation, below + evaluationsPath: p.Evaluations, below + searchPath: p.ActionSearch, metadataPath + below: p.Metadata,
	}
	return nil
}
