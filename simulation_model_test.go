package rolegate_test

import (
	"context"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// This file is the world of the simulation: what the marketplace means, what it
// says.

// A moment is the time since the simulation began.
type moment = time.Duration

// Long before the simulation, and long after it.
const (
	simEver    moment = math.MinInt64 / 4
	simForever moment = math.MaxInt64 / 4
)

// A simThing is what a request asks for: to be on the list, or a role.
type simThing int

const (
	simEntry simThing = iota
	simTeacher
	simHomeroom
	simAdmin
	simThings
)

var simRoles = [simThings]string{simTeacher: "teacher", simHomeroom: "homeroom", simAdmin: "admin"}

func (th simThing) String() string {
	if th == simEntry {
		return "entry"
	}
	return simRoles[th]
}

const (
	simUsers   = 10_000 // authorised at the beginning
	simPeople  = 11_000 // who may ever be
	simFirstID = 1542135022016057000
	simOrgs    = 40
)

func simID(n int) int64  { return simFirstID + int64(n) }
func simOrg(n int) int64 { return int64(7 + n%simOrgs) }

// simGrants has the grants for each organisation and set of roles.
var simGrants = func() (all [simOrgs][1 << simThings][]rolegate.Grant) {
	for org := range all {
		for set := range all[org] {
			for th := simTeacher; th < simThings; th++ {
				if set&(1<<th) != 0 {
					all[org][set] = append(all[org][set], in(simOrg(org), simRoles[th]))
				}
			}
		}
	}
	return all
}()

// A simSpelling is how the marketplace writes a record.
type simSpelling uint8

const (
	simClear      simSpelling = iota
	simGarbled                // the user's id can be read, the rest cannot
	simUnreadable             // nor can the id: nobody can tell whose it is
)

// A simPerson is what the marketplace means, and how it has come to that.
type simPerson struct {
	listed   bool
	roles    uint8 // a bit for each simThing
	spelling simSpelling
	fixed    moment // when a garbled record will be
	sequence int64
	blurred  moment // when the list last showed a change without roles

	// When they last got and lost each thing. A loss is quiet if increments do
	// not show it.
	gained, lost [simThings]moment
	quiet        [simThings]bool
}

func (p *simPerson) has(th simThing) bool {
	return p.listed && p.spelling == simClear && (th == simEntry || p.roles&(1<<th) != 0)
}

// A simPlace is a line of the list. It is a gap once its user has moved on.
type simPlace struct {
	sequence int64
	n        int
}

// A simNews is a change that is still worth asking about.
type simNews struct {
	n     int
	thing simThing
	at    moment
}

// A simBackup is the list as it was.
type simBackup struct {
	people   []simPerson
	rows     []simPlace
	sequence int64
	mirror   *rolegatetest.Backup
}

// A simWorld is the marketplace. The simulation's own goroutine changes it, and
// may read it without the lock; sources read it with the lock.
type simWorld struct {
	rng    *rand.Rand
	began  time.Time
	mirror *rolegatetest.Marketplace // told everything too, if there is one
	sync   *syncing

	// tick is the second that it is. Things may happen later by what a refresh
	// takes; what is drawn from rng must not depend on that.
	tick moment

	mu       sync.Mutex
	people   []simPerson
	rows     []simPlace // by sequence
	sequence int64
	cut      int64  // the list seems to end with this sequence
	cutSince moment // for pulls that began since
	fault    simFault
	lagging  *simBackup // what one server of three has, nil if none lags
	turn     int        // of the servers
	cleared  bool       // nobody's roles are shown
	faultAt  int        // the page of a full refresh that meets it; -1: every page of every refresh

	listed        int
	gains, losses []simNews
	garbled       []int
	saved         *simBackup
	restored      moment
	troubles      []simTrouble
	counts        map[string]int
}

func newSimWorld(seed uint64, mirror *rolegatetest.Marketplace) *simWorld {
	w := &simWorld{
		rng: rand.New(rand.NewPCG(seed, 1)), began: time.Now(), mirror: mirror, sync: &syncing{},
		people: make([]simPerson, simPeople), cut: math.MaxInt64, restored: simEver, counts: map[string]int{},
	}
	w.sync.set(rolegate.SyncDone)
	for n := range w.people {
		p := &w.people[n]
		for th := range simThings {
			p.gained[th], p.lost[th], p.blurred = simEver, simEver, simEver
		}
		if n < simUsers {
			w.change(n, simShown, func(p *simPerson) { p.listed, p.roles = true, w.someRoles() })
		}
	}
	for n := range w.people {
		for th := range simThings {
			w.people[n].gained[th] = simEver
		}
	}
	w.gains, w.losses = nil, nil
	return w
}

func (w *simWorld) now() moment { return time.Since(w.began) }

func (w *simWorld) someRoles() uint8 { return uint8(w.rng.IntN(1<<simThings)) &^ 1 }

// How a change looks to increments.
const (
	simShown = true  // it raised the sequence
	simQuiet = false // nothing shows: only a full refresh sees it
)

// change changes what the marketplace means of one person, and notes what they
// have got and lost by it.
func (w *simWorld) change(n int, isShown bool, f func(p *simPerson)) {
	now := w.now()
	p := &w.people[n]
	before := *p
	w.mu.Lock()
	f(p)
	if w.cleared {
		p.blurred = now
	}
	if isShown {
		w.sequence++
		p.sequence = w.sequence
		w.rows = append(w.rows, simPlace{p.sequence, n})
		if len(w.rows) > 3*simPeople {
			w.rows = w.withoutGaps()
		}
	}
	w.mu.Unlock()
	if p.listed != before.listed {
		if p.listed {
			w.listed++
		} else {
			w.listed--
		}
	}
	for th := range simThings {
		switch had, has := before.has(th), p.has(th); {
		case has && !had:
			p.gained[th] = now
			w.gains = append(w.gains, simNews{n, th, w.tick})
		case had && !has:
			p.lost[th], p.quiet[th] = now, !isShown
			w.losses = append(w.losses, simNews{n, th, w.tick})
		case !has && !isShown:
			// The record that would have shown an earlier loss is gone.
			p.quiet[th] = true
		}
	}
	if w.mirror == nil {
		return
	}
	if p.spelling != before.spelling {
		w.mirror.Respell(simID(n), simRespellings[p.spelling])
	}
	switch {
	case isShown:
		w.mirror.Put(rolegatetest.User{ID: simID(n), Grants: w.grants(n)})
	case before.listed && !p.listed:
		w.mirror.Revoke(simID(n))
	}
}

var simRespellings = map[simSpelling]func(string) string{
	simGarbled:    func(record string) string { return strings.Replace(record, `"roleList":[`, `"roleList":7,"was":[`, 1) },
	simUnreadable: func(record string) string { return strings.Replace(record, `{"userId":`, `{"userId":-`, 1) },
}

func (w *simWorld) grants(n int) []rolegate.Grant { return simGrants[n%simOrgs][w.people[n].roles] }

func (w *simWorld) withoutGaps() (rows []simPlace) {
	for _, at := range w.rows {
		if w.is(at) {
			rows = append(rows, at)
		}
	}
	return rows
}

// is reports whether a line of the list is no gap.
func (w *simWorld) is(at simPlace) bool {
	p := &w.people[at.n]
	return p.listed && p.sequence == at.sequence
}

// live lets happen what happens in a second in a marketplace at work.
func (w *simWorld) live() {
	if w.rng.IntN(12) == 0 {
		w.administer()
	}
	if w.rng.IntN(2500) == 0 {
		w.garble()
	}
	w.garbled = slices.DeleteFunc(w.garbled, func(n int) bool {
		if w.people[n].fixed > w.tick {
			return false
		}
		w.change(n, w.people[n].listed, func(p *simPerson) { p.spelling = simClear })
		return true
	})
	w.gains = simSince(w.gains, w.tick-10*time.Minute)
	w.losses = simSince(w.losses, w.tick-80*time.Minute)
}

func simSince(news []simNews, from moment) []simNews {
	for len(news) > 0 && news[0].at < from {
		news = news[1:]
	}
	return news
}

// administer makes one change, often to somebody who was changed a moment ago.
func (w *simWorld) administer() {
	n := w.rng.IntN(simPeople)
	if recent := len(w.losses); recent > 0 && w.rng.IntN(3) == 0 {
		n = w.losses[w.rng.IntN(recent)].n
	}
	p := &w.people[n]
	dice := w.rng.IntN(10)
	switch {
	case !p.listed && (w.listed < simUsers || dice < 5):
		w.counts["users granted"]++
		w.change(n, simShown, func(p *simPerson) { p.listed, p.roles = true, w.someRoles() })
	case !p.listed:
	case w.listed > simUsers*19/20 && dice < 4:
		w.counts["users revoked"]++
		w.change(n, simQuiet, func(p *simPerson) { p.listed = false })
	case dice < 7:
		if add := w.someRoles() &^ p.roles; add != 0 {
			w.counts["roles granted"]++
			w.change(n, simShown, func(p *simPerson) { p.roles |= add })
		}
	default:
		if less := w.someRoles() & p.roles; less != 0 {
			w.counts["roles taken away"]++
			w.change(n, simShown, func(p *simPerson) { p.roles &^= less })
		}
	}
}

// garble spoils a record for a while: most name their user still.
func (w *simWorld) garble() {
	n := w.rng.IntN(simPeople)
	how := simGarbled
	if w.rng.IntN(5) == 0 {
		how = simUnreadable
	}
	fixed := w.tick + time.Duration(5+w.rng.IntN(60))*time.Minute
	if !w.people[n].listed || w.people[n].spelling != simClear || len(w.garbled) >= 8 {
		return
	}
	w.counts["bad records"]++
	w.change(n, simShown, func(p *simPerson) { p.spelling, p.fixed = how, fixed })
	w.garbled = append(w.garbled, n)
}

// backUp saves the list, for restore.
func (w *simWorld) backUp() {
	w.saved = &simBackup{people: append([]simPerson(nil), w.people...), rows: w.withoutGaps(), sequence: w.sequence}
	if w.mirror != nil {
		w.saved.mirror = w.mirror.Backup()
	}
}

// restore puts the list back to what it was when it was saved last.
func (w *simWorld) restore() {
	mirror := w.mirror
	w.mirror = nil
	for n := range w.people {
		was := &w.saved.people[n]
		w.change(n, simQuiet, func(p *simPerson) { p.listed, p.roles, p.sequence = was.listed, was.roles, was.sequence })
	}
	w.mu.Lock()
	w.rows = append([]simPlace(nil), w.saved.rows...)
	w.sequence = w.saved.sequence
	w.mu.Unlock()
	w.restored = w.now()
	if w.mirror = mirror; mirror != nil {
		mirror.Restore(w.saved.mirror)
	}
}

// shrink revokes 35 to 60 % of the users at once; regrow lists them again.
func (w *simWorld) shrink() (gone []int) {
	part := 35 + w.rng.IntN(25)
	for n := range w.people {
		if w.people[n].listed && w.rng.IntN(100) < part {
			gone = append(gone, n)
			w.change(n, simQuiet, func(p *simPerson) { p.listed = false })
		}
	}
	return gone
}

func (w *simWorld) regrow(gone []int) {
	for _, n := range gone {
		if !w.people[n].listed {
			w.change(n, simShown, func(p *simPerson) { p.listed = true })
		}
	}
}

// hide makes the list seem to end after a part of it, in hundredths. A full refresh
// that is under way sees all of it: it would lose less than what the shrink guard is
// for, and nobody promises anything of that.
func (w *simWorld) hide(percent int) {
	rows := w.withoutGaps()
	keep := len(rows) * percent / 100
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut = 0; keep > 0 {
		w.cut = rows[keep-1].sequence
	}
	w.cutSince = w.now()
	if w.mirror == nil {
		return
	}
	since, drop := w.cutSince, rolegatetest.DropRows(keep)
	w.mirror.Fail(func(out http.ResponseWriter, r *http.Request, normal http.Handler) {
		if begun, _ := r.Context().Value(simBegun{}).(moment); begun < since {
			normal.ServeHTTP(out, r)
		} else {
			drop(out, r, normal)
		}
	})
}

// simBegun is the key of when a refresh began, in the context of its requests.
type simBegun struct{}

// simClient is the real client, which tells the marketplace when a refresh began.
type simClient struct {
	*marketplace.Client
	w *simWorld
}

func (s simClient) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	return s.Client.Pull(context.WithValue(ctx, simBegun{}, s.w.now()), after, yield)
}

func (s simClient) PullPages(ctx context.Context, after int64, page func([]rolegate.Record) error) error {
	return s.Client.PullPages(context.WithValue(ctx, simBegun{}, s.w.now()), after, page)
}

// lag has one server of three stay behind.
func (w *simWorld) lag() {
	old := &simBackup{people: slices.Clone(w.people), rows: w.withoutGaps()}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lagging = old
	if w.mirror == nil {
		return
	}
	lagging, turns := rolegatetest.Lagging(w.mirror.Backup()), map[moment]bool{}
	w.mirror.Fail(func(out http.ResponseWriter, r *http.Request, normal http.Handler) {
		begun, _ := r.Context().Value(simBegun{}).(moment)
		w.mu.Lock()
		lags, ok := turns[begun] // of all pages of one refresh
		if !ok {
			w.turn++
			lags = w.turn%3 == 0
			turns[begun] = lags
		}
		w.mu.Unlock()
		if lags {
			lagging(out, r, normal)
		} else {
			normal.ServeHTTP(out, r)
		}
	})
}

// lags reports whether the server lags that answers the refresh which begins now.
func (w *simWorld) lags() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turn++
	return w.lagging != nil && w.turn%3 == 0
}

// clear has the list show nobody's roles.
func (w *simWorld) clear() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cleared = true
	for _, recent := range [][]simNews{w.gains, w.losses} {
		for _, news := range recent {
			if news.at > w.tick-5*time.Minute { // increments look back to it
				w.people[news.n].blurred = w.now()
			}
		}
	}
	if w.mirror != nil {
		w.mirror.Fail(rolegatetest.NullRoles())
	}
}

// recover ends everything that ails the answers.
func (w *simWorld) recover() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut, w.fault, w.lagging, w.cleared = math.MaxInt64, simWell, nil, false
	if w.mirror != nil {
		w.mirror.Recover()
	}
}
