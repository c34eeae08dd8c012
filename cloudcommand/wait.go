package cloudcommand

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/rolegate/rolegate"
)

// The pauses of WaitForSync, before they are shortened by up to a half.
const (
	firstPause = time.Second
	mostPause  = 30 * time.Second
)

// ErrNoDoneText is what [Client.WaitForSync] returns for a client that cannot
// tell when a sync is done: a Config without Done and Interpret.
var ErrNoDoneText = errors.New("cloudcommand: no text is known to mean that a sync is done: expected Config.Done or Config.Interpret")

// WaitForSync asks about the sync with this id, which the platform returned
// when it was asked to sync organisations and users, again and again until it
// is done, and returns nil then. 0 asks without an id.
//
// Nothing but ctx bounds it: a state that is unknown is not done, and nor is an
// error, so that it goes on through outages. It asks at once, then after a
// second at most, and after pauses that grow up to 30 seconds, each of them
// shortened at random, so that many replicas do not ask all at once. A
// Retry-After is kept to, up to 5 minutes of it.
//
// It returns at once, without waiting, what [Client.Validate] says,
// [ErrNoDoneText], and an error that is a [rolegate.ErrRefused], since waiting
// fixes none of these. The error of a ctx that ended has its
// [context.DeadlineExceeded] or [context.Canceled] in its chain, and tells in
// its text what the platform said last.
func (c *Client) WaitForSync(ctx context.Context, id int64) error {
	switch err := c.Validate(); {
	case err != nil:
		return err
	case c.endless:
		return ErrNoDoneText
	case id < 0:
		return fmt.Errorf("cloudcommand: sync %d: expected an id above 0, or 0 for none", id)
	}
	last := "nothing was heard of it"
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		report, err := c.check(ctx, func() int64 { return id })
		wait := pause/2 + rand.N(pause/2+1)
		switch {
		case err == nil && report.State == rolegate.SyncDone:
			return nil
		case err == nil:
			last = fmt.Sprintf("it was %v at last, message “%s”", report.State, report.Text)
		case ctx.Err() != nil:
		case errors.Is(err, rolegate.ErrRefused):
			return err
		default:
			last = "at last: " + err.Error()
			var pe *rolegate.PullError
			if errors.As(err, &pe) {
				wait = max(wait, pe.RetryAfter)
			}
		}
		if !sleep(ctx, wait) {
			return fmt.Errorf("cloudcommand: waiting for sync %d: %w: %s", id, ctx.Err(), last)
		}
	}
}

// sleep returns true after d, and false if ctx ends before.
func sleep(ctx context.Context, d time.Duration) bool {
	if ctx.Err() != nil {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
