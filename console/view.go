package console

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/rolegate/rolegate"
)

// A view is what the page shows, ready to be written. Its methods are for the
// template.
type view struct {
	lang
	gate   *rolegate.Gate
	log    *slog.Logger
	Name   string
	Viewer int64
	Now    time.Time
	Token  string

	Status    rolegate.Status
	Overview  rolegate.Overview
	HeldUsers []int64
	Timeline  timeline
	pulls     []pull
	Routes    routeList

	Ask question // what the form of Why has in it
	Why *answer

	Decision string       // what the form for a decision id has in it
	Found    *refusalLine // the refusal with that id
	NotFound string       // that there is none, in words

	Review bool    // the removals that are held are to be accepted: ask once more
	Done   *notice // what came of it
}

// A notice tells what came of pressing a button.
type notice struct {
	OK   bool
	Text string
}

const (
	shownHeld  = 12  // user ids
	shownRoles = 100 // role codes
)

func (c *console) newView(r *http.Request, user rolegate.User, s rolegate.Status) *view {
	v := &view{
		lang: langOf(r.Header.Get("Accept-Language")),
		gate: c.gate, log: c.cfg.Logger,
		Name: c.cfg.Name, Viewer: user.ID(), Now: time.Now(),
		Status: s, Overview: c.gate.Overview(),
	}
	if s.Held.Users > 0 {
		v.HeldUsers = c.gate.HeldUsers(shownHeld)
	}
	pulls, samples := c.history.recent()
	v.pulls = pulls
	v.Timeline = newTimeline(v.lang, samples, v.Now, s.StaleAfter, s.ExpireAfter)
	if c.cfg.Routes != nil && r.URL.Query().Get("part") != "live" {
		v.Routes = c.listRoutes(r)
	}
	return v
}

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("").Parse(pageText))

// write writes the page, or a part of it. It is made whole first: half a page
// with a status that says success would be worse than none.
func (v *view) write(w http.ResponseWriter, status int, part string) {
	var page bytes.Buffer
	if err := pageTemplate.ExecuteTemplate(&page, part, v); err != nil {
		v.log.Error("rolegate console: the page cannot be made", "err", err)
		refuse(w, http.StatusInternalServerError, "This page cannot be made.")
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", v.Tag())
	h.Add("Vary", "Accept-Language")
	h.Set("Content-Length", strconv.Itoa(page.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(page.Bytes()) // a client that has gone away is no concern of ours
}

// Style and Script are the page's own: the only ones that its policy lets a
// browser use.
func (v *view) Style() template.CSS { return template.CSS(style) }

// Script is v.Style for the script.
func (v *view) Script() template.JS { return template.JS(script) }

// N writes a number with its thousands apart.
func (v *view) N(n any) string {
	switch n := n.(type) {
	case int:
		return group(uint64(max(n, 0)))
	case uint64:
		return group(n)
	}
	return fmt.Sprint(n)
}

// Dur writes a time span.
func (v *view) Dur(d time.Duration) string { return v.duration(d) }

// Plain makes visible what others have named.
func (v *view) Plain(text string) string { return plain(text) }

// Age writes how old something is.
func (v *view) Age(d time.Duration) string { return v.age(d) }

// Clock writes a time.
func (v *view) Clock(t time.Time) string { return clock(t, v.Now) }

// Stamp writes a time for machines.
func (v *view) Stamp(t time.Time) string { return t.Format(time.RFC3339) }

// Zone names the server's time zone.
func (v *view) Zone() string { return v.Now.Format("UTC-07:00") }

// HeldText is how many are held, in words: users who are gone, and listed ones who
// have lost roles.
func (v *view) HeldText() string {
	switch h := v.Status.Held; {
	case h.LostRoles == 0:
		return v.users(h.Users)
	case h.Users == 0:
		return v.T("held.roles", v.users(h.LostRoles))
	default:
		return v.T("held.both", v.users(h.Users), v.T("held.roles", v.users(h.LostRoles)))
	}
}

// HeldMore is how many more are held than the page lists.
func (v *view) HeldMore() int { return v.Status.Held.Users - len(v.HeldUsers) }

// HeldMark says which removals the page has shown: they are accepted only if
// they are those still.
func (v *view) HeldMark() string { return v.Status.Held.Digest }

// Listed reports whether there is a list, of which the ages are.
func (v *view) Listed() bool { return v.Status.Generation > 0 }

// ContactOver and VerifiedOver report whether an age is over its limit.
func (v *view) ContactOver() bool { return v.Status.ContactAge > v.Status.StaleAfter }

// VerifiedOver is ContactOver for the verified age.
func (v *view) VerifiedOver() bool { return v.Status.VerifiedAge > v.Status.ExpireAfter }

// ShownRoles are the role codes that the page lists.
func (v *view) ShownRoles() []rolegate.RoleHolders {
	return v.Overview.Roles[:min(len(v.Overview.Roles), shownRoles)]
}

// MoreRoles is how many it does not.
func (v *view) MoreRoles() int { return len(v.Overview.Roles) - len(v.ShownRoles()) }

// Share is the part of the users who hold a role, in hundredths.
func (v *view) Share(users int) int { return users * 100 / max(v.Overview.Users, 1) }

// An aliasLine is a kind of alias that several users share.
type aliasLine struct {
	Kind string
	N    int
}

// Ambiguous lists the kinds of which there are ambiguous aliases.
func (v *view) Ambiguous() (lines []aliasLine) {
	for k := rolegate.KindAccount; k <= rolegate.KindThirdUserID; k++ {
		if n := v.Status.Ambiguous[k]; n > 0 {
			lines = append(lines, aliasLine{v.kind(k), n})
		}
	}
	return lines
}

func (v *view) kind(k rolegate.Kind) string { return v.or("kind."+k.String(), k.String()) }

// A decisionLine says how many decisions had a reason.
type decisionLine struct {
	Reason, Says string
	N            uint64
	OK           bool
}

// Decisions lists how many decisions there were, grants first.
func (v *view) Decisions() (lines []decisionLine) {
	for reason, n := range v.Status.Decisions {
		lines = append(lines, decisionLine{reason.String(), v.reason(reason), n, reason == rolegate.ReasonGranted})
	}
	slices.SortFunc(lines, func(a, b decisionLine) int {
		switch {
		case a.OK != b.OK:
			return map[bool]int{true: -1, false: 1}[a.OK]
		case a.N != b.N:
			return map[bool]int{true: -1, false: 1}[a.N > b.N]
		}
		return slices.Compare([]byte(a.Reason), []byte(b.Reason))
	})
	return lines
}

func (v *view) reason(r rolegate.Reason) string { return v.or("reason."+r.String(), r.String()) }

// Around reports whether there is anything around the gate to tell of.
func (v *view) Around() bool {
	s := &v.Status
	return s.Replica.Shared || v.HasCache() || v.HasSync() || s.DroppedChanges+s.DroppedDecisions > 0
}

// HasCache reports whether a list was stored, loaded, or could not be.
func (v *view) HasCache() bool {
	return v.Status.Cache.Loaded || v.Status.Cache.Stored > 0 || v.Status.Cache.Failed > 0
}

// HasSync reports whether Config.UpstreamSync was asked.
func (v *view) HasSync() bool { return !v.Status.Sync.Checked.IsZero() }

// A pullLine is one line of the table of refreshes.
type pullLine struct {
	At             time.Time
	Kind, Took     string
	Failed         bool
	Parts          []pullPart
	Says, Err      string // of a failure: in words, and the whole error
	Failure, Also  string
	Running, Quiet bool
}

// A pullPart is one number of a pull.
type pullPart struct{ Class, Text string }

// Pulls lists the last pulls, those under way first.
func (v *view) Pulls() (lines []pullLine) {
	for _, p := range []struct {
		kind pullKind
		s    rolegate.RefreshStatus
	}{{full, v.Status.Full}, {incremental, v.Status.Incremental}} {
		if p.s.Running {
			lines = append(lines, pullLine{At: p.s.Started, Kind: v.T("pull." + string(p.kind)), Running: true})
		}
	}
	for _, p := range v.pulls {
		l := pullLine{At: p.at, Kind: v.T("pull." + string(p.kind)), Failed: p.failure != "", Took: "–"}
		if p.took > 0 {
			l.Took = v.duration(p.took)
		}
		if p.unseen > 0 {
			l.Also = v.T("pull.unseen", group(p.unseen))
		}
		switch {
		case l.Failed:
			l.Failure, l.Err = plain(string(p.failure)), p.err
			l.Says = v.or("failure."+string(p.failure), l.Failure)
		case p.kind == followed:
			l.Parts = []pullPart{{"quiet", v.T("pull.generations", group(p.from), group(p.to))}}
		default:
			l.Parts = v.parts(p.outcome)
		}
		lines = append(lines, l)
	}
	return lines
}

func (v *view) parts(o rolegate.RefreshOutcome) (parts []pullPart) {
	for _, p := range []struct {
		class, text string
		n           int
	}{
		{"added", "pull.added", o.Added}, {"removed", "pull.removed", o.Removed}, {"changed", "pull.changed", o.Changed},
		{"warn", "pull.held", o.Held}, {"warn", "pull.lost_all_roles", o.LostAllRoles}, {"warn", "pull.bad", o.BadRecords}, {"warn", "pull.conflicts", o.Conflicts},
		{"warn", "pull.dropped", o.DroppedGrants}, {"warn", "pull.late", o.Late}, {"quiet", "pull.null_roles", o.NullRoles},
		{"quiet", "pull.repeated_pages", o.Repeated},
	} {
		if p.n > 0 {
			parts = append(parts, pullPart{p.class, v.T(p.text, group(uint64(p.n)))})
		}
	}
	if len(parts) == 0 {
		parts = []pullPart{{"quiet", v.T("pull.nothing")}}
	}
	return parts
}
