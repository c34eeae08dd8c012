// Package examples has apps that use rolegate together with a library for
// sessions, with other routers and with gRPC. Each is a program of its own in a
// folder of its own; docs/adapters.md shows their parts, word for word.
package examples
