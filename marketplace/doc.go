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
// # What it takes for an answer
//
// A pull either reads the list to its end or returns an error; there is
// nothing in between, because a list that stops early looks just like one from
// which users were removed. So everything that is not exactly as documented is
// an error of the page: a redirect, a status other than 200, an envelope
// without a code, a `data` that is no array, a second `code` key, bytes after
// the end, and an answer that some cache gave in the marketplace's stead.
//
// A single record that cannot be understood is not such an error. It is
// yielded with [rolegate.Record.Bad] set and denies its own user: keys that
// occur twice or in another case, ids that are no exact integers, a missing
// list of roles. No such record is mended by guessing.
//
// # How it pages
//
// The cursor is the highest `lastSequence` of the records seen. The document
// does not say whether two users can have the same one, nor whether the server
// answers with the users above the cursor or from it on, nor whether a page
// may be shorter than asked for before the end. The client copes with all of
// these:
//
//   - A short page does not end the list. Only a request for what comes after
//     the highest sequence, answered with nothing new, does.
//   - If users share a sequence and a page ends between them, a server that
//     answers with "above the cursor" would never name the rest of them. So
//     the client asks again from one below the highest sequence, and users who
//     come a second time are yielded a second time.
//     [Config.UniqueSequences] turns this off.
//   - If the server repeats users at the cursor itself, it answers "from the
//     cursor on", and the client makes sure of the end by asking from one
//     above it: a server that gives only so many rows a page could otherwise
//     repeat the same ones forever and hide what follows.
//
// One case cannot be seen through from outside: more users with one same
// sequence than the server gives in a page. Any client that has nothing but
// this cursor loses the rest of them, and they are denied. A server of that
// kind needs a larger page.
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
