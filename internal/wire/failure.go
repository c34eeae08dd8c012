package wire

import "github.com/rolegate/rolegate"

// Failures that only an HTTP API of the platform has. Package marketplace exports
// them.
const (
	FailureNetwork     rolegate.Failure = "network"        // no connection, or it broke
	FailureToken       rolegate.Failure = "token"          // no token could be had
	FailureUpstream    rolegate.Failure = "upstream_error" // the envelope says that it failed
	FailureMalformed   rolegate.Failure = "malformed"      // the answer is not what is documented
	FailureCachedReply rolegate.Failure = "cached_reply"   // a cache answered, not the source
	FailureCursorLoop  rolegate.Failure = "cursor_loop"    // pages that repeat and do not move on
	FailureCursorTie   rolegate.Failure = "cursor_tie"     // more users with one sequence than a page can show
	FailureDescending  rolegate.Failure = "descending"     // pages in descending order, of which the cursor skips all but the first
)
