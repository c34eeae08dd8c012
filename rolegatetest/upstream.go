package rolegatetest

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"
)

// What real marketplaces do that are neither down nor perfect. Each Fault below
// answers as the marketplace would, and changes one thing about it; those that
// need chance have it from a seed, and time is that of a [testing/synctest]
// bubble if there is one.

// TouchTied gives these users one new sequence, the same for all: a batch job
// that wrote the next number once. Users who are not on the list are left out.
func (m *Marketplace) TouchTied(userIDs ...int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	sequence := m.next()
	for _, id := range userIDs {
		if packed, ok := m.users.get(id); ok {
			m.users.set(id, sequence, packed)
		}
	}
}

// PutLate takes the next sequence for a user, as a transaction does when it
// begins, and returns what commits it: only then is the user seen, below
// whoever was changed in between.
func (m *Marketplace) PutLate(u User) (commit func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	sequence := m.next()
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.users.insert(u.ID, sequence, pack(&u))
	}
}

// MakeAnew takes a user off the list and puts the same one back under another
// id, as a platform does that imports an organisation again. It reports whether
// the user was on the list.
func (m *Marketplace) MakeAnew(id, newID int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	packed, ok := m.users.get(id)
	if ok {
		m.users.remove(id)
		m.users.set(newID, m.next(), packed)
	}
	return ok
}

// insert puts a user into the list where the sequence belongs.
func (l *list) insert(id, sequence int64, packed string) {
	l.remove(id)
	l.compact()
	i, _ := slices.BinarySearchFunc(l.rows, sequence, func(r row, sequence int64) int {
		if r.sequence <= sequence {
			return -1
		}
		return 1
	})
	l.rows = slices.Insert(l.rows, i, row{sequence: sequence, id: id, packed: packed})
	for ; i < len(l.rows); i++ {
		l.at[l.rows[i].id] = i
	}
}

// Writes changes the list while it is read: so many users each second, any of
// those that are listed, before the reply that comes next.
func (m *Marketplace) Writes(perSecond float64, seed uint64) Fault {
	var mu sync.Mutex
	random, since, due := rand.New(rand.NewPCG(seed, 0x317e5)), time.Now(), 0.0
	return func(w http.ResponseWriter, r *http.Request, normal http.Handler) {
		mu.Lock()
		now := time.Now()
		due += perSecond * now.Sub(since).Seconds()
		since = now
		for ; due >= 1; due-- {
			m.touchAny(random)
		}
		mu.Unlock()
		normal.ServeHTTP(w, r)
	}
}

// touchAny raises the sequence of one user.
func (m *Marketplace) touchAny(random *rand.Rand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.users.len() == 0 {
		return
	}
	for {
		if r := m.users.rows[random.IntN(len(m.users.rows))]; r.packed != "" {
			m.users.set(r.id, m.next(), r.packed)
			return
		}
	}
}

// Lagging answers from the list as it was when b was taken: another server
// behind the same address, which has not caught up yet.
func Lagging(b *Backup) Fault {
	return func(w http.ResponseWriter, r *http.Request, normal http.Handler) {
		normal.ServeHTTP(w, spoil(r, spoilt{lagging: b}))
	}
}

// Descending answers with the users above the cursor from the highest sequence
// down.
func Descending() Fault {
	return func(w http.ResponseWriter, r *http.Request, normal http.Handler) {
		normal.ServeHTTP(w, spoil(r, spoilt{descending: true}))
	}
}

var sequenceInPage = regexp.MustCompile(`"lastSequence":("?)[0-9]+("?)`)

// EchoSequence writes the lastSequence of the request into each record of the
// page, which is how the document can be read.
func EchoSequence() Fault {
	return rewritten(func(r *http.Request, body []byte) []byte {
		after := max(parseQuery(r).after, 0)
		return sequenceInPage.ReplaceAll(body, []byte(`"lastSequence":${1}`+strconv.FormatInt(after, 10)+`${2}`))
	})
}

// EmptyAs writes data in place of an empty list: null, "" or {}.
func EmptyAs(data string) Fault {
	return rewritten(func(_ *http.Request, body []byte) []byte {
		return bytes.Replace(body, []byte(`"data":[]`), []byte(`"data":`+data), 1)
	})
}

// NullRoles writes null in place of the empty roleList of users without roles.
func NullRoles() Fault {
	return rewritten(func(_ *http.Request, body []byte) []byte {
		return bytes.ReplaceAll(body, []byte(`"roleList":[]`), []byte(`"roleList":null`))
	})
}

// rewritten answers as usual, with another body.
func rewritten(body func(*http.Request, []byte) []byte) Fault {
	return func(w http.ResponseWriter, r *http.Request, normal http.Handler) {
		page := takePage(r, normal)
		b := body(r, page.body.Bytes())
		page.header.Set("Content-Length", strconv.Itoa(len(b)))
		page.sendHeader(w)
		_, _ = w.Write(b)
	}
}

// Throttle answers HTTP 429 to all but the first requests of each second, and
// asks to be left alone for retryAfter, in whole seconds, if that is not 0.
func Throttle(perSecond int, retryAfter time.Duration) Fault {
	var mu sync.Mutex
	var window time.Time
	n := 0
	var headers []string
	if retryAfter > 0 {
		headers = []string{"Retry-After", strconv.FormatInt(int64(retryAfter/time.Second), 10)}
	}
	refuse := HTTPStatus(http.StatusTooManyRequests, headers...)
	return func(w http.ResponseWriter, r *http.Request, normal http.Handler) {
		mu.Lock()
		if now := time.Now(); now.Sub(window) >= time.Second {
			window, n = now, 0
		}
		n++
		over := n > perSecond
		mu.Unlock()
		if over {
			refuse(w, r, normal)
			return
		}
		normal.ServeHTTP(w, r)
	}
}

// Sometimes meets a part of the requests with a fault, and answers the others:
// 0.01 is one in a hundred.
func Sometimes(part float64, seed uint64, fault Fault) Fault {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 0x50e))
	return func(w http.ResponseWriter, r *http.Request, normal http.Handler) {
		mu.Lock()
		strikes := random.Float64() < part
		mu.Unlock()
		if strikes {
			fault(w, r, normal)
			return
		}
		normal.ServeHTTP(w, r)
	}
}

// Refusals are the ways in which marketplaces say that an access token has run
// out, by name. Set one as [MarketplaceConfig].Refusal.
func Refusals() map[string]Fault {
	return map[string]Fault{
		"code-500":   ErrorEnvelope(500, "accessToken已失效"),
		"code-40014": ErrorEnvelope(40014, "invalid access_token"),
		"code-42001": ErrorEnvelope(42001, "access_token expired"),
		"http-401":   HTTPStatus(http.StatusUnauthorized),
		"http-403":   HTTPStatus(http.StatusForbidden),
		"redirect":   HTTPStatus(http.StatusFound, "Location", "/login"),
		"html":       HTMLPage(),
	}
}

// Chain has a request meet with several faults, one inside the other: the first
// sees it first. Those that answer by themselves leave nothing to the rest.
func Chain(faults ...Fault) Fault {
	return func(w http.ResponseWriter, r *http.Request, normal http.Handler) {
		for _, fault := range slices.Backward(faults) {
			inner := normal
			normal = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fault(w, r, inner) })
		}
		normal.ServeHTTP(w, r)
	}
}
