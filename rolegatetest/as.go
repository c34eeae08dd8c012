package rolegatetest

import (
	"flag"
	"net/http"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/testuser"
)

// As returns a copy of r in which handlers find an authorised user, as if a guard
// had admitted them: for the test of a handler by itself, without a list, a session
// or a guard. They have the roles in that organisation, besides the Grants that user
// has:
//
//	r := httptest.NewRequest("POST", "/orgs/7/reports", body)
//	handler.ServeHTTP(w, rolegatetest.As(r, rolegatetest.User{ID: 42}, 7, "teacher"))
//
// Every gate's UserFrom returns the user, with the hierarchy of its Config.Implies and
// with the strings that its Config.Keep keeps; a nil gate has no hierarchy and keeps
// all. Its OrgFrom returns the organisation; if that is 0, there is none, as behind a
// guard without [rolegate.InOrg]. A handler that gets no request takes the context
// of the copy. gingate.User and gingate.Org find them too, as a nil gate does, since
// they name no gate: for its hierarchy use [AsOf].
//
// A guard in front of the handler decides as if As were not there: test routes and
// their guards with a [Static] or a [Marketplace].
//
// It panics on an ID that is not above 0, on a negative org, on roles without an org,
// on an empty role code, and in a program that is not a test.
func As(r *http.Request, user User, org int64, roles ...string) *http.Request {
	return AsOf(nil, r, user, org, roles...)
}

// AsOf is [As] for handlers that name no gate, such as gin's with gingate.User: they
// find the user as that gate does, with the hierarchy of its Config.Implies and the
// strings that its Config.Keep keeps. What names a gate finds them as it does.
func AsOf(gate *rolegate.Gate, r *http.Request, user User, org int64, roles ...string) *http.Request {
	switch {
	case flag.Lookup("test.v") == nil: // every program that go test makes has it
		panic("rolegatetest: As is for tests: this program is none")
	case user.ID <= 0:
		panic("rolegatetest: As: the user's ID is not above 0: a guard admits nobody like that")
	case org < 0:
		panic("rolegatetest: As: the organisation is negative: give one above 0, or 0 for none")
	case org == 0 && len(roles) > 0:
		panic("rolegatetest: As: roles belong to an organisation: give one above 0, or put them into the user's Grants")
	}
	record := rolegate.Record{
		UserID: user.ID, Grants: append([]rolegate.Grant{}, user.Grants...),
		Account: user.Account, Email: user.Email, Nickname: user.Nickname,
		ThirdAccount: user.ThirdAccount, ThirdUserID: user.ThirdUserID, ThirdUserName: user.ThirdUserName,
	}
	for _, role := range roles {
		if role == "" {
			panic("rolegatetest: As: a role code is empty")
		}
		record.Grants = append(record.Grants, rolegate.Grant{OrgID: org, RoleCode: role})
	}
	return r.WithContext(testuser.Put(r.Context(), gate, record, org))
}
