// Package index is the role index: who is listed, with which roles in which
// organisations, and found by which aliases. A [Snapshot] is immutable, and a
// request reads it without a lock and without an allocation; a [Builder] makes a
// new one that shares what did not change.
//
// It knows a user's strings by [Field], not what they identify; and neither
// configuration nor ages, which are of the packages above.
package index
