package rolegate_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

var identityKinds = []rolegate.Kind{
	rolegate.KindUserID, rolegate.KindAccount, rolegate.KindEmail, rolegate.KindThirdAccount, rolegate.KindThirdUserID,
}

// One text is everybody's name, each time of another kind.
func identityList() *rolegatetest.Static {
	return rolegatetest.NewStatic(
		rolegate.Record{UserID: 42},
		rolegate.Record{UserID: 2, Account: "42"},
		rolegate.Record{UserID: 3, Email: "42"},
		rolegate.Record{UserID: 4, ThirdAccount: "42"},
		rolegate.Record{UserID: 5, ThirdUserID: "42"},
		rolegate.Record{UserID: 6, Account: "only-account", Nickname: "nick", ThirdUserName: "name"},
	)
}

func TestKindsNeverMatchEachOther(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{Source: identityList(), Aliases: identityKinds})
	for _, c := range []struct {
		id   rolegate.Identity
		user int64 // 0: not listed
	}{
		{rolegate.UserID(42), 42},
		{identityOf(rolegate.KindAccount, "42"), 2},
		{identityOf(rolegate.KindEmail, "42"), 3},
		{identityOf(rolegate.KindThirdAccount, "42"), 4},
		{identityOf(rolegate.KindThirdUserID, "42"), 5},
		{rolegate.UserID(7), 0},
		{identityOf(rolegate.KindAccount, "only-account"), 6},
		{identityOf(rolegate.KindEmail, "only-account"), 0},
		{identityOf(rolegate.KindThirdAccount, "only-account"), 0},
		{identityOf(rolegate.KindThirdUserID, "only-account"), 0},
		{identityOf(rolegate.KindAccount, "nick"), 0},
		{identityOf(rolegate.KindThirdAccount, "name"), 0},
	} {
		d := gate.Decide(t.Context(), c.id)
		assert.Equal(t, c.user, d.User.ID(), "%v", c.id)
		want := rolegate.ReasonGranted
		if c.user == 0 {
			want = rolegate.ReasonNotAuthorized
		}
		assert.Equal(t, want, d.Reason, "%v", c.id)
	}
}

func TestIdentifiers(t *testing.T) {
	t.Parallel()
	type reader = func(*http.Request) (string, error)
	broken := errors.New("the session store is away")
	by := map[rolegate.Kind]func(reader) rolegate.Identifier{
		rolegate.KindUserID: func(f reader) rolegate.Identifier {
			return rolegate.ByUserID(func(r *http.Request) (int64, error) {
				text, err := f(r)
				id, _ := strconv.ParseInt(text, 10, 64)
				return id, err
			})
		},
	}
	for _, kind := range []rolegate.Kind{rolegate.KindAccount, rolegate.KindEmail, rolegate.KindThirdAccount, rolegate.KindThirdUserID} {
		by[kind] = func(f reader) rolegate.Identifier { return rolegate.ByText(kind, f) }
	}
	user := map[rolegate.Kind]int64{
		rolegate.KindUserID: 42, rolegate.KindAccount: 2, rolegate.KindEmail: 3, rolegate.KindThirdAccount: 4, rolegate.KindThirdUserID: 5,
	}
	for kind, make := range by {
		for _, c := range []struct {
			name   string
			text   string
			err    error
			status int
		}{
			{"listed", "42", nil, 200},
			{"not listed", "43", nil, 403},
			{"empty", "", nil, 401},
			{"nobody", "", rolegate.ErrNobody, 401},
			{"nobody, wrapped", "", fmt.Errorf("no cookie: %w", rolegate.ErrNobody), 401},
			{"nobody, along with a name", "42", rolegate.ErrNobody, 401},
			{"failed", "", broken, 500},
			{"failed, along with a name", "42", broken, 500},
		} {
			t.Run(kind.String()+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				gate := openGate(t, rolegate.Config{Source: identityList(), Identify: make(func(*http.Request) (string, error) {
					return c.text, c.err
				})})
				w := ask(gate.Admit(ok(gate)), "GET", "/", 0)
				assert.Equal(t, c.status, w.Code)
				if c.status == 200 {
					assert.Equal(t, fmt.Sprintf("user %d", user[kind]), w.Body.String())
				}
			})
		}
	}
}

func TestIdentitiesOfNobody(t *testing.T) {
	t.Parallel()
	// Platforms write 0 and -1 where there is nothing.
	gate := openGate(t, rolegate.Config{
		Source: rolegatetest.NewStatic(
			rolegate.Record{UserID: 1, ThirdUserID: "0"},
			rolegate.Record{UserID: 2, ThirdUserID: "-1"},
			rolegate.Record{UserID: 3, ThirdUserID: "12"},
		),
		Aliases: identityKinds,
		Keep:    keepAll,
	})
	for _, id := range []rolegate.Identity{
		{}, rolegate.UserID(0), rolegate.UserID(-1), rolegate.UserID(-1 << 63),
		identityOf(rolegate.KindAccount, ""), identityOf(rolegate.KindEmail, ""), identityOf(rolegate.KindThirdAccount, ""),
		identityOf(rolegate.KindThirdUserID, ""), identityOf(rolegate.KindThirdUserID, "0"), identityOf(rolegate.KindThirdUserID, "-1"), identityOf(rolegate.KindThirdUserID, "-12"), identityOf(rolegate.KindThirdUserID, "-90"),
	} {
		d := gate.Decide(t.Context(), id)
		assert.Equal(t, rolegate.ReasonNoIdentity, d.Reason)
		assert.Zero(t, d.User.ID())
		assert.Zero(t, id.Kind())
		assert.Equal(t, "nobody", id.String())
	}
	assert.True(t, gate.Decide(t.Context(), identityOf(rolegate.KindThirdUserID, "12")).Allowed())
	assert.True(t, allowed(gate, 1), "the user is listed all the same")
	assert.Empty(t, gate.Decide(t.Context(), rolegate.UserID(1)).User.ThirdUserID())
	assert.Equal(t, 0, gate.Status().Ambiguous[rolegate.KindThirdUserID])
	for _, k := range identityKinds {
		assert.NotEqual(t, rolegate.Kind(0), k)
	}
	assert.Equal(t, rolegate.KindThirdUserID, identityOf(rolegate.KindThirdUserID, "12").Kind())
}

// An app's ids may be random text (base64url has a hyphen for a digit): only
// numbers can be negative.
func TestAThirdUserIDMayBeginWithAHyphen(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{
		Source:  rolegatetest.NewStatic(rolegate.Record{UserID: 1, ThirdUserID: "-oQ3vX_k"}),
		Aliases: []rolegate.Kind{rolegate.KindThirdUserID},
	})
	assert.Equal(t, rolegate.ReasonGranted, gate.Decide(t.Context(), identityOf(rolegate.KindThirdUserID, "-oQ3vX_k")).Reason)
}

func TestAliasesAreComparedByteForByte(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{
		Source: rolegatetest.NewStatic(
			rolegate.Record{UserID: 1, Account: "jos\u00e9", Email: "alice@example.com"},
			rolegate.Record{UserID: 2, Account: "jose\u0301"},
			rolegate.Record{UserID: 3, Account: "admin"},
			rolegate.Record{UserID: 4, Account: "王芳"},
			rolegate.Record{UserID: 5, Account: "null\x00byte"},
		),
		Aliases: []rolegate.Kind{rolegate.KindAccount, rolegate.KindEmail},
	})
	for _, c := range []struct {
		name string
		id   rolegate.Identity
		user int64
	}{
		{"composed", identityOf(rolegate.KindAccount, "jos\u00e9"), 1},
		{"decomposed is another user", identityOf(rolegate.KindAccount, "jose\u0301"), 2},
		{"without the accent", identityOf(rolegate.KindAccount, "jose"), 0},
		{"as granted", identityOf(rolegate.KindAccount, "admin"), 3},
		{"case", identityOf(rolegate.KindAccount, "Admin"), 0},
		{"blank behind", identityOf(rolegate.KindAccount, "admin "), 0},
		{"blank before", identityOf(rolegate.KindAccount, " admin"), 0},
		{"a zero-width space", identityOf(rolegate.KindAccount, "admin\u200b"), 0},
		{"a Cyrillic a", identityOf(rolegate.KindAccount, "\u0430dmin"), 0},
		{"full-width letters", identityOf(rolegate.KindAccount, "ａｄｍｉｎ"), 0},
		{"a prefix", identityOf(rolegate.KindAccount, "admi"), 0},
		{"Chinese", identityOf(rolegate.KindAccount, "王芳"), 4},
		{"NUL counts", identityOf(rolegate.KindAccount, "null\x00byte"), 5},
		{"NUL does not end it", identityOf(rolegate.KindAccount, "null"), 0},
		{"e-mail", identityOf(rolegate.KindEmail, "alice@example.com"), 1},
		{"e-mail: case of the domain", identityOf(rolegate.KindEmail, "alice@Example.com"), 0},
		{"e-mail: a label", identityOf(rolegate.KindEmail, "alice+x@example.com"), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := gate.Decide(t.Context(), c.id)
			assert.Equal(t, c.user, d.User.ID())
			assert.Equal(t, c.user != 0, d.Allowed())
		})
	}
}

func TestAKindThatIsNotIndexed(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{Source: identityList(), Aliases: []rolegate.Kind{rolegate.KindEmail}})
	for _, c := range []struct {
		id   rolegate.Identity
		want rolegate.Reason
	}{
		{rolegate.UserID(42), rolegate.ReasonGranted}, // always indexed
		{identityOf(rolegate.KindEmail, "42"), rolegate.ReasonGranted},
		{identityOf(rolegate.KindAccount, "42"), rolegate.ReasonIdentifyFailed},
		{identityOf(rolegate.KindAccount, "nobody has this one"), rolegate.ReasonIdentifyFailed},
		{identityOf(rolegate.KindThirdAccount, "42"), rolegate.ReasonIdentifyFailed},
		{identityOf(rolegate.KindThirdUserID, "42"), rolegate.ReasonIdentifyFailed},
		{identityOf(rolegate.KindAccount, ""), rolegate.ReasonNoIdentity},
	} {
		assert.Equal(t, c.want, gate.Decide(t.Context(), c.id).Reason, "%v", c.id)
		d := gate.Policy(rolegate.NoRole("suspended"), rolegate.Shadow()).Decide(t.Context(), c.id, 0)
		assert.Equal(t, c.want == rolegate.ReasonGranted, d.Allowed())
	}

	noHTTP := openGate(t, rolegate.Config{
		Source: identityList(), Aliases: []rolegate.Kind{rolegate.KindUserID},
		Identify: rolegate.FirstOf(rolegate.ByUserID(func(*http.Request) (int64, error) { return 42, nil })),
	})
	assert.True(t, allowed(noHTTP, 42))
	gate, err := rolegate.Open(t.Context(), rolegate.Config{
		Source: identityList(), Aliases: []rolegate.Kind{rolegate.KindUserID}, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err, "an app without HTTP names no Identify")
	defer gate.Close()
	assert.True(t, allowed(gate, 42))
	assert.Equal(t, 500, ask(gate.Admit(never(t)), "GET", "/", 42).Code)
}

func TestSharedAliases(t *testing.T) {
	t.Parallel()
	source := rolegatetest.NewStatic(
		rolegate.Record{UserID: 1, Account: "twin", Email: "a@example.com"},
		rolegate.Record{UserID: 2, Account: "twin", Email: "b@example.com"},
		rolegate.Record{UserID: 3, Account: "single"},
	)
	var book logBook
	gate := openGate(t, rolegate.Config{Source: source, Aliases: identityKinds, Logger: book.logger()})
	reason := func(id rolegate.Identity) rolegate.Reason { return gate.Decide(t.Context(), id).Reason }

	assert.Equal(t, rolegate.ReasonAmbiguous, reason(identityOf(rolegate.KindAccount, "twin")))
	assert.Zero(t, gate.Decide(t.Context(), identityOf(rolegate.KindAccount, "twin")).User.ID())
	assert.Equal(t, rolegate.ReasonGranted, reason(rolegate.UserID(1)), "the other names are good")
	assert.Equal(t, rolegate.ReasonGranted, reason(identityOf(rolegate.KindEmail, "a@example.com")))
	assert.Equal(t, 1, gate.Status().Ambiguous[rolegate.KindAccount])
	assert.Equal(t, 0, gate.Status().Ambiguous[rolegate.KindEmail])
	assert.Len(t, book.lines("rolegate: several users share an alias; nobody enters by it"), 1)
	assert.NotContains(t, book.String(), "twin")

	source.Put(rolegate.Record{UserID: 4, Account: "single"})
	require.NoError(t, gate.Refresh(t.Context()))
	assert.Equal(t, rolegate.ReasonAmbiguous, reason(identityOf(rolegate.KindAccount, "single")))
	assert.Equal(t, 2, gate.Status().Ambiguous[rolegate.KindAccount])

	source.Put(rolegate.Record{UserID: 2, Account: "twin2"})
	require.NoError(t, gate.Refresh(t.Context()))
	assert.Equal(t, rolegate.ReasonGranted, reason(identityOf(rolegate.KindAccount, "twin")), "the other one has a new name")
	source.Remove(4)
	require.NoError(t, gate.RefreshAll(t.Context()))
	assert.Equal(t, rolegate.ReasonGranted, reason(identityOf(rolegate.KindAccount, "single")))
	assert.Equal(t, 0, gate.Status().Ambiguous[rolegate.KindAccount])
}

func TestFirstOf(t *testing.T) {
	t.Parallel()
	type answer struct {
		text string
		err  error
	}
	nobody := answer{"", rolegate.ErrNobody}
	for _, c := range []struct {
		name    string
		answers []answer // of account, e-mail address and third account, in this order
		asked   int
		status  int
		user    int64
	}{
		{"the first", []answer{{"42", nil}, {"42", nil}}, 1, 200, 2},
		{"the second, when the first knows nobody", []answer{nobody, {"42", nil}}, 2, 200, 3},
		{"the third", []answer{nobody, {"", fmt.Errorf("no token: %w", rolegate.ErrNobody)}, {"42", nil}}, 3, 200, 4},
		{"nobody at all", []answer{nobody, nobody}, 2, 401, 0},
		{"not on an error", []answer{{"", errors.New("no database")}, {"42", nil}}, 1, 500, 0},
		{"not on an empty name", []answer{{"", nil}, {"42", nil}}, 1, 401, 0},
		{"not on an unlisted name", []answer{{"stranger", nil}, {"42", nil}}, 1, 403, 0},
		{"not on an ambiguous name", []answer{{"twin", nil}, {"42", nil}}, 1, 403, 0},
		{"alone", []answer{{"42", nil}}, 1, 200, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			source := identityList()
			source.Put(rolegate.Record{UserID: 10, Account: "twin"}, rolegate.Record{UserID: 11, Account: "twin"})
			asked := 0
			var all []rolegate.Identifier
			for i, kind := range []rolegate.Kind{rolegate.KindAccount, rolegate.KindEmail, rolegate.KindThirdAccount} {
				if i < len(c.answers) {
					all = append(all, rolegate.ByText(kind, func(*http.Request) (string, error) {
						asked++
						return c.answers[i].text, c.answers[i].err
					}))
				}
			}
			gate := openGate(t, rolegate.Config{Source: source, Identify: rolegate.FirstOf(all...)})
			w := ask(gate.Admit(ok(gate)), "GET", "/", 0)
			assert.Equal(t, c.status, w.Code)
			assert.Equal(t, c.asked, asked)
			if c.user != 0 {
				assert.Equal(t, fmt.Sprintf("user %d", c.user), w.Body.String())
			}
		})
	}
	t.Run("in another FirstOf", func(t *testing.T) {
		t.Parallel()
		by := func(text string, err error) rolegate.Identifier {
			return rolegate.ByText(rolegate.KindAccount, func(*http.Request) (string, error) { return text, err })
		}
		gate := openGate(t, rolegate.Config{
			Source:   identityList(),
			Identify: rolegate.FirstOf(rolegate.FirstOf(by("", rolegate.ErrNobody)), by("42", nil)),
		})
		assert.Equal(t, "user 2", ask(gate.Admit(ok(gate)), "GET", "/", 0).Body.String())
	})
	t.Run("a caller's slice stays the caller's", func(t *testing.T) {
		t.Parallel()
		all := []rolegate.Identifier{rolegate.ByText(rolegate.KindAccount, func(*http.Request) (string, error) { return "42", nil })}
		gate := openGate(t, rolegate.Config{Source: identityList(), Identify: rolegate.FirstOf(all...)})
		all[0] = rolegate.Identifier{}
		assert.Equal(t, "user 2", ask(gate.Admit(ok(gate)), "GET", "/", 0).Body.String())
	})
	t.Run("a header that must not be believed is not passed over", func(t *testing.T) {
		t.Parallel()
		gate := openGate(t, rolegate.Config{
			Source: identityList(),
			Identify: rolegate.FirstOf(
				rolegate.ByUserID(rolegate.UserIDHeader("X-User-Id", rolegate.Loopback()...)),
				rolegate.ByText(rolegate.KindAccount, func(*http.Request) (string, error) { return "42", nil })),
		})
		for _, c := range []struct {
			peer   string
			values []string
			status int
			body   string
		}{
			{"127.0.0.1:1", []string{"42"}, 200, "user 42"},
			{"127.0.0.1:1", nil, 200, "user 2"},
			{"127.0.0.1:1", []string{""}, 200, "user 2"},
			{"10.0.0.1:1", []string{"42"}, 200, "user 2"}, // not from the proxy: as if it were not there
			{"127.0.0.1:1", []string{"x"}, 401, ""},
			{"127.0.0.1:1", []string{"0"}, 401, ""},
			{"127.0.0.1:1", []string{"42", "42"}, 401, ""},
			{"127.0.0.1:1", []string{"", "42"}, 401, ""},
			{"127.0.0.1", []string{"42"}, 401, ""},
			{"127.0.0.1:1", []string{"999"}, 403, ""},
		} {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = c.peer
			r.Header["X-User-Id"] = c.values
			w := httptest.NewRecorder()
			gate.Admit(ok(gate)).ServeHTTP(w, r)
			assert.Equal(t, c.status, w.Code, "%v %q", c.peer, c.values)
			if c.body != "" {
				assert.Equal(t, c.body, w.Body.String(), "%v %q", c.peer, c.values)
			}
		}
	})
}

func TestIdentifierMistakesPanic(t *testing.T) {
	t.Parallel()
	network := netip.MustParsePrefix("10.1.2.0/24")
	text := func(*http.Request) (string, error) { return "", nil }
	for _, c := range []struct {
		name string
		f    func()
		says []string
	}{
		{"ByUserID", func() { rolegate.ByUserID(nil) }, []string{"ByUserID", "nil"}},
		{"ByText", func() { rolegate.ByText(rolegate.KindEmail, nil) }, []string{"ByText", "nil"}},
		{"ByText of no kind", func() { rolegate.ByText(0, text) }, []string{"ByText", "KindAccount"}},
		{"ByText of user ids", func() { rolegate.ByText(rolegate.KindUserID, text) }, []string{"ByText", "ByUserID"}},
		{"ByText of another kind", func() { rolegate.ByText(rolegate.KindThirdUserID+1, text) }, []string{"ByText", "KindAccount"}},
		{"FirstOf nothing", func() { rolegate.FirstOf() }, []string{"FirstOf", "at least one"}},
		{"FirstOf a zero Identifier", func() { rolegate.FirstOf(byHeader, rolegate.Identifier{}) }, []string{"FirstOf", "argument 2", "ByUserID"}},
		{"no network", func() { rolegate.UserIDHeader("X-User-Id") }, []string{"UserIDHeader", "X-User-Id", "networks"}},
		{"no network, as a slice", func() { rolegate.TextHeader("X-Account", []netip.Prefix{}...) }, []string{"TextHeader", "networks"}},
		{"the whole Internet", func() { rolegate.UserIDHeader("X-User-Id", network, netip.MustParsePrefix("0.0.0.0/0")) }, []string{"network 2", "10.1.2.0/24"}},
		{"the whole Internet, IPv6", func() { rolegate.TextHeader("X-User-Id", netip.MustParsePrefix("::/0")) }, []string{"network 1"}},
		{"a zero network", func() { rolegate.UserIDHeader("X-User-Id", netip.Prefix{}) }, []string{"network 1"}},
		{"an IPv4 network in IPv6 clothes", func() { rolegate.UserIDHeader("X-User-Id", netip.MustParsePrefix("::ffff:10.0.0.0/104")) }, []string{"network 1"}},
		{"no name", func() { rolegate.UserIDHeader("", network) }, []string{"UserIDHeader", "name of a header"}},
		{"a name with a blank", func() { rolegate.TextHeader("X User", network) }, []string{"TextHeader", "name of a header"}},
		{"a name with a colon", func() { rolegate.TextHeader("X-User:", network) }, []string{"name of a header"}},
		{"a name in quotes", func() { rolegate.TextHeader(`"X-User"`, network) }, []string{"name of a header"}},
		{"a name with a DEL", func() { rolegate.TextHeader("X\x7fUser", network) }, []string{"name of a header"}},
		{"a name with a line break", func() { rolegate.TextHeader("X\r\nUser", network) }, []string{"name of a header"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				message := fmt.Sprint(recover())
				assert.True(t, strings.HasPrefix(message, "rolegate: "), message)
				for _, part := range c.says {
					assert.Contains(t, message, part)
				}
			}()
			c.f()
			t.Error("it did not panic")
		})
	}
}

func TestIdentitiesAreWithheld(t *testing.T) {
	t.Parallel()
	const secret = "alice@example.com"
	for _, c := range []struct {
		id   rolegate.Identity
		want string
	}{
		{rolegate.UserID(42), "user_id 42"},
		{rolegate.UserID(-42), "nobody"},
		{rolegate.Identity{}, "nobody"},
		{identityOf(rolegate.KindAccount, secret), "account (withheld)"},
		{identityOf(rolegate.KindEmail, secret), "email (withheld)"},
		{identityOf(rolegate.KindThirdAccount, secret), "third_account (withheld)"},
		{identityOf(rolegate.KindThirdUserID, secret), "third_user_id (withheld)"},
	} {
		assert.Equal(t, c.want, c.id.String())
		assert.Equal(t, c.want, c.id.GoString())
		holder := struct{ Who rolegate.Identity }{c.id}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			for _, v := range []any{c.id, &c.id, holder, []rolegate.Identity{c.id}, map[rolegate.Identity]int{c.id: 1}} {
				printed := fmt.Sprintf(verb, v)
				assert.NotContains(t, printed, secret, verb)
				assert.NotContains(t, printed, fmt.Sprintf("%x", secret), verb)
			}
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("who", "id", c.id, "holder", holder)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("who", "id", c.id, "holder", holder)
		assert.NotContains(t, log.String(), secret)
		assert.Contains(t, log.String(), c.want)
		j, err := json.Marshal(holder)
		require.NoError(t, err)
		assert.NotContains(t, string(j), secret)
	}
}

// fmt asks Stringer only for verbs that suit a string.
func TestIdentitiesAreWithheldFromEveryVerb(t *testing.T) {
	t.Parallel()
	const secret = "alice"
	for _, verb := range []string{"%d", "%t", "%e", "%c", "%U", "%b", "%o", "%Z"} {
		assert.NotContains(t, fmt.Sprintf(verb, identityOf(rolegate.KindAccount, secret)), secret, verb)
	}
}

func TestKindNames(t *testing.T) {
	t.Parallel()
	for kind, want := range map[rolegate.Kind]string{
		0: "nobody", rolegate.KindUserID: "user_id", rolegate.KindAccount: "account", rolegate.KindEmail: "email",
		rolegate.KindThirdAccount: "third_account", rolegate.KindThirdUserID: "third_user_id", 6: "Kind(6)", 255: "Kind(255)",
	} {
		assert.Equal(t, want, kind.String())
		text, err := kind.MarshalText()
		require.NoError(t, err)
		assert.Equal(t, want, string(text))
	}
	assert.Equal(t, rolegate.KindEmail, identityOf(rolegate.KindEmail, "x").Kind())
}
