package marketplace_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"time"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// The client inside a gate. In an app, BaseURL, AppID and Token are those that
// the marketplace gave out, and Transport is left out; in a test, all four are
// those of a fake.
func Example() {
	market := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	market.Grant(42, 7, "teacher")
	market.SetRoles("teacher", "principal")

	source := marketplace.New(marketplace.Config{
		BaseURL:      rolegatetest.BaseURL,
		AppID:        market.AppID(),
		Token:        marketplace.StaticToken(market.Token()),
		RoleListPath: "app/role/list",
		Transport:    market.Transport(),
	})
	gate, err := rolegate.Open(context.Background(), rolegate.Config{
		Source:    source,
		RoleCodes: source.RoleCodes,
		Identify: rolegate.ByUserID(func(r *http.Request) (int64, error) {
			return strconv.ParseInt(r.Header.Get("X-Example-User"), 10, 64) // an app asks its session
		}),
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gate.Close()

	grades := gate.Require(rolegate.AnyRole("teacher"))(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "the grades")
	}))
	for _, user := range []string{"42", "43"} {
		r := httptest.NewRequest("GET", "/grades", nil)
		r.Header.Set("X-Example-User", user)
		w := httptest.NewRecorder()
		grades.ServeHTTP(w, r)
		fmt.Println(user, w.Code)
	}
	// Output:
	// 42 200
	// 43 403
}

// market is a marketplace with two users, for the examples.
func market() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		switch {
		case q.Get("accessToken") != "AT-3-example":
			fmt.Fprint(w, `{"code":401,"status":"fail","message":"token expired","data":{}}`)
		case q.Get("lastSequence") == "2":
			fmt.Fprint(w, ok())
		default:
			fmt.Fprint(w, ok(
				`{"userId":1,"lastSequence":1,"account":"zhang","roleList":[{"orgId":8,"roleCode":"teacher"}]}`,
				`{"userId":2,"lastSequence":2,"account":"li","roleList":[]}`))
		}
	}))
}

// A Client is what rolegate.Config.Source wants. Its mistakes are told by
// rolegate.Open, with all the others.
func ExampleNew() {
	srv := market()
	defer srv.Close()

	var source rolegate.Source = marketplace.New(marketplace.Config{
		BaseURL: srv.URL,
		AppID:   "my-app",
		Token: marketplace.TokenFunc(func(ctx context.Context) (string, error) {
			return "AT-3-example", nil // from wherever the app has its tokens
		}),
		Transport: srv.Client().Transport,
	})

	users := map[int64]string{}
	err := source.Pull(context.Background(), 0, func(r rolegate.Record) {
		if r.Bad == nil { // users may come twice
			users[r.UserID] = fmt.Sprint(r.Account, r.Grants)
		}
	})
	fmt.Println(users, err)
	// Output: map[1:zhang[{8 teacher}] 2:li[]] <nil>
}

// An oauth2Token and an oauth2Source have the shape of those in
// golang.org/x/oauth2, which this module does not need.
type oauth2Token struct{ AccessToken string }

type oauth2Source interface{ Token() (*oauth2Token, error) }

type clientCredentials struct{}

func (clientCredentials) Token() (*oauth2Token, error) { return &oauth2Token{"AT-3-example"}, nil }

// A source of OAuth 2.0 tokens takes three lines.
func ExampleTokenFunc() {
	var source oauth2Source = clientCredentials{}

	token := marketplace.TokenFunc(func(context.Context) (string, error) {
		t, err := source.Token()
		if err != nil {
			return "", err
		}
		return t.AccessToken, nil
	})

	text, err := token.Token(context.Background())
	fmt.Println(text, err)
	// Output: AT-3-example <nil>
}

// A TokenSource of one's own keeps what it needs.
func ExampleTokenSource() {
	var _ marketplace.TokenSource = vault{path: "secret/marketplace"}
	// Output:
}

type vault struct{ path string }

func (v vault) Token(ctx context.Context) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	return "AT-3-from-" + v.path, nil
}

// A token does not show when it is printed.
func ExampleStaticToken() {
	cfg := marketplace.Config{Token: marketplace.StaticToken("AT-3-example")}
	fmt.Printf("%v %+v %#v %q\n", cfg.Token, cfg.Token, cfg.Token, cfg.Token)
	// Output: [redacted] [redacted] [redacted] [redacted]
}

// All the fields that can be left out, with their defaults unless it says
// otherwise.
func ExampleConfig() {
	source := marketplace.New(marketplace.Config{
		BaseURL: "https://market.example.com/api",
		AppID:   "my-app",
		Token:   marketplace.StaticToken("AT-3-example"),

		Path:            "app/user/list",
		RoleListPath:    "app/role/list", // no default: the operator has said so
		PageSize:        1000,
		PageTimeout:     15 * time.Second,
		MaxPageBytes:    16 << 20,
		MaxUsers:        20_000_000,
		Refused:         func(httpStatus, code int) bool { return httpStatus == 401 || code == 401 || code == 1001 }, // 1001 besides
		UniqueSequences: true,                                                                                        // the operator has said so
		CacheBuster:     "_",                                                                                         // a proxy caches
	})
	fmt.Println(source.Validate())
	fmt.Println(source)
	// Output:
	// <nil>
	// marketplace.Client(https://market.example.com/api/app/user/list as my-app)
}

// Validate tells all mistakes at once.
func ExampleClient_Validate() {
	source := marketplace.New(marketplace.Config{BaseURL: "market.example.com", AppID: "my-app", PageSize: 5000, Token: marketplace.StaticToken("AT-3-example")})
	fmt.Println(source.Validate())
	// Output:
	// marketplace: Config.BaseURL: its scheme is neither http nor https: expected something like https://market.example.com/api
	// Config.PageSize: 5000 is out of range: expected 1 to 1000 users a page, 0 for 900 to 1000
}

// An error says in one word what went wrong.
func ExampleClient_Pull() {
	srv := market()
	defer srv.Close()
	source := marketplace.New(marketplace.Config{
		BaseURL: srv.URL, AppID: "my-app", Token: marketplace.StaticToken("AT-3-expired"), Transport: srv.Client().Transport,
	})

	err := source.Pull(context.Background(), 0, func(rolegate.Record) {})
	var failure *rolegate.PullError
	if errors.As(err, &failure) {
		fmt.Println(failure.Failure)
	}
	fmt.Println(errors.Is(err, rolegate.ErrRefused))
	// Output:
	// refused
	// true
}

// A method value is what rolegate.Config.RoleCodes wants. The gate asks it when
// a check names a role that nobody holds, and tells a typo from a role that is
// only new.
func ExampleClient_RoleCodes() {
	market := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	market.Grant(42, 7, "teacher")
	market.SetRoles("teacher", "principal")
	source := marketplace.New(marketplace.Config{
		BaseURL: rolegatetest.BaseURL, AppID: market.AppID(), Token: marketplace.StaticToken(market.Token()), Transport: market.Transport(),
		RoleListPath: "app/role/list",
	})
	fmt.Println(source.RoleCodes(context.Background()))

	gate, err := rolegate.Open(context.Background(), rolegate.Config{
		Source:    source,
		RoleCodes: source.RoleCodes,
		Aliases:   []rolegate.Kind{rolegate.KindUserID}, // no HTTP here, so no Identify
		Logger:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gate.Close()
	gate.Policy(rolegate.AnyRole("principal", "techer"))
	if err := gate.RefreshAll(context.Background()); err != nil {
		fmt.Println(err)
	}
	for _, role := range gate.Status().UnassignedRoles {
		fmt.Printf("%s: known %t, nearest %q\n", role.Code, role.Known, role.Nearest)
	}
	// Output:
	// [teacher principal] <nil>
	// principal: known true, nearest ""
	// techer: known false, nearest "teacher"
}

// CacheKey tells lists apart, and has no secret in it.
func ExampleClient_CacheKey() {
	source := marketplace.New(marketplace.Config{BaseURL: "https://market.example.com", AppID: "my-app", Token: marketplace.StaticToken("AT-3-example")})
	fmt.Println(source.CacheKey())
	// Output: https://market.example.com/app/user/list my-app
}

// After its last pull, a client has at most idle connections left.
func ExampleClient_CloseIdleConnections() {
	source := marketplace.New(marketplace.Config{BaseURL: "https://market.example.com", AppID: "my-app", Token: marketplace.StaticToken("AT-3-example")})
	defer source.CloseIdleConnections()
	if err := source.Validate(); err != nil {
		log.Fatal(err)
	}
	// Output:
}
