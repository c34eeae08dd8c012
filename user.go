package rolegate

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// A User is a listed user as one generation of the index knows him. It is a
// small value: pass it by value. It is valid for the request or decision that
// it came with; to keep something of it, keep what its methods return, which
// is the caller's own to change.
//
// The zero User is nobody: ID 0, no roles. All methods are safe for concurrent
// use.
type User struct {
	s  *snapshot
	t  *table
	at uint32
}

// ID returns the marketplace's number of the user, 0 for the zero User.
func (u User) ID() int64 {
	if u.t == nil {
		return 0
	}
	return u.t.slots[u.at].id
}

func (u User) grants() []grant {
	if u.t == nil {
		return nil
	}
	return u.t.grantsOf(u.at)
}

// HasRole reports whether the user has at least one of these roles in any
// organisation, the hierarchy of Config.Implies included.
func (u User) HasRole(codes ...string) bool {
	for _, g := range u.grants() {
		if u.counts(g, codes) {
			return true
		}
	}
	return false
}

// HasRoleIn reports whether the user has at least one of these roles in that
// organisation, the hierarchy of Config.Implies included. An org that is not
// above 0 has no roles.
func (u User) HasRoleIn(org int64, codes ...string) bool {
	in := makeGrant(org, 0)
	for _, g := range u.grants() {
		if g.in(in) && u.counts(g, codes) {
			return true
		}
	}
	return false
}

func (u User) counts(g grant, codes []string) bool {
	for _, code := range codes {
		if u.s.roles.counts(g.role, code) {
			return true
		}
	}
	return false
}

// Orgs returns the organisations in which the user has a role, ascending.
func (u User) Orgs() []int64 {
	var orgs []int64
	for _, g := range u.grants() {
		orgs = append(orgs, g.org())
	}
	return slices.Compact(orgs)
}

// Grants returns the user's roles as the marketplace granted them, without the
// hierarchy, by organisation ascending.
func (u User) Grants() []Grant {
	gs := u.grants()
	if len(gs) == 0 {
		return nil
	}
	out := make([]Grant, len(gs))
	for i, g := range gs {
		out[i] = Grant{OrgID: g.org(), RoleCode: u.s.roles.codes[g.role]}
	}
	return out
}

// Account returns the user's login account at the marketplace. It and the
// methods below return "" if he has none, and if it is not kept: see
// Config.Keep.
func (u User) Account() string { return u.text(fieldAccount) }

// Email returns the user's e-mail address.
func (u User) Email() string { return u.text(fieldEmail) }

// ThirdAccount returns the account of the app's own that is bound to the user.
func (u User) ThirdAccount() string { return u.text(fieldThirdAccount) }

// ThirdUserID returns the user id of the app's own that is bound to the user.
func (u User) ThirdUserID() string { return u.text(fieldThirdUserID) }

// Nickname returns the name by which the marketplace shows the user.
func (u User) Nickname() string { return u.text(fieldNickname) }

// ThirdUserName returns the user's name in the app, as the marketplace has it.
func (u User) ThirdUserName() string { return u.text(fieldThirdUserName) }

func (u User) text(f field) string {
	if u.t == nil {
		return ""
	}
	// A copy: a piece of the text would hold a whole snapshot in memory for as
	// long as somebody keeps the name.
	return strings.Clone(u.t.field(u.at, f))
}

// String tells the user's number and nothing else of him.
func (u User) String() string {
	if u.t == nil {
		return "nobody"
	}
	return fmt.Sprintf("user %d", u.ID())
}

// GoString keeps %#v from telling what String withholds.
func (u User) GoString() string { return u.String() }

// LogValue implements slog.LogValuer with the user's number.
func (u User) LogValue() slog.Value { return slog.Int64Value(u.ID()) }
