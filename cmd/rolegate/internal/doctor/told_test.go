package doctor_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/doctor"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
	"github.com/rolegate/rolegate/console"
	"github.com/rolegate/rolegate/internal/logbook"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/promgate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// What is odd about a list is told in each place: once in the log, in Status, in a
// metric, on the console in both languages, and by doctor, as far as its three
// requests can show it.
func TestEachKindIsTold(t *testing.T) {
	t.Parallel()
	failure := func(f rolegate.Failure) (func(rolegate.Status) bool, string) {
		return func(s rolegate.Status) bool { return s.Failures[f] > 0 && s.Full.Failure == f }, fmt.Sprintf(`rolegate_sync_failures_total{reason=%q}`, f)
	}
	outcome := func(item string, of func(rolegate.RefreshOutcome) int) (func(rolegate.Status) bool, string) {
		return func(s rolegate.Status) bool { return of(s.Full.Outcome) == 1 }, fmt.Sprintf(`rolegate_sync_last_outcome{item=%q,kind="full"}`, item)
	}
	fail := func(f rolegatetest.Fault) func(*rolegatetest.Marketplace) {
		return func(m *rolegatetest.Marketplace) { m.Fail(f) }
	}
	raw := func(record string) func(*rolegatetest.Marketplace) {
		return func(m *rolegatetest.Marketplace) { m.Raw(9, record) }
	}
	type kind struct {
		name    string
		set     func(m *rolegatetest.Marketplace)
		log     string // in its line
		status  func(rolegate.Status) bool
		metric  string // whose value is above 0
		console [2]string
		doctor  string // the finding, "" if it takes a gate that runs
		advice  string // what it says to do
	}
	add := func(k kind, status func(rolegate.Status) bool, metric string) kind {
		k.status, k.metric = status, metric
		return k
	}
	var kinds []kind
	for _, k := range []struct {
		failure rolegate.Failure
		kind
	}{
		{marketplace.FailureCursorTie, kind{name: "one sequence for many", set: tie, log: "cursor_tie", console: [2]string{"too many users share one sequence", "过多用户的序号相同"}, doctor: "cursor.tie", advice: "a sequence of its own"}},
		{marketplace.FailureDescending, kind{name: "descending pages", set: fail(rolegatetest.Descending()), log: "descending", console: [2]string{"pages in descending order", "分页为降序"}, doctor: "cursor.descending", advice: "ascending"}},
		{rolegate.FailureOlderList, kind{name: "an older list", set: older, log: "older_list", console: [2]string{"an older list than the one known", "列表比已知的更旧"}}},
		{marketplace.FailureUpstream, kind{name: "a code of its own", set: fail(rolegatetest.ErrorEnvelope(40014, "x")), log: "upstream_error", console: [2]string{"the marketplace reports an error", "市场返回错误"}, doctor: "token.code", advice: "marketplace.refused_codes"}},
		{rolegate.FailureRefused, kind{name: "a refused token", set: fail(rolegatetest.RefuseToken()), log: "refused", console: [2]string{"token or app id refused", "令牌或应用标识被拒绝"}, doctor: "token.refused_in_body", advice: "Get a new token"}},
		{rolegate.FailureHTTPStatus, kind{name: "too many requests", set: fail(rolegatetest.HTTPStatus(429)), log: "http_status", console: [2]string{"unexpected HTTP status", "HTTP 状态异常"}, doctor: "token.too_many", advice: "marketplace.max_requests_per_second"}},
		{marketplace.FailureMalformed, kind{name: "null for a list", set: func(m *rolegatetest.Marketplace) { m.Clear(); m.Fail(rolegatetest.EmptyAs("null")) }, log: "malformed", console: [2]string{"not the documented answer", "响应格式不符"}, doctor: "token.content", advice: "Something else answers"}},
		{marketplace.FailureCachedReply, kind{name: "a cache", set: fail(rolegatetest.CachedReply(30e9)), log: "cached_reply", console: [2]string{"answered by a cache", "响应来自缓存"}, doctor: "freshness.cached", advice: "proxy"}},
		{rolegate.FailureDrift, kind{name: "another form", set: func(m *rolegatetest.Marketplace) {
			for id := range int64(12) {
				m.Raw(id+2, fmt.Sprintf(`{"userId":%d,"lastSequence":%d}`, id+2, id+2))
			}
		}, log: "schema_drift", console: [2]string{"the form of the list has changed", "列表格式发生变化"}, doctor: "ids.drift", advice: "document"}},
	} {
		status, metric := failure(k.failure)
		kinds = append(kinds, add(k.kind, status, metric))
	}
	for _, k := range []struct {
		item string
		of   func(rolegate.RefreshOutcome) int
		kind
	}{
		{"bad_records", func(o rolegate.RefreshOutcome) int { return o.BadRecords }, kind{name: "an invalid record", set: raw(`{"userId":9,"lastSequence":9,"roleList":{}}`), log: `"bad_records":1`, console: [2]string{"1 unreadable", "1 条无法解析"}, doctor: "ids.bad", advice: "Tell the marketplace"}},
		{"null_roles", func(o rolegate.RefreshOutcome) int { return o.NullRoles }, kind{name: "null for roles", set: raw(`{"userId":9,"lastSequence":9,"roleList":null}`), log: `"null_roles":1`, console: [2]string{"1 with null for roles", "1 个角色列表为 null"}, doctor: "ids.null_roles", advice: "without roles"}},
		{"dropped_grants", func(o rolegate.RefreshOutcome) int { return o.DroppedGrants }, kind{name: "a role of no organisation", set: raw(`{"userId":9,"lastSequence":9,"roleList":[{"roleCode":"a"}]}`), log: `"dropped_grants":1`, console: [2]string{"1 incomplete roles dropped", "丢弃 1 个不完整的角色"}, doctor: "roles.dropped", advice: "fix them"}},
		{"repeated_pages", func(o rolegate.RefreshOutcome) int { return o.Repeated }, kind{name: "a page that went wrong", set: func(m *rolegatetest.Marketplace) { m.FailNext(1, rolegatetest.HTTPStatus(502)) }, log: `"repeated_pages":1`, console: [2]string{"pages asked for again: 1", "重新请求 1 页"}}},
		{"removed", func(o rolegate.RefreshOutcome) int { return o.Removed }, kind{name: "a removal", set: func(m *rolegatetest.Marketplace) { m.Revoke(9) }, log: `"removed":1`, console: [2]string{"1 removed", "移除 1"}}},
	} {
		status, metric := outcome(k.item, k.of)
		kinds = append(kinds, add(k.kind, status, metric))
	}
	kinds = append(kinds,
		kind{
			name: "a list that shrinks", set: fail(rolegatetest.DropRows(5)), log: "shrunk too much", status: func(s rolegate.Status) bool { return s.Held.Users == 35 },
			metric: "rolegate_held_removals", console: [2]string{"Removals of 35 users are held back", "暂缓移除 35"},
		},
		kind{
			name: "a role that is gone", set: func(m *rolegatetest.Marketplace) {
				for id := range int64(40) {
					m.Take(id+1, 7, "pupil")
				}
			}, log: "shrunk too much", status: func(s rolegate.Status) bool { return s.Held.LostRoles >= 38 && s.Held.Users == 0 },
			metric: "rolegate_held_lost_roles", console: [2]string{"Removals of roles of ", "的角色"},
		},
		kind{
			name: "a name that two have", set: func(m *rolegatetest.Marketplace) {
				m.Put(rolegatetest.User{ID: 100, Account: "twin"}, rolegatetest.User{ID: 101, Account: "twin"})
			}, log: "several users share an alias", status: func(s rolegate.Status) bool { return s.Ambiguous[rolegate.KindAccount] == 1 },
			metric: `rolegate_index_ambiguous_aliases{kind="account"}`, console: [2]string{"so nobody is admitted by them", "该别名一律不予放行"},
		},
	)
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
			for id := range int64(40) {
				m.Put(rolegatetest.User{ID: id + 1, Account: fmt.Sprint("account", id), Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "pupil"}}})
			}
			m.Grant(1, 7, "admin")
			synctest.Test(t, func(t *testing.T) {
				var book logbook.Book
				gate, err := rolegate.Open(t.Context(), rolegate.Config{
					Source: marketplace.New(marketplace.Config{
						BaseURL: rolegatetest.BaseURL, AppID: m.AppID(), Token: marketplace.StaticToken(m.Token()), Transport: m.Transport(), PageSize: 20,
					}),
					Identify: rolegate.ByUserID(func(r *http.Request) (int64, error) { return strconv.ParseInt(r.Header.Get("X-User-Id"), 10, 64) }),
					Aliases:  []rolegate.Kind{rolegate.KindAccount},
					Logger:   slog.New(slog.NewJSONHandler(&book, nil)),
				})
				require.NoError(t, err)
				defer func() { assert.NoError(t, gate.Close()) }()
				if k.name == "an older list" {
					m.Touch(3)
					require.NoError(t, gate.RefreshAll(t.Context()))
				}
				page := console.New(gate, console.Config{Logger: slog.New(slog.DiscardHandler)})
				look := func(language string) string {
					r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
					r.Header.Set("X-User-Id", "1")
					r.Header.Set("Accept-Language", language)
					w := httptest.NewRecorder()
					gate.Admit(page).ServeHTTP(w, r)
					return w.Body.String()
				}
				look("en") // it remembers what it has seen
				k.set(m)
				_ = gate.RefreshAll(t.Context())
				assert.True(t, k.status(gate.Status()), "%+v", gate.Status())
				assert.Equal(t, 1, loud(book.String(), k.log), "told at once, and once: %s", book.String())
				english, chinese := look("en"), look("zh")
				assert.Contains(t, english, k.console[0])
				assert.Contains(t, chinese, k.console[1])
				assert.Positive(t, metrics(t, gate)[k.metric], k.metric)
				_ = gate.RefreshAll(t.Context())
				if !strings.Contains(k.log, "removed") { // that was an event
					assert.Equal(t, 1, loud(book.String(), k.log), "not again as long as it stays so: %s", book.String())
				}
			})
			if k.doctor == "" {
				return
			}
			findings := examine(t, doctor.Options{File: withPages(fileFor(t, m.Start(t), m.AppID(), m.Token()), 20)})
			assert.Contains(t, names(findings), k.doctor)
			requireSays(t, findings, k.advice)
		})
	}
}

// tie gives everybody one sequence, which is more than a page has.
func tie(m *rolegatetest.Marketplace) {
	var all []int64
	for _, u := range m.Users() {
		all = append(all, u.ID)
	}
	m.TouchTied(all...)
}

// older answers from a list in which user 3 has not been touched.
func older(m *rolegatetest.Marketplace) {
	was := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	was.Put(m.Users()...)
	b := was.Backup()
	m.Fail(func(w http.ResponseWriter, r *http.Request, normal http.Handler) {
		rolegatetest.Lagging(b)(w, r, normal)
	})
}

func withPages(f *settings.File, rows int) *settings.File {
	f.Marketplace.PageSize = rows
	return f
}

// loud counts the log lines of level INFO and above that say so.
func loud(book, says string) (n int) {
	for line := range strings.Lines(book) {
		var entry struct{ Level string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Level != "DEBUG" && strings.Contains(line, says) {
			n++
		}
	}
	return n
}

// metrics are the values of all metrics of a gate, by name and labels.
func metrics(t *testing.T, gate *rolegate.Gate) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(promgate.New(gate, nil)))
	families, err := registry.Gather()
	require.NoError(t, err)
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			name := f.GetName()
			if len(labels) > 0 {
				name += "{" + strings.Join(labels, ",") + "}"
			}
			values[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return values
}
