package marketplace

import "github.com/rolegate/rolegate/internal/wire"

// Why a pull failed, beside the words that [rolegate.Failure] has for every source.
const (
	FailureNetwork     = wire.FailureNetwork     // no connection, or it broke
	FailureToken       = wire.FailureToken       // no token could be had
	FailureUpstream    = wire.FailureUpstream    // the envelope says that it failed
	FailureMalformed   = wire.FailureMalformed   // the answer is not what is documented
	FailureCachedReply = wire.FailureCachedReply // a cache answered, not the source
	FailureCursorLoop  = wire.FailureCursorLoop  // pages that repeat and do not move on
	FailureCursorTie   = wire.FailureCursorTie   // more users with one sequence than a page can show
	FailureDescending  = wire.FailureDescending  // pages in descending order, of which the cursor skips all but the first
)
