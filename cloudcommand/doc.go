// Package cloudcommand asks 云上指挥 (cloud command) whether a sync of
// organisations and users is running, as its document «查看同步用户情况» describes
// it:
//
//	GET {host}api/blade-external/checkSyncData?id=…
//	Authorization: Basic base64(clientId:clientSecret)
//	Blade-Auth: {token_type} {access_token}
//
// A [Client] is a [rolegate.SyncChecker]: while a sync runs, the list of
// authorised users may be half-finished, and the gate holds removals back for
// a while. A Client decides about nobody's access.
//
// # What tells that a sync is running
//
// Nothing but a text for people: `message` in the answer's `data`, which the
// document shows as 正在同步数据中...! for a sync that runs. What it says of one
// that is done is documented nowhere. So a text with 正在同步数据中 in it means
// running, and every other text means unknown, which holds nothing. The texts
// of a platform at hand can be named in [Config.Running] and [Config.Done], or
// read by [Config.Interpret]; what they are is what [rolegate.SyncReport] shows
// for an unknown state.
//
// # Tokens
//
// The platform is built on BladeX, whose open framework is SpringBlade. Their
// sources show two kinds of answer at the token's address, and both are
// understood: the flat one of OAuth (access_token, token_type, expires_in) and
// camelCase inside the envelope R (accessToken, tokenType, expiresIn). A token
// is kept until shortly before it expires. Then, or when it is refused, it is
// renewed: by its refresh token if there is one, else by the grant that gave
// the first. All callers share one renewal, and a request is sent at most
// twice.
//
// A refusal comes as HTTP 401 or as code 401 under HTTP 200. A role that is too
// small is told in the same way, so that such a client asks for a new token at
// each check, in vain, until the role is put right on the platform.
//
// # Secrets
//
// No error and no report has the client secret, the password, the user name, a
// token or an app key (`ak` in the answer) in it, in any of the usual
// escapings; one of fewer than four characters cannot be told from other text.
// Texts of the platform are shown without those, without e-mail
// addresses and long numbers, and cut short.
//
// What a server sends after the end of a reply, net/http itself writes to the
// standard logger, up to 4 KiB of it; no client can prevent that.
package cloudcommand
