package benchmarks

import "github.com/mikespook/gorbac"

// loadGorbac loads gorbac. It knows neither users nor organisations, only which
// permission a role has: so a plain map in front of it finds the user's roles in
// the organisation, and gorbac says whether one of them may pass. What is
// measured is mostly the map, which here reads no clock.
func loadGorbac(w *workload) (decider, error) {
	rbac, pass := gorbac.New(), gorbac.NewStdPermission("pass")
	for number, code := range roleCodes {
		role := gorbac.NewStdRole(code)
		if (grant{role: uint16(number)}).opens() {
			if err := role.Assign(pass); err != nil {
				return nil, err
			}
		}
		if err := rbac.Add(role); err != nil {
			return nil, err
		}
	}
	m := newRawMap(w)
	return func(q *namedQuestion) bool {
		for _, g := range m.grants[q.user] {
			if g.org == q.org && rbac.IsGranted(roleCodes[g.role], pass, nil) {
				return true
			}
		}
		return false
	}, nil
}
