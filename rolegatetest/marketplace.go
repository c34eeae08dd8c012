package rolegatetest

import (
	"context"
	"math"
	"net/http"
	"strings"
	"sync"
	"time"
)

// IDs says how a [Marketplace] spells the ids in its answers: userId, orgId,
// roleId, thirdUserId and lastSequence. The zero value is [IDsNumber].
type IDs int

const (
	// IDsNumber spells every id as a JSON number. A thirdUserId that is not a
	// number in canonical decimal goes out as a string all the same, and an
	// empty one as 0.
	IDsNumber IDs = iota

	// IDsString spells every id as a JSON string, as servers do that spare
	// JavaScript the integers above 2^53. An empty thirdUserId is "".
	IDsString

	// IDsMixed takes turns, value by value and so within one record too: the
	// same user is not spelt the same way on two pages.
	IDsMixed
)

// Defaults of a [MarketplaceConfig].
const (
	DefaultAppID        = "test-app"
	DefaultToken        = "AT-1-fakeMarketplaceTokenForTestsOnly"
	DefaultPath         = "/app/user/list"
	DefaultRoleListPath = "/app/role/list"
)

// maxLimit is the documented upper bound of limit, and its default.
const maxLimit = 1000

// A MarketplaceConfig says what kind of marketplace a fake is. Its zero value
// is one that behaves as documented, with the defaults below.
type MarketplaceConfig struct {
	_ struct{} // no unkeyed literals: fields will be added

	// AppID is the X-App-Id that is accepted; "" is [DefaultAppID].
	AppID string

	// Token is the accessToken that is accepted; "" is [DefaultToken].
	Token string

	// Path is where the list is served; "" is [DefaultPath].
	Path string

	// RoleListPath is where the app's roles are served, once
	// [Marketplace.SetRoles] has been called; "" is [DefaultRoleListPath]. The
	// real path is documented nowhere.
	RoleListPath string

	// IDs is how ids are spelt.
	IDs IDs

	// PageCap is the most rows that a page has, whatever limit asks for: a
	// server whose short page is not its last. 0 or less: limit decides.
	PageCap int

	// Inclusive makes lastSequence mean "from this one on" rather than "after
	// this one".
	Inclusive bool

	// Latency is how long a request is under way before it is looked at. 0 or
	// less: not at all.
	Latency time.Duration

	// QuietRoleLoss makes [Marketplace.Take] leave the user's sequence as it
	// is, so that only a full refresh can see that a role is gone.
	QuietRoleLoss bool

	// FirstSequence is the sequence of the first change. Below 1: 1.
	FirstSequence int64

	// UnauthorizedHTTP makes a refused token or app id an HTTP 401. Otherwise
	// the refusal is the code 401 in the body of an HTTP 200.
	UnauthorizedHTTP bool

	// Refusal is how a refused token or app id is answered instead; see
	// [Refusals]. nil means as UnauthorizedHTTP says.
	Refusal Fault
}

// A Marketplace is a fake of the app marketplace: it lists the users that are
// authorised for one app, page by page, as an [http.Handler].
//
// It is as strict as an upstream can be, so that a client's mistake shows in a
// test: another path is 404, another method than GET is 405, an X-App-Id or an
// accessToken that is absent or repeated, a lastSequence below 0 and a limit
// outside 1…1000 are code 400, and a wrong app id or token is refused. Each has
// the documented error envelope for a body; 400 comes under HTTP 200.
//
// After [Marketplace.SetRoles] it lists the app's roles as well, at a path of
// their own and just as strictly. Faults strike those requests too.
//
// Rows come in the order of their sequences. Users that share a sequence
// ([Marketplace.PutTied]) are lost to an exclusive cursor where a page ends
// between them, as they are on a real server.
//
// All methods may be used at once from any goroutines. The zero Marketplace is
// not usable: call [NewMarketplace].
type Marketplace struct {
	cfg MarketplaceConfig // as completed by NewMarketplace, never changed after

	mu        sync.RWMutex
	token     string
	latency   time.Duration
	pageCap   int
	users     list
	sequence  int64
	spellings map[int64]func(string) string // replaced whole, never changed
	roles     []string                      // likewise; nil before SetRoles

	faults faults[Request]
	log    requestLog[Request]
}

// NewMarketplace returns a marketplace whose list is empty. It serves nothing
// yet: see [Marketplace.Start], [Marketplace.Listen] and [Marketplace.Transport].
func NewMarketplace(cfg MarketplaceConfig) *Marketplace {
	if cfg.AppID == "" {
		cfg.AppID = DefaultAppID
	}
	if cfg.Token == "" {
		cfg.Token = DefaultToken
	}
	if cfg.Path == "" {
		cfg.Path = DefaultPath
	}
	if !strings.HasPrefix(cfg.Path, "/") {
		cfg.Path = "/" + cfg.Path
	}
	if cfg.RoleListPath == "" {
		cfg.RoleListPath = DefaultRoleListPath
	}
	if !strings.HasPrefix(cfg.RoleListPath, "/") {
		cfg.RoleListPath = "/" + cfg.RoleListPath
	}
	return &Marketplace{
		cfg:      cfg,
		token:    cfg.Token,
		latency:  cfg.Latency,
		pageCap:  cfg.PageCap,
		users:    newList(),
		sequence: max(cfg.FirstSequence, 1) - 1,
	}
}

// ServeHTTP answers one request: after the latency, and through the fault that
// is set, if any. It returns without an answer when the request's context ends
// first.
func (m *Marketplace) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.RLock()
	token, latency := m.token, m.latency
	m.mu.RUnlock()

	req := newRequest(r, m.cfg.Path, token)
	number := m.log.begin(req, req.BeginsFullRefresh())
	fault := m.faults.pick(req)

	a := &answer{ResponseWriter: w}
	rows := 0
	defer func() { // also when a fault aborts
		m.log.finish(number, func(r *Request) { r.Status, r.Rows = a.status, rows })
	}()

	if wait(r.Context(), latency) != nil {
		return
	}
	normal := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rows = m.servePage(w, r)
	})
	if fault == nil {
		normal.ServeHTTP(a, r)
	} else {
		fault(a, r, normal)
	}
}

// wait returns nil after d, or the context's error if that ends first.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// answer notes the status that went out.
type answer struct {
	http.ResponseWriter
	status int
}

func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= 200 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(p)
}

// Unwrap lets [http.ResponseController] through.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// AppID returns the app id that is accepted.
func (m *Marketplace) AppID() string { return m.cfg.AppID }

// Token returns the access token that is accepted now.
func (m *Marketplace) Token() string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.token
}

// SetToken replaces the access token: the one before is refused from the next
// request on. An empty token is accepted from nobody.
func (m *Marketplace) SetToken(token string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.token = token
}

// SetLatency changes [MarketplaceConfig].Latency for the requests to come.
func (m *Marketplace) SetLatency(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.latency = d
}

// SetPageCap changes [MarketplaceConfig].PageCap from the next page on.
func (m *Marketplace) SetPageCap(rows int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pageCap = rows
}

// Sequence returns the highest sequence given out so far: one below
// FirstSequence, and so 0 by default, before the first change.
func (m *Marketplace) Sequence() int64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.sequence
}

// next numbers a change. The last number there is, is given out again and
// again, so that the list stays in order.
func (m *Marketplace) next() int64 {
	if m.sequence < math.MaxInt64 {
		m.sequence++
	}
	return m.sequence
}
