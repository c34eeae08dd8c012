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
	moves       = "A list that moves"
	whole       = "A list that is not whole, or older"
	again       = "Pages asked for again"
	spelling    = "Tokens in other spellings"
	odd         = "Null, missing, odd"
	anew        = "Made anew"
	shrink      = "The shrink guard"
	requests    = "Requests beside the decision"
)

// keep is what a refresh that fails comes to: index, cursor and ages stay, and the
// loop goes on.
const keep = "the list stays"

var catalogue = []Line{
	{1, wire, "a reply that is no list: an HTML page, nothing, null, {}, [], an envelope without code or data", keep},
	{2, wire, "an envelope that says the call failed, whatever its data", keep + "; the code is checked first"},
	{3, wire, "success, and data that is no array", keep + "; it is not \"nobody is authorised\""},
	{4, wire, "a body that breaks off, or goes on after its end", keep},
	{5, wire, "a page over the cap, or a small one that inflates to it", keep + "; the error says so"},
	{6, wire, "headers that never come, a body that drips", keep + ", at the page's deadline"},
	{7, wire, "doubled keys, keys in another case, invalid UTF-8", "that record's user is denied, and nobody else"},
	{8, wire, "a record without a field that the one before it had", "nothing leaks from one record into the next"},
	{9, wire, "ids as numbers and as strings, at the limits of 64 bits, or none at all", "exact, or a bad record"},
	{10, wire, "a roleList that is absent or empty; a role without a code", "a bad record; no roles; dropped and counted"},
	{11, wire, "JSON nested 100,000 deep", keep + "; no stack or memory blows up"},
	{12, wire, "a redirect to another host", "not followed: the other host sees no request"},
	{13, wire, "429 and 503 with a Retry-After of any form", "honoured, for five minutes at most"},
	{14, wire, "a reply from a cache; a connection that is refused, reset or no TLS; a name that does not resolve", keep + "; the error names host and path, never the query"},
	{15, cursor, "a page that does not advance", "full: " + keep + "; short: the list ends there"},
	{16, cursor, "an upstream that was set back to an earlier state", "a full refresh, which is accepted once it is no server that lags; the cursor follows it"},
	{17, cursor, "pages without end; pages shorter than asked for", keep + ", at the cap; the full refresh goes on"},
	{18, cursor, "one page of many that fails", "nothing of that full refresh is visible"},
	{19, cursor, "a list that is empty", "the shrink guard holds; at the very first start everybody is denied"},
	{20, cursor, "a user who is gone, and comes back; a good record followed by a bad one", "denied right after the list is published; admitted again; denied, shrink guard or not"},
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
	{32, concurrency, "a thousand readers while lists are published", "each sees one generation; nobody is ever unlisted for a moment"},
	{33, concurrency, "the first of many waiters gives up; a shared pull panics", "the others get their answer"},
	{34, concurrency, "a caller who changes what they got", "the index does not change"},
	{35, concurrency, "a hook that blocks", "no refresh and no request waits for it"},
	{36, identity, "a guard without a check; a gate that was never opened", "panics when the route is registered; denies"},
	{37, identity, "unknown methods, and paths written in other ways", "denied, or another route"},
	{38, identity, "a trusted header that is doubled, padded, or comes from elsewhere", "401"},
	{39, identity, "headers by which a client claims another method, address or path", "they change nothing"},
	{40, identity, "an identity of 0, below 0 or \"\"; look-alike accounts", "401; another user"},
	{41, identity, "a role held elsewhere, an organisation that is none, a Deny that writes 200", "403"},
	{42, identity, "WebSocket and server-sent events through the gate", "they work; a revocation ends them with the next list"},
	{43, identity, "a client that wants to learn who exists", "every 403 looks the same"},
	{44, identity, "another app's gate in front; guards within guards", "each decides for itself"},
	{45, disk, "killed while the index is written", "the old file or the new one"},
	{46, disk, "a stored index that is damaged", "not used; the list comes from the source"},
	{47, disk, "a stored index of another list, too old, or dated in the future", "not used"},
	{48, disk, "a disk that is full or read-only, a folder that is not there", "the list in memory is published all the same; counted"},
	{49, disk, "a stored index that others can write, or a symbolic link", "refused, with the command that fixes it"},
	{50, replicas, "a replica that writes after a pause, in which another has refreshed", "Redis itself refuses it; all see what the other wrote"},
	{51, replicas, "Redis down, silent, slow, restarted empty, or restored from an old backup", "no request waits; no index goes back; each replica pulls by itself, not all at once"},
	{52, replicas, "a lease that runs out in the middle of a full refresh", "the work is done twice at most; nothing older is ever seen"},
	{53, replicas, "values in Redis that are forged, or of another app", "refused; a replica writes them anew"},
	{54, replicas, "200 replicas that restart at once", "the marketplace sees two full refreshes at most"},
	{55, load, "a million unknown ids", "bounded pulls and memory; known users are as fast as before"},
	{56, load, "a user who was refused and then granted access", "admitted within OnDeny.TTL and one refresh"},
	{57, load, "a full refresh of a million users while serving", "bounded memory; every request is answered"},
	{58, secrets, "errors of every kind", "no token in any text of any of them"},
	{59, secrets, "an upstream that repeats the token", "scrubbed"},
	{60, secrets, "line breaks and control bytes in an id or account", "escaped in logs; never in a header"},
	{61, moves, "an import that goes on for minutes", "its first users enter while it goes on; nothing is more than a page behind what was read"},
	{62, moves, "an incremental refresh that does not end", "no full refresh and no request waits for it"},
	{63, moves, "a list that is written to while a full refresh reads it", "complete within (users + changes) ÷ page + 3 requests, whatever the rate of change"},
	{64, moves, "a list that is never caught up with", "told once, in the log and as stale; what was read counts"},
	{65, moves, "a server that echoes the sequence of the request, or repeats a page", "found after one repetition; " + keep},
	{66, whole, "more users with one sequence than a page holds", keep + ", and the error names the sequence; what can be read is whole"},
	{67, whole, "pages in descending order", keep + "; rows in any order within a page are fine"},
	{68, whole, "a full refresh that is older than what is known", keep + ", until another one, at least a minute later, says the same"},
	{69, whole, "several servers behind one address, of which one lags", "who was removed does not come back; nobody else is locked out"},
	{70, whole, "a transaction that commits late, below the cursor", "seen by the next incremental refresh"},
	{71, whole, "one absurd sequence", "no later increment is blinded"},
	{72, again, "a page that meets with 429, 502, 503, 504, a timeout, a reset or its own end", "that page is asked for again, five times at most"},
	{73, again, "a Retry-After in the middle of a list", "heeded within five minutes; the refresh ends within a budget below ExpireAfter"},
	{74, again, "fewer requests allowed than the list needs", "the client paces itself, and the list is read in one go"},
	{75, again, "MaxRequestsPerSecond", "a ceiling for everything that is asked"},
	{76, again, "a connection that is dead and looks alive", "one page takes its time; the next attempt has another connection"},
	{77, spelling, "a token that ran out, in one of many spellings", "renewed when that comes twice in a row; the gate stays open"},
	{78, spelling, "a marketplace that is down and sounds like a refusal", "it is not flooded with logins"},
	{79, spelling, "a token that says when it ends", "renewed before that; no request goes out with one that has ended"},
	{80, spelling, "a token with a line break, a blank or something invisible", "named as such, from whatever source, and not sent"},
	{81, spelling, "replicas of which each login makes the tokens of the others invalid", "all of them open, and go on"},
	{82, spelling, "a refusal at the start", "final at once for a static token, else after half a minute"},
	{83, odd, "null, \"\" or {} in place of an empty page", "the end of the list"},
	{84, odd, "the same in place of the first page", keep},
	{85, odd, "a roleList that is null", "no roles, counted; one that is absent or anything else is an invalid record"},
	{86, odd, "a role that is null, or without an organisation or a code", "dropped and counted; its user fails every NoRole"},
	{87, odd, "half a surrogate, invalid UTF-8, another type, a doubled key in a field that is not used", "ignored"},
	{88, odd, "the same in a field that is used", "its user is refused, and nobody else"},
	{89, odd, "many invalid records", "a full refresh fails for faults of the form alone, an increment never; nobody else is concerned"},
	{90, odd, "a byte order mark, \"200\", SUCCESS; GBK, HTML, UTF-16", "accepted; a failure that names what it looks like"},
	{91, odd, "more role codes over the years than there are numbers", "numbers that nobody needs are used again"},
	{92, anew, "users who are made anew, with other ids and the names that they had", "a full refresh is due at once, and requests wait for it"},
	{93, anew, "a name that goes from one user to another", "the other's, and nobody's in between"},
	{94, anew, "a name that several users have for good", "nobody enters by it; told once; no storm of full refreshes"},
	{95, shrink, "a list that is emptied or cut", "held for ShrinkHold and three full refreshes that agree; the log says at once what, and until when"},
	{96, shrink, "everybody's roles gone, or a role from all of ten or more", "held likewise, whichever refresh shows it"},
	{97, shrink, "parts of a list that take turns", "whoever is always listed enters throughout"},
	{98, shrink, "removals that an operator accepts", "what was shown is applied, and nothing that a fresh look adds"},
	{99, requests, "a handler that writes into its request: uploads, the pattern, form values", "seen outside the guard, as without it; the server cleans up"},
	{100, requests, "a client that leaves while the app is asked who they are", "counted by itself, and nobody is alarmed"},
	{101, requests, "headers of an outer handler that let a shared cache keep the answer", "none of them on a refusal; a guarded answer that says nothing is private"},
	{102, requests, "a shutdown with guarded streams open", "it ends them, and does not wait"},
}
