// Package rapidseed makes property tests repeat: a test that imports it draws
// the same cases each time. Try others with -rapid.seed=N, and more of them with
// -rapid.checks=N.
package rapidseed

import (
	"flag"

	_ "pgregory.net/rapid" // which has the flag
)

func init() {
	if err := flag.Set("rapid.seed", "1"); err != nil {
		panic(err)
	}
}
