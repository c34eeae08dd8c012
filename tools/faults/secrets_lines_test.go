package faults_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// webEvil begins a line of its own wherever it is written down as it is.
const webEvil = "alice\r\nlevel=ERROR msg=forged\x00\x1b[31m\u2028x"

// webLinesWhole says that what was logged is in order: each event is one line,
// and no control byte is in any.
func webLinesWhole(t *testing.T, book *webBook) {
	t.Helper()
	for _, line := range book.textLines() {
		assert.True(t, strings.HasPrefix(line, "time="), "%q", line)
		assert.False(t, strings.ContainsFunc(line, unicode.IsControl), "%q", line)
	}
	for line := range strings.Lines(strings.TrimSuffix(book.all(), strings.Join(book.textLines(), "\n")+"\n")) {
		assert.True(t, json.Valid([]byte(line)), "%q", line)
		assert.False(t, strings.ContainsFunc(strings.TrimSuffix(line, "\n"), unicode.IsControl), "%q", line)
	}
}

// Line 60: line breaks and control bytes in an id or account. In a log they must
// be escaped, if they are there at all; they must never be in a header, nor in
// anything that becomes a metric label.
func TestFault60LineBreaksInIDs(t *testing.T) {
	t.Parallel()
	t.Run("from the app", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			evil := webUser(1, webIn(7, "pupil"))
			evil.Account, evil.Email, evil.ThirdAccount, evil.ThirdUserID, evil.Nickname = webEvil, webEvil, webEvil, webEvil, webEvil
			book := new(webBook)
			events := make(chan rolegate.DecisionEvent, 100)
			cfg := webConfig(rolegatetest.NewStatic(evil))
			cfg.Logger, cfg.SampleGrants, cfg.Keep = book.logger(), 1, keepAll
			cfg.OnDecision = func(e rolegate.DecisionEvent) { events <- e }
			cfg.Identify = rolegate.ByText(rolegate.KindAccount, func(r *http.Request) (string, error) {
				switch r.Header.Get("X-Who") {
				case "fails":
					return "", errors.New("no session " + webEvil)
				case "panics":
					panic(webEvil)
				case "unknown":
					return webEvil + "?", nil
				}
				return webEvil, nil
			})
			gate := webOpen(t, cfg)
			r := chi.NewRouter()
			r.Handle("/", gate.Admit(webAnswer(gate)))
			r.Handle("/role", gate.Require(rolegate.AnyRole("teacher"))(webNever(t)))
			r.Handle("/where", gate.Require(rolegate.Where("mine", func(rolegate.User, *http.Request) bool { panic(webEvil) }))(webNever(t)))
			r.Handle("/orgs/{orgID}", gate.Require(rolegate.AnyRole("pupil"), rolegate.InOrg(rolegate.PathOrg("orgID")))(webNever(t)))
			asked := 0
			for _, who := range []string{"listed", "unknown", "fails", "panics"} {
				for _, path := range []string{"/", "/role", "/where", "/orgs/7%0d%0alevel=ERROR%20msg=forged%00", "/%0d%0alevel=ERROR%20msg=forged"} {
					req := httptest.NewRequestWithContext(t.Context(), "GET", path, nil)
					req.Header.Set("X-Who", who)
					w := httptest.NewRecorder()
					r.ServeHTTP(w, req)
					if w.Code != 404 {
						asked++
						assert.NotContains(t, fmt.Sprint(w.Header(), w.Body), "forged")
						for name, values := range w.Header() {
							assert.False(t, strings.ContainsFunc(name+strings.Join(values, ""), unicode.IsControl))
						}
					}
				}
			}
			synctest.Wait()
			assert.Len(t, events, asked)
			for range asked {
				e := <-events
				assert.NotContains(t, fmt.Sprintf("%+v", e), "forged", "what metrics are made of")
			}
			webLinesWhole(t, book)
			refused := book.lines("rolegate: refused")
			require.Len(t, refused, asked-1)
			for _, line := range book.textLines() {
				if strings.Contains(line, "forged") { // only where the text is the app's own
					assert.Contains(t, line, "reason=identify_failed", "an account is not logged at all")
				}
			}
			status := webStatus(t, gate)
			assert.NotContains(t, status, "forged")
			assert.NotContains(t, fmt.Sprintf("%v %+v %#v %s %q", identityOf(rolegate.KindAccount, webEvil), identityOf(rolegate.KindEmail, webEvil), identityOf(rolegate.KindThirdAccount, webEvil), identityOf(rolegate.KindThirdUserID, webEvil),
				gate.Decide(t.Context(), identityOf(rolegate.KindAccount, webEvil)).User), "forged")
		})
	})
	t.Run("from the header of a proxy", func(t *testing.T) {
		t.Parallel()
		book := new(webBook)
		cfg := webConfig(rolegatetest.NewStatic(webUser(1)))
		cfg.Logger = book.logger()
		cfg.Identify = rolegate.FirstOf(rolegate.ByText(rolegate.KindAccount, rolegate.TextHeader("X-Account", rolegate.Loopback()...)),
			rolegate.ByUserID(rolegate.UserIDHeader("X-User-Id", rolegate.Loopback()...)))
		h := webOpen(t, cfg).Admit(webNever(t))
		for _, name := range []string{"X-Account", "X-User-Id"} {
			for _, value := range []string{webEvil, "1\n", "1\r\nX: y", "\x001", "1\x1b[0m"} {
				r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
				r.RemoteAddr = "127.0.0.1:4000"
				r.Header[name] = []string{value} // as no server would accept
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				assert.Equal(t, 401, w.Code, "%q", value)
				assert.NotContains(t, fmt.Sprint(w.Header(), w.Body), "forged")
			}
		}
		webLinesWhole(t, book)
		assert.NotContains(t, book.all(), "forged")
	})
	t.Run("from the marketplace", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			quoted := webQuote(webEvil)
			m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
			for id := range int64(8) {
				m.Grant(id+1, 7, "teacher")
			}
			m.Put(rolegatetest.User{ID: 9, Account: webEvil, Nickname: webEvil, Grants: []rolegate.Grant{webIn(7, "teacher\nlevel=ERROR msg=forged")}},
				rolegatetest.User{ID: 10, Account: webEvil})
			m.Raw(2, `{"userId":`+quoted+`,"lastSequence":2,"roleList":[]}`)
			m.Raw(3, `{"userId":"3\n","lastSequence":3,"roleList":[]}`)
			m.Raw(4, `{"userId":4,"lastSequence":`+quoted+`,"roleList":[]}`)
			m.Raw(5, `{"userId":5,"lastSequence":5,"account":"a","account":`+quoted+`,"roleList":[]}`)
			m.Raw(6, `{"userId":6,"lastSequence":6,"roleList":[{"orgId":7,"roleCode":[`+quoted+`]}]}`)
			m.Raw(7, `{"userId":7,"lastSequence":7,"roleList":[{"orgId":`+quoted+`,"roleCode":"x"}]}`)
			book := new(webBook)
			cfg := webConfig(webClient(m))
			cfg.Logger, cfg.Keep, cfg.Aliases = book.logger(), keepAll, []rolegate.Kind{rolegate.KindAccount}
			gate := webOpen(t, cfg)
			gate.Require(rolegate.AnyRole("teacher\nlevel=ERROR msg=forget")) // a typo of the code with the line break
			for _, bad := range []int64{2, 3, 4, 5, 6, 7} {
				assert.False(t, webAllowed(gate, bad), bad)
			}
			assert.True(t, webAllowed(gate, 8))
			assert.True(t, webAllowed(gate, 9))
			require.NoError(t, gate.RefreshAll(t.Context()))
			m.Fail(rolegatetest.ErrorEnvelope(500, "user "+webEvil+" unknown"))
			require.Error(t, gate.Refresh(t.Context()))
			m.Fail(rolegatetest.ErrorEnvelope(401, webEvil))
			err := gate.RefreshAll(t.Context())
			require.Error(t, err)
			assert.False(t, strings.ContainsFunc(err.Error(), unicode.IsControl), "%q", err)
			webLinesWhole(t, book)
			text, err := json.Marshal(gate.Status())
			require.NoError(t, err)
			assert.False(t, strings.ContainsFunc(string(text), unicode.IsControl))
			for failure := range gate.Status().Failures {
				assert.Regexp(t, `^[a-z_]+$`, string(failure), "what becomes a metric label")
			}
			for _, request := range m.Requests() {
				assert.NotContains(t, fmt.Sprint(request.Header), "forged")
			}
			m.Recover()
			webAfter(2 * time.Minute)
		})
	})
	t.Run("from the config", func(t *testing.T) {
		t.Parallel()
		good := marketplace.Config{BaseURL: rolegatetest.BaseURL, AppID: "app", Token: marketplace.StaticToken("token")}
		for name, spoil := range map[string]func(*rolegate.Config, *marketplace.Config){
			"AppID":     func(_ *rolegate.Config, c *marketplace.Config) { c.AppID = "app\r\nX-App-Id: other" },
			"Challenge": func(c *rolegate.Config, _ *marketplace.Config) { c.Challenge = "Bearer realm=\"a\"\r\nSet-Cookie: a=b" },
		} {
			client := good
			cfg := webConfig(nil)
			spoil(&cfg, &client)
			cfg.Source = marketplace.New(client)
			_, err := rolegate.Open(t.Context(), cfg)
			assert.ErrorContains(t, err, name, "it would be a header")
		}
	})
}

func webQuote(text string) string {
	quoted, _ := json.Marshal(text)
	return string(quoted)
}
