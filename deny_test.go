package rolegate_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cloudcommand"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// A denyRefusal is one way to be refused, on the handler that denyHandlers has
// for it.
type denyRefusal struct {
	name   string
	reason rolegate.Reason
	user   int64 // 0: nobody, denyTwin: by an ambiguous account
	path   string
}

const denyTwin = -100

var denyRefusals = []denyRefusal{
	{"nobody", rolegate.ReasonNoIdentity, 0, "/admit"},
	{"identify failed", rolegate.ReasonIdentifyFailed, -5, "/admit"},
	{"not listed", rolegate.ReasonNotAuthorized, 999, "/admit"},
	{"not listed, at a role", rolegate.ReasonNotAuthorized, 999, "/role"},
	{"ambiguous", rolegate.ReasonAmbiguous, denyTwin, "/admit"},
	{"role missing", rolegate.ReasonRoleMissing, 1, "/role"},
	{"role missing there", rolegate.ReasonRoleMissing, 1, "/orgs/8"},
	{"condition failed", rolegate.ReasonConditionFailed, 1, "/where"},
	{"condition panicked", rolegate.ReasonConditionFailed, 1, "/panic"},
	{"org unreadable", rolegate.ReasonOrgUnreadable, 1, "/orgs/08"},
	{"closed", rolegate.ReasonClosed, 1, "/closed"},
	{"not ready", rolegate.ReasonNotReady, 1, "/not-ready"},
}

// A denyApp has a route for each refusal.
type denyApp struct {
	gate *rolegate.Gate
	book logBook
	http.Handler
}

func newDenyApp(t *testing.T, change func(*rolegate.Config)) *denyApp {
	t.Helper()
	app := new(denyApp)
	cfg := rolegate.Config{
		Source: rolegatetest.NewStatic(
			rolegate.Record{
				UserID: 1, Account: "alice-account", Email: "alice@example.com", Nickname: "alice-nick",
				ThirdAccount: "alice-third", ThirdUserID: "alice-id", ThirdUserName: "alice-name",
				Grants: []rolegate.Grant{in(7, "teacher")},
			},
			rolegate.Record{UserID: 2, Account: "twin-account"},
			rolegate.Record{UserID: 3, Account: "twin-account"},
		),
		Identify: rolegate.FirstOf(
			rolegate.ByText(rolegate.KindAccount, func(r *http.Request) (string, error) {
				if r.Header.Get("X-User-Id") == strconv.Itoa(denyTwin) {
					return "twin-account", nil
				}
				if r.Header.Get("X-Account") != "" {
					return r.Header.Get("X-Account"), nil
				}
				return "", rolegate.ErrNobody
			}),
			rolegate.ByUserID(func(r *http.Request) (int64, error) {
				switch text := r.Header.Get("X-User-Id"); text {
				case "":
					return 0, rolegate.ErrNobody
				case "-5":
					return 0, errors.New("the session store is away")
				default:
					return strconv.ParseInt(text, 10, 64)
				}
			})),
		Keep:   keepAll,
		Logger: app.book.logger(),
	}
	if change != nil {
		change(&cfg)
	}
	app.gate = openGate(t, cfg)
	cfg.StartEmpty = true
	closed := openGate(t, cfg)
	require.NoError(t, closed.Close())
	failing := rolegatetest.NewStatic()
	failing.Fail(errors.New("no connection"))
	cfg.Source = failing
	notReady := openGate(t, cfg)

	r := chi.NewRouter()
	r.Handle("/admit", app.gate.Admit(never(t)))
	r.Handle("/role", app.gate.Require(rolegate.AnyRole("admin"))(never(t)))
	r.Handle("/orgs/{orgID}", app.gate.Require(rolegate.AnyRole("teacher"), rolegate.InOrg(rolegate.PathOrg("orgID")))(never(t)))
	r.Handle("/where", app.gate.Require(rolegate.Where("own class", func(rolegate.User, *http.Request) bool { return false }))(never(t)))
	r.Handle("/panic", app.gate.Require(rolegate.Where("own class", func(rolegate.User, *http.Request) bool { panic("alice@example.com") }))(never(t)))
	r.Handle("/closed", closed.Admit(never(t)))
	r.Handle("/not-ready", notReady.Admit(never(t)))
	app.Handler = r
	return app
}

var denyID = regexp.MustCompile(`[A-Z2-7]{26}`)

// denySentences is what a refusal says, by language and status.
var denySentences = map[string]map[int]string{
	"en": {
		401: "You are not logged in.",
		403: "You do not have permission to do this. If you think you should, contact your administrator and quote the decision id.",
		499: "The request was cancelled.",
		500: "Your identity could not be determined. If this keeps happening, contact your administrator and quote the decision id.",
		503: "Authorization is temporarily unavailable. Try again later.",
	},
	"zh": {
		401: "您尚未登录。",
		403: "您没有权限执行此操作。如有疑问，请联系管理员，并提供判定编号。",
		499: "请求已取消。",
		500: "无法确认您的身份。如果问题持续出现，请联系管理员，并提供判定编号。",
		503: "暂时无法确认您的权限，请稍后再试。",
	},
}

// denyExact is what each shape writes for each status, in a language, ID in the place
// of the decision's id.
func denyExact(shape, language string, status int) string {
	says := denySentences[language][status]
	switch shape {
	case "DenyEnvelope":
		return fmt.Sprintf(`{"code":%d,"status":"%s","message":"%s","data":{"decision":"ID"}}`, status, map[bool]string{false: "fail", true: "error"}[status >= 500], says)
	case "DenyBladeX":
		return fmt.Sprintf(`{"code":%d,"success":false,"data":{"decision":"ID"},"msg":"%s"}`, status, says)
	}
	return fmt.Sprintf(`{"type":"about:blank","title":"%s","status":%d,"detail":"%s","decision":"ID"}`, http.StatusText(status), status, says)
}

func TestDenialMessage(t *testing.T) {
	t.Parallel()
	for language, says := range denySentences {
		for status, text := range says {
			assert.Equal(t, text, rolegate.Denial{Status: status, Language: language}.Message())
		}
	}
	assert.Equal(t, denySentences["en"][403], rolegate.Denial{Status: 403, Language: "fr"}.Message())
}

func TestDenyShapes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		deny  rolegate.DenyFunc
		shape string
		says  map[string]string // the language, by Accept-Language
	}{
		{"default", nil, "DenyProblem", map[string]string{"": "en", "zh-CN,zh;q=0.9,en;q=0.8": "zh", "en-GB": "en", "fr": "en"}},
		{"DenyProblem", rolegate.DenyProblem, "DenyProblem", map[string]string{"": "en", "zh": "zh"}},
		{"DenyEnvelope", marketplace.DenyEnvelope, "DenyEnvelope", map[string]string{"": "zh", "zh": "zh", "en-GB": "en", "fr": "zh"}},
		{"DenyBladeX", cloudcommand.DenyBladeX, "DenyBladeX", map[string]string{"": "zh", "zh": "zh", "en": "en", "fr": "zh"}},
		{"DenyRedirect", rolegate.DenyRedirect("/login", nil), "DenyProblem", map[string]string{"": "en", "zh": "zh"}}, // for whoever is no browser
		{"DenyRedirect, DenyBladeX", rolegate.DenyRedirect("/login", cloudcommand.DenyBladeX), "DenyBladeX", map[string]string{"": "zh", "en": "en"}},
	} {
		for accept, language := range c.says {
			t.Run(c.name+" "+accept, func(t *testing.T) {
				t.Parallel()
				app := newDenyApp(t, func(cfg *rolegate.Config) { cfg.Deny = c.deny })
				shape := c.shape
				seen := map[string]bool{}
				answers := map[int]*httptest.ResponseRecorder{}
				for _, c := range denyRefusals {
					for _, method := range []string{"GET", "POST"} {
						w := ask(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
							r.Header.Set("Accept-Language", accept)
							app.ServeHTTP(w, r)
						}), method, c.path, c.user)
						require.Equal(t, c.reason.Status(), w.Code, c.name)
						ids := denyID.FindAllString(w.Body.String(), -1)
						require.Len(t, ids, 1)
						assert.False(t, seen[ids[0]], "an id is used once")
						seen[ids[0]] = true
						body := strings.Replace(w.Body.String(), ids[0], "ID", 1)
						assert.Equal(t, denyExact(shape, language, w.Code)+"\n", body, c.name)

						h := w.Header()
						if w.Code == 503 {
							seconds, err := strconv.Atoi(h.Get("Retry-After"))
							assert.NoError(t, err)
							assert.GreaterOrEqual(t, seconds, 1)
							h.Set("Retry-After", "N")
						}
						assert.Equal(t, w.Code == 401, h.Get("WWW-Authenticate") == "Bearer")
						assert.Equal(t, w.Code == 503, h.Get("Retry-After") != "")
						assert.Equal(t, "no-store", h.Get("Cache-Control"))
						assert.Equal(t, "nosniff", h.Get("X-Content-Type-Options"))
						assert.Equal(t, strconv.Itoa(w.Body.Len()), h.Get("Content-Length"))
						if first := answers[w.Code]; first != nil {
							assert.Equal(t, first.Header(), w.Header(), "%s: the same headers for every reason of a status", c.name)
						} else {
							answers[w.Code] = w
						}
						assert.NotContains(t, w.Body.String()+fmt.Sprint(h), c.reason.String(), "the reason is the operator's to know")
					}
				}
			})
		}
	}
}

func TestDenyHEAD(t *testing.T) {
	t.Parallel()
	app := newDenyApp(t, nil)
	server := httptest.NewServer(app)
	t.Cleanup(server.Close)
	for _, c := range denyRefusals {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var headers [2]http.Header
			for i, method := range []string{"GET", "HEAD"} {
				assert.Equal(t, method == "HEAD", ask(app, method, c.path, c.user).Body.Len() == 0, "whoever the writer is")
				r, err := http.NewRequestWithContext(t.Context(), method, server.URL+c.path, nil)
				require.NoError(t, err)
				if c.user != 0 {
					r.Header.Set("X-User-Id", strconv.FormatInt(c.user, 10))
				}
				resp, err := server.Client().Do(r)
				require.NoError(t, err)
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				assert.Equal(t, method == "HEAD", len(body) == 0)
				assert.Equal(t, c.reason.Status(), resp.StatusCode)
				headers[i] = resp.Header
				headers[i].Del("Date")
				if c.reason.Status() == 503 {
					assert.NotEmpty(t, headers[i].Get("Retry-After"))
					headers[i].Del("Retry-After")
				}
			}
			assert.Equal(t, headers[0], headers[1])
		})
	}
}

// What a shape does wrong, the gate puts right.
func TestDenyFuncsThatAreWrong(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		deny rolegate.DenyFunc
		body string // "" for the default
	}{
		{"panics", func(http.Header, *http.Request, rolegate.Denial) []byte { panic("alice@example.com") }, ""},
		{"panics half done", func(h http.Header, _ *http.Request, _ rolegate.Denial) []byte {
			h.Set("Content-Type", "image/gif")
			h.Set("X-Half", "done")
			h.Del("Retry-After")
			panic(http.ErrAbortHandler)
		}, ""},
		{"panics with nil", func(http.Header, *http.Request, rolegate.Denial) []byte { panic(nil) }, ""},
		{"deletes what the gate has set", func(h http.Header, _ *http.Request, _ rolegate.Denial) []byte {
			clear(h)
			return []byte("no")
		}, "no"},
		{"empties what the gate has set", func(h http.Header, _ *http.Request, _ rolegate.Denial) []byte {
			h["Www-Authenticate"], h["Retry-After"], h["Cache-Control"] = []string{""}, nil, []string{}
			return []byte("no")
		}, "no"},
		{"sets a length too long", func(h http.Header, _ *http.Request, _ rolegate.Denial) []byte {
			h.Set("Content-Length", "1000")
			return []byte("no")
		}, "no"},
		{"sets a length too short", func(h http.Header, _ *http.Request, _ rolegate.Denial) []byte {
			h.Set("Content-Length", "1")
			return []byte("no")
		}, "no"},
		{"sets a length twice", func(h http.Header, _ *http.Request, _ rolegate.Denial) []byte {
			h["Content-Length"] = []string{"1", "2"}
			return []byte("no")
		}, "no"},
		{"sets a transfer coding", func(h http.Header, _ *http.Request, _ rolegate.Denial) []byte {
			h.Set("Transfer-Encoding", "chunked")
			return []byte("no")
		}, "no"},
		{"sets headers that look like a status", func(h http.Header, _ *http.Request, _ rolegate.Denial) []byte {
			h.Set("Status", "200 OK")
			h.Set(":status", "200")
			h.Set("X-Accel-Redirect", "/internal")
			return []byte("no")
		}, "no"},
		{"redirects", func(h http.Header, _ *http.Request, d rolegate.Denial) []byte {
			if d.Status != 401 { // there it may
				h.Set("Location", "https://elsewhere.example/")
			}
			return []byte("no")
		}, "no"},
		{"writes keys in small letters", func(h http.Header, _ *http.Request, d rolegate.Denial) []byte {
			h["content-length"] = []string{"1000"}
			h["transfer-encoding"] = []string{"chunked"}
			h["www-authenticate"] = []string{""}
			h["retry-after"] = []string{""}
			if d.Status != 401 {
				h["location"] = []string{"https://elsewhere.example/"}
			}
			return []byte("no")
		}, "no"},
		{"adds lines", func(h http.Header, _ *http.Request, _ rolegate.Denial) []byte {
			h.Set("X-Line", "a\r\nLocation: https://elsewhere.example/\r\n\r\n<script>")
			return []byte("no")
		}, "no"},
		{"has no body", func(http.Header, *http.Request, rolegate.Denial) []byte { return nil }, "none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			app := newDenyApp(t, func(cfg *rolegate.Config) { cfg.Deny = c.deny })
			server := httptest.NewServer(app)
			t.Cleanup(server.Close)
			for _, refusal := range denyRefusals {
				r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+refusal.path, nil)
				require.NoError(t, err)
				if refusal.user != 0 {
					r.Header.Set("X-User-Id", strconv.FormatInt(refusal.user, 10))
				}
				resp, err := server.Client().Transport.RoundTrip(r) // follows no redirect
				require.NoError(t, err, refusal.name)
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err, refusal.name)
				require.NoError(t, resp.Body.Close())
				assert.Equal(t, refusal.reason.Status(), resp.StatusCode, refusal.name)
				assert.Empty(t, resp.Header.Values("Location"))
				assert.Empty(t, resp.TransferEncoding)
				assert.EqualValues(t, len(body), resp.ContentLength)
				if resp.StatusCode == 401 {
					assert.Equal(t, []string{"Bearer"}, resp.Header.Values("WWW-Authenticate"))
				}
				if resp.StatusCode == 503 {
					require.Len(t, resp.Header.Values("Retry-After"), 1)
					assert.Regexp(t, `^[1-9][0-9]*$`, resp.Header.Get("Retry-After"))
				}
				assert.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
				switch c.body {
				case "":
					assert.Equal(t, denyExact("DenyProblem", "en", resp.StatusCode)+"\n", denyID.ReplaceAllString(string(body), "ID"))
					assert.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
					assert.Empty(t, resp.Header.Get("X-Half"))
				case "none":
					assert.Empty(t, body)
				default:
					assert.Equal(t, c.body, string(body))
				}
			}
			if c.body == "" {
				lines := app.book.lines("rolegate: Config.Deny panicked; the default body is sent")
				assert.Len(t, lines, len(denyRefusals))
				assert.Len(t, app.book.lines("rolegate: refused"), len(denyRefusals))
				assert.NotContains(t, app.book.String(), "alice@example.com")
			}
		})
	}
}

func TestDenialSaysWhatIsSent(t *testing.T) {
	t.Parallel()
	var got rolegate.Denial
	app := newDenyApp(t, func(c *rolegate.Config) {
		c.Deny = func(h http.Header, r *http.Request, d rolegate.Denial) []byte {
			got = d
			assert.NotNil(t, r)
			return rolegate.DenyProblem(h, r, d)
		}
	})
	for _, c := range denyRefusals {
		w := ask(app, "GET", c.path, c.user)
		assert.Equal(t, c.reason, got.Reason)
		assert.Equal(t, w.Code, got.Status)
		assert.Contains(t, w.Body.String(), got.ID)
		assert.Equal(t, w.Code == 503, got.RetryAfter > 0)
		if w.Code == 503 {
			seconds, err := strconv.Atoi(w.Header().Get("Retry-After"))
			require.NoError(t, err)
			assert.GreaterOrEqual(t, float64(seconds), got.RetryAfter.Seconds())
			assert.Less(t, float64(seconds-1), got.RetryAfter.Seconds())
		}
	}
}

func TestDenyRedirect(t *testing.T) {
	t.Parallel()
	const page = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"
	app := newDenyApp(t, func(c *rolegate.Config) { c.Deny = rolegate.DenyRedirect("/login?from=app", cloudcommand.DenyBladeX) })
	for _, c := range []struct {
		name, method, path, accept, mode string
		user                             int64
		status                           int
	}{
		{"a browser navigates", "GET", "/admit", page, "navigate", 0, 303},
		{"an old browser", "GET", "/admit", page, "", 0, 303},
		{"HEAD", "HEAD", "/admit", page, "navigate", 0, 303},
		{"fetch", "GET", "/admit", "*/*", "cors", 0, 401},
		{"an old browser that refuses HTML", "GET", "/admit", "application/json, text/html;q=0", "", 0, 401},
		{"fetch that accepts pages", "GET", "/admit", page, "cors", 0, 401},
		{"XMLHttpRequest of an old browser", "GET", "/admit", "application/json, text/plain, */*", "", 0, 401},
		{"curl", "GET", "/admit", "*/*", "", 0, 401},
		{"an image", "GET", "/admit", "image/webp", "no-cors", 0, 401},
		{"a WebSocket", "GET", "/admit", "", "websocket", 0, 401},
		{"a form", "POST", "/admit", page, "navigate", 0, 401},
		{"PUT", "PUT", "/admit", page, "navigate", 0, 401},
		{"a browser of someone who may not", "GET", "/role", page, "navigate", 1, 403},
		{"a browser of someone unlisted", "GET", "/admit", page, "navigate", 999, 403},
		{"a browser when identify fails", "GET", "/admit", page, "navigate", -5, 500},
		{"a browser after Close", "GET", "/closed", page, "navigate", 1, 503},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(c.method, c.path, nil)
			for name, value := range map[string]string{"Accept": c.accept, "Sec-Fetch-Mode": c.mode} {
				if value != "" {
					r.Header.Set(name, value)
				}
			}
			if c.user != 0 {
				r.Header.Set("X-User-Id", strconv.FormatInt(c.user, 10))
			}
			w := httptest.NewRecorder()
			app.ServeHTTP(w, r)
			assert.Equal(t, c.status, w.Code)
			if c.status == 303 {
				assert.Equal(t, []string{"/login?from=app"}, w.Header().Values("Location"))
			} else {
				assert.Empty(t, w.Header().Values("Location"))
			}
			if c.method != "HEAD" {
				assert.Contains(t, w.Body.String(), `"success":false`)
			}
		})
	}
	for _, script := range []string{"X-Requested-With", "Turbo-Frame", "HX-Request"} {
		r := httptest.NewRequest("GET", "/admit", nil)
		r.Header.Set("Accept", page)
		r.Header.Set(script, "x")
		w := httptest.NewRecorder()
		app.ServeHTTP(w, r)
		assert.Equal(t, 401, w.Code, script)
	}
	for _, bad := range []string{"", "\r\n", "/login\r\nX: y", "javascript:alert(1)", "https:///login", "mailto:a@b", "http://[::1", "%zz"} {
		t.Run("panics for "+strconv.Quote(bad), func(t *testing.T) {
			t.Parallel()
			assert.PanicsWithValue(t, "rolegate: DenyRedirect: give the URL of the login page, such as /login",
				func() { rolegate.DenyRedirect(bad, nil) })
		})
	}
	for _, good := range []string{"/login", "login", "https://sso.example/login?app=1", "//sso.example/login"} {
		assert.NotPanics(t, func() { rolegate.DenyRedirect(good, nil) })
	}
	assert.Equal(t, 401, ask(newDenyApp(t, func(c *rolegate.Config) {
		c.Deny = func(h http.Header, _ *http.Request, _ rolegate.Denial) []byte {
			h.Set("Location", "/login")
			return nil
		}
	}), "DELETE", "/admit", 0).Code, "a shape of the app's own redirects GET and HEAD only")
}

// The way back to the page that was asked for, and never to the login from itself.
func TestDenyRedirectReturns(t *testing.T) {
	t.Parallel()
	var book logBook
	for _, c := range []struct{ name, login, uri, want string }{
		{"the page and its query", "/login?return_to=", "/admit?class=3%20b&x", "/login?return_to=%2Fadmit%3Fclass%3D3%2520b%26x"},
		{"beside other parameters", "https://sso.example/?app=7&next=&lang=zh#top", "/admit", "https://sso.example/?app=7&next=%2Fadmit&lang=zh#top"},
		{"another site", "/login?return_to=", "//evil.example/admit", "/login?return_to="},
		{"none is asked for", "/login?a=b", "/admit", "/login?a=b"},
		{"from the login page", "/login?return_to=", "/login?return_to=%2Fadmit", ""},
		{"from the login page, of the site", "http://example.com/login", "/login", ""},
		{"from a page of that name elsewhere", "https://sso.example/login", "/login", "https://sso.example/login"},
	} {
		t.Run(c.name, func(t *testing.T) {
			gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(record(1)), Deny: rolegate.DenyRedirect(c.login, nil), Logger: book.logger()})
			before := len(book.lines(denyLoop))
			for range 3 {
				r := httptest.NewRequest("GET", "/", nil)
				r.RequestURI = c.uri
				r.Header.Set("Accept", "text/html")
				w := httptest.NewRecorder()
				gate.Admit(never(t)).ServeHTTP(w, r)
				assert.Equal(t, c.want, w.Header().Get("Location"))
				assert.Equal(t, c.want == "", w.Code == 401)
				assert.Equal(t, c.want != "", w.Code == 303)
			}
			told := 0
			if c.want == "" {
				told = 1 // once, however many ask
			}
			assert.Len(t, book.lines(denyLoop), before+told)
		})
	}
}

const denyLoop = "rolegate: the login page itself is guarded: no browser is sent to it from there; register it without a guard"

func TestReasons(t *testing.T) {
	t.Parallel()
	var names []string
	for reason := rolegate.ReasonNotReady; reason.String() != fmt.Sprintf("Reason(%d)", reason); reason++ {
		names = append(names, reason.String())
		text, err := reason.MarshalText()
		require.NoError(t, err)
		assert.Equal(t, reason.String(), string(text))
		d := rolegate.Decision{Reason: reason}
		assert.Equal(t, reason == rolegate.ReasonGranted, d.Allowed())
		assert.Equal(t, reason == rolegate.ReasonGranted, reason.Status() < 400)
		assert.Equal(t, reason != rolegate.ReasonClientGone, http.StatusText(reason.Status()) != "", "nobody is there to read a 499")
	}
	assert.Equal(t, 13, len(names))
	assert.Len(t, slices.Compact(slices.Sorted(slices.Values(names))), len(names), "each has its own name")
	assert.Equal(t, 500, rolegate.Reason(200).Status())
	assert.Equal(t, "Reason(200)", rolegate.Reason(200).String())
	assert.False(t, rolegate.Decision{}.Allowed())
	assert.Equal(t, "not_ready", rolegate.Decision{}.String())
}

// What an app needs to know who is asking, or where, may be away: its error says for
// how long, and nobody is blamed.
func TestDenyWhileSomethingIsAway(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		inOrg  bool
		err    error
		status int
		after  string
	}{
		{"the session store", false, awayError(7 * time.Second), 503, "7"},
		{"in the chain", false, fmt.Errorf("session: %w", awayError(90*time.Second)), 503, "90"},
		{"a part of a second", false, awayError(1500 * time.Millisecond), 503, "2"},
		{"no time", false, awayError(0), 503, "1"},
		{"a negative time", false, awayError(-time.Hour), 503, "1"},
		{"for ever", false, awayError(1 << 62), 503, "300"},
		{"another error", false, errors.New("broken"), 500, ""},
		{"the organisations", true, awayError(7 * time.Second), 503, "7"},
		{"another error about an organisation", true, errors.New("no such class"), 403, ""},
		{"nobody, who may come again", false, errors.Join(rolegate.ErrNobody, awayError(time.Second)), 401, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			book := &logBook{}
			fail := func(*http.Request) (int64, error) { return 1, c.err }
			cfg := rolegate.Config{Source: rolegatetest.NewStatic(record(1)), Logger: book.logger(), Identify: rolegate.ByUserID(fail)}
			options := []rolegate.Option{rolegate.Listed()}
			if c.inOrg {
				cfg.Identify = byHeader
				options = append(options, rolegate.InOrg(fail))
			}
			w := ask(openGate(t, cfg).Require(options...)(never(t)), "GET", "/", 1)
			assert.Equal(t, c.status, w.Code)
			assert.Equal(t, c.after, w.Header().Get("Retry-After"))
			assert.Equal(t, c.status == 401, w.Header().Get("WWW-Authenticate") != "")
			lines := book.lines("rolegate: refused")
			require.Len(t, lines, 1)
			assert.EqualValues(t, c.status, lines[0]["status"])
			if c.status == 503 {
				assert.Equal(t, "WARN", lines[0]["level"])
				assert.Contains(t, w.Body.String(), "temporarily unavailable")
			}
		})
	}
}

// An awayError is an error that says when to come again.
type awayError time.Duration

func (e awayError) Error() string             { return "the store is away" }
func (e awayError) RetryAfter() time.Duration { return time.Duration(e) }
