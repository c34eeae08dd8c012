package chiroutes

import (
	"github.com/go-chi/chi/v5"
)

// An Entry is a [Route] before the patterns of its routers are joined.
type Entry struct {
	Route
	Levels []string
}

// Entries lists a router.
func Entries(r chi.Routes) (entries []Entry, err error) {
	found, err := list(r)
	for _, e := range found {
		entries = append(entries, Entry{Route: e.route(), Levels: e.levels})
	}
	return entries, err
}

var Same = same
