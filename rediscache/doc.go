// Package rediscache has the replicas of an app share one index through Redis:
// one of them pulls from the marketplace, and the others follow it.
package rediscache
