package marketplace

import (
	"context"
	"errors"
	"io"
	"syscall"
	"time"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/wire"
)

// A page is asked for again a few times, with pauses between. With the first
// page of a pull little is lost, and whoever pulls has a back-off of their own:
// the pauses before it are short. Later pages are worth a wait.
const (
	maxAgain = 5

	firstPause = 250 * time.Millisecond // before the first of them, doubled each time
	mostPause  = 10 * time.Second

	// mostHaste is how long all pauses before the first page take together.
	mostHaste = 5 * time.Second

	// maxRenewals is how many new tokens one page may cost: another client of
	// the same account may have made ours invalid by asking for its own.
	maxRenewals = 3
)

// attempts are those at one page.
type attempts struct {
	*Client
	patient  bool
	repeats  int           // how often it was asked for again
	paused   time.Duration // all pauses
	renewals int
	suspect  int    // replies in a row after which the token may be to blame
	refused  uint64 // the generation of the token that was refused
}

// again waits until the page is to be asked for again after t, which came with
// tok, and returns an error if it is not.
func (a *attempts) again(ctx context.Context, t *trouble, tok issue) error {
	switch t.remedy {
	case newToken:
		return a.renew(ctx, t, tok)
	case perhapsNewToken:
		return a.suspectToken(ctx, t, tok)
	case askSlower:
		a.pacer.throttled(t.RetryAfter)
	case askAgain:
		// Where nobody answers, and nothing has been read, there is nothing to
		// be gained by haste.
		if !a.patient && (t.Failure == rolegate.FailureTimeout || t.Failure == FailureNetwork && !isReset(t)) {
			return t.PullError
		}
	default:
		return t.PullError
	}
	a.suspect = 0
	return a.pause(ctx, t)
}

// isReset reports whether a connection broke that had been made.
func isReset(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// pause waits before the page is asked for again.
func (a *attempts) pause(ctx context.Context, t *trouble) error {
	if a.repeats == maxAgain {
		return t.PullError
	}
	wait := max(wire.Jittered(ctx, min(firstPause<<a.repeats, mostPause)), t.RetryAfter)
	a.repeats++
	a.paused += wait
	if !a.patient && a.paused > mostHaste {
		return t.PullError
	}
	return a.sleep(ctx, t, wait)
}

// sleep waits, unless ctx will not last as long.
func (a *attempts) sleep(ctx context.Context, t *trouble, wait time.Duration) error {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
		return t.PullError
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return interrupted(ctx)
	}
}

// renew has another token asked for after tok was refused. A second refusal is
// final, unless pages were accepted before this one: then another client may be
// renewing tokens of the same account.
func (a *attempts) renew(ctx context.Context, t *trouble, tok issue) error {
	if !a.tokens.renewable {
		return t.PullError
	}
	if a.renewals++; a.renewals > 1 {
		if a.renewals > maxRenewals || !a.patient {
			a.tokens.cell.Drop(tok.Generation)
			return t.PullError
		}
		if err := a.sleep(ctx, t, wire.Jittered(ctx, time.Duration(a.renewals-1)*time.Second)); err != nil {
			return err
		}
	}
	a.refused = tok.Generation
	return nil
}

// suspectToken has the page asked for once more, and then once with another
// token: the marketplace's document does not say how it refuses a token.
func (a *attempts) suspectToken(ctx context.Context, t *trouble, tok issue) error {
	if !a.tokens.renewable {
		return t.PullError
	}
	switch a.suspect++; a.suspect {
	case 1:
		return a.pause(ctx, t)
	case 2:
		if a.renewals == 0 && a.tokens.mayBeToBlame() {
			a.renewals++
			a.refused = tok.Generation
			return nil
		}
	}
	return t.PullError
}
