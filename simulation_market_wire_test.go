package rolegate_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/wire"
	"github.com/rolegate/rolegate/marketplace"
)

// This file is the random marketplace's address, and the real client that asks there.

// A mktFault is what becomes of a request that goes wrong.
type mktFault int

const (
	mktBadGateway mktFault = iota
	mktUnavailable
	mktGatewayTimeout
	mktTooMany
	mktHangs
	mktResets
	mktBreaksOff
	mktFaults

	mktNoFault mktFault = -1
)

// mktRefusals are how tokens that ran out are refused: a status, a header and a body.
var mktRefusals = []struct {
	status int
	header string
	body   string
}{
	{http.StatusOK, "", `{"code":500,"data":{},"message":"accessToken已失效","status":"fail"}`},
	{http.StatusOK, "", `{"code":40014,"data":{},"message":"invalid access_token","status":"fail"}`},
	{http.StatusOK, "", `{"code":42001,"data":{},"message":"access_token expired","status":"fail"}`},
	{http.StatusOK, "", `{"code":401,"data":{},"message":"请先登录","status":"fail"}`},
	{http.StatusUnauthorized, "", `{"code":401,"data":{},"message":"请先登录","status":"fail"}`},
	{http.StatusForbidden, "", `forbidden`},
	{http.StatusFound, "/login", ``},
	{http.StatusOK, "", "<!DOCTYPE html>\n<html><body>请先登录</body></html>"},
}

// A mktPull is one refresh, as the marketplace sees it.
type mktPull struct {
	full       bool
	rng        *rand.Rand // two of them may be under way at one moment, in any order
	start, end moment
	err        error
	over       bool // something else than the marketplace ended it
	requests   int
	failed     int  // requests that were answered badly
	wentWrong  bool // the last of them
	inRow      int  // so many of the last
	refused    bool // one for its token
	pages      int  // that were answered well
	listed     int  // when it began
	changes    int  // before it, and then during it
	largest    int  // page
	server     bool
	lagged     bool            // it has met with the server that lags
	endLags    bool            // with its last request
	shown      map[int64]int64 // of a full one: the sequences of the rows, by user
	most       int64           // the highest of these
	rows       []mktRow        // of the page that was sent last
}

type mktPullKey struct{}

// A mktSource is the real client of a mktWorld.
type mktSource struct {
	*marketplace.Client
	w *mktWorld
}

func newMktSource(w *mktWorld, change func(*mktWorld, *marketplace.Config)) *mktSource {
	cfg := marketplace.Config{
		BaseURL: "https://market.test", AppID: "app", Transport: w,
		Token: marketplace.TokenFunc(func(context.Context) (string, error) { return w.issue(), nil }),
	}
	if !w.rules.capped {
		cfg.PageSize = w.rules.page
	}
	if change != nil {
		change(w, &cfg)
	}
	return &mktSource{marketplace.New(cfg), w}
}

// PullPages implements rolegate.PageSource.
func (s *mktSource) PullPages(ctx context.Context, after int64, page func([]rolegate.Record) error) error {
	p := s.w.beginPull(after == 0)
	ctx = wire.WithRandom(context.WithValue(ctx, mktPullKey{}, p), p.rng.Float64)
	var failed error
	err := s.Client.PullPages(ctx, after, func(records []rolegate.Record) error {
		if failed = page(records); failed == nil {
			s.w.took(p)
		}
		return failed
	})
	s.w.endPull(p, err, failed != nil || ctx.Err() != nil)
	return err
}

func (w *mktWorld) beginPull(full bool) *mktPull {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := 1
	if full {
		k = 0
	}
	p := &mktPull{full: full, start: w.now(), end: simForever, changes: w.changes, shown: map[int64]int64{}}
	p.rng = rand.New(rand.NewPCG(w.seed, uint64(100+2*len(w.pulls[k])+k)))
	p.server = p.rng.IntN(w.rules.servers) == 0
	for _, person := range w.people {
		if person.listed {
			p.listed++
		}
	}
	w.pulls[k] = append(w.pulls[k], p)
	return p
}

// took says that the gate has taken in the page that was sent last.
func (w *mktWorld) took(p *mktPull) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, row := range p.rows {
		person := w.person(row.id)
		if p.full {
			p.shown[row.id] = max(p.shown[row.id], row.seq)
			p.most = max(p.most, row.seq)
		} else {
			person.sent = max(person.sent, row.seq)
		}
		// The shrink guard compares with what was known, and few are not too many: it
		// holds nothing of the first list, and of others only what a whole list lacks.
		few := !p.full || p.start < w.clearedSince || w.known == simForever
		if row.cleared && (few || person.changed > w.clearedSince-5*time.Minute) {
			person.blurred = true
		}
	}
}

func (w *mktWorld) person(id int64) *mktPerson { return w.people[(id-1542135022016057000)/3] }

func (w *mktWorld) endPull(p *mktPull, err error, over bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p.end, p.err, p.over, p.rows = w.now(), err, over, nil
	if err == nil {
		w.known = min(w.known, p.end)
	}
	p.changes = w.changes - p.changes
}

// issue gives out a token. The one before goes on until it ends.
func (w *mktWorld) issue() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tokens++
	w.token = "AT-" + strconv.Itoa(w.tokens)
	w.tokenEnds = simForever
	if w.rules.tokenLife > 0 {
		w.tokenEnds = w.now() + w.rules.tokenLife
	}
	return w.token
}

// RoundTrip implements http.RoundTripper.
func (w *mktWorld) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	p := ctx.Value(mktPullKey{}).(*mktPull)
	w.mu.Lock()
	p.requests++
	there := time.Duration((0.1 + p.rng.Float64()) / 2 * float64(w.rules.latency))
	back := time.Duration((0.1 + p.rng.Float64()) / 2 * float64(w.rules.latency))
	fault := mktNoFault
	if p.rng.Float64() < w.rules.errors {
		fault = w.rules.kinds[p.rng.IntN(len(w.rules.kinds))]
	}
	lags := w.rules.lag > 0 && (p.server && !w.rules.mixed || w.rules.mixed && p.rng.IntN(w.rules.servers) == 0)
	w.mu.Unlock()

	wait(ctx, there)
	w.mu.Lock()
	res := w.reply(r, p, fault, lags)
	w.mu.Unlock()
	if fault == mktHangs {
		<-ctx.Done()
	}
	wait(ctx, back)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case fault == mktResets:
		return nil, io.EOF
	}
	return res, nil
}

// reply answers a request.
func (w *mktWorld) reply(r *http.Request, p *mktPull, fault mktFault, lags bool) *http.Response {
	now := w.now()
	w.advance(now)
	if w.rules.perSecond > 0 && fault == mktNoFault {
		if now-w.window >= time.Second {
			w.window, w.inWindow = now, 0
		}
		if w.inWindow++; w.inWindow > w.rules.perSecond {
			fault = mktTooMany
		}
	}
	q := r.URL.Query()
	refused := q.Get("accessToken") != w.token || now >= w.tokenEnds
	p.wentWrong = refused || fault != mktNoFault
	p.refused = p.refused || refused
	if p.wentWrong {
		p.failed++
		p.inRow++
	} else {
		p.inRow = 0
		p.pages++
	}
	header := http.Header{"Date": {time.Now().UTC().Format(http.TimeFormat)}}
	res := func(status int, body io.Reader) *http.Response {
		return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(body), ContentLength: -1, Request: r}
	}
	switch fault {
	case mktBadGateway, mktUnavailable, mktGatewayTimeout, mktTooMany:
		status := []int{http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusTooManyRequests}[fault]
		if w.rules.retryAfter > 0 {
			header.Set("Retry-After", strconv.Itoa(int(w.rules.retryAfter/time.Second)))
		}
		return res(status, bytes.NewBufferString("<html>nginx</html>"))
	}
	if refused {
		how := mktRefusals[w.rules.refusal]
		if how.header != "" {
			header.Set("Location", how.header)
		}
		return res(how.status, bytes.NewBufferString(how.body))
	}
	after, err1 := strconv.ParseInt(q.Get("lastSequence"), 10, 64)
	limit, err2 := strconv.Atoi(q.Get("limit"))
	if err := errors.Join(err1, err2); err != nil || limit < 1 || limit > 1000 || after < 0 {
		panic(fmt.Sprint("the client asked for ", r.URL.RawQuery))
	}
	rows := w.sorted()
	p.endLags = lags
	if lags {
		rows = w.lagging(now)
		p.lagged = true
	}
	rows = w.page(rows, after, limit, p.rng)
	if w.hidesTies && len(rows) > 9 && rows[0].seq == rows[len(rows)-1].seq && rows[0].seq == rows[len(rows)/2].seq {
		rows = slices.Clone(rows)
		rows[0].seq--
	}
	body := w.encode(rows)
	if fault == mktBreaksOff {
		return res(http.StatusOK, io.MultiReader(bytes.NewReader(body[:len(body)/2]), mktBroken{}))
	}
	p.largest = max(p.largest, len(rows))
	if fault == mktNoFault {
		p.rows = rows
	}
	return res(http.StatusOK, bytes.NewReader(body))
}

// mktBroken is the rest of a body that breaks off.
type mktBroken struct{}

func (mktBroken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
