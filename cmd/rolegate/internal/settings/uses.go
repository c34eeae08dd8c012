package settings

import "slices"

// GateSecrets are the secrets that the gate is made with. The token of the
// marketplace is not among them: it is read when it is needed.
func (f *File) GateSecrets() (all []Secret) {
	if c := f.CloudCommand; c != nil {
		all = append(all, c.ClientSecret)
		if c.Password != nil {
			all = append(all, *c.Password)
		}
	}
	for _, id := range f.Identity {
		if id.HMACSecret != nil {
			all = append(all, *id.HMACSecret)
		}
	}
	if f.Log.IdentityKey != nil {
		all = append(all, *f.Log.IdentityKey)
	}
	if r := f.Cache.Redis; r != nil {
		all = append(all, r.Secret)
		if r.Password != nil {
			all = append(all, *r.Password)
		}
		if r.Sentinel != nil && r.Sentinel.Password != nil {
			all = append(all, *r.Sentinel.Password)
		}
	}
	return all
}

// GateFiles are other files that the gate is made with.
func (f *File) GateFiles() []string {
	if r := f.Cache.Redis; r != nil && r.TLS.CA != "" {
		return []string{r.TLS.CA}
	}
	return nil
}

// Secrets are all that the file names.
func (f *File) Secrets() []Secret {
	all := append(f.GateSecrets(), f.Marketplace.Token)
	if f.AuthZEN != nil {
		for _, c := range f.AuthZEN.Callers {
			all = append(all, c.Token)
		}
	}
	return all
}

// Roles are the role codes that the rules name, each once and in order.
func (f *File) Roles() (codes []string) {
	add := func(c *Checks) { codes = append(codes, c.roles()...) }
	if a := f.ForwardAuth; a != nil {
		for i := range a.Rules {
			add(&a.Rules[i].Checks)
		}
	}
	if a := f.AuthZEN; a != nil {
		for i := range a.Rules {
			codes = append(codes, a.Rules[i].roles()...)
		}
	}
	if f.Admin != nil && f.Admin.Console != nil {
		add(f.Admin.Console)
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

func (c *Checks) roles() []string {
	codes := slices.Concat(c.AnyRole, c.AllRoles, c.NoRole, c.Everywhere)
	for _, e := range c.Either {
		codes = slices.Concat(codes, e.AnyRole, e.AllRoles, e.NoRole)
	}
	return codes
}

func (r *AuthZENRule) roles() []string {
	codes := r.Checks.roles()
	for _, w := range r.When {
		codes = append(codes, w.AnyRole...)
	}
	return codes
}

// RuleRoles are the role codes that the rule of that route names.
func (f *File) RuleRoles(route string) []string {
	if f.ForwardAuth != nil {
		for i := range f.ForwardAuth.Rules {
			if r := &f.ForwardAuth.Rules[i]; r.Route == route {
				return r.roles()
			}
		}
	}
	return nil
}

// QuestionRoles are those that AuthZEN's rule for a resource and an action names.
func (f *File) QuestionRoles(resource, action string) []string {
	if f.AuthZEN != nil {
		for i := range f.AuthZEN.Rules {
			if r := &f.AuthZEN.Rules[i]; r.Resource == resource && r.Action == action {
				return r.roles()
			}
		}
	}
	return nil
}
