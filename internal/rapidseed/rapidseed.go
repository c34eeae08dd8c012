// Package rapidseed makes property tests repeat: a test that imports it draws
// the same cases each time, so that no file has to keep those that fail. Try
// others with -rapid.seed=N, and more of them with -rapid.checks=N.
package rapidseed

import (
	"flag"

	_ "pgregory.net/rapid" // which has the flags
)

func init() {
	for name, value := range map[string]string{"rapid.seed": "1", "rapid.nofailfile": "true"} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
}
