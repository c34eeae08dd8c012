package marketplace

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/rolegate/rolegate"
)

// fail is the error of a call: the reason, and where it happened.
func (f *fetcher) fail(why rolegate.Failure, err error) *rolegate.PullError {
	return &rolegate.PullError{Failure: why, Err: fmt.Errorf("marketplace: GET %s: %w", f.where, err)}
}

// interrupted is the error of a call whose ctx is over, or will be before the next
// request may be sent.
func interrupted(ctx context.Context) *rolegate.PullError {
	err := cmp.Or(ctx.Err(), context.DeadlineExceeded)
	f := rolegate.FailureOther
	if errors.Is(err, context.DeadlineExceeded) {
		f = rolegate.FailureTimeout
	}
	return &rolegate.PullError{Failure: f, Err: fmt.Errorf("marketplace: the call was ended by its caller: %w", err)}
}

// A trouble is what a request has met with, and what may help.
type trouble struct {
	*rolegate.PullError
	remedy remedy
}

// A remedy is what may help after a request that brought no page.
type remedy uint8

const (
	noRemedy        remedy = iota
	askAgain               // it is the network's fault, or passes by itself
	askSlower              // too many requests
	newToken               // the token was refused
	perhapsNewToken        // it may have been: nobody knows how this marketplace says so
)

func (f *fetcher) trouble(r remedy, why rolegate.Failure, err error) *trouble {
	return &trouble{f.fail(why, err), r}
}
