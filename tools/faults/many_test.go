//go:build race || !drill

package faults_test

// webMany is how many users or ids the large lists and floods have: a million in
// a drill, unless the race detector slows it down.
const webMany = 40_000
