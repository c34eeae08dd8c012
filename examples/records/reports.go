package records

import (
	"context"
	"database/sql"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/rolegate/rolegate"
)

// orgsWith returns the organisations in which the user has one of the roles.
func orgsWith(user rolegate.User, roles ...string) []int64 {
	return slices.DeleteFunc(user.Orgs(), func(org int64) bool { return !user.HasRoleIn(org, roles...) })
}

// inOrgs is the condition of a query for the rows of these organisations. No
// organisation means no rows: an IN without a list is no SQL, and leaving the
// condition out would show everything.
func inOrgs(column string, orgs []int64) (condition string, args []any) {
	if len(orgs) == 0 {
		return "1 = 0", nil
	}
	for _, org := range orgs {
		args = append(args, org)
	}
	return column + " IN (?" + strings.Repeat(", ?", len(orgs)-1) + ")", args
}

// A report is one row. Its ids are strings in JSON: JavaScript rounds numbers above
// 2^53.
type report struct {
	ID    int64  `json:"id,string"`
	OrgID int64  `json:"org_id,string"`
	Title string `json:"title"`
}

// reportsOf returns the reports that the user may see.
func reportsOf(ctx context.Context, db *sql.DB, user rolegate.User) ([]report, error) {
	condition, args := inOrgs("org_id", orgsWith(user, "teacher", "principal"))
	rows, err := db.QueryContext(ctx, "SELECT id, org_id, title FROM reports WHERE "+condition+" ORDER BY id", args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	reports := []report{}
	for rows.Next() {
		var r report
		if err := rows.Scan(&r.ID, &r.OrgID, &r.Title); err != nil {
			return nil, err
		}
		reports = append(reports, r)
	}
	return reports, rows.Err()
}

// listReports serves them behind a guard: it takes the user from there and from
// nowhere else.
func listReports(gate *rolegate.Gate, db *sql.DB) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		user, _ := gate.UserFrom(r.Context()) // nobody, who sees no rows, if there is no guard
		reports, err := reportsOf(r.Context(), db, user)
		if err != nil {
			slog.ErrorContext(r.Context(), "the reports cannot be read", "err", err)
			http.Error(w, "The reports cannot be read.", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(reports)
	}
}
