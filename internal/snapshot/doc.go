// Package snapshot is a generation of the role index with its ages and with the
// removals that are held back. It decides which removals are held, and has the
// form in which a generation is stored and sent. It is usable without the root.
package snapshot
