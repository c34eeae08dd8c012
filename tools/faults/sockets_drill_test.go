//go:build drill

package faults_test

const overSockets = true
