// Package authzen serves a gate as an OpenID AuthZEN 1.0 policy decision point:
// programs that are not written in Go, gateways among them, ask over HTTP
// whether a user may do something, and get the answer that a guard would give.
//
//	pdp, err := authzen.New(authzen.Config{
//		Gate:     gate,
//		Caller:   checkToken, // which programs may ask
//		Subjects: map[string]rolegate.Kind{"user": rolegate.KindUserID},
//		Rules: []authzen.Rule{
//			{Resource: "grades", Action: "read", Policy: gate.Policy(rolegate.AnyRole("teacher", "admin"))},
//			{Resource: "report", Action: "write", Policy: gate.Policy(rolegate.AnyRole("teacher")),
//				Org: authzen.OrgFromProperty("org_id")},
//		},
//		URL: "https://pdp.example.com",
//	})
//	if err != nil {
//		return err
//	}
//	http.Handle("/", pdp)
//
// It serves POST /access/v1/evaluation, POST /access/v1/evaluations, POST
// /access/v1/search/action and GET /.well-known/authzen-configuration of
// [Authorization API 1.0]. There is no search for subjects or resources: the gate
// answers about a user, it does not list any.
//
// # What an answer means
//
// A decision is always 200, a refusal too: {"decision":false,"context":
// {"reason":"role_missing"}}. The reason is the word of a [rolegate.Reason], or
// one of unknown_subject_type, unknown_resource_type, unknown_action and
// incomplete (an item of a batch lacks a field). It is for the program that
// asked, and nothing that its users should see: not_authorized and role_missing
// tell who is listed. A grant has no context.
//
// That the gate cannot tell is a decision too: not_ready, expired, too_old and
// closed are 200 with false. A status of 503 would leave it to each caller what
// to make of it, and gateways can be told to let pass what they get no answer
// for; it could not be said for one item of a batch; and the specification has
// no such status. Whether a gate is ready is told by its Status.
//
// Other statuses say that the question was none: 400 for a body that is not
// what the specification asks for, 401 and 403 for a caller who may not ask,
// 405 for another method, 500 if Config.Caller failed, 503 with Retry-After if its
// error says when to come again. Their body is a message
// in plain text without anything of the request in it.
//
// # What a request may contain
//
// A Content-Type of application/json, and at most 1 MiB, of which the id of a
// subject that is anybody has at most 4,096 bytes. The JSON is read
// strictly, as the specification's security considerations ask (I-JSON, RFC
// 7493): a name twice in one object, at any depth, is refused, so are bytes
// that are not UTF-8 and unpaired surrogates; null is none of the types that
// are asked for. Unknown fields are ignored, and so are subject.properties: what
// a caller claims of a user opens nothing. action.properties and context are for
// [Rule.When] alone.
//
// X-Request-ID is sent back as it came, or not at all if it is longer than 256
// bytes, there twice, or anything but printable ASCII.
//
// A [rolegate.Where] in a policy denies, since it has no request to look at, and
// a policy with [rolegate.InOrg] denies unless its rule has an Org.
//
// [Authorization API 1.0]: https://openid.net/specs/authorization-api-1_0.html
package authzen
