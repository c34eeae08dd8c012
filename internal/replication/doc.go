// Package replication decides what one replica of a gate does so that many of
// them act as one: when it refreshes by itself, when another one refreshes for
// all, and which published list it takes over.
//
// What replicas share is a base and rows. A base is the result of one full
// refresh, with the moment at which that began. Rows are the records that
// incremental refreshes have read since, with the moment at which each was read.
//
//	state = the newest base, and on top of it every row read after that base began;
//	        of two rows of one user the higher sequence counts
//
// It does not matter who has read a row, how often, or in which order rows
// arrive. There is no leader and no mode: every replica runs the loop of a gate
// without Redis, and what another has published counts as a refresh.
//
// [State.Step] is a pure function: no goroutine, no clock, no I/O. [Shell] gives
// it events and carries out its actions. The package knows no list, no Redis and
// nothing of the root: it is usable, and tested, without them.
package replication
