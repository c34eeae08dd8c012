package rolegate

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"

	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/policy"
)

// A User is a listed user as one generation of the index knows them. It is a
// small value: pass it by value. It is valid for the request or decision that
// it came with; to keep something of it, keep what its methods return, which
// is the caller's own to change. Whoever keeps the User, or a request that lasts
// for hours, keeps that whole generation in memory.
//
// The zero User is nobody: ID 0, no roles. All methods are safe for concurrent
// use.
type User struct {
	s  *index.Snapshot
	at index.Place
}

// userIn returns the listed user with that id, or nobody.
func userIn(s *index.Snapshot, id int64) User {
	at, ok := s.Find(id)
	if !ok {
		return User{}
	}
	return User{s: s, at: at}
}

// ID returns the marketplace's number of the user, 0 for the zero User. In JSON for a
// browser, give the User itself or tag the field `json:",string"`: JavaScript rounds
// numbers above 2^53, and so it does those of organisations.
func (u User) ID() int64 {
	if u.s == nil {
		return 0
	}
	return u.s.ID(u.at)
}

func (u User) grants() index.Grants {
	if u.s == nil {
		return nil
	}
	return u.s.Grants(u.at)
}

// HasRole reports whether the user has at least one of these roles in any
// organisation, the hierarchy of Config.Implies included.
func (u User) HasRole(codes ...string) bool {
	gs := u.grants()
	for i := range gs.Len() {
		if u.counts(gs.Role(i), codes) {
			return true
		}
	}
	return false
}

// HasRoleIn reports whether the user has at least one of these roles in that
// organisation, the hierarchy of Config.Implies included. An org that is not
// above 0 has no roles.
func (u User) HasRoleIn(org int64, codes ...string) bool {
	gs := u.grants()
	for i := range gs.Len() {
		if gs.Org(i) == org && u.counts(gs.Role(i), codes) {
			return true
		}
	}
	return false
}

// subject is the user as a program looks at them.
func (u User) subject() policy.Subject {
	if u.s == nil {
		return policy.Subject{}
	}
	return policy.Subject{Grants: u.s.Grants(u.at), Roles: u.s.Roles, DroppedGrant: u.s.DroppedGrant(u.at)}
}

func (u User) counts(role uint16, codes []string) bool {
	for _, code := range codes {
		if u.s.Roles.Counts(role, code) {
			return true
		}
	}
	return false
}

// Orgs returns the organisations in which the user has a role, ascending.
func (u User) Orgs() []int64 {
	var orgs []int64
	gs := u.grants()
	for i := range gs.Len() {
		orgs = append(orgs, gs.Org(i))
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
	out := make([]Grant, gs.Len())
	for i := range out {
		out[i] = Grant{OrgID: gs.Org(i), RoleCode: u.s.Roles.Code(gs.Role(i))}
	}
	return out
}

// Account returns the user's login account at the marketplace. It and the
// methods below return "" if they have none, and if it is not kept: see
// Config.Keep.
func (u User) Account() string { return u.text(index.FieldAccount) }

// Email returns the user's e-mail address.
func (u User) Email() string { return u.text(index.FieldEmail) }

// ThirdAccount returns the account of the app's own that is bound to the user.
func (u User) ThirdAccount() string { return u.text(index.FieldThirdAccount) }

// ThirdUserID returns the user id of the app's own that is bound to the user.
func (u User) ThirdUserID() string { return u.text(index.FieldThirdUserID) }

// Nickname returns the name by which the marketplace shows the user.
func (u User) Nickname() string { return u.text(index.FieldNickname) }

// ThirdUserName returns the user's name in the app, as the marketplace has it.
func (u User) ThirdUserName() string { return u.text(index.FieldThirdUserName) }

func (u User) text(f index.Field) string {
	if u.s == nil {
		return ""
	}
	return string(u.s.Field(u.at, f))
}

// String returns the user's number and nothing else.
func (u User) String() string {
	if u.s == nil {
		return "nobody"
	}
	return fmt.Sprintf("user %d", u.ID())
}

// MarshalText implements encoding.TextMarshaler with the user's number, which is so a
// string in JSON: JavaScript rounds numbers above 2^53. Nobody is "".
func (u User) MarshalText() ([]byte, error) {
	if u.s == nil {
		return nil, nil
	}
	return strconv.AppendInt(nil, u.ID(), 10), nil
}

// GoString keeps %#v from telling what String withholds.
func (u User) GoString() string { return u.String() }

// LogValue implements slog.LogValuer with the user's number, as text for the same
// reason.
func (u User) LogValue() slog.Value { return slog.StringValue(strconv.FormatInt(u.ID(), 10)) }
