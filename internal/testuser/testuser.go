// Package testuser is how rolegatetest.As puts a user into a context. It is
// internal, so that no app can do so: an app's handlers believe that whoever is
// there was admitted by a guard.
package testuser

import "context"

// A Key finds in such a context the rolegate.Admission of a guard that nobody asked:
// for gingate, whose handlers do not name a gate.
type Key struct{}

// Put returns a context in which every gate finds the user of a rolegate.Record, as
// if a guard of its own had admitted them, in the organisation org if that is above
// 0. Key finds them as gate does, a *rolegate.Gate or nil. Package rolegate sets it,
// and nobody but rolegatetest calls it.
var Put func(ctx context.Context, gate, record any, org int64) context.Context
