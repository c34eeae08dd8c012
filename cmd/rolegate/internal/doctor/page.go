package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/refresh"
	"github.com/rolegate/rolegate/internal/wire"
	"github.com/rolegate/rolegate/marketplace"
)

// A page is the first one of the list, and what was asked after it.
type page struct {
	*exchange
	rows    []row             // as they came
	records []rolegate.Record // as the client has checked them
	high    int64             // the highest sequence, 0 if there is none

	// What one request for what comes after high has shown.
	probed    bool
	more      bool // there are users after high
	inclusive bool // the users at high came again
	below     bool // users below high came: the cursor is not heeded
	probeErr  error
}

// A row is a record on the wire, as far as the client does not tell of it.
type row struct {
	UserID       json.RawMessage `json:"userId"`
	LastSequence json.RawMessage `json:"lastSequence"`
	RoleList     json.RawMessage `json:"roleList"`
}

// read reads what the client does not tell.
func (p *page) read() {
	var e struct {
		Data []json.RawMessage `json:"data"`
	}
	_ = json.Unmarshal(p.body.Bytes(), &e) // the client has checked it
	for _, raw := range e.Data {
		var r row
		_ = json.Unmarshal(raw, &r)
		p.rows = append(p.rows, r)
	}
	for _, r := range p.records {
		p.high = max(p.high, r.Sequence)
	}
}

// full reports whether the page has as many users as were asked for.
func (p *page) full() bool { return p.limit > 0 && len(p.rows) >= p.limit }

// probe asks once for what comes after the page.
func (d *doctor) probe(ctx context.Context, p *page) {
	if p.high == 0 {
		return
	}
	d.recorder.allow(strconv.FormatInt(p.high, 10))
	asked := d.recorder.sent
	err := d.client.PullPages(ctx, p.high, func(records []rolegate.Record) error {
		for _, r := range records {
			switch {
			case r.Sequence > p.high:
				p.more = true
			case r.Sequence == p.high:
				p.inclusive = true
			case r.Bad == nil:
				p.below = true
			}
		}
		return errEnough
	})
	p.probed = d.recorder.sent > asked
	if err != nil && !errors.Is(err, errEnough) {
		p.probeErr = err
	}
}

// page says how large the page is, and how long it took.
func (d *doctor) page(p *page) {
	args := []any{len(p.rows), duration(p.took), size(p.body.Len())}
	switch {
	case len(p.rows) == 0:
		d.say("page.empty", d.file.Marketplace.AppID)
	case p.more:
		d.say("page.first", args...)
	case p.whole():
		d.say("page.whole", args...)
	default:
		d.say("page.some", args...)
	}
	m := d.file.Marketplace
	if timeout := wire.Or(time.Duration(m.PageTimeout), 15*time.Second); p.took > timeout/2 {
		d.say("page.slow", duration(p.took), duration(timeout))
	}
	if p.more {
		d.room(p)
	}
	if most := wire.Or(m.MaxPageBytes, 16<<20); int64(p.body.Len()) > most/2 {
		d.say("page.large", size(p.body.Len()), size(int(most)))
	}
}

// fewPages is how many pages must at least be read between two full refreshes.
const fewPages = 10

// room says how many users can be read from one full refresh to the next: a request
// comes after the one before, and no sooner than is allowed.
func (d *doctor) room(p *page) {
	each := p.took
	if most := d.file.Marketplace.MaxRequests; most > 0 {
		each = max(each, time.Duration(float64(time.Second)/most))
	}
	every := wire.Or(time.Duration(d.file.Refresh.ResyncEvery), 10*time.Minute)
	pages := int(every / max(each, time.Millisecond))
	if users := roughly(pages * len(p.rows)); pages < fewPages {
		d.say("page.room_small", users, duration(every))
	} else {
		d.say("page.room", users, duration(every))
	}
}

// roughly rounds a number down to its first two digits.
func roughly(n int) int {
	unit := 1
	for n/unit >= 100 {
		unit *= 10
	}
	return n / unit * unit
}

// ids says how ids are spelt, and which records are of no use.
func (d *doctor) ids(p *page) {
	var numbers, texts, big, nobody, noRoles, nullRoles int
	for _, r := range p.rows {
		switch {
		case len(r.RoleList) == 0:
			noRoles++
		case string(r.RoleList) == "null":
			nullRoles++
		}
		digits := r.UserID
		if len(digits) > 1 && digits[0] == '"' {
			texts++
			digits = digits[1 : len(digits)-1]
		} else if len(digits) > 0 {
			numbers++
		}
		switch id, ok := wire.ParseInt(digits); {
		case ok && id > 1<<53:
			big++
		case ok && id <= 0:
			nobody++
		}
	}
	switch {
	case numbers > 0 && texts > 0:
		d.say("ids.mixed")
	case texts > 0:
		d.say("ids.strings")
	case numbers > 0:
		d.say("ids.numbers")
	}
	if big > 0 {
		d.say("ids.large", big)
	}
	if nobody > 0 {
		d.say("ids.nobody", nobody)
	}
	if noRoles > 0 {
		d.say("ids.no_role_list", noRoles)
	}
	if nullRoles > 0 {
		d.say("ids.null_roles", nullRoles)
	}
	d.repeated(p)
	d.bad(p)
}

func (d *doctor) repeated(p *page) {
	seen, repeated := map[int64]bool{}, map[int64]bool{}
	var first int64
	for _, r := range p.records {
		if r.UserID <= 0 || r.Bad != nil {
			continue
		}
		if seen[r.UserID] {
			if len(repeated) == 0 {
				first = r.UserID
			}
			repeated[r.UserID] = true
		}
		seen[r.UserID] = true
	}
	if len(repeated) > 0 {
		d.say("ids.repeated", len(repeated), first)
	}
}

// bad says which records could not be understood: by reason, how many and the
// first user.
func (d *doctor) bad(p *page) {
	type kind struct {
		n     int
		first int64
	}
	kinds, structural := map[string]kind{}, 0
	for _, r := range p.records {
		if r.Bad == nil {
			continue
		}
		if r.Structural {
			structural++
		}
		k := kinds[r.Bad.Error()]
		k.n++
		if k.first == 0 {
			k.first = r.UserID
		}
		kinds[r.Bad.Error()] = k
	}
	for _, why := range slices.Sorted(maps.Keys(kinds)) {
		if k := kinds[why]; k.first > 0 {
			d.say("ids.bad", k.n, why, k.first)
		} else {
			d.say("ids.bad_without_id", k.n, why)
		}
	}
	if structural > 10 && structural*100 > len(p.records) { // where the gate stops believing it
		d.say("ids.drift", structural, len(p.records))
	}
	d.unreadable(p)
}

// unreadable says which texts could not be read, and in how many records.
func (d *doctor) unreadable(p *page) {
	for _, text := range []struct {
		name string
		of   func(rolegate.Keep) bool
	}{
		{"account", func(k rolegate.Keep) bool { return k.Account }},
		{"email", func(k rolegate.Keep) bool { return k.Email }},
		{"thirdAccount", func(k rolegate.Keep) bool { return k.ThirdAccount }},
		{"thirdUserId", func(k rolegate.Keep) bool { return k.ThirdUserID }},
		{"nickname", func(k rolegate.Keep) bool { return k.Nickname }},
		{"thirdUserName", func(k rolegate.Keep) bool { return k.ThirdUserName }},
	} {
		n := 0
		for _, r := range p.records {
			if text.of(r.Unreadable) {
				n++
			}
		}
		if n > 0 {
			d.say("ids.unreadable", n, text.name)
		}
	}
}

// cursor says how sequences run, and how the server understands them.
func (d *doctor) cursor(p *page) {
	if len(p.rows) == 0 {
		return
	}
	if p.high == 0 {
		d.say("cursor.none")
		return
	}
	var last, low int64
	without := 0
	ordered, holders := true, map[int64]int{}
	for _, r := range p.records {
		if r.Sequence == 0 {
			if r.Bad == nil {
				without++
			}
			continue
		}
		ordered = ordered && r.Sequence >= last
		last = r.Sequence
		if low == 0 || r.Sequence < low {
			low = r.Sequence
		}
		if r.Bad == nil {
			holders[r.Sequence]++
		}
	}
	switch {
	case ordered:
		d.say("cursor.rising", low, p.high)
	case p.full() || p.more:
		d.say("cursor.disordered_pages", low, p.high)
	default:
		d.say("cursor.disordered", low, p.high)
	}
	tied := 0
	for _, n := range holders {
		if n > 1 {
			tied += n
		}
	}
	switch unique := d.file.Marketplace.UniqueSequences; {
	case tied > 0 && unique:
		d.say("cursor.shared_but_unique", tied)
	case tied > 0:
		d.say("cursor.shared", tied)
	}
	if without > 0 {
		d.say("cursor.some_none", without)
	}
	d.absurd(slices.Sorted(maps.Keys(holders)))
	d.probeFound(p)
}

// absurd says how many sequences lie out of all proportion above all others.
func (d *doctor) absurd(sequences []int64) {
	for i := 1; i < len(sequences); i++ {
		if refresh.Absurd(sequences[i], sequences[i-1]) {
			d.say("cursor.absurd", len(sequences)-i, sequences[i], sequences[i-1])
			return
		}
	}
}

func (d *doctor) probeFound(p *page) {
	var pe *rolegate.PullError
	switch {
	case p.below:
		d.say("cursor.not_heeded", p.high)
		return
	case errors.As(p.probeErr, &pe) && (pe.Failure == marketplace.FailureCursorLoop || pe.Failure == marketplace.FailureCursorTie):
		d.say("cursor.stuck", d.detail(p.probeErr))
		return
	case p.probeErr != nil:
		d.say("cursor.unknown", d.detail(p.probeErr))
		return
	case p.inclusive:
		d.say("cursor.inclusive")
	default:
		d.say("cursor.exclusive")
	}
	if p.more && !p.full() {
		d.say("cursor.short_pages", len(p.rows), p.limit)
	}
}
