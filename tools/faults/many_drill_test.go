//go:build drill && !race

package faults_test

// webMany is a million: see many_test.go.
const webMany = 1_000_000
