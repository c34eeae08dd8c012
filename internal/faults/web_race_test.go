//go:build race

package faults_test

// webMany is a million, or as many as the race detector gets through.
const webMany = 40_000
