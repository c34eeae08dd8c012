package rolegate_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/testuser"
	"github.com/rolegate/rolegate/rolegatetest"
)

func userRecord() rolegate.Record {
	return rolegate.Record{
		UserID: 42, Account: "wangfang", Email: "wang@example.com", Nickname: "王芳",
		ThirdAccount: "t-wang", ThirdUserID: "4711", ThirdUserName: "Wang Fang",
		Grants: []rolegate.Grant{in(9, "clerk"), in(7, "teacher"), in(7, "homeroom"), in(8, "admin"), in(7, "teacher"), in(0, "x"), in(7, "")},
	}
}

func TestUser(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{
		Source:  rolegatetest.NewStatic(userRecord(), record(43)),
		Implies: map[string][]string{"admin": {"teacher"}},
	})
	u := gate.Decide(t.Context(), rolegate.UserID(42)).User
	assert.EqualValues(t, 42, u.ID())
	assert.Equal(t, []int64{7, 8, 9}, u.Orgs(), "ascending, each once, none that is not above 0")
	grants := u.Grants()
	assert.ElementsMatch(t, []rolegate.Grant{in(7, "teacher"), in(7, "homeroom"), in(8, "admin"), in(9, "clerk")}, grants, "as granted, each once, without the hierarchy")
	assert.True(t, slices.IsSortedFunc(grants, func(a, b rolegate.Grant) int { return int(a.OrgID - b.OrgID) }))

	for _, c := range []struct {
		codes       []string
		any, in7in8 bool
		in8         bool
	}{
		{[]string{"teacher"}, true, true, true}, // in 8 through the hierarchy
		{[]string{"homeroom"}, true, true, false},
		{[]string{"admin"}, true, false, true},
		{[]string{"clerk"}, true, false, false},
		{[]string{"pupil"}, false, false, false},
		{[]string{"pupil", "homeroom"}, true, true, false},
		{nil, false, false, false},
		{[]string{""}, false, false, false},
		{[]string{"x"}, false, false, false},
		{[]string{"Teacher"}, false, false, false},
	} {
		assert.Equal(t, c.any, u.HasRole(c.codes...), "%q", c.codes)
		assert.Equal(t, c.in7in8, u.HasRoleIn(7, c.codes...), "%q", c.codes)
		assert.Equal(t, c.in8, u.HasRoleIn(8, c.codes...), "%q", c.codes)
		for _, org := range []int64{0, -7, 7 + 1<<32, 10} {
			assert.False(t, u.HasRoleIn(org, c.codes...), "%q in %d", c.codes, org)
		}
	}

	bare := gate.Decide(t.Context(), rolegate.UserID(43)).User
	assert.EqualValues(t, 43, bare.ID())
	assert.Empty(t, bare.Orgs())
	assert.Empty(t, bare.Grants())
	assert.False(t, bare.HasRole("teacher"))
}

func TestTheZeroUserIsNobody(t *testing.T) {
	t.Parallel()
	var u rolegate.User
	assert.Zero(t, u.ID())
	assert.Nil(t, u.Orgs())
	assert.Nil(t, u.Grants())
	assert.False(t, u.HasRole("", "teacher"))
	assert.False(t, u.HasRoleIn(0, "", "teacher"))
	for _, text := range []string{u.Account(), u.Email(), u.Nickname(), u.ThirdAccount(), u.ThirdUserID(), u.ThirdUserName()} {
		assert.Empty(t, text)
	}
	assert.Equal(t, "nobody", u.String())
	assert.Equal(t, "nobody", u.GoString())
	assert.Equal(t, "0", u.LogValue().String())
}

func TestWhatAUserReturnsIsACopy(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(userRecord())})
	u := gate.Decide(t.Context(), rolegate.UserID(42)).User
	grants, orgs := u.Grants(), u.Orgs()
	for i := range grants {
		grants[i] = in(7, "admin")
	}
	for i := range orgs {
		orgs[i] = 100
	}
	_ = append(grants[:0], in(100, "admin"))
	assert.NotContains(t, u.Grants(), in(7, "admin"))
	assert.Equal(t, []int64{7, 8, 9}, u.Orgs())
	assert.False(t, u.HasRoleIn(7, "admin"))
	assert.False(t, gate.Policy(rolegate.AnyRole("admin")).Decide(t.Context(), rolegate.UserID(42), 7).Allowed())
}

// A source's records stay its own: it may use the slice of grants again.
func TestRecordsAreCopied(t *testing.T) {
	t.Parallel()
	shared := []rolegate.Grant{in(7, "teacher")}
	source := userSource(func(yield func(rolegate.Record)) {
		yield(rolegate.Record{UserID: 1, Sequence: 1, Grants: shared})
		shared[0] = in(7, "pupil")
		yield(rolegate.Record{UserID: 2, Sequence: 2, Grants: shared})
		shared[0] = in(7, "admin")
	})
	gate := openGate(t, rolegate.Config{Source: source})
	for user, role := range map[int64]string{1: "teacher", 2: "pupil"} {
		assert.Equal(t, []rolegate.Grant{in(7, role)}, gate.Decide(t.Context(), rolegate.UserID(user)).User.Grants())
	}
}

func TestKeep(t *testing.T) {
	t.Parallel()
	texts := func(u rolegate.User) []string {
		return []string{u.Account(), u.Email(), u.ThirdAccount(), u.ThirdUserID(), u.Nickname(), u.ThirdUserName()}
	}
	all := []string{"wangfang", "wang@example.com", "t-wang", "4711", "王芳", "Wang Fang"}
	only := func(kept ...int) []string {
		some := make([]string, len(all))
		for _, i := range kept {
			some[i] = all[i]
		}
		return some
	}
	for _, c := range []struct {
		name    string
		keep    rolegate.Keep
		aliases []rolegate.Kind
		want    []string
	}{
		{"nothing", rolegate.Keep{}, nil, only()},
		{"everything", keepAll, nil, all},
		{"account", rolegate.Keep{Account: true}, nil, only(0)},
		{"e-mail", rolegate.Keep{Email: true}, nil, only(1)},
		{"third account", rolegate.Keep{ThirdAccount: true}, nil, only(2)},
		{"third user id", rolegate.Keep{ThirdUserID: true}, nil, only(3)},
		{"nickname", rolegate.Keep{Nickname: true}, nil, only(4)},
		{"third user name", rolegate.Keep{ThirdUserName: true}, nil, only(5)},
		{"first and last", rolegate.Keep{Account: true, ThirdUserName: true}, nil, only(0, 5)},
		{"an alias is kept too", rolegate.Keep{Nickname: true}, []rolegate.Kind{rolegate.KindEmail}, only(1, 4)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			gate := openGate(t, rolegate.Config{
				Source: rolegatetest.NewStatic(userRecord(), record(43)), Keep: c.keep, Aliases: c.aliases,
			})
			assert.Equal(t, c.want, texts(gate.Decide(t.Context(), rolegate.UserID(42)).User))
			assert.Equal(t, only(), texts(gate.Decide(t.Context(), rolegate.UserID(43)).User), "who has none")
		})
	}
}

// Long and odd strings come back byte for byte.
func TestKeptStringsAreWhole(t *testing.T) {
	t.Parallel()
	long := string(bytes.Repeat([]byte("长"), 70_000))
	records := []rolegate.Record{}
	texts := []string{"", "a", "\x00", "\xff\xfe", "line\nbreak", long[:127*3], long[:128*3], long}
	for i, text := range texts {
		records = append(records, rolegate.Record{UserID: int64(i + 1), Account: text, Nickname: text, ThirdUserName: text})
	}
	gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(records...), Keep: keepAll})
	for i, text := range texts {
		u := gate.Decide(t.Context(), rolegate.UserID(int64(i+1))).User
		assert.True(t, u.Account() == text && u.Nickname() == text && u.ThirdUserName() == text, "%.20q", text)
		assert.Empty(t, u.Email())
	}
}

// A User is of one generation: it does not change under a handler that still
// runs.
func TestAUserStaysAsTheyWere(t *testing.T) {
	t.Parallel()
	source := rolegatetest.NewStatic(userRecord(), record(43), record(44), record(45))
	gate := openGate(t, rolegate.Config{Source: source, Keep: rolegate.Keep{Nickname: true}})
	before := gate.Decide(t.Context(), rolegate.UserID(42)).User
	changed := userRecord()
	changed.Nickname, changed.Grants = "王芳芳", []rolegate.Grant{in(1, "pupil")}
	source.Put(changed)
	require.NoError(t, gate.Refresh(t.Context()))
	after := gate.Decide(t.Context(), rolegate.UserID(42)).User
	source.Remove(42)
	require.NoError(t, gate.RefreshAll(t.Context()))
	require.False(t, allowed(gate, 42))

	assert.Equal(t, "王芳", before.Nickname())
	assert.Equal(t, []int64{7, 8, 9}, before.Orgs())
	assert.Equal(t, "王芳芳", after.Nickname())
	assert.Equal(t, []int64{1}, after.Orgs())
}

func TestUsersAreWithheld(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(userRecord()), Keep: keepAll})
	d := gate.Decide(t.Context(), rolegate.UserID(42))
	u := d.User
	assert.Equal(t, "user 42", u.String())
	assert.Equal(t, "user 42", fmt.Sprintf("%#v", u))
	holder := struct{ User rolegate.User }{u}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
		_, _ = fmt.Fprintf(&out, verb+"\n", u)
		_, _ = fmt.Fprintf(&out, verb+"\n", d)
		_, _ = fmt.Fprintf(&out, verb+"\n", holder)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("who", "user", u, "holder", holder, "decision", d)
	require.NoError(t, json.NewEncoder(&out).Encode(holder))
	require.NoError(t, json.NewEncoder(&out).Encode(d))
	assert.Contains(t, out.String(), "user=42")
	for _, text := range []string{"wangfang", "wang@example.com", "王芳", "t-wang", "4711", "Wang Fang", "homeroom"} {
		assert.NotContains(t, out.String(), text)
	}
}

// A User may be read from several goroutines of its request, and while the
// list changes.
func TestUsersAreSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	source := rolegatetest.NewStatic(userRecord())
	gate := openGate(t, rolegate.Config{Source: source, Keep: keepAll})
	h := gate.Admit(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, _ := gate.UserFrom(r.Context())
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				assert.True(t, u.HasRoleIn(7, "teacher"))
				assert.Equal(t, "王芳", u.Nickname())
				assert.Len(t, u.Grants(), 4)
			})
		}
		all.Wait()
		_, _ = io.WriteString(w, u.String())
	}))
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 50 {
				assert.Equal(t, 200, ask(h, "GET", "/", 42).Code)
			}
		})
	}
	for i := range 20 {
		source.Put(record(int64(100+i), in(7, fmt.Sprintf("role%d", i))))
		require.NoError(t, gate.Refresh(t.Context()))
	}
	all.Wait()
}

// A userSource is a list in a func, which has nothing new later.
type userSource func(yield func(rolegate.Record))

func (s userSource) Pull(_ context.Context, after int64, yield func(rolegate.Record)) error {
	if after == 0 {
		s(yield)
	}
	return nil
}

// What JavaScript reads loses no digit.
func TestIDsInJSON(t *testing.T) {
	t.Parallel()
	grant := in(big, "teacher")
	gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(rolegate.Record{UserID: big, Sequence: big, Grants: []rolegate.Grant{grant}})})
	policy := gate.Policy(rolegate.AnyRole("teacher"))
	d := policy.Decide(t.Context(), rolegate.UserID(big), big)
	for _, c := range []struct {
		name  string
		value any
		want  string
	}{
		{"a grant", grant, `{"orgId":"9007199254740993","roleCode":"teacher"}`},
		{"a user", map[string]any{"user": d.User}, `{"user":"9007199254740993"}`},
		{"nobody", rolegate.User{}, `""`},
		{"a decision", d, `{"Reason":"granted","User":"9007199254740993","Org":"9007199254740993","Shadowed":false,"Held":false}`},
		{"a change", rolegate.UserChange{UserID: big, After: []rolegate.Grant{grant}},
			`{"UserID":"9007199254740993","Before":null,"After":[{"orgId":"9007199254740993","roleCode":"teacher"}]}`},
		{"an organisation of an explanation", rolegate.OrgExplanation{Org: big}, `{"Org":"9007199254740993","Roles":null,"Checks":null}`},
		{"an event", rolegate.DecisionEvent{UserID: big, Org: big},
			`{"Time":"0001-01-01T00:00:00Z","DecisionID":"","Reason":"not_ready","Shadowed":false,"Held":false,` +
				`"UserID":"9007199254740993","Identity":"nobody","IdentityDigest":"","Org":"9007199254740993","Method":"","Route":"","Guard":""}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			text, err := json.Marshal(c.value)
			require.NoError(t, err)
			assert.Equal(t, c.want, string(text))
		})
	}
	status, err := json.Marshal(gate.Status())
	require.NoError(t, err)
	assert.Contains(t, string(status), `"cursor":"9007199254740993"`)
}

func TestGrantFromJSON(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		want       rolegate.Grant
		err        string
	}{
		{"a string", `{"orgId":"9007199254740993","roleCode":"teacher"}`, in(big, "teacher"), ""},
		{"a number", `{"orgId":9007199254740993,"roleCode":"teacher"}`, in(big, "teacher"), ""},
		{"nothing", `{}`, rolegate.Grant{}, ""},
		{"null", `{"orgId":null,"roleCode":null}`, rolegate.Grant{}, ""},
		{"no number", `{"orgId":"x"}`, rolegate.Grant{}, "not a grant"},
		{"a fraction", `{"orgId":7.5}`, rolegate.Grant{}, "expected a decimal number of 64 bits"},
		{"an exponent", `{"orgId":"7e1"}`, rolegate.Grant{}, "expected a decimal number of 64 bits"},
		{"too large", `{"orgId":9223372036854775808}`, rolegate.Grant{}, "expected a decimal number of 64 bits"},
		{"another type", `[]`, rolegate.Grant{}, "not a grant"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var g rolegate.Grant
			err := json.Unmarshal([]byte(c.text), &g)
			assert.Equal(t, c.want, g)
			if c.err == "" {
				require.NoError(t, err)
				text, err := json.Marshal(g)
				require.NoError(t, err)
				var again rolegate.Grant
				require.NoError(t, json.Unmarshal(text, &again))
				assert.Equal(t, g, again)
			} else {
				assert.ErrorContains(t, err, c.err)
			}
		})
	}
}

// What tests put into a request is a user as the gate's list would have them.
func TestUserOfATestRequest(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(), Implies: map[string][]string{"principal": {"teacher"}}})
	li := rolegatetest.User{ID: 42, Nickname: "Li"}
	r := rolegatetest.AsOf(gate, httptest.NewRequest(http.MethodGet, "/", nil), li, 7, "principal")
	admission, _ := r.Context().Value(testuser.Key{}).(*rolegate.Admission)
	require.NotNil(t, admission)
	assert.Equal(t, rolegate.ReasonGranted, admission.Reason)
	user, ok := gate.UserFrom(r.Context())
	require.True(t, ok)
	for _, u := range []rolegate.User{admission.User, user} {
		assert.EqualValues(t, 42, u.ID())
		assert.True(t, u.HasRoleIn(7, "teacher"), "by the hierarchy")
		assert.Empty(t, u.Nickname(), "it is not kept")
	}
	for _, other := range []*rolegate.Gate{nil, {}} {
		u, ok := other.UserFrom(r.Context())
		require.True(t, ok)
		assert.Equal(t, "Li", u.Nickname())
		assert.False(t, u.HasRoleIn(7, "teacher"))
	}
}
