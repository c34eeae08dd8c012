// Package marketplace reads the list of users who are authorised for an app
// from the marketplace that sells it, as the marketplace's document
// «获取应用授权的用户列表» describes it:
//
//	GET {base}/app/user/list?accessToken=…&lastSequence=…&limit=…
//	X-App-Id: {clientId}
//
// A [Client] is a [rolegate.Source]. It authenticates nobody: it only says
// which users may enter, and which roles they were granted in which
// organisation.
//
// # What it accepts as an answer
//
// A pull either reads the list to its end or returns an error; there is
// nothing in between, because a list that stops early looks just like one from
// which users were removed. So everything that is not as documented is an error
// of the page: a redirect, a status other than 200, an envelope without a code,
// a `data` that is no array, a second `code` key, bytes after the end, another
// encoding than UTF-8, and an answer that some cache gave in the marketplace's
// stead. A code that is a string, a status in capitals and a byte order mark
// are accepted; so is null, "" or {} for an empty list, but not as all there is.
//
// A single record that cannot be understood is not such an error. It is
// yielded with [rolegate.Record.Bad] set and denies its own user: ids that are
// no exact integers, keys that occur twice or in another case, a missing list
// of roles. No such record is corrected by guessing. What is wrong with a text
// is in [rolegate.Record.Unreadable], since it matters only to who uses that
// text; fields that nobody reads may hold anything. A role that is null, or has
// no organisation or no code, is yielded as it is, for the gate to drop.
//
// # How it pages
//
// The cursor is the highest `lastSequence` of the records seen. The document
// does not say whether two users can have the same one, nor whether the server
// answers with the users above the cursor or from it on, nor whether a page
// may be shorter than asked for before the end; and the list is written to
// while it is read. The client copes with all of these:
//
//   - The list has ended at the first page that is short beside what the server
//     gives (the smaller of the limit and the largest page seen), and one more
//     request confirms that. What changes later comes with the next incremental
//     refresh. A short page of a server whose pages are of uneven size means
//     nothing: asked for again it is as short as before, while a list that
//     grows shows more.
//   - If users share a sequence and a page ends between them, a server that
//     answers with "above the cursor" would never name the rest of them. So
//     the client asks again from one below the highest sequence, and users who
//     come a second time are yielded a second time.
//     [Config.UniqueSequences] turns this off.
//   - A page full of users with one sequence cannot be read past, nor one in
//     descending order, of which the cursor would skip all but the first. The
//     pull fails and says so: [FailureCursorTie],
//     [FailureDescending]. Fewer than ten users who are all there is
//     are believed.
//   - A server that repeats itself, or the sequence that it was asked for, is
//     found after one repetition.
//
// # How it asks again
//
// A page that meets with the network (429, 502, 503, 504, a timeout, a reset,
// a reply that breaks off) is asked for again up to five times, with growing
// pauses, or as Retry-After says within five minutes. The first page of a pull
// is given up sooner, since nothing is lost with it. After a 429 the client
// sends fewer requests, and slowly more again; [Config.MaxRequestsPerSecond]
// sets a ceiling.
//
// How a token is refused is documented nowhere. HTTP 401, code 401 and
// [Config.RefusedCodes] have another token asked for at once; any other refusal
// (an error envelope, a redirect, 4xx, a page of HTML) when it comes twice in a
// row, at most twice in two minutes.
//
// # Roles
//
// The platform has a second call, which lists the app's roles. It is not in the
// document, and so [Client.RoleCodes] asks only where [Config.RoleListPath]
// says. A gate uses its answer for advice alone: who may enter never depends on
// it.
//
// # Secrets
//
// The access token travels in the query, so it turns up wherever somebody
// writes down a URL. No error of this package contains a query, a
// [net/url.Error], or a token that the client has ever used recently, in any
// of the usual escapings; nor do the errors below it in the chain. The
// `message` of the marketplace is shown without tokens, credentials, e-mail
// addresses and long numbers, and cut short.
//
// What a server sends after the end of a reply, net/http itself writes to the
// standard logger, up to 4 KiB of it; no client can prevent that.
package marketplace
