package records

import (
	"bytes"
	"database/sql"
	"database/sql/driver"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/DATA-DOG/go-sqlmock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

const big = 1<<53 + 1

func database(t *testing.T) (*sql.DB, sqlmock.Sqlmock) {
	t.Helper()
	db, mock, err := sqlmock.New(sqlmock.QueryMatcherOption(sqlmock.QueryMatcherEqual))
	require.NoError(t, err)
	t.Cleanup(func() {
		mock.ExpectClose()
		assert.NoError(t, db.Close())
		assert.NoError(t, mock.ExpectationsWereMet())
	})
	return db, mock
}

func TestListReports(t *testing.T) {
	t.Parallel()
	grants := func(role string, orgs ...int64) (gs []rolegate.Grant) {
		for _, org := range orgs {
			gs = append(gs, rolegate.Grant{OrgID: org, RoleCode: role})
		}
		return gs
	}
	for _, c := range []struct {
		name   string
		user   *rolegatetest.User // nil: no guard
		where  string
		args   []int64
		failed bool
		want   string
	}{
		{"one organisation", &rolegatetest.User{ID: 1, Grants: grants("teacher", big)}, "org_id IN (?)", []int64{big}, false,
			`[{"id":"9007199254740994","org_id":"9007199254740993","title":"maths"}]`},
		{"several", &rolegatetest.User{ID: 1, Grants: append(grants("principal", 9, 7), grants("teacher", 7, 8)...)}, "org_id IN (?, ?, ?)", []int64{7, 8, 9}, false, ""},
		{"another role there", &rolegatetest.User{ID: 1, Grants: append(grants("teacher", 7), grants("pupil", 8)...)}, "org_id IN (?)", []int64{7}, false, ""},
		{"none", &rolegatetest.User{ID: 1}, "1 = 0", nil, false, ""},
		{"no guard", nil, "1 = 0", nil, false, ""},
		{"the database is away", &rolegatetest.User{ID: 1, Grants: grants("teacher", 7)}, "org_id IN (?)", []int64{7}, true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			db, mock := database(t)
			rows := sqlmock.NewRows([]string{"id", "org_id", "title"})
			if c.want != "" {
				rows.AddRow(int64(big+1), int64(big), "maths")
			}
			query := mock.ExpectQuery("SELECT id, org_id, title FROM reports WHERE " + c.where + " ORDER BY id").WillReturnRows(rows)
			if len(c.args) > 0 {
				args := make([]driver.Value, len(c.args))
				for i, org := range c.args {
					args[i] = org
				}
				query.WithArgs(args...)
			}
			if c.failed {
				query.WillReturnError(errors.New("away"))
			}
			r := httptest.NewRequest("GET", "/reports", nil)
			if c.user != nil {
				r = rolegatetest.As(r, *c.user, 0)
			}
			w := httptest.NewRecorder()
			listReports(nil, db)(w, r)
			if c.failed {
				assert.Equal(t, http.StatusInternalServerError, w.Code)
				return
			}
			assert.Equal(t, http.StatusOK, w.Code)
			want := c.want
			if want == "" {
				want = "[]"
			}
			assert.Equal(t, want+"\n", w.Body.String())
		})
	}
}

func TestAudit(t *testing.T) {
	t.Parallel()
	const insert = "INSERT INTO refusals (at, decision, reason, user_id, org_id, method, route, guard) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
	for _, c := range []struct {
		name  string
		user  int64
		level slog.Level // of the log
		err   error      // of the table
		rows  int
		args  []driver.Value // reason and user
		log   []string
		lacks []string
	}{
		{"granted", 1, slog.LevelInfo, nil, 0, nil, nil, []string{"refused"}},
		{"refused", big, slog.LevelInfo, nil, 1, []driver.Value{"role_missing", strconv.FormatInt(big, 10)}, []string{`"reason":"role_missing"`}, []string{"audit"}},
		{"unlisted", 99, slog.LevelInfo, nil, 1, []driver.Value{"not_authorized", "99"}, []string{`"reason":"not_authorized"`}, []string{"audit"}},
		{"nobody", 0, slog.LevelInfo, nil, 1, []driver.Value{"no_identity", nil}, []string{`"reason":"no_identity"`}, []string{"audit"}},
		{"a log of warnings", big, slog.LevelWarn, nil, 1, []driver.Value{"role_missing", strconv.FormatInt(big, 10)}, nil, []string{"role_missing"}},
		{"the table is away", big, slog.LevelWarn, errors.New("no connection"), 1, []driver.Value{"role_missing", strconv.FormatInt(big, 10)},
			[]string{"audit: a refusal is in the log alone", "no connection", `"reason":"role_missing"`}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			db, mock := database(t)
			for range c.rows {
				mock.ExpectExec(insert).
					WithArgs(sqlmock.AnyArg(), sqlmock.AnyArg(), c.args[0], c.args[1], sqlmock.AnyArg(), "GET", "GET /x", "AnyRole(teacher)").
					WillReturnResult(sqlmock.NewResult(1, 1)).WillReturnError(c.err)
			}
			var log bytes.Buffer
			logger := slog.New(audit{slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: c.level}), db})
			gate, err := rolegate.Open(t.Context(), rolegate.Config{
				Source: rolegatetest.NewStatic(rolegate.Record{UserID: 1, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "teacher"}}}, rolegate.Record{UserID: big}),
				Identify: rolegate.ByUserID(func(r *http.Request) (int64, error) {
					return strconv.ParseInt(r.Header.Get("X-User-Id"), 10, 64)
				}),
				OnDeny: rolegate.OnDeny{Off: true}, Logger: logger.With("app", "school").WithGroup("gate"),
			})
			require.NoError(t, err)
			mux := http.NewServeMux()
			mux.Handle("GET /x", gate.Require(rolegate.AnyRole("teacher"))(http.NotFoundHandler()))
			r := httptest.NewRequest("GET", "/x", nil)
			r.Header.Set("X-User-Id", strconv.FormatInt(c.user, 10))
			mux.ServeHTTP(httptest.NewRecorder(), r)
			require.NoError(t, gate.Close())
			lines := log.String()
			for _, text := range c.log {
				assert.Contains(t, lines, text)
			}
			for _, text := range c.lacks {
				assert.NotContains(t, lines, text)
			}
		})
	}
}
