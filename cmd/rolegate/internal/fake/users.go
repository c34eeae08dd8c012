package fake

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// A DemoUser is one of the few that every fake lists.
type DemoUser struct {
	Who string
	rolegatetest.User
}

// School and OtherSchool are the organisations of the demo users.
const School, OtherSchool = 7, 8

// Demo returns the demo users: those of the example. Their ids are as long as
// real ones, above 2^53.
func Demo() []DemoUser {
	user := func(id int64, who, account string, grants ...rolegate.Grant) DemoUser {
		return DemoUser{who, rolegatetest.User{
			ID: id, Account: account, Email: account + "@school.example", Nickname: who,
			ThirdAccount: "sso-" + account, ThirdUserID: fmt.Sprint(id % 1000), Grants: grants,
		}}
	}
	return []DemoUser{
		user(1542135022016057001, "teacher", "teacher", rolegate.Grant{OrgID: School, RoleCode: "teacher"}),
		user(1542135022016057002, "homeroom teacher", "homeroom",
			rolegate.Grant{OrgID: School, RoleCode: "teacher"}, rolegate.Grant{OrgID: School, RoleCode: "homeroom"},
			rolegate.Grant{OrgID: OtherSchool, RoleCode: "teacher"}),
		user(1542135022016057003, "principal", "principal", rolegate.Grant{OrgID: School, RoleCode: "principal"}),
		user(1542135022016057004, "admin", "admin", rolegate.Grant{OrgID: School, RoleCode: "admin"}),
		user(1542135022016057005, "guest", "guest"),
	}
}

// FirstGenerated is the id of the first generated user, FirstThirdID the one that
// the app has bound to them.
const (
	FirstGenerated = 1542135022016058000
	FirstThirdID   = 1000
)

// MaxUsers is how many users can be generated.
const MaxUsers = 5_000_000

// generate puts users on the list who have none to three roles each, in
// organisations from School on. The same seed makes the same ones.
func generate(m *rolegatetest.Marketplace, users, orgs int, roles []string, seed uint64) {
	const batch = 1000
	random := rand.New(rand.NewPCG(seed, 0x05e75))
	list := make([]rolegatetest.User, 0, min(users, batch))
	for n := range users {
		account := fmt.Sprintf("user%d", n+1)
		u := rolegatetest.User{
			ID: FirstGenerated + int64(n), Account: account, Email: account + "@school.example", Nickname: fmt.Sprintf("用户%d", n+1),
			ThirdAccount: "sso-" + account, ThirdUserID: fmt.Sprint(FirstThirdID + n), Gender: 1 + random.IntN(2),
		}
		for range min(random.IntN(8), 3) { // few have none
			g := rolegate.Grant{OrgID: School + int64(random.IntN(orgs)), RoleCode: roles[random.IntN(len(roles))]}
			if !slices.Contains(u.Grants, g) {
				u.Grants = append(u.Grants, g)
			}
		}
		if list = append(list, u); len(list) == batch || n == users-1 {
			m.Put(list...)
			list = list[:0]
		}
	}
}

// codes are the roles that the app has: those of the demo users, and roles.
func codes(roles []string) (all []string) {
	add := func(code string) {
		if !slices.Contains(all, code) {
			all = append(all, code)
		}
	}
	for _, u := range Demo() {
		for _, g := range u.Grants {
			add(g.RoleCode)
		}
	}
	for _, code := range roles {
		add(code)
	}
	return all
}
