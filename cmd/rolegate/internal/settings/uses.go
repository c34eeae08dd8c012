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
	if r := f.Cache.Redis; r != nil {
		all = append(all, r.Secret)
		if r.Password != nil {
			all = append(all, *r.Password)
		}
	}
	return all
}

// Roles are the role codes that the rules name, each once and in order.
func (f *File) Roles() (codes []string) {
	add := func(c *Checks) {
		codes = slices.Concat(codes, c.AnyRole, c.AllRoles, c.NoRole)
		for _, e := range c.Either {
			codes = slices.Concat(codes, e.AnyRole, e.AllRoles, e.NoRole)
		}
	}
	if a := f.ForwardAuth; a != nil {
		for i := range a.Rules {
			add(&a.Rules[i].Checks)
		}
	}
	if a := f.AuthZEN; a != nil {
		for i := range a.Rules {
			add(&a.Rules[i].Checks)
		}
	}
	if f.Admin != nil && f.Admin.Console != nil {
		add(f.Admin.Console)
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}
