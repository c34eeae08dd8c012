package faults

// The parts of the catalogue.
const (
	wire        = "Wire"
	cursor      = "Cursor"
	token       = "Token"
	loop        = "Loop and ages"
	concurrency = "Concurrency"
	identity    = "HTTP and identity"
	disk        = "Disk"
	replicas    = "Many replicas"
	load        = "Load"
	secrets     = "Secrets"
)

// keep is what a refresh that fails comes to: index, cursor and ages stay, and the
// loop goes on.
const keep = "the list stays"

var catalogue = []Line{
	{1, wire, "a reply that is no list: an HTML page, nothing, null, {}, [], an envelope without code or data", keep},
	{2, wire, "an envelope that says the call failed, whatever its data", keep + "; the code is judged first"},
	{3, wire, "success, and data that is no array", keep + "; it is not \"nobody is authorised\""},
	{4, wire, "a body that breaks off, or goes on after its end", keep},
	{5, wire, "a page over the cap, or a small one that inflates to it", keep + "; the error says so"},
	{6, wire, "headers that never come, a body that drips", keep + ", at the page's deadline"},
	{7, wire, "doubled keys, keys in another case, invalid UTF-8", "that record's user is denied, and nobody else"},
	{8, wire, "a record without a field that the one before it had", "nothing leaks from one record into the next"},
	{9, wire, "ids as numbers and as strings, at the limits of 64 bits, or none at all", "exact, or a bad record"},
	{10, wire, "a roleList that is absent, null or empty; a role without a code", "a bad record; no roles; dropped and counted"},
	{11, wire, "JSON nested 100,000 deep", keep + "; no stack or memory blows up"},
	{12, wire, "a redirect to another host", "not followed: the other host sees no request"},
	{13, wire, "429 and 503 with a Retry-After of any form", "honoured, for five minutes at most"},
	{14, wire, "a reply from a cache; a connection that is refused, reset or no TLS; a name that does not resolve", keep + "; the error names host and path, never the query"},
	{15, cursor, "a page that does not advance", "full: " + keep + "; short: the list ends there"},
	{16, cursor, "an upstream that was set back to an earlier state", "a full refresh, which is accepted; the cursor follows it"},
	{17, cursor, "pages without end; pages shorter than asked for", keep + ", at the cap; the full refresh goes on"},
	{18, cursor, "one page of many that fails", "nothing of that full refresh is visible"},
	{19, cursor, "a list that is empty", "the brake holds; at the very first start everybody is denied"},
	{20, cursor, "a user who is gone, and comes back; a good record followed by a bad one", "denied right after the swap; admitted again; denied, brake or not"},
	{21, cursor, "an incremental refresh that began before a full refresh", "it brings no removed user back"},
	{22, token, "a token that is refused", "one renewal, one more try; a second refusal ends it"},
	{23, token, "a token source that blocks, panics, or returns nothing", "no request is sent; " + keep},
	{24, token, "a token that changes in the middle of a full refresh", "the full refresh goes on with the new one"},
	{25, loop, "a start while the upstream is away", "503 with Retry-After; ready by itself later"},
	{26, loop, "a list that grows old", "served with a warning; then 503 on every guarded route"},
	{27, loop, "a clock that is set, a machine that sleeps", "intervals keep; no age gets younger"},
	{28, loop, "a refresh slower than its interval", "no overlap, and no burst afterwards"},
	{29, loop, "a panic in the source, the token source, a hook, or the identify func", "recovered and reported; the request is denied"},
	{30, loop, "Close: twice, in the middle of a refresh, before the first list, from everywhere", "within a second, and no goroutine is left; then 503"},
	{31, loop, "a config with mistakes", "one error that names them all"},
	{32, concurrency, "a thousand readers while the index is swapped", "each sees one generation; nobody is ever unlisted for a moment"},
	{33, concurrency, "the first of many waiters gives up; a shared pull panics", "the others get their answer"},
	{34, concurrency, "a caller who changes what they got", "the index does not change"},
	{35, concurrency, "a hook that blocks", "no refresh and no request waits for it"},
	{36, identity, "a guard without a check; a gate that was never opened", "panics when the route is registered; denies"},
	{37, identity, "unknown methods, and paths written in other ways", "denied, or another route"},
	{38, identity, "a trusted header that is doubled, padded, or comes from elsewhere", "401"},
	{39, identity, "headers by which a client claims another method, address or path", "they change nothing"},
	{40, identity, "an identity of 0, below 0 or \"\"; look-alike accounts", "401; another user"},
	{41, identity, "a role held elsewhere, an organisation that is none, a Deny that writes 200", "403"},
	{42, identity, "WebSocket and server-sent events through the gate", "they work; a revocation ends them within a swap"},
	{43, identity, "a client that wants to learn who exists", "every 403 looks the same"},
	{44, identity, "another app's gate in front; guards within guards", "each decides for itself"},
	{45, disk, "killed while the index is written", "the old file or the new one"},
	{46, disk, "a stored index that is damaged", "not used; the list comes from the source"},
	{47, disk, "a stored index of another list, too old, or dated in the future", "not used"},
	{48, disk, "a disk that is full or read-only, a folder that is not there", "the swap in memory happens all the same; counted"},
	{49, disk, "a stored index that others can write, or a symbolic link", "refused, with the command that fixes it"},
	{50, replicas, "a replica that writes after a pause, in which another has refreshed", "Redis itself refuses it; all see what the other wrote"},
	{51, replicas, "Redis down, silent, slow, restarted empty, or restored from an old backup", "no request waits; no index goes back; each replica pulls by itself, not all at once"},
	{52, replicas, "a lease that runs out in the middle of a full refresh", "the work is done twice at most; nothing older is ever seen"},
	{53, replicas, "values in Redis that are forged, or of another app", "refused; a replica writes them anew"},
	{54, replicas, "200 replicas that restart at once", "the marketplace sees two walks at most"},
	{55, load, "a million unknown ids", "bounded pulls and memory; known users are as fast as before"},
	{56, load, "a user who was refused and then granted access", "admitted within OnDeny.TTL and one refresh"},
	{57, load, "a full refresh of a million users while serving", "bounded memory; every request is answered"},
	{58, secrets, "errors of every kind", "no token in any text of any of them"},
	{59, secrets, "an upstream that repeats the token", "scrubbed"},
	{60, secrets, "line breaks and control bytes in an id or account", "escaped in logs; never in a header"},
}
