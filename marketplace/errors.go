package marketplace

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rolegate/rolegate"
)

// fail is the error of a pull: the reason, and where it happened.
func (c *Client) fail(f rolegate.Failure, err error) *rolegate.PullError {
	return &rolegate.PullError{Failure: f, Err: fmt.Errorf("marketplace: GET %s: %w", c.where, err)}
}

// interrupted is the error of a pull whose ctx is over.
func interrupted(ctx context.Context) error {
	f := rolegate.FailureOther
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		f = rolegate.FailureTimeout
	}
	return &rolegate.PullError{Failure: f, Err: fmt.Errorf("marketplace: the pull was ended by its caller: %w", ctx.Err())}
}

// withRetryAfter notes how long the marketplace asked to be left alone.
func withRetryAfter(err *rolegate.PullError, d time.Duration) *rolegate.PullError {
	err.RetryAfter = d
	return err
}
