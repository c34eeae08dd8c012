package rolegate_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// This file is the world of the simulation: what the marketplace means, what it
// says, and by when a gate must know.

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
	mended   moment // when a garbled record will be
	sequence int64

	// When he last got and lost each thing. A loss is quiet if increments do
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

	// tick is the second that it is. Things may happen later by what a pull
	// takes; what is drawn from rng must not depend on that.
	tick moment

	mu       sync.Mutex
	people   []simPerson
	rows     []simPlace // by sequence
	sequence int64
	cut      int64  // the list seems to end with this sequence
	cutSince moment // for pulls that began since
	fault    simFault
	faultAt  int // the page of a walk that meets it; -1: every page of every pull

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
			p.gained[th], p.lost[th] = simEver, simEver
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
	simQuiet = false // nothing shows: only a walk sees it
)

// change changes what the marketplace means of one person, and notes what he
// has got and lost by it.
func (w *simWorld) change(n int, isShown bool, f func(p *simPerson)) {
	now := w.now()
	p := &w.people[n]
	before := *p
	w.mu.Lock()
	f(p)
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
		if w.people[n].mended > w.tick {
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
	mended := w.tick + time.Duration(5+w.rng.IntN(60))*time.Minute
	if !w.people[n].listed || w.people[n].spelling != simClear || len(w.garbled) >= 8 {
		return
	}
	w.counts["bad records"]++
	w.change(n, simShown, func(p *simPerson) { p.spelling, p.mended = how, mended })
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

// shrink revokes 35 to 60 % of the users at once; regrow lets them in again.
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

// hide makes the list seem to end after a part of it, in hundredths. A walk
// that is under way sees all of it: it would lose less than what the brake is
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

// simBegun is the key of when a pull began, in the context of its requests.
type simBegun struct{}

// simClient is the real client, which tells the marketplace when a pull began.
type simClient struct {
	*marketplace.Client
	w *simWorld
}

func (s simClient) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	return s.Client.Pull(context.WithValue(ctx, simBegun{}, s.w.now()), after, yield)
}

// recover ends everything that ails the answers.
func (w *simWorld) recover() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut, w.fault = math.MaxInt64, simWell
	if w.mirror != nil {
		w.mirror.Recover()
	}
}

// A simFault is a way for pulls to fail.
type simFault int

const (
	simWell simFault = iota
	simUnavailable
	simResting
	simHanging
	simTruncated
	simCached
	simUpset
	simFaults
)

// simPageTimeout is how long the client waits for a page.
const simPageTimeout = 15 * time.Second

var simFaultErrors = [simFaults]*rolegate.PullError{
	simUnavailable: {Failure: rolegate.FailureHTTPStatus, Err: errors.New("503")},
	simResting:     {Failure: rolegate.FailureHTTPStatus, RetryAfter: 30 * time.Second, Err: errors.New("503")},
	simHanging:     {Failure: rolegate.FailureTimeout, Err: context.DeadlineExceeded},
	simTruncated:   {Failure: rolegate.FailureMalformed, Err: errors.New("the reply breaks off")},
	simCached:      {Failure: rolegate.FailureCachedReply, Err: errors.New("the reply has an Age")},
	simUpset:       {Failure: rolegate.FailureUpstream, Err: errors.New("code 500")},
}

var simWireFaults = [simFaults]rolegatetest.Fault{
	simUnavailable: rolegatetest.HTTPStatus(http.StatusServiceUnavailable),
	simResting:     rolegatetest.HTTPStatus(http.StatusServiceUnavailable, "Retry-After", "30"),
	simHanging:     rolegatetest.Hang(),
	simTruncated:   rolegatetest.Truncated(),
	simCached:      rolegatetest.CachedReply(90 * time.Second),
	simUpset:       rolegatetest.ErrorEnvelope(500, "no"),
}

// ail makes every pull fail.
func (w *simWorld) ail(f simFault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault, w.faultAt = f, -1
	if w.mirror != nil {
		w.mirror.Fail(simWireFaults[f])
	}
}

// ailWalks makes walks fail at one of their pages, and increments work.
func (w *simWorld) ailWalks(f simFault, page int) {
	rows := w.withoutGaps()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault, w.faultAt = f, page
	if w.mirror == nil {
		return
	}
	if page == 0 {
		w.mirror.FailWhen(rolegatetest.Request.BeginsWalk, simWireFaults[f])
		return
	}
	middle := rows[len(rows)/2].sequence
	w.mirror.FailWhen(func(r rolegatetest.Request) bool { return r.After > 0 && r.After < middle }, simWireFaults[f])
}

// A simSource reads the list out of memory, by pages that take as long as over
// a wire: JSON for 10,000 users a thousand times over would take minutes.
type simSource struct{ w *simWorld }

const (
	simPage    = 1000
	simLatency = 50 * time.Millisecond
)

func (s simSource) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	isWalk, begun := after == 0, s.w.now()
	var buf []rolegate.Record
	if isWalk {
		buf = make([]rolegate.Record, simPage)
	}
	for page := 0; ; page++ {
		wait(ctx, simLatency)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		records, fault := s.w.page(buf, after, isWalk, page, begun)
		if fault == simHanging {
			wait(ctx, simPageTimeout)
		} else {
			for _, r := range records {
				yield(r)
				after = r.Sequence
			}
		}
		if fault != simWell {
			return simFaultErrors[fault]
		}
		if len(records) < simPage {
			return nil
		}
	}
}

// page returns what comes after a sequence, or half of it and what went wrong.
func (w *simWorld) page(buf []rolegate.Record, after int64, isWalk bool, number int, begun moment) (records []rolegate.Record, fault simFault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.faultAt < 0 || isWalk && number == w.faultAt {
		fault = w.fault
	}
	limit := simPage
	if fault == simTruncated {
		limit /= 2
	}
	records = buf[:0]
	first := sort.Search(len(w.rows), func(i int) bool { return w.rows[i].sequence > after })
	for _, at := range w.rows[first:] {
		if len(records) == limit || at.sequence > w.cut && begun >= w.cutSince {
			break
		}
		if !w.is(at) {
			continue
		}
		r := rolegate.Record{UserID: simID(at.n), Sequence: at.sequence, Grants: w.grants(at.n)}
		switch w.people[at.n].spelling {
		case simGarbled:
			r.Bad, r.Grants = errSimBad, nil
		case simUnreadable:
			r.UserID, r.Bad, r.Grants = 0, errSimBad, nil
		}
		records = append(records, r)
	}
	return records, fault
}

var errSimBad = errors.New("roleList: expected an array")

// A simTrouble is a time in which the marketplace was not well, or something
// happened that a gate may take longer to follow.
type simTrouble struct {
	kind     simTroubleKind
	from, to moment
	planned  time.Duration
}

type simTroubleKind int

const (
	simBlip      simTroubleKind = iota // every pull fails, for seconds
	simOutage                          // for minutes or hours
	simWalksFail                       // walks fail, increments work
	simHalf                            // the list lacks more than a third of its end, and nothing says so
	simSyncHalf                        // it lacks some of its end, and Config.Sync says why
	simSyncLong                        // a sync runs for longer than SyncHold; the list is right
	simShrunk                          // a third of the users or more are really revoked
	simRestored                        // the list is that of an earlier hour
	simTroubles
)

func (k simTroubleKind) String() string {
	return [simTroubles]string{
		"blips", "outages", "failing walks", "half-finished lists", "syncs with half-finished lists", "long syncs", "shrinks", "restored backups",
	}[k]
}

// What is promised, with what one pull and one walk take here, and a second for
// the clock of the simulation.
const (
	simPull       = time.Second
	simWalk       = 2 * time.Second
	simBoundShown = 66*time.Second + simPull + time.Second
	simBoundQuiet = 11*time.Minute + 2*simWalk + time.Second
	simBoundAtAll = time.Hour + simWalk
	simConfirm    = 63*time.Second + 2*simWalk // the brake's second opinion
	simSyncHold   = 30 * time.Minute
	simSyncPoll   = 15 * time.Second
)

// due is by when a gate must know of what happened at that moment: within what
// is promised, unless the marketplace was not well meanwhile. byWalk is whether
// only a walk shows it.
func (w *simWorld) due(happened moment, within time.Duration, byWalk bool) moment {
	d := happened + within
	// None before has a say: there are three minutes between two of them.
	first := sort.Search(len(w.troubles), func(i int) bool { return w.troubles[i].to > happened-20*time.Minute })
	for _, tr := range w.troubles[first:] {
		if tr.from >= d {
			break
		}
		if tr.settled() > happened {
			d = max(d, tr.delay(d, byWalk))
		}
	}
	return d
}

// well reports whether increments work at that moment and have been tried
// since they did not.
func (w *simWorld) well(at moment) bool {
	soon := at + 2*time.Second
	return w.due(at, soon-at, false) == soon
}

// settled is when a trouble that is over has no effect any more.
func (tr simTrouble) settled() moment {
	switch tr.kind {
	case simShrunk, simRestored:
		return tr.from + simBoundQuiet + simConfirm
	default:
		return tr.to + tr.backOff() + simConfirm
	}
}

// backOff is how much later than an outage's end the next pull may be: what
// has failed for so long backs off for no longer than half as long again, nor
// for more than a minute and a fifth. The last that fails may have waited for
// its page.
func (tr simTrouble) backOff() time.Duration {
	return simPageTimeout + max(30*time.Second, min(72*time.Second, tr.planned*3/2+2*time.Second))
}

// delay is by when a gate must know what it would otherwise know at d.
func (tr simTrouble) delay(d moment, byWalk bool) moment {
	switch tr.kind {
	case simBlip, simOutage:
		return tr.to + tr.backOff() + simWalk
	case simWalksFail:
		if byWalk {
			return tr.to + tr.backOff() + simWalk
		}
	case simHalf:
		if byWalk {
			return tr.to + simConfirm
		}
		return tr.to + simBoundShown
	case simSyncHalf, simSyncLong:
		if byWalk {
			// The first walk that sees it begins to hold it.
			return min(tr.to, d+simSyncHold) + simSyncPoll + 2*simWalk
		}
		if tr.kind == simSyncHalf {
			return tr.to + simBoundShown
		}
	case simShrunk:
		if byWalk {
			return d + simConfirm
		}
	case simRestored:
		if byWalk {
			return d + simConfirm
		}
		return tr.from + simBoundQuiet + simWalk // increments go on from where the old list was
	}
	return d
}

// begin begins a trouble of a random kind. It returns what ends it.
func (w *simWorld) begin() (tr simTrouble, end func()) {
	minutes := func(from, to int) time.Duration { return time.Duration(from+w.rng.IntN(to-from)) * time.Minute }
	fault := simUnavailable + simFault(w.rng.IntN(int(simFaults-simUnavailable)))
	cure := w.recover
	switch dice := w.rng.IntN(100); {
	case dice < 28:
		tr.kind, tr.planned = simBlip, time.Duration(5+w.rng.IntN(40))*time.Second
		w.ail(fault)
	case dice < 40:
		tr.kind, tr.planned = simOutage, time.Duration(2*math.Pow(60, w.rng.Float64())*float64(time.Minute))
		w.ail(fault)
	case dice < 50:
		tr.kind, tr.planned = simWalksFail, minutes(5, 110)
		if fault == simResting {
			fault = simUnavailable // who asks to be left alone is left alone by increments too
		}
		w.ailWalks(fault, w.rng.IntN(10))
	case dice < 72:
		tr.kind, tr.planned = simHalf, time.Duration(15+w.rng.IntN(35))*time.Second
		w.hide(w.rng.IntN(60))
	case dice < 84:
		tr.kind, tr.planned = simSyncHalf, minutes(3, 28)
		w.sync.set(rolegate.SyncRunning)
		w.hide(w.rng.IntN(95))
		cure = func() { w.recover(); w.sync.set(rolegate.SyncDone) }
	case dice < 88:
		tr.kind, tr.planned = simSyncLong, minutes(32, 50)
		w.sync.set(rolegate.SyncRunning)
		cure = func() { w.sync.set(rolegate.SyncDone) }
	case dice < 92:
		tr.kind, tr.planned = simShrunk, 20*time.Minute
		gone := w.shrink()
		cure = func() { w.regrow(gone) }
	default:
		tr.kind, tr.planned = simRestored, 16*time.Minute
		w.restore()
		cure = func() {}
	}
	w.counts[tr.kind.String()]++
	tr.from, tr.to = w.now(), simForever
	w.troubles = append(w.troubles, tr)
	return tr, func() {
		cure()
		w.troubles[len(w.troubles)-1].to = w.now()
	}
}

// ailing reports whether walks fail.
func (w *simWorld) ailing() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fault != simWell
}

// What follows are sources that break a rule.

// simKeepsRoles hides in increments that a user has fewer roles than before.
type simKeepsRoles struct {
	rolegate.Source
	mu     sync.Mutex
	before map[int64][]rolegate.Grant
}

func (s *simKeepsRoles) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	return s.Source.Pull(ctx, after, func(r rolegate.Record) {
		s.mu.Lock()
		if s.before == nil {
			s.before = map[int64][]rolegate.Grant{}
		}
		if r.Bad == nil {
			if after > 0 {
				r.Grants = append(slices.Clone(r.Grants), s.before[r.UserID]...)
			} else {
				s.before[r.UserID] = r.Grants
			}
		}
		s.mu.Unlock()
		yield(r)
	})
}

// simKeepsUsers lists in walks everybody who ever was on the list.
type simKeepsUsers struct {
	rolegate.Source
	mu   sync.Mutex
	ever map[int64]rolegate.Record
}

func (s *simKeepsUsers) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	seen := map[int64]bool{}
	err := s.Source.Pull(ctx, after, func(r rolegate.Record) {
		s.mu.Lock()
		if s.ever == nil {
			s.ever = map[int64]rolegate.Record{}
		}
		s.ever[r.UserID], seen[r.UserID] = r, true
		s.mu.Unlock()
		yield(r)
	})
	s.mu.Lock() // never while time goes by: a bubble's clock waits for nobody who waits for a lock
	defer s.mu.Unlock()
	if after == 0 {
		for id, r := range s.ever {
			if !seen[id] {
				r.Sequence = 0
				yield(r)
			}
		}
	}
	return err
}

// simDropsBad leaves out records that could not be understood.
type simDropsBad struct{ rolegate.Source }

func (s simDropsBad) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	return s.Source.Pull(ctx, after, func(r rolegate.Record) {
		if r.Bad == nil {
			yield(r)
		}
	})
}

// simNeverFails takes what there was before a pull broke off for all there is.
type simNeverFails struct{ rolegate.Source }

func (s simNeverFails) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	if err := s.Source.Pull(ctx, after, yield); ctx.Err() != nil {
		return err
	}
	return nil
}
