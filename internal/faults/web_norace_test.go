//go:build !race

package faults_test

// webMany is a million: see web_race_test.go.
const webMany = 1_000_000
