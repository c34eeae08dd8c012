//go:build !drill

package faults_test

// Real sockets have real pauses between attempts: only drills wait for them. All
// that comes over them comes in memory too.
const overSockets = false
