package rolegate_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// exampleWang is one user, with all the names that the marketplace knows.
var exampleWang = rolegate.Record{
	UserID: 1, Account: "wangfang", Email: "wang@example.com", ThirdAccount: "wf-0815", ThirdUserID: "4711",
}

// exampleEnter opens a gate that finds out by identify who is asking, and
// prints what a request from a proxy on this machine comes to.
func exampleEnter(identify rolegate.Identifier, headers ...string) {
	gate := exampleGateWith(func(c *rolegate.Config) {
		c.Source = rolegatetest.NewStatic(exampleWang)
		c.Identify = identify
	})
	defer gate.Close()
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = "127.0.0.1:4000"
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	gate.Admit(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, _ := gate.UserFrom(r.Context())
		fmt.Fprint(w, u)
	})).ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		fmt.Println(w.Code)
		return
	}
	fmt.Println(w.Code, w.Body)
}

// The session of this app knows the marketplace's number of the user.
func ExampleByUserID() {
	session := map[string]int64{"s3cr3t": 1}
	identify := rolegate.ByUserID(func(r *http.Request) (int64, error) {
		id, ok := session[r.Header.Get("X-Session")]
		if !ok {
			return 0, rolegate.ErrNobody
		}
		return id, nil
	})

	exampleEnter(identify, "X-Session", "s3cr3t")
	exampleEnter(identify, "X-Session", "guessed")
	// Output:
	// 200 user 1
	// 401
}

// The users of this app log in with their account at the marketplace.
func ExampleByText() {
	identify := rolegate.ByText(rolegate.KindAccount, func(r *http.Request) (string, error) {
		account, password, ok := r.BasicAuth()
		if !ok || password != "correct horse" {
			return "", rolegate.ErrNobody
		}
		return account, nil
	})

	exampleEnter(identify, "Authorization", "Basic d2FuZ2Zhbmc6Y29ycmVjdCBob3JzZQ==") // wangfang
	exampleEnter(identify)
	// Output:
	// 200 user 1
	// 401
}

// This app has verified its users' e-mail addresses.
func ExampleByText_email() {
	type key struct{} // an app's own middleware puts the address there
	verified := func(r *http.Request) (string, error) {
		email, ok := r.Context().Value(key{}).(string)
		if !ok {
			return "", rolegate.ErrNobody
		}
		return email, nil
	}
	gate := exampleGateWith(func(c *rolegate.Config) {
		c.Source = rolegatetest.NewStatic(exampleWang)
		c.Identify = rolegate.ByText(rolegate.KindEmail, verified)
	})
	defer gate.Close()

	r := httptest.NewRequest("GET", "/", nil)
	r = r.WithContext(context.WithValue(r.Context(), key{}, "wang@example.com"))
	w := httptest.NewRecorder()
	gate.Admit(examplePage).ServeHTTP(w, r)
	fmt.Println(w.Code, w.Body)
	// Output: 200 welcome
}

// This app has accounts of its own, which the marketplace has bound to its
// users.
func ExampleByText_thirdAccount() {
	identify := rolegate.ByText(rolegate.KindThirdAccount, func(r *http.Request) (string, error) {
		cookie, err := r.Cookie("account")
		if err != nil {
			return "", rolegate.ErrNobody
		}
		return cookie.Value, nil
	})

	exampleEnter(identify, "Cookie", "account=wf-0815")
	exampleEnter(identify, "Cookie", "account=wangfang") // that is another kind of name
	// Output:
	// 200 user 1
	// 403
}

// This app has user ids of its own, which the marketplace has bound to its
// users. They are texts: a number is written in decimal.
func ExampleByText_thirdUserID() {
	const loggedIn = 4711
	identify := rolegate.ByText(rolegate.KindThirdUserID, func(*http.Request) (string, error) {
		return fmt.Sprint(loggedIn), nil
	})

	exampleEnter(identify)
	// Output: 200 user 1
}

// People have a session, other services a header that the proxy has set.
func ExampleFirstOf() {
	identify := rolegate.FirstOf(
		rolegate.ByText(rolegate.KindThirdAccount, func(r *http.Request) (string, error) {
			cookie, err := r.Cookie("account")
			if err != nil {
				return "", rolegate.ErrNobody // and only then the next is asked
			}
			return cookie.Value, nil
		}),
		rolegate.ByUserID(rolegate.UserIDHeader("X-User-Id", rolegate.Loopback()...)),
	)

	exampleEnter(identify, "Cookie", "account=wf-0815")
	exampleEnter(identify, "X-User-Id", "1")
	exampleEnter(identify, "Cookie", "account=stranger", "X-User-Id", "1")
	exampleEnter(identify)
	// Output:
	// 200 user 1
	// 200 user 1
	// 403
	// 401
}

// A proxy has authenticated the user and says so in a header. Who else sends
// that header is not believed.
func ExampleUserIDHeader() {
	proxies := netip.MustParsePrefix("10.1.2.0/24")
	identify := rolegate.ByUserID(rolegate.UserIDHeader("X-User-Id", proxies))
	gate := exampleGateWith(func(c *rolegate.Config) { c.Identify = identify })
	defer gate.Close()

	for _, peer := range []string{"10.1.2.3:4000", "203.0.113.9:4000"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = peer
		r.Header.Set("X-User-Id", "1")
		w := httptest.NewRecorder()
		gate.Admit(examplePage).ServeHTTP(w, r)
		fmt.Println(peer, w.Code)
	}
	// Output:
	// 10.1.2.3:4000 200
	// 203.0.113.9:4000 401
}

func ExampleTextHeader() {
	identify := rolegate.ByText(rolegate.KindAccount, rolegate.TextHeader("Remote-User", rolegate.Loopback()...))

	exampleEnter(identify, "Remote-User", "wangfang")
	exampleEnter(identify, "Remote-User", "wangfang", "Remote-User", "admin") // twice
	// Output:
	// 200 user 1
	// 401
}

// The proxy runs beside the app.
func ExampleLoopback() {
	fmt.Println(rolegate.Loopback())
	// Output: [127.0.0.0/8 ::1/128]
}

// An identity can be asked about without a request. Aliases say which kinds
// are indexed; user ids always are.
func ExampleIdentity() {
	gate := exampleGateWith(func(c *rolegate.Config) {
		c.Source = rolegatetest.NewStatic(exampleWang)
		c.Aliases = []rolegate.Kind{rolegate.KindAccount, rolegate.KindEmail, rolegate.KindThirdAccount, rolegate.KindThirdUserID}
	})
	defer gate.Close()

	for _, name := range []struct {
		kind rolegate.Kind
		text string
	}{
		{rolegate.KindUserID, "1"},
		{rolegate.KindAccount, "wangfang"},
		{rolegate.KindEmail, "wang@example.com"},
		{rolegate.KindThirdAccount, "wf-0815"},
		{rolegate.KindThirdUserID, "4711"},
		{rolegate.KindAccount, "Wangfang"}, // another user's, if anybody's
	} {
		id, err := rolegate.NewIdentity(name.kind, name.text)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(id, gate.Decide(context.Background(), id)) // names are not printed
	}
	// Output:
	// user_id 1 granted
	// account (withheld) granted
	// email (withheld) granted
	// third_account (withheld) granted
	// third_user_id (withheld) granted
	// account (withheld) not_authorized
}
