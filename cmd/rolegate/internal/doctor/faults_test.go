package doctor_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/doctor"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
	"github.com/rolegate/rolegate/rolegatetest"
)

// mostRequests is how many the marketplace may see, whatever happens.
const mostRequests = 6

// headers answers as usual with headers besides.
func headers(pairs ...string) rolegatetest.Fault {
	return func(w http.ResponseWriter, r *http.Request, normal http.Handler) {
		for i := 0; i < len(pairs); i += 2 {
			w.Header().Set(pairs[i], pairs[i+1])
		}
		normal.ServeHTTP(w, r)
	}
}

// echo answers with a message that has everything in it that it was sent.
func echo(w http.ResponseWriter, r *http.Request, _ http.Handler) {
	_, _ = fmt.Fprintf(w, `{"code":500,"status":"fail","message":"bad request %s from lilei@example.com","data":{}}`, r.URL.RawQuery)
}

func lilei(id int64, grants ...rolegate.Grant) rolegatetest.User {
	return rolegatetest.User{
		ID: id, Account: "li.lei", Email: "lilei@example.com", Nickname: "李雷", ThirdAccount: "third.lilei", ThirdUserName: "李雷", Grants: grants,
	}
}

func many(m *rolegatetest.Marketplace, n int) {
	for id := range n {
		m.Grant(int64(id+1), 7, "teacher")
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	fail := func(f rolegatetest.Fault) func(*rolegatetest.Marketplace) {
		return func(m *rolegatetest.Marketplace) { m.Fail(f) }
	}
	after := func(f rolegatetest.Fault) func(*rolegatetest.Marketplace) {
		return func(m *rolegatetest.Marketplace) { m.FailWhen(rolegatetest.Request.GoesOn, f) }
	}
	tests := []struct {
		name  string
		cfg   rolegatetest.MarketplaceConfig
		set   func(*rolegatetest.Marketplace)
		file  func(*settings.File)
		clock time.Duration // that doctor's is ahead
		want  []string      // all that is not fine
		says  string        // in English or Chinese
	}{
		{name: "nothing is wrong", says: "Everything is fine."},
		{name: "token refused by HTTP 401", cfg: rolegatetest.MarketplaceConfig{UnauthorizedHTTP: true}, set: fail(rolegatetest.RefuseToken()),
			want: []string{"wrong token.refused"}, says: "Get a new token"},
		{name: "token refused in the body", set: fail(rolegatetest.RefuseToken()),
			want: []string{"wrong token.refused_in_body"}, says: "code 401 in the body"},
		{name: "another app id", file: func(f *settings.File) { f.Marketplace.AppID = "other" },
			want: []string{"wrong token.refused_in_body"}, says: "Which of the two cannot be told"},
		{name: "another code", set: fail(rolegatetest.ErrorEnvelope(100301, "accessToken 已过期")),
			want: []string{"wrong token.code"}, says: "code 100301"},
		{name: "redirect to a login page", set: fail(rolegatetest.HTTPStatus(302, "Location", "https://sso.example.com/login?service=x&accessToken="+rolegatetest.DefaultToken)),
			want: []string{"wrong token.redirect"}, says: "a redirect to https://sso.example.com\n"},
		{name: "redirect to a path", set: fail(rolegatetest.HTTPStatus(302, "Location", "/login")),
			want: []string{"wrong token.redirect"}, says: "login page"},
		{name: "redirect to https", set: fail(rolegatetest.HTTPStatus(301, "Location", "https://127.0.0.1/app/user/list?accessToken="+rolegatetest.DefaultToken)),
			want: []string{"wrong token.redirect_https"}, says: "Use https://127.0.0.1 as the URL"},
		{name: "HTML", set: fail(rolegatetest.HTMLPage()), want: []string{"wrong token.html"}, says: "登录页"},
		{name: "no path", file: func(f *settings.File) { f.Marketplace.URL += "/v2" },
			want: []string{"wrong token.not_found"}, says: "/v2/api as the URL"},
		{name: "one /api too many", file: func(f *settings.File) { f.Marketplace.URL += "/api/" },
			want: []string{"wrong token.not_found"}, says: "as the URL, or another path"},
		{name: "404 in the body", set: fail(rolegatetest.ErrorEnvelope(404, "nothing here")), want: []string{"wrong token.not_found"}, says: "/api"},
		{name: "403", set: fail(rolegatetest.HTTPStatus(403)), want: []string{"wrong token.forbidden"}, says: "outgoing address"},
		{name: "407", set: fail(rolegatetest.HTTPStatus(407)), want: []string{"wrong token.proxy_password"}, says: "HTTPS_PROXY"},
		{name: "429", set: fail(rolegatetest.HTTPStatus(429)), want: []string{"wrong token.too_many"}, says: "refresh.every"},
		{name: "503", set: fail(rolegatetest.HTTPStatus(503)), want: []string{"wrong token.server"}, says: "Try again in a few minutes"},
		{name: "418", set: fail(rolegatetest.HTTPStatus(418)), want: []string{"wrong token.status"}, says: "HTTP status 418"},
		{name: "empty object", set: fail(rolegatetest.Body("{}")), want: []string{"wrong token.content"}, says: "the envelope has no code"},
		{name: "no array", set: fail(rolegatetest.EmptyData()), want: []string{"wrong token.content"}, says: "data: expected an array"},
		{name: "garbage", set: fail(rolegatetest.Garbage()), want: []string{"wrong token.content"}, says: "Something else answers"},
		{name: "an empty body", set: fail(rolegatetest.EmptyBody()), want: []string{"wrong token.content"}, says: "Something else answers"},
		{name: "cut off", set: fail(rolegatetest.Truncated()), want: []string{"wrong token.cut_off"}, says: "page_size"},
		{name: "reset", set: fail(rolegatetest.Reset()), want: []string{"wrong token.broken"}, says: "proxy or firewall"},
		{name: "hangs", set: fail(rolegatetest.Hang()), file: func(f *settings.File) { f.Marketplace.PageTimeout = settings.Duration(50 * time.Millisecond) },
			want: []string{"wrong token.timeout"}, says: "page_timeout"},
		{name: "slow", set: func(m *rolegatetest.Marketplace) { m.FailNext(1, rolegatetest.Slow(1500*time.Millisecond)) },
			file: func(f *settings.File) { f.Marketplace.PageTimeout = settings.Duration(2900 * time.Millisecond) },
			want: []string{"warning page.slow"}, says: "page_size"},
		{name: "too large", file: func(f *settings.File) { f.Marketplace.MaxPageBytes = 100 }, want: []string{"wrong page.too_large"}, says: "marketplace.max_page_bytes"},
		{name: "nearly too large", file: func(f *settings.File) { f.Marketplace.MaxPageBytes = 1200 }, want: []string{"warning page.large"}, says: "one above 1.2 KiB fails"},
		{name: "an echo of the token", set: fail(echo), want: []string{"wrong token.code"}, says: "bad request"},
		{name: "nobody", set: (*rolegatetest.Marketplace).Clear, want: []string{"warning page.empty"}, says: "right app id and environment"},

		{name: "ids as strings", cfg: rolegatetest.MarketplaceConfig{IDs: rolegatetest.IDsString}, says: "ids are strings"},
		{name: "ids as both", cfg: rolegatetest.MarketplaceConfig{IDs: rolegatetest.IDsMixed}, set: func(m *rolegatetest.Marketplace) { many(m, 9) }, says: "in turns"},
		{name: "large ids", set: func(m *rolegatetest.Marketplace) { m.Grant(1<<53, 7, "teacher"); m.Grant(1<<53+1, 7, "teacher") },
			want: []string{"note ids.large"}, says: "user ids above 2^53: 1\n"},
		{name: "ids that are none", set: func(m *rolegatetest.Marketplace) { m.Put(lilei(0), lilei(-4)) },
			want: []string{"warning ids.nobody", "warning ids.bad_without_id"}, says: "0 or below: 2"},
		{name: "a user twice", set: func(m *rolegatetest.Marketplace) {
			m.Respell(1, func(json string) string { return json + "," + json })
		}, want: []string{"warning ids.repeated", "note cursor.shared"}, says: "more than once: 1, such as 1"},
		{name: "doubled keys", set: func(m *rolegatetest.Marketplace) {
			m.Respell(2, func(json string) string { return strings.Replace(json, "{", `{"userId":3,`, 1) })
		}, want: []string{"warning ids.bad"}, says: "record: expected each key once"},
		{name: "no role list", set: func(m *rolegatetest.Marketplace) {
			m.Raw(2, `{"userId":2,"lastSequence":2}`)
		}, want: []string{"warning ids.no_role_list", "warning ids.bad"}, says: `“roleList”: []`},
		{name: "another interface", set: func(m *rolegatetest.Marketplace) {
			many(m, 30)
			for id := range 20 {
				m.Raw(int64(id+1), fmt.Sprintf(`{"id":%d}`, id))
			}
		}, want: []string{"warning ids.no_role_list", "warning ids.bad_without_id", "wrong ids.drift"}, says: "of 30 records 20"},

		{name: "an inclusive server", cfg: rolegatetest.MarketplaceConfig{Inclusive: true}, says: "the server repeats that one"},
		{name: "tied", set: func(m *rolegatetest.Marketplace) { m.PutTied(lilei(8, teacher), lilei(9, teacher)) },
			want: []string{"note cursor.shared"}, says: "Leave marketplace.unique_sequences off"},
		{name: "tied against the settings", set: func(m *rolegatetest.Marketplace) { m.PutTied(lilei(8, teacher), lilei(9, teacher)) },
			file: func(f *settings.File) { f.Marketplace.UniqueSequences = true },
			want: []string{"wrong cursor.shared_but_unique"}, says: "Turn it off"},
		{name: "disordered", set: func(m *rolegatetest.Marketplace) {
			m.Respell(1, func(json string) string { return strings.Replace(json, `"lastSequence":1`, `"lastSequence":9`, 1) })
		}, want: []string{"warning cursor.disordered"}, says: "ascending order"},
		{name: "disordered, and more follow", set: func(m *rolegatetest.Marketplace) {
			many(m, 12)
			m.Respell(1, func(json string) string { return strings.Replace(json, `"lastSequence":1`, `"lastSequence":10`, 1) })
		}, file: func(f *settings.File) { f.Marketplace.PageSize = 10 },
			want: []string{"wrong cursor.disordered_pages", "note cursor.shared"}, says: "left out and refused"},
		{name: "no sequences", set: func(m *rolegatetest.Marketplace) {
			for id := range int64(2) {
				m.Respell(id+1, func(json string) string {
					return strings.Replace(json, fmt.Sprintf(`"lastSequence":%d`, id+1), `"lastSequence":0`, 1)
				})
			}
		}, want: []string{"warning cursor.none"}, says: "lastSequence"},
		{name: "one without a sequence", set: func(m *rolegatetest.Marketplace) {
			m.Respell(1, func(json string) string { return strings.Replace(json, `"lastSequence":1`, `"lastSequence":0`, 1) })
		}, want: []string{"warning cursor.some_none"}, says: "while others have one: 1"},
		{name: "a sequence that is a typo", set: func(m *rolegatetest.Marketplace) {
			m.Respell(2, func(json string) string {
				return strings.Replace(json, `"lastSequence":2`, `"lastSequence":9000000000000000`, 1)
			})
		}, want: []string{"warning cursor.absurd"}, says: "from 9000000000000000, where the next below is 1"},
		{name: "a rate that is too low", set: func(m *rolegatetest.Marketplace) { many(m, 5) }, file: func(f *settings.File) {
			f.Marketplace.PageSize, f.Marketplace.MaxRequests, f.Refresh.ResyncEvery = 3, 2, settings.Duration(4*time.Second)
		}, want: []string{"warning page.room_small"}, says: "no more than about 24 users"},
		{name: "a rate that will do", set: func(m *rolegatetest.Marketplace) { many(m, 5) }, file: func(f *settings.File) {
			f.Marketplace.PageSize, f.Marketplace.MaxRequests, f.Refresh.ResyncEvery = 3, 2, settings.Duration(time.Hour)
		}, says: "about 21000 users"},
		{name: "the cursor is not heeded", set: fail(rolegatetest.StuckPage()), want: []string{"wrong cursor.not_heeded"}, says: "does not heed lastSequence"},
		{name: "the cursor does not move", set: fail(rolegatetest.NoProgress()), want: []string{"wrong cursor.tie", "note freshness.plain"}, says: "a sequence of its own"},
		{name: "without end", set: fail(rolegatetest.Endless()), want: []string{"warning roles.none", "note freshness.plain"}, says: "and more follow"},
		{name: "short pages", set: func(m *rolegatetest.Marketplace) { many(m, 5); m.SetPageCap(3) }, want: []string{"note cursor.short_pages"}, says: "a page has 3 users"},
		{name: "full pages", set: func(m *rolegatetest.Marketplace) { many(m, 5) }, file: func(f *settings.File) { f.Marketplace.PageSize = 3 }, says: "users on the first page: 3, and more follow"},
		{name: "the second request fails", set: after(rolegatetest.HTTPStatus(500)), want: []string{"warning cursor.unknown"}, says: "HTTP status 500"},

		{name: "no roles at all", set: func(m *rolegatetest.Marketplace) { m.Take(1, 7, "teacher"); m.Take(2, 7, "teacher", "admin") },
			want: []string{"warning roles.none"}, says: "refuse everybody"},
		{name: "one user alone", set: func(m *rolegatetest.Marketplace) { m.Revoke(2) }, says: "users: 1, which is the whole list"},
		{name: "one without roles", set: func(m *rolegatetest.Marketplace) { m.Put(lilei(3)) }, want: []string{"note roles.without"}, says: "without any role: 1"},
		{name: "grants of nobody", set: func(m *rolegatetest.Marketplace) {
			m.Put(lilei(3, teacher, rolegate.Grant{OrgID: 0, RoleCode: "admin"}, rolegate.Grant{OrgID: 7}))
		}, want: []string{"warning roles.dropped"}, says: "without an organisation or a role code: 2"},
		{name: "codes alike", set: func(m *rolegatetest.Marketplace) { m.Grant(3, 7, "Teacher", "tea cher") }, want: []string{"warning roles.alike"}, says: `"Teacher", "tea cher", "teacher"`},
		{name: "a code with blanks", set: func(m *rolegatetest.Marketplace) { m.Grant(3, 7, "head ") }, want: []string{"warning roles.blanks"}, says: `"head "`},
		{name: "the platform's roles", set: func(m *rolegatetest.Marketplace) { m.SetRoles("teacher", "admin", "head") },
			file: func(f *settings.File) { f.Marketplace.RoleListPath = "app/role/list" }, says: "the platform lists role codes: 3"},
		{name: "the platform's roles elsewhere", file: func(f *settings.File) { f.Marketplace.RoleListPath = "app/roles" },
			want: []string{"warning roles.list_failed"}, says: "Fix marketplace.role_list_path"},

		{name: "a cache answers", set: fail(rolegatetest.CachedReply(30 * time.Second)), want: []string{"note token.unknown", "wrong freshness.cached"}, says: "Age: 30"},
		{name: "a cache without an age", set: fail(headers("X-Cache", "HIT from cdn7")), want: []string{"warning freshness.hit"}, says: "marketplace.cache_buster"},
		{name: "a cache that repeats the token", set: fail(headers("X-Cache", "HIT lilei@example.com "+rolegatetest.DefaultToken)), want: []string{"warning freshness.hit"}, says: "X-Cache: HIT [***]"},
		{name: "an age that is the token", set: fail(headers("Age", rolegatetest.DefaultToken)), want: []string{"note token.unknown", "wrong freshness.cached"}, says: "Age: [***]"},
		{name: "a role that is the token", set: func(m *rolegatetest.Marketplace) { m.Grant(3, 7, rolegatetest.DefaultToken, "lilei@example.com ") }, want: []string{"warning roles.blanks"}, says: "[***] (1)"},
		{name: "a cache that had nothing", set: fail(headers("CF-Cache-Status", "MISS")), want: []string{"note freshness.cache"}, says: "Cf-Cache-Status: MISS"},
		{name: "cache me", set: fail(headers("Cache-Control", "public, max-age=60")), want: []string{"note freshness.storable"}, says: "no-store"},
		{name: "cache me not", set: fail(headers("Cache-Control", "private, max-age=0"))},
		{name: "a clock ahead", clock: 2 * time.Hour, want: []string{"warning freshness.ahead"}, says: "ahead of the marketplace's by "},
		{name: "a clock behind", clock: -2 * time.Hour, want: []string{"warning freshness.behind"}, says: "timedatectl"},
		{name: "no date", set: fail(headers("Date", "")), want: []string{"note freshness.no_date"}, says: "no Date"},
		{name: "a large page", set: func(m *rolegatetest.Marketplace) { many(m, 800) }, want: []string{"note freshness.plain"}, says: "gzip"},

		{name: "a token with blanks", file: token("  " + rolegatetest.DefaultToken), want: []string{"warning settings.token_blanks", "wrong token.unavailable"}, says: "Remove them"},
		{name: "a token with its scheme", file: token("Bearer " + rolegatetest.DefaultToken), want: []string{"warning settings.token_bearer", "wrong token.refused_in_body"}, says: "Authorization header"},
		{name: "a token in quotes", file: token(`"` + rolegatetest.DefaultToken + `"`), want: []string{"warning settings.token_quotes", "wrong token.refused_in_body"}, says: "quotation marks"},
		{name: "a token in other quotes", file: token(`“` + rolegatetest.DefaultToken + `”`), want: []string{"warning settings.token_quotes", "wrong token.refused_in_body"}, says: "quotation marks"},
		{name: "a token with its name", file: token("accessToken=" + rolegatetest.DefaultToken), want: []string{"warning settings.token_parameter", "wrong token.refused_in_body"}, says: "after “=”"},
		{name: "a token with a byte order mark", file: token("\ufeff" + rolegatetest.DefaultToken), want: []string{"warning settings.token_invisible", "wrong token.unavailable"}, says: "without BOM"},
		{name: "a token and more", file: token(rolegatetest.DefaultToken + " 86400"), want: []string{"warning settings.token_blank_inside", "wrong token.refused_in_body"}, says: "more than the token"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := rolegatetest.NewMarketplace(tt.cfg)
			m.Put(lilei(1, teacher), lilei(2, teacher, rolegate.Grant{OrgID: 7, RoleCode: "admin"}))
			if tt.set != nil {
				tt.set(m)
			}
			f := fileFor(t, m.Start(t), m.AppID(), m.Token())
			if tt.file != nil {
				tt.file(f)
			}
			if file := f.Marketplace.Token.File; strings.HasPrefix(file, "write:") {
				f.Marketplace.Token = secretFile(t, strings.TrimPrefix(file, "write:"))
			}
			findings := examine(t, doctor.Options{File: f, Now: func() time.Time { return time.Now().Add(tt.clock) }})
			require.Equal(t, tt.want, notFine(findings))
			requireSays(t, findings, tt.says)
			require.LessOrEqual(t, m.RequestCount(), mostRequests)
		})
	}
}

var teacher = rolegate.Grant{OrgID: 7, RoleCode: "teacher"}

// token has the token be another one.
func token(text string) func(*settings.File) {
	return func(f *settings.File) { f.Marketplace.Token = settings.Secret{File: "write:" + text} }
}

func TestGoodRunAsksTwice(t *testing.T) {
	t.Parallel()
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	many(m, 2500)
	findings := examine(t, doctor.Options{File: fileFor(t, m.Start(t), m.AppID(), m.Token())})
	require.Contains(t, names(findings), "page.first")
	require.Len(t, m.Requests(), 2)
}
