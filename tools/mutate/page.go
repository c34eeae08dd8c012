package main

const pageHead = `# What the tests would not notice

[gremlins](https://github.com/go-gremlins/gremlins) (%s) changes one operator after the other in the files that decide who is let in: it turns comparisons around or moves their limit by one, swaps "and" and "or", "plus" and "minus", "break" and "continue", and so on. A mutant is killed if a test fails with it, twice. One that survives is something that the tests do not look at.

    go run ./tools/mutate

runs it, one to two hours on two cores that have nothing else to do, and prints the survivors. (` + "`" + `-files store.go` + "`" + ` runs one file.) It fails if there is one that is not in ` + "`tools/mutate/equivalents.txt`" + `, if an entry there is out of date, or if less than the share below is killed. Code that no test runs counts as a survivor. A mutant with which the tests do not end counts as killed only if the list says that it loops for ever; one that does not compile does not count.

Of %s (at least %d %% of those that can be killed have to be):

`

const pageList = `
## Known survivors

The operator that is changed is in «». None of these changes a decision, for the reason that is given.

`
