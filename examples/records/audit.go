// Package records has what an app with a database does with rolegate: it shows
// users the rows of their organisations, and keeps every refusal in a table.
package records

import (
	"context"
	"database/sql"
	"log/slog"
	"time"
)

// An audit is a slog.Handler for Config.Logger that writes each refusal into a table
// before the client gets it: none is dropped while the table can be written.
type audit struct {
	slog.Handler // which all lines go to
	db           *sql.DB
}

// Enabled wants refusals, which are of the level Info, also where the log does not.
func (a audit) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo || a.Handler.Enabled(ctx, level)
}

func (a audit) Handle(ctx context.Context, line slog.Record) error {
	if line.Message == "rolegate: refused" || line.Message == "rolegate: let pass by a shadow" {
		if err := a.insert(ctx, line); err != nil { // slog passes over errors: say it
			lost := slog.NewRecord(line.Time, slog.LevelError, "audit: a refusal is in the log alone", 0)
			lost.AddAttrs(slog.String("err", err.Error()))
			_ = a.Handler.Handle(ctx, lost)
			return a.Handler.Handle(ctx, line)
		}
	}
	if !a.Handler.Enabled(ctx, line.Level) {
		return nil
	}
	return a.Handler.Handle(ctx, line)
}

func (a audit) insert(ctx context.Context, line slog.Record) error {
	of := map[string]any{}
	line.Attrs(func(f slog.Attr) bool { of[f.Key] = f.Value.Any(); return true })
	// The client may leave; the table may hold the request up for so long at most.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	_, err := a.db.ExecContext(ctx,
		"INSERT INTO refusals (at, decision, reason, user_id, org_id, method, route, guard) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		line.Time, of["decision"], of["reason"], of["user_id"], of["org_id"], of["method"], of["route"], of["guard"])
	return err
}

func (a audit) WithAttrs(f []slog.Attr) slog.Handler { return audit{a.Handler.WithAttrs(f), a.db} }
func (a audit) WithGroup(n string) slog.Handler      { return audit{a.Handler.WithGroup(n), a.db} }
