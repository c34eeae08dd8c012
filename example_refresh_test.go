package rolegate_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// An export of everybody's data is worth a full refresh of the whole list; a look at
// the timetable is not.
func ExampleMaxAge() {
	list := rolegatetest.NewStatic(exampleList...)
	gate := exampleGateWith(func(c *rolegate.Config) { c.Source = list })
	defer gate.Close()
	r := chi.NewRouter()
	r.With(gate.Admit).Get("/timetable", examplePage)
	r.With(gate.Require(rolegate.AnyRole("teacher"), rolegate.MaxAge(time.Second))).
		Get("/export", examplePage)

	list.Remove(1)
	<-time.After(1100 * time.Millisecond) // for the list to be older than that

	exampleVisit(r, "GET /timetable", 1)
	exampleVisit(r, "GET /export", 1, 2)
	exampleVisit(r, "GET /timetable", 1)
	// Output:
	// user 1: 200 welcome
	// user 1: 403
	// user 2: 200 welcome
	// user 1: 403
}

// An event stream ends with the access that it was opened with.
func ExampleEndOnRevoke() {
	list := rolegatetest.NewStatic(exampleList...)
	gate := exampleGateWith(func(c *rolegate.Config) { c.Source = list })
	defer gate.Close()

	opened := make(chan struct{})
	stream := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(opened)
		<-r.Context().Done() // an app sends its events meanwhile
		fmt.Println(context.Cause(r.Context()))
	})
	events := gate.Require(rolegate.AnyRole("teacher"), rolegate.EndOnRevoke())(stream)

	ended := make(chan struct{})
	go func() {
		defer close(ended)
		exampleVisit(events, "GET /events", 1)
	}()
	<-opened
	list.Remove(1)
	if err := gate.RefreshAll(context.Background()); err != nil { // or the next full refresh by itself
		fmt.Println(err)
	}
	<-ended
	// Output:
	// rolegate: the access was revoked
	// user 1: 200
}

// A hook that keeps something else in step, here by printing.
func ExampleConfig_onChange() {
	changes := make(chan rolegate.Change)
	list := rolegatetest.NewStatic(exampleList...)
	gate := exampleGateWith(func(c *rolegate.Config) {
		c.Source = list
		c.OnChange = func(change rolegate.Change) { changes <- change } // in a goroutine of its own
	})
	defer gate.Close()
	ctx := context.Background()

	list.Put(
		rolegate.Record{UserID: 6, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "teacher"}}},
		rolegate.Record{UserID: 12},
	)
	fmt.Println(gate.Refresh(ctx))
	c := <-changes
	fmt.Println(c.Full, "added", c.Added, "changed", c.Changed, "removed", c.Removed)

	list.Remove(1)
	fmt.Println(gate.RefreshAll(ctx))
	c = <-changes
	fmt.Println(c.Full, "added", c.Added, "changed", c.Changed, "removed", c.Removed)
	// Output:
	// <nil>
	// false added [{12 [] []}] changed [{6 [] [{7 teacher}]}] removed []
	// <nil>
	// true added [] changed [] removed [{1 [{7 teacher}] []}]
}

// An audit trail: refusals always, and of the grants as many as are wanted.
func ExampleConfig_onDecision() {
	decisions := make(chan rolegate.DecisionEvent, 3)
	gate := exampleGateWith(func(c *rolegate.Config) {
		c.OnDecision = func(e rolegate.DecisionEvent) { decisions <- e }
		c.SampleGrants = 1 // all of them
	})
	defer gate.Close()

	mux := http.NewServeMux()
	mux.Handle("POST /orgs/{orgID}/reports",
		gate.Require(rolegate.AnyRole("homeroom"), rolegate.InOrg(rolegate.PathOrg("orgID")))(examplePage))
	exampleVisit(mux, "POST /orgs/7/reports", 1, 2, 99)

	for range 3 {
		e := <-decisions // e.Decision is the id that a refused client was told
		fmt.Printf("user %d in org %d: %v, %s, %s\n", e.UserID, e.Org, e.Reason, e.Route, e.Guard)
	}
	// Output:
	// user 1: 403
	// user 2: 200 welcome
	// user 99: 403
	// user 1 in org 7: role_missing, POST /orgs/{orgID}/reports, AnyRole(homeroom) + InOrg
	// user 2 in org 7: granted, POST /orgs/{orgID}/reports, AnyRole(homeroom) + InOrg
	// user 99 in org 0: not_authorized, POST /orgs/{orgID}/reports, AnyRole(homeroom) + InOrg
}

// A list without its users is more often a mishap than the truth, so that
// their removal waits until full refreshes agree for a quarter of an hour. An
// operator who knows better need not wait.
func ExampleGate_RefreshAll_acceptShrink() {
	list := rolegatetest.NewStatic(exampleList...)
	gate := exampleGateWith(func(c *rolegate.Config) { c.Source = list })
	defer gate.Close()
	ctx := context.Background()

	list.Remove(1, 2, 3, 4, 5, 6)
	fmt.Println(errors.Is(gate.RefreshAll(ctx), rolegate.ErrHeld))
	held := gate.Status().Held
	fmt.Println(held.Users, held.Cause, gate.Decide(ctx, rolegate.UserID(1)).Allowed())

	fmt.Println(gate.AcceptShrink(ctx, held.Digest))
	fmt.Println(gate.Status().Held.Users, gate.Decide(ctx, rolegate.UserID(1)).Allowed())
	// Output:
	// true
	// 6 shrink_guard true
	// <nil>
	// 0 false
}

// exampleImport is a sync that somebody runs upstream. An app has the client of
// package cloudcommand, which asks for it.
type exampleImport struct{ running atomic.Bool }

// CheckSync implements rolegate.SyncChecker.
func (i *exampleImport) CheckSync(context.Context) (rolegate.SyncReport, error) {
	if i.running.Load() {
		return rolegate.SyncReport{State: rolegate.SyncRunning, Text: "42 %"}, nil
	}
	return rolegate.SyncReport{State: rolegate.SyncDone}, nil
}

// Whoever is missing while a sync runs may be back in a minute.
func ExampleConfig_sync() {
	list := rolegatetest.NewStatic(exampleList...)
	nightly := new(exampleImport)
	gate := exampleGateWith(func(c *rolegate.Config) { c.Source, c.UpstreamSync = list, nightly })
	defer gate.Close()
	ctx := context.Background()

	nightly.running.Store(true)
	list.Remove(1)
	fmt.Println(errors.Is(gate.RefreshAll(ctx), rolegate.ErrHeld), gate.Decide(ctx, rolegate.UserID(1)).Allowed())
	s := gate.Status()
	fmt.Println(s.Sync.State, s.Sync.Text, "-", s.Held.Users, "held because of", s.Held.Cause)

	nightly.running.Store(false)
	fmt.Println(gate.RefreshAll(ctx), gate.Decide(ctx, rolegate.UserID(1)).Allowed())
	// Output:
	// true true
	// running 42 % - 1 held because of sync
	// <nil> false
}

// Who was granted something a moment ago is not refused first: the gate looks
// once more before it says no.
func ExampleOnDeny() {
	for _, onDeny := range []rolegate.OnDeny{
		{}, // the default
		{Off: true},
	} {
		list := rolegatetest.NewStatic(exampleList...)
		gate := exampleGateWith(func(c *rolegate.Config) { c.Source, c.OnDeny = list, onDeny })
		list.Put(rolegate.Record{UserID: 12})
		exampleVisit(gate.Admit(examplePage), "GET /", 12)
		gate.Close()
	}
	// Output:
	// user 12: 200 welcome
	// user 12: 403
}

// In a test of the app against the real list, this finds mistyped roles. The
// log tells of them too, once.
func ExampleStatus_unassignedRoles() {
	gate := exampleGateWith(func(c *rolegate.Config) {
		c.RoleCodes = func(context.Context) ([]string, error) { // an app has its marketplace client's
			return []string{"teacher", "homeroom", "suspended", "admin", "principal"}, nil
		}
	})
	defer gate.Close()
	gate.Require(rolegate.AnyRole("teacher", "principal"))
	gate.Require(rolegate.NoRole("suspendet"))
	if err := gate.RefreshAll(context.Background()); err != nil { // the platform's roles are asked for after a full refresh
		fmt.Println(err)
	}

	for _, role := range gate.Status().UnassignedRoles {
		if role.Known {
			fmt.Printf("nobody is %q yet\n", role.Code)
			continue
		}
		fmt.Printf("no such role: %q; was it to be %q?\n", role.Code, role.Nearest)
	}
	// Output:
	// nobody is "principal" yet
	// no such role: "suspendet"; was it to be "suspended"?
}
