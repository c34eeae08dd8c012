package console

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/rolegate/rolegate"
)

// This file is the button that applies removals that are held back.

// review asks once more, and says how many it concerns.
func (v *view) review() {
	if v.Status.Held.Digest == "" {
		v.Done = &notice{Text: v.T("accept.none")}
		return
	}
	v.Review = true
}

// acceptWait is how long a browser waits for the full refresh, which goes on without it.
const acceptWait = time.Minute

// accept makes a full refresh and holds nothing back, if what is held is what the
// page has shown.
func (c *console) accept(v *view, r *http.Request, user rolegate.User) (status int) {
	held := v.Status.Held
	switch {
	case held.Digest == "":
		v.Done = &notice{Text: v.T("accept.none")}
		return http.StatusConflict
	case r.PostForm.Get("held") != held.Digest:
		v.Done = &notice{Text: v.T("accept.changed")}
		v.Review = true
		return http.StatusConflict
	}
	log := c.cfg.Logger.With("user_id", user.LogValue(), "held", held.Users, "cause", held.Cause)
	log.WarnContext(r.Context(), "rolegate console: somebody accepts the removals that are held")
	ctx, cancel := context.WithTimeout(r.Context(), acceptWait)
	defer cancel()
	err := c.gate.AcceptShrink(ctx, held.Digest)

	after := c.newView(r, user, c.look())
	after.Token = v.Token
	*v = *after
	removed := v.Status.Full.Outcome.Removed
	switch {
	case err == nil:
		log.WarnContext(r.Context(), "rolegate console: the removals that were held are applied", "outcome", "applied", "removed", removed)
		v.Done = &notice{OK: true, Text: v.T("accept.done") + " " + v.T("accept.removed", v.users(removed))}
		return http.StatusOK
	case errors.Is(err, rolegate.ErrHeld):
		log.WarnContext(r.Context(), "rolegate console: removals are held still", "outcome", "held", "still", v.Status.Held.Users)
		v.Done = &notice{Text: v.T("accept.held")}
		return http.StatusConflict
	case ctx.Err() != nil:
		log.WarnContext(r.Context(), "rolegate console: the full refresh outlasts the one who asked for it", "outcome", "unknown", "err", err)
		v.Done = &notice{Text: v.T("accept.slow")}
		return http.StatusAccepted
	default:
		log.WarnContext(r.Context(), "rolegate console: the removals that are held could not be applied", "outcome", "failed", "err", err)
		v.Done = &notice{Text: v.T("accept.failed", err)}
		return http.StatusBadGateway
	}
}
