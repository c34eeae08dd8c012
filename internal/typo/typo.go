// Package typo finds the word that a misspelt one was probably meant to be.
package typo

import (
	"iter"
	"unicode/utf8"
)

// Nearest returns the candidate most like word, the first of several, or "" if
// none is like it: if more than a third of the word and one character would have
// to change.
func Nearest(word string, candidates iter.Seq[string]) string {
	best, nearest := utf8.RuneCountInString(word)/3+2, ""
	for candidate := range candidates {
		if d := Distance(word, candidate); d < best {
			best, nearest = d, candidate
		}
	}
	return nearest
}

// Distance is how many characters must be inserted, removed or replaced to turn
// a into b (Levenshtein).
func Distance(a, b string) int {
	from, to := []rune(a), []rune(b)
	row := make([]int, len(to)+1)
	for j := range row {
		row[j] = j
	}
	for i := range from {
		diagonal := row[0]
		row[0] = i + 1
		for j := range to {
			cost := diagonal
			if from[i] != to[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(to)]
}
