package main

const pageHead = `# What the tests would not notice

A program changes one operator after the other in the files that decide who is admitted: it turns comparisons around or moves their limit by one, swaps "and" and "or", "plus" and "minus", "break" and "continue", and so on. The kinds are those of [gremlins](https://github.com/go-gremlins/gremlins), but for constant expressions. A mutant is killed if a test fails with it, twice. One that survives is something that the tests do not look at.

    go run ./tools/mutate

runs it and prints the survivors. (` + "`" + `-files watch.go` + "`" + ` runs one file, and ` + "`" + `-survivors` + "`" + ` what survived last time.) What became of a package's mutants is kept outside the repository until the package or its tests change, so that the next run repeats only what has changed; before a release, ` + "`" + `-all` + "`" + ` takes nothing from there. It fails if there is one that is not in ` + "`tools/mutate/equivalents.txt`" + `, if an entry there is out of date, or if less than the share below is killed. Code that no test runs counts as a survivor, and so does a mutant with which a test hangs; one that does not compile does not count.

All mutants of a package are compiled at once, and the environment says which one runs. Each meets only the tests of its package that come by it. The quickest come first, and the first that fails ends it. A mutant that loops without end is told by the processor time that it takes, so that a busy machine changes nothing. ` + "`internal/replication`" + ` is not in the list: its simulation breaks each of its rules by itself.

Of %s (at least %d %% of those that can be killed have to be):

`

const pageList = `
## Known survivors

The operator that is changed is in «». None of these changes a decision, for the reason that is given.

`
