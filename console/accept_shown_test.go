package console_test

import (
	"net/url"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
)

var shownMark = regexp.MustCompile(`name="held" value="([^"]*)"`)

// What goes is what the page has shown, and nothing that the full refresh behind it
// is the first to miss.
func TestAcceptRemovesWhatWasShown(t *testing.T) {
	var list []rolegate.Record
	for id := range int64(100) {
		list = append(list, user(id+1, in(7, "pupil")))
	}
	a := newApp(t, rolegate.Config{}, list...)
	for id := range int64(40) {
		a.source.Remove(id + 1)
	}
	require.ErrorIs(t, a.gate.RefreshAll(t.Context()), rolegate.ErrHeld)
	shown := a.post(url.Values{"action": {"review"}})
	shown.has("Remove 40 users at once?")
	held := shownMark.FindStringSubmatch(shown.body)[1]

	a.source.Set() // in that moment, the upstream's list is empty: an import begins

	done := a.post(url.Values{"action": {"accept"}, "held": {held}})
	require.Equal(t, 409, done.status, "something is held still")
	require.GreaterOrEqual(t, a.gate.Status().Users, 60, "the page showed 40 removals")
}

// As many others, held for the same cause, are not what was shown.
func TestAcceptOfOtherUsersThanShown(t *testing.T) {
	var list []rolegate.Record
	for id := range int64(100) {
		list = append(list, user(id+1, in(7, "pupil")))
	}
	a := newApp(t, rolegate.Config{}, list...)
	set := func(gone map[int64]bool) {
		records := []rolegate.Record{user(admin, in(7, "admin"))}
		for _, r := range list {
			if !gone[r.UserID] {
				records = append(records, r)
			}
		}
		a.source.Set(records...)
	}
	gone := map[int64]bool{}
	for id := int64(1); id <= 40; id++ {
		gone[id] = true
	}
	set(gone)
	require.ErrorIs(t, a.gate.RefreshAll(t.Context()), rolegate.ErrHeld)
	shown := a.post(url.Values{"action": {"review"}})
	held := shownMark.FindStringSubmatch(shown.body)[1]
	before := a.gate.HeldUsers(100)

	// 39 of them are back, and 39 others gone.
	gone = map[int64]bool{1: true}
	for id := int64(50); id < 89; id++ {
		gone[id] = true
	}
	set(gone)
	require.ErrorIs(t, a.gate.RefreshAll(t.Context()), rolegate.ErrHeld)
	require.NotEqual(t, before, a.gate.HeldUsers(100))
	done := a.post(url.Values{"action": {"accept"}, "held": {held}})
	if done.status == 200 {
		t.Fatalf("what was shown were %v…; removed were others, such as 50: listed %v", before[:3], a.gate.Decide(t.Context(), rolegate.UserID(50)).Allowed())
	}
}
