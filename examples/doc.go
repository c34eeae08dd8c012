// Package examples has apps that use rolegate together with a session cookie, a
// library for sessions, other routers and gRPC, and one that moves to it from
// casbin. Each is a program of its own in a folder of its own, but records, which has
// parts for an app with a database; docs/adapters.md and docs/migrating.md show
// them, word for word.
package examples
