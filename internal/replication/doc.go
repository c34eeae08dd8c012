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
//
// # What a host must do
//
// The simulation's replica is the model of a [Host], and its mutants show what
// each of these rules is for.
//
//   - A base is replaced only by one that began later, be it the host's own or
//     another replica's. Compare when it is published.
//   - Rows of other replicas go on top of a base if they were read more than
//     [Margin] after it began; rows that were kept when a base is taken, likewise.
//     A row that is left out so counts towards nothing.
//   - An [Entry] moves the contact only if it is complete and nothing is missing
//     before it: its From is not above the cursor. Otherwise its rows count, and
//     the next incremental refresh is due as if there had been none.
//   - Users who are missing from a base of another replica are told to the cursor
//     (refresh.Cursor.Gone), or a server that lags behind brings them back. But not
//     whose row may have come since that base began, by Known of an Entry or with a base
//     that was published with rows on top: they may have been added since.
//   - A base says who was gone when it began, and a replica that was away, or has just
//     started, asks for nothing from before that: it does not know who was gone then.
//   - A base does not put the cursor back behind what was known when it began,
//     unless the source itself went back: the users with the highest sequences
//     may just be gone. What an incremental refresh has read is known from its end
//     on (Known of an Entry); how fresh it is, is told by its beginning. A machine
//     may be suspended between the two.
//   - An incremental refresh asks from no higher than the cursor that the base came
//     with, or rows that came since: others have missed what is between that and
//     what this replica alone has seen, and would refresh once more.
//   - An incremental refresh that a refusal or a Refresh causes takes no lease:
//     [Shell.Spend], then the refresh, then [Shell.Read]. Those that are due wait
//     in [Shell.Await].
//   - [Shell.Ran] says which untouched base a full refresh has found again. If in
//     doubt, say none: then the list is written anew.
//   - A Shift moves every instant of before: those of the list, of rows that are
//     kept, and the beginnings of the refreshes that are under way. Otherwise one
//     that began before its machine was suspended replaces a later list. Where only the
//     store's clock says that it was, the beginnings alone are moved.
//   - When a refresh is due is told by the ages of what requests see. So what
//     others publish moves it, and so does a Shift.
//
// # What no clock tells
//
//   - That the store's clock was put back while no replica ran that had read it
//     before. To one that starts then, what is published looks younger by as much,
//     until the next full refresh.
//   - That a virtual machine was frozen, with both of its clocks, while the store was
//     away or its clock was set too. Until its wall clock is set right, ages are too
//     young by as much, as they are without a store.
//
// Nor does anything say which of two rows with one sequence is newer, if a server of the
// source lags behind: the one that was read later counts.
package replication
