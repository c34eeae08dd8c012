package rolegatetest

// SetRoles makes the marketplace list the app's roles, at
// [MarketplaceConfig].RoleListPath: these codes as they are given, doubled and
// empty ones too. Before the first call there is no such list, and its path is
// 404. It has nothing to do with who was granted what.
func (m *Marketplace) SetRoles(codes ...string) {
	roles := append([]string{}, codes...) // an empty list is one, nil is none
	m.mu.Lock()
	defer m.mu.Unlock()
	m.roles = roles
}

// roleList spells the envelope with the app's roles in it.
func (e *encoder) roleList(codes []string) {
	e.key(success)
	for i, code := range codes {
		if i > 0 {
			e.key(`,`)
		}
		e.key(`{"roleCode":`).text(code)
		e.key(`,"roleId":`).id(roleID(code))
		e.key(`,"roleName":`).text(code)
		e.key(`}`)
	}
	e.key(`]}`)
}
