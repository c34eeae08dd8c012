package marketplace

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rolegate/rolegate"
)

// fail is the error of a call: the reason, and where it happened.
func (f *fetcher) fail(why rolegate.Failure, err error) *rolegate.PullError {
	return &rolegate.PullError{Failure: why, Err: fmt.Errorf("marketplace: GET %s: %w", f.where, err)}
}

// interrupted is the error of a call whose ctx is over.
func interrupted(ctx context.Context) error {
	f := rolegate.FailureOther
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		f = rolegate.FailureTimeout
	}
	return &rolegate.PullError{Failure: f, Err: fmt.Errorf("marketplace: the call was ended by its caller: %w", ctx.Err())}
}

// withRetryAfter notes how long the marketplace asked to be left alone.
func withRetryAfter(err *rolegate.PullError, d time.Duration) *rolegate.PullError {
	err.RetryAfter = d
	return err
}
