package faults_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cloudcommand"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// webID is what a decision id looks like.
var webID = regexp.MustCompile(`[A-Z2-7]{26}`)

func webNoID(body string) string { return webID.ReplaceAllString(body, "ID") }

// Line 38: the header of a proxy, sent by somebody else or in another form, must
// identify nobody: 401, and the next of a FirstOf is not asked either where the
// header was there and unusable.
func TestFault38TheHeaderOfAProxy(t *testing.T) {
	t.Parallel()
	five, six := webUser(5), webUser(6)
	five.Account, six.Account = "5", "6"
	odd := webUser(7)
	odd.Account = "5, 6" // what a join of two headers would look like
	source := rolegatetest.NewStatic(five, six, odd)
	far := netip.MustParsePrefix("10.0.0.0/8")
	//lint:ignore SA1019 what it does to RemoteAddr is what the test is about
	realIP := middleware.RealIP
	secret := new(webSecret)
	app := func(trusted []netip.Prefix, outer ...func(http.Handler) http.Handler) map[string]http.Handler {
		handlers := map[string]http.Handler{}
		for name, identify := range map[string]rolegate.Identifier{
			"by id":   rolegate.ByUserID(rolegate.UserIDHeader("X-User-Id", trusted...)),
			"by text": rolegate.ByText(rolegate.KindAccount, rolegate.TextHeader("X-User-Id", trusted...)),
		} {
			cfg := webConfig(source)
			cfg.Identify = identify
			gate := webOpen(t, cfg)
			r := chi.NewRouter()
			r.Use(outer...)
			r.Use(gate.Admit)
			r.Get("/", secret.ServeHTTP)
			handlers[name] = r
		}
		return handlers
	}
	rewritten := func(h http.Handler) http.Handler { // as proxy middlewares do, from the client's word
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if ip := r.Header.Get("X-Client-Ip"); ip != "" {
				r.RemoteAddr = ip
			}
			h.ServeHTTP(w, r)
		})
	}
	near := rolegate.Loopback()
	both := append(rolegate.Loopback(), far)
	servers := map[string]map[string]http.Handler{
		"near": app(near), "far": app([]netip.Prefix{far}), "RealIP": app(both, realIP), "rewritten": app(both, rewritten),
	}
	for _, c := range []struct {
		server, name string
		headers      []string
	}{
		{"near", "none", nil},
		{"near", "empty", []string{"X-User-Id:"}},
		{"near", "twice", []string{"X-User-Id: 5", "X-User-Id: 6"}},
		{"near", "twice the same", []string{"X-User-Id: 5", "X-User-Id: 5"}},
		{"near", "twice, in another case", []string{"X-User-Id: 5", "x-uSER-iD: 5"}},
		{"near", "twice, one empty", []string{"X-User-Id: 5", "X-User-Id:"}},
		{"near", "with an underscore", []string{"X_User_Id: 5"}},
		{"near", "with underscores and no hyphen", []string{"X_USER_ID: 5", "X_User-Id: 5"}},
		{"near", "a tab inside", []string{"X-User-Id: 5\t5"}},
		{"near", "a no-break space", []string{"X-User-Id: 5\u00a0"}},
		{"far", "from a peer outside", []string{"X-User-Id: 5"}},
		{"far", "from a peer outside who claims to be inside", []string{"X-User-Id: 5", "X-Forwarded-For: 10.0.0.1", "X-Real-Ip: 10.0.0.1", "Forwarded: for=10.0.0.1"}},
		{"RealIP", "RealIP by X-Real-Ip", []string{"X-User-Id: 5", "X-Real-Ip: 10.0.0.1"}},
		{"RealIP", "RealIP by X-Forwarded-For", []string{"X-User-Id: 5", "X-Forwarded-For: 10.0.0.1, 203.0.113.9"}},
		{"RealIP", "RealIP by True-Client-Ip", []string{"X-User-Id: 5", "True-Client-Ip: ::1"}},
		{"rewritten", "an address without a port", []string{"X-User-Id: 5", "X-Client-Ip: 10.0.0.1"}},
		{"rewritten", "a name", []string{"X-User-Id: 5", "X-Client-Ip: localhost:80"}},
		{"rewritten", "a list", []string{"X-User-Id: 5", "X-Client-Ip: 10.0.0.1:80, 10.0.0.2:80"}},
		{"rewritten", "blanks", []string{"X-User-Id: 5", "X-Client-Ip: 10.0.0.1 :80"}},
	} {
		for _, by := range []string{"by id", "by text"} {
			t.Run(by+", "+c.name, func(t *testing.T) {
				t.Parallel()
				resp, _ := webRaw(t, webServe(t, servers[c.server][by]), "GET / HTTP/1.1", c.headers...)
				assert.Equal(t, 401, resp.StatusCode)
				assert.NotEmpty(t, resp.Header.Get("WWW-Authenticate"))
			})
		}
	}
	for name, value := range map[string]string{
		"blanks before": " 5", "blanks behind": "5 ", "a tab": "\t5", "a blank inside": "5 5", "two in one": "5,6",
		"a folded line": "5 6", "a plus": "+5", "a leading zero": "05", "an exponent": "5e0", "a fraction": "5.0", "full-width": "５", "2^64+5": "18446744073709551621",
	} {
		t.Run("over HTTP/2, "+name, func(t *testing.T) {
			t.Parallel()
			// There the value arrives with its blanks. (HTTP/1.1 takes those at the
			// ends for its own, so that they never get to the gate.)
			for by, h := range servers["near"] {
				if by == "by text" && !strings.ContainsAny(value, " \t") {
					continue // an account like any other
				}
				server := httptest.NewUnstartedServer(h)
				server.EnableHTTP2 = true
				server.StartTLS()
				t.Cleanup(server.Close)
				r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL, nil)
				require.NoError(t, err)
				r.Header["X-User-Id"] = []string{value}
				resp, err := server.Client().Do(r)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				require.Equal(t, 2, resp.ProtoMajor)
				want := 401
				if by == "by text" && strings.TrimSpace(value) == value {
					want = 403 // an account with a blank in it, of nobody
				}
				assert.Equal(t, want, resp.StatusCode, by)
			}
		})
	}
	t.Run("an unusable header is not passed over", func(t *testing.T) {
		t.Parallel()
		cfg := webConfig(source)
		cfg.Identify = rolegate.FirstOf(
			rolegate.ByUserID(rolegate.UserIDHeader("X-User-Id", near...)),
			rolegate.ByUserID(func(*http.Request) (int64, error) { return 5, nil }))
		gate := webOpen(t, cfg)
		host := webServe(t, gate.Admit(webAnswer(gate)))
		for _, headers := range [][]string{{"X-User-Id: 6", "X-User-Id: 6"}, {"X-User-Id: 0"}, {"X-User-Id: six"}} {
			resp, _ := webRaw(t, host, "GET / HTTP/1.1", headers...)
			assert.Equal(t, 401, resp.StatusCode, headers)
		}
		_, body := webRaw(t, host, "GET / HTTP/1.1", "X-User-Id: 6")
		assert.Equal(t, "user 6", body)
		_, body = webRaw(t, host, "GET / HTTP/1.1")
		assert.Equal(t, "user 5", body, "none at all: the next is asked")
	})
	t.Run("from the proxy itself", func(t *testing.T) {
		t.Parallel()
		inside := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "inside") })
		cfg := webConfig(source)
		cfg.Identify = rolegate.ByUserID(rolegate.UserIDHeader("X-User-Id", near...))
		_, body := webRaw(t, webServe(t, webOpen(t, cfg).Admit(inside)), "GET / HTTP/1.1", "X-User-Id: 5")
		assert.Equal(t, "inside", body)
	})
	t.Cleanup(func() { assert.Zero(t, secret.calls.Load(), "the handler behind the gate was called") })
}

// Line 40: an identify func that returns 0, a negative id or "" has found
// nobody: 401. An account with blanks around it, in another case or with
// letters that look alike is another user's.
func TestFault40IdentitiesThatAreNone(t *testing.T) {
	t.Parallel()
	alice := webUser(1)
	alice.Account, alice.Email, alice.ThirdAccount, alice.ThirdUserID = "alice", "alice", "alice", "alice"
	empty, zero := webUser(2), webUser(3) // a user without any names, and one whose ids are how platforms write null
	zero.ThirdUserID = "0"
	minus := webUser(4)
	minus.ThirdUserID = "-1"
	source := rolegatetest.NewStatic(alice, empty, zero, minus,
		rolegate.Record{UserID: 0, Account: "zero"}, rolegate.Record{UserID: -1, Account: "minus"}) // identify nobody
	say := func(text string) func(*http.Request) (string, error) {
		return func(*http.Request) (string, error) { return text, nil }
	}
	answer := func(t *testing.T, identify rolegate.Identifier) int {
		t.Helper()
		cfg := webConfig(source)
		cfg.Identify, cfg.OnDeny.Off = identify, true
		return webAsk(webOpen(t, cfg).Admit(webNever(t)), "GET", "/", 0).Code
	}
	for _, id := range []int64{0, -1, -9223372036854775808} {
		t.Run(fmt.Sprint("user id ", id), func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, 401, answer(t, rolegate.ByUserID(func(*http.Request) (int64, error) { return id, nil })))
		})
	}
	for kind := rolegate.KindAccount; kind <= rolegate.KindThirdUserID; kind++ {
		by := func(f func(*http.Request) (string, error)) rolegate.Identifier { return rolegate.ByText(kind, f) }
		t.Run("no "+kind.String(), func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, 401, answer(t, by(say(""))))
			assert.Equal(t, 401, answer(t, by(func(*http.Request) (string, error) { return "alice", rolegate.ErrNobody })))
			assert.Equal(t, 500, answer(t, by(func(*http.Request) (string, error) { return "alice", errors.New("no database") })))
		})
		for _, other := range []string{
			" alice", "alice ", "alice\n", "alice\t", "al ice", "alice\x00", "\u00a0alice", "alice\u200b", "\ufeffalice", "alice\u0301",
			"Alice", "ALICE", "aliCe", "\u0430lice", "al\u0456ce", "alic\u0435", "ａｌｉｃｅ", "a\u00adlice", "𝐚𝐥𝐢𝐜𝐞", "alıce", "alice%00", "alice/", "alice,alice", "1", "zero", "minus",
		} {
			t.Run(fmt.Sprintf("%s %q", kind, other), func(t *testing.T) {
				t.Parallel()
				assert.Equal(t, 403, answer(t, by(say(other))))
			})
		}
	}
	for _, null := range []string{"0", "00", "-1", "-0", "-42"} {
		t.Run("third_user_id "+null, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, 401, answer(t, rolegate.ByText(rolegate.KindThirdUserID, say(null))))
		})
	}
	t.Run("the zero identities", func(t *testing.T) {
		t.Parallel()
		cfg := webConfig(source)
		cfg.Aliases = []rolegate.Kind{rolegate.KindAccount, rolegate.KindEmail, rolegate.KindThirdAccount, rolegate.KindThirdUserID}
		gate := webOpen(t, cfg)
		for _, id := range []rolegate.Identity{
			{}, rolegate.UserID(0), rolegate.UserID(-1), identityOf(rolegate.KindAccount, ""), identityOf(rolegate.KindEmail, ""), identityOf(rolegate.KindThirdAccount, ""),
			identityOf(rolegate.KindThirdUserID, ""), identityOf(rolegate.KindThirdUserID, "0"), identityOf(rolegate.KindThirdUserID, "-1"),
		} {
			assert.Equal(t, rolegate.ReasonNoIdentity, gate.Decide(t.Context(), id).Reason, "%v", id)
		}
		assert.True(t, gate.Decide(t.Context(), identityOf(rolegate.KindAccount, "alice")).Allowed())
	})
}

// Line 41: a role that is held in another organisation than the one that is
// asked about, roles in two organisations, and organisations that are none: 403.
func TestFault41RolesElsewhere(t *testing.T) {
	t.Parallel()
	records := []rolegate.Record{
		webUser(1, webIn(1, "teacher")),
		webUser(2, webIn(1, "teacher"), webIn(2, "homeroom")),
		webUser(3, webIn(0, "teacher"), webIn(-1, "teacher"), webIn(0, "homeroom")),
		webUser(4, webIn(2, "teacher"), webIn(2, "homeroom")),
	}
	gate := webGate(t, records...)
	teacher, all := rolegate.AnyRole("teacher"), rolegate.AllRoles("teacher", "homeroom")
	for _, c := range []struct {
		name    string
		user    int64
		options []rolegate.Option
		status  int
	}{
		{"held in org 1, asked in org 2", 1, []rolegate.Option{teacher, webOrg(2)}, 403},
		{"held and asked in org 1", 1, []rolegate.Option{teacher, webOrg(1)}, 200},
		{"teacher in org 1 and homeroom in org 2", 2, []rolegate.Option{all}, 403},
		{"by two checks", 2, []rolegate.Option{teacher, rolegate.AnyRole("homeroom")}, 403},
		{"in org 1", 2, []rolegate.Option{all, webOrg(1)}, 403},
		{"in org 2", 2, []rolegate.Option{all, webOrg(2)}, 403},
		{"both in org 2", 4, []rolegate.Option{all}, 200},
		{"granted in org 0 and -1, asked nowhere", 3, []rolegate.Option{teacher}, 403},
		{"granted in org 0, asked in org 0", 3, []rolegate.Option{teacher, webOrg(0)}, 403},
		{"granted in org -1, asked in org -1", 3, []rolegate.Option{teacher, webOrg(-1)}, 403},
		{"granted in org 1, asked in org 0", 1, []rolegate.Option{teacher, webOrg(0)}, 403},
		{"granted in org 1, asked in org -1", 1, []rolegate.Option{teacher, webOrg(-1)}, 403},
		{"asked in org 0, with a Shadow", 1, []rolegate.Option{teacher, webOrg(0), rolegate.Shadow()}, 403},
		{"a role that nobody may have, asked in org 0", 1, []rolegate.Option{rolegate.NoRole("suspended"), webOrg(0)}, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := webNever(t)
			if c.status == 200 {
				h = webAnswer(gate)
			}
			assert.Equal(t, c.status, webAsk(gate.Require(c.options...)(h), "GET", "/", c.user).Code)
		})
	}
	t.Run("without a request", func(t *testing.T) {
		t.Parallel()
		p := gate.Policy(teacher)
		assert.True(t, p.Decide(t.Context(), rolegate.UserID(1), 1).Allowed())
		assert.False(t, p.Decide(t.Context(), rolegate.UserID(1), 2).Allowed())
		assert.False(t, p.Decide(t.Context(), rolegate.UserID(1), -1).Allowed())
		assert.False(t, p.Decide(t.Context(), rolegate.UserID(3), 0).Allowed())
		assert.False(t, p.Decide(t.Context(), rolegate.UserID(3), -1).Allowed())
		assert.False(t, gate.Policy(all).Decide(t.Context(), rolegate.UserID(2), 0).Allowed())
		assert.False(t, gate.Policy(teacher, webOrg(1)).Decide(t.Context(), rolegate.UserID(1), 0).Allowed())
	})
	t.Run("PathOrg in r.Use", func(t *testing.T) {
		t.Parallel()
		book := new(webBook)
		cfg := webConfig(rolegatetest.NewStatic(records...))
		cfg.Logger = book.logger()
		gate := webOpen(t, cfg)
		guard := gate.Require(teacher, rolegate.InOrg(rolegate.PathOrg("orgID")))
		wrong := chi.NewRouter()
		wrong.Route("/orgs", func(r chi.Router) {
			r.Use(guard)
			r.Get("/{orgID}", webNever(t).ServeHTTP)
		})
		assert.Equal(t, 403, webAsk(wrong, "GET", "/orgs/1", 1).Code)
		lines := book.lines("rolegate: refused")
		require.Len(t, lines, 1)
		assert.Equal(t, "org_unreadable", lines[0]["reason"])
		assert.Contains(t, lines[0]["err"], "r.With")
		right := chi.NewRouter()
		right.With(guard).Get("/orgs/{orgID}", webAnswer(gate).ServeHTTP)
		assert.Equal(t, 200, webAsk(right, "GET", "/orgs/1", 1).Code)
		for _, path := range []string{"/orgs/0", "/orgs/-1", "/orgs/01", "/orgs/+1", "/orgs/1.0", "/orgs/%31%20", "/orgs/x", "/orgs/2"} {
			assert.Equal(t, 403, webAsk(right, "GET", path, 1).Code, path)
		}
	})
}

// Line 41: a Deny that writes nothing, or claims a success. The status must be
// the one of the table all the same.
func TestFault41ADenyThatWritesASuccess(t *testing.T) {
	t.Parallel()
	for name, deny := range map[string]rolegate.DenyFunc{
		"nothing": func(http.Header, *http.Request, rolegate.Denial) []byte { return nil },
		"a 200": func(h http.Header, _ *http.Request, _ rolegate.Denial) []byte {
			h.Set("Status", "200 OK")
			h[":status"] = []string{"200"}
			return []byte(`{"code":200,"status":"success"}`)
		},
		"a 200 to its own request": func(_ http.Header, r *http.Request, _ rolegate.Denial) []byte {
			*r = *r.WithContext(context.Background())
			r.Response = &http.Response{StatusCode: 200}
			return []byte("ok")
		},
		"a redirect": func(h http.Header, _ *http.Request, d rolegate.Denial) []byte {
			if d.Status != 401 { // there it may
				h.Set("Location", "/welcome")
			}
			return []byte("ok")
		},
		"a panic": func(http.Header, *http.Request, rolegate.Denial) []byte { panic("no") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := webConfig(rolegatetest.NewStatic(webUser(1, webIn(1, "teacher"))))
			cfg.Deny, cfg.OnDeny.Off = deny, true
			gate := webOpen(t, cfg)
			starting := cfg
			down := rolegatetest.NewStatic()
			down.Fail(errors.New("down"))
			starting.Source, starting.StartEmpty = down, true
			notReady := webOpen(t, starting)
			closed := webOpen(t, cfg)
			require.NoError(t, closed.Close())
			failing := cfg
			failing.Identify = rolegate.ByUserID(func(*http.Request) (int64, error) { panic("no") })
			for _, c := range []struct {
				user   int64
				h      http.Handler
				status int
			}{
				{0, gate.Admit(webNever(t)), 401},
				{2, gate.Admit(webNever(t)), 403},
				{1, gate.Require(rolegate.AnyRole("admin"))(webNever(t)), 403},
				{1, gate.Require(rolegate.AnyRole("teacher"), webOrg(0))(webNever(t)), 403},
				{1, gate.Require(rolegate.Where("no", func(rolegate.User, *http.Request) bool { return false }))(webNever(t)), 403},
				{1, webOpen(t, failing).Admit(webNever(t)), 500},
				{1, notReady.Admit(webNever(t)), 503},
				{1, closed.Admit(webNever(t)), 503},
			} {
				for _, method := range []string{"GET", "HEAD", "POST"} {
					w := webAsk(c.h, method, "/", c.user)
					assert.Equal(t, c.status, w.Code)
					assert.Empty(t, w.Header().Get("Location"))
				}
			}
		})
	}
}

// Line 43: a client that wants to learn who exists. Every 403 must have the
// same headers and the same body, decision id aside, and come as soon.
func TestFault43WhoExistsIsNotTold(t *testing.T) {
	t.Parallel()
	twin := webUser(3)
	twin.Account = "twin"
	other := webUser(4)
	other.Account = "twin"
	listed := webUser(1, webIn(1, "pupil"))
	listed.Account = "alice"
	for name, deny := range map[string]rolegate.DenyFunc{
		"default": nil, "problem": rolegate.DenyProblem, "envelope": marketplace.DenyEnvelope, "R": cloudcommand.DenyBladeX,
		"redirect": rolegate.DenyRedirect("/login", nil),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := webConfig(rolegatetest.NewStatic(listed, twin, other))
			cfg.Deny = deny
			cfg.Identify = rolegate.ByText(rolegate.KindAccount, func(r *http.Request) (string, error) { return r.Header.Get("X-Account"), nil })
			gate := webOpen(t, cfg)
			r := chi.NewRouter()
			r.Handle("/admit", gate.Admit(webNever(t)))
			r.Handle("/role", gate.Require(rolegate.AnyRole("teacher"))(webNever(t)))
			r.Handle("/where", gate.Require(rolegate.Where("no", func(rolegate.User, *http.Request) bool { return false }))(webNever(t)))
			r.Handle("/org", gate.Require(rolegate.AnyRole("pupil"), webOrg(2))(webNever(t)))
			r.Handle("/none", gate.Require(rolegate.AnyRole("pupil"), webOrg(0))(webNever(t)))
			server := httptest.NewServer(r)
			t.Cleanup(server.Close)
			for _, method := range []string{"GET", "HEAD", "POST"} {
				var first string
				for _, c := range []struct{ path, account string }{
					{"/role", "nosuch"}, {"/role", "alice"}, {"/role", "twin"}, {"/admit", "nosuch"}, {"/admit", "twin"}, {"/where", "alice"}, {"/where", "nosuch"},
					{"/org", "alice"}, {"/none", "alice"}, {"/none", "nosuch"},
				} {
					req, err := http.NewRequestWithContext(t.Context(), method, server.URL+c.path, nil)
					require.NoError(t, err)
					req.Header.Set("X-Account", c.account)
					req.Header.Set("Accept", "text/html")
					resp, err := server.Client().Transport.RoundTrip(req)
					require.NoError(t, err)
					require.Equal(t, 403, resp.StatusCode)
					resp.Header.Del("Date")
					all, err := httputil.DumpResponse(resp, true)
					require.NoError(t, err)
					require.NoError(t, resp.Body.Close())
					if method != "HEAD" {
						assert.Len(t, webID.FindAllString(string(all), -1), 1)
					}
					got := webNoID(string(all))
					if first == "" {
						first = got
					}
					assert.Equal(t, first, got, "%s %s as %s", method, c.path, c.account)
				}
			}
		})
	}
	// A refresh on deny takes its time for an unknown id and for a missing role
	// alike; once it has been made for somebody, neither waits again.
	for _, off := range []bool{false, true} {
		t.Run(fmt.Sprint("the time that it takes, OnDeny.Off ", off), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				source := rolegatetest.NewStatic(listed)
				cfg := webConfig(source)
				cfg.OnDeny.Off = off
				// No refresh of the loop is to be under way, which a refusal would join.
				cfg.Refresh = rolegate.Refresh{Every: 24 * time.Hour, ResyncEvery: 48 * time.Hour}
				gate := webOpen(t, cfg)
				h := gate.Require(rolegate.AnyRole("teacher"))(webNever(t))
				for _, delay := range []time.Duration{0, 300 * time.Millisecond, 20 * time.Second} {
					source.SetDelay(delay)
					took := func(user int64) time.Duration {
						begun := time.Now()
						assert.Equal(t, 403, webAsk(h, "GET", "/", user).Code)
						return time.Since(begun)
					}
					for range 2 {
						unknown := took(99)
						webAfter(time.Second / 2)
						assert.Equal(t, unknown, took(1))
						assert.Equal(t, took(99), took(1), "and again")
						assert.Zero(t, took(1))
						webAfter(time.Minute)
					}
				}
			})
		})
	}
}
