package settings

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/authzen"
	"github.com/rolegate/rolegate/forwardauth"
)

// Options are the checks and modifiers as a gate takes them.
func (c *Checks) Options() (options []rolegate.Option, err error) {
	defer recovered(&err)
	for _, check := range simple(c.AnyRole, c.AllRoles, c.NoRole) {
		options = append(options, check)
	}
	if c.Either != nil {
		var either []rolegate.Check
		for i, e := range c.Either {
			checks := simple(e.AnyRole, e.AllRoles, e.NoRole)
			if len(checks) != 1 {
				return nil, fmt.Errorf("either[%d]: expected one of any_role, all_roles and no_role", i)
			}
			either = append(either, checks[0])
		}
		options = append(options, rolegate.Either(either...))
	}
	if len(options) == 0 {
		return nil, errors.New("expected a check: any_role, all_roles, no_role or either; or admit: true for whoever is on the list")
	}
	if c.Everywhere != nil {
		options = append(options, rolegate.Everywhere(c.Everywhere...))
	}
	if c.MaxAge != 0 {
		options = append(options, rolegate.MaxAge(time.Duration(c.MaxAge)))
	}
	if c.Shadow {
		options = append(options, rolegate.Shadow())
	}
	return options, nil
}

// simple makes checks of the lists that are there. One that is there and empty
// is a mistake, on which the check panics.
func simple(anyRole, allRoles, noRole []string) (checks []rolegate.Check) {
	if anyRole != nil {
		checks = append(checks, rolegate.AnyRole(anyRole...))
	}
	if allRoles != nil {
		checks = append(checks, rolegate.AllRoles(allRoles...))
	}
	if noRole != nil {
		checks = append(checks, rolegate.NoRole(noRole...))
	}
	return checks
}

func (c *Checks) empty() bool {
	return c.AnyRole == nil && c.AllRoles == nil && c.NoRole == nil && c.Either == nil && c.Everywhere == nil && c.MaxAge == 0 && !c.Shadow
}

// Handler returns what answers the proxy, by the rules.
func (a *ForwardAuth) Handler(gate *rolegate.Gate, identity []Identity, log *slog.Logger) (*forwardauth.Handler, error) {
	cfg := forwardauth.Config{Proxy: forwardauth.Proxy(a.Proxy), Trusted: a.Trusted, Prefix: a.Prefix, LoginURL: a.LoginURL, ReturnParam: a.ReturnParam, Logger: log}
	for _, id := range identity {
		for _, name := range []string{id.Header, id.TokenHeader} {
			if name != "" {
				cfg.Headers = append(cfg.Headers, name)
			}
		}
		if id.TokenSubprotocol != "" {
			cfg.Headers = append(cfg.Headers, "Sec-WebSocket-Protocol")
		}
	}
	h, err := forwardauth.New(gate, cfg)
	if err != nil {
		return nil, fmt.Errorf("forward_auth: %w", err)
	}
	var errs []error
	for i, rule := range a.Rules {
		if err := rule.add(h); err != nil {
			errs = append(errs, fmt.Errorf("forward_auth.rules[%d], route %q: %w", i, rule.Route, err))
		}
	}
	return h, errors.Join(errs...)
}

func (r *Rule) add(h *forwardauth.Handler) (err error) {
	defer recovered(&err)
	if r.Route == "" {
		return errors.New("route: expected a pattern such as GET /grades/{id}")
	}
	if strings.Contains(r.Route, "/:") || strings.Contains(r.Route, "/*") {
		return errors.New("route: a wildcard is written {orgID}, and one for the rest of the path {rest...}: neither :orgID nor *")
	}
	if r.Preflight {
		if !r.empty() || r.InOrg != "" || r.Admit || r.Encoded != "" {
			return errors.New("expected preflight: true alone: a browser sends a preflight without saying who is asking")
		}
		h.Preflight(r.Route)
		return nil
	}
	var rules interface {
		Admit(pattern string)
		Handle(pattern string, options ...rolegate.Option)
	} = h
	if r.Encoded != "" {
		rules = h.Encoded(r.Encoded)
	}
	if r.Admit {
		if !r.empty() || r.InOrg != "" {
			return errors.New("expected admit: true alone, or checks without it")
		}
		rules.Admit(r.Route)
		return nil
	}
	options, err := r.Options()
	if err != nil {
		return err
	}
	if r.InOrg != "" {
		if strings.ContainsAny(r.InOrg, "${}") || !strings.Contains(r.Route, "{"+r.InOrg+"}") {
			return errors.New("in_org: expected the name of a wildcard of the route, such as orgID in /orgs/{orgID}/reports")
		}
		options = append(options, rolegate.InOrg(rolegate.PathOrg(r.InOrg)))
	}
	rules.Handle(r.Route, options...)
	return nil
}

// Handler returns the decision point, and its rules.
func (a *AuthZEN) Handler(gate *rolegate.Gate, log *slog.Logger) (*authzen.PDP, []authzen.Rule, error) {
	var errs []error
	caller, err := a.caller(log)
	if err != nil {
		errs = append(errs, err)
	}
	cfg := authzen.Config{Gate: gate, Caller: caller, URL: a.URL, MaxEvaluations: a.MaxEvaluations, Logger: log, Subjects: map[string]rolegate.Kind{}}
	for name, kind := range a.Subjects {
		cfg.Subjects[name] = rolegate.Kind(kind)
	}
	for i, rule := range a.Rules {
		policy, err := rule.policy(gate)
		if err != nil {
			errs = append(errs, fmt.Errorf("authzen.rules[%d], %s %s: %w", i, rule.Action, rule.Resource, err))
			continue
		}
		when, err := rule.when(gate, a.Subjects)
		if err != nil {
			errs = append(errs, fmt.Errorf("authzen.rules[%d], %s %s: %w", i, rule.Action, rule.Resource, err))
			continue
		}
		one := authzen.Rule{Resource: rule.Resource, Action: rule.Action, Policy: policy, When: when}
		if rule.Org != nil {
			switch {
			case rule.Org.ID == (rule.Org.Property != ""):
				errs = append(errs, fmt.Errorf("authzen.rules[%d].org: expected id: true or property: NAME", i))
				continue
			case rule.Org.ID:
				one.Org = authzen.OrgFromID()
			default:
				one.Org = authzen.OrgFromProperty(rule.Org.Property)
			}
		}
		cfg.Rules = append(cfg.Rules, one)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, err
	}
	pdp, err := authzen.New(cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("authzen: %w", err)
	}
	return pdp, cfg.Rules, nil
}

func (r *AuthZENRule) policy(gate *rolegate.Gate) (_ *rolegate.Policy, err error) {
	defer recovered(&err)
	if r.Admit {
		if !r.empty() || r.Org != nil { // in which organisation would be nothing to it
			return nil, errors.New("expected admit: true alone, or checks without it")
		}
		return gate.Policy(rolegate.Listed()), nil
	}
	options, err := r.Options()
	if err != nil {
		return nil, err
	}
	return gate.Policy(options...), nil
}

// caller recognises the programs that may ask by their bearer tokens. All
// tokens are compared, by their hashes, so that the time tells nothing.
func (a *AuthZEN) caller(log *slog.Logger) (func(*http.Request) error, error) {
	var errs []error
	var hashes [][sha256.Size]byte
	var names []string
	for i, c := range a.Callers {
		token, err := c.Token.Read()
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("authzen.callers[%d].token: %w", i, err))
		case len(token) < 20:
			errs = append(errs, fmt.Errorf("authzen.callers[%d].token: expected at least 20 characters: make one with: openssl rand -base64 32", i))
		}
		hashes, names = append(hashes, sha256.Sum256([]byte(token))), append(names, c.Name)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return func(r *http.Request) error {
		values := r.Header.Values("Authorization")
		if len(values) != 1 {
			return rolegate.ErrNobody
		}
		scheme, token, _ := strings.Cut(values[0], " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return rolegate.ErrNobody
		}
		hash, known := sha256.Sum256([]byte(strings.TrimLeft(token, " "))), 0
		for i, h := range hashes {
			known = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(h[:], hash[:]), i+1, known)
		}
		if known == 0 {
			return rolegate.ErrNobody
		}
		log.Debug("a caller of AuthZEN asks", "caller", names[known-1])
		return nil
	}, nil
}
