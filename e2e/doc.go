// Package e2e has tests of the gate with parts that the root module shall not
// depend on.
package e2e
