package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// The users of the demo. Their ids are as long as real ones: above 2^53.
const (
	teacher   = 1542135022016057001
	homeroom  = 1542135022016057002
	principal = 1542135022016057003
	admin     = 1542135022016057004
	guest     = 1542135022016057005
	stranger  = 1542135022016057999

	school, otherSchool = 7, 8
)

// A demo is a fake marketplace, and what to try with it.
type demo struct {
	market *rolegatetest.Marketplace
	stop   func()
}

func startDemo(s *settings) (*demo, error) {
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{IDs: rolegatetest.IDsString})
	m.Grant(teacher, school, "teacher")
	m.Grant(homeroom, school, "teacher", "homeroom")
	m.Grant(homeroom, otherSchool, "teacher")
	m.Grant(principal, school, "principal")
	m.Grant(admin, school, "admin")
	m.Grant(guest, otherSchool)
	url, stop, err := m.Listen()
	if err != nil {
		return nil, err
	}
	s.baseURL, s.appID, s.token = url, m.AppID(), marketplace.StaticToken(m.Token())
	return &demo{market: m, stop: stop}, nil
}

// A step is one request of the walk-through, or something that happens at the
// marketplace.
type step struct {
	who    string
	user   int64 // 0: not logged in
	method string
	path   string

	event string
	do    func(context.Context) error
}

func (d *demo) steps(gate *rolegate.Gate) []step {
	get, post := http.MethodGet, http.MethodPost
	return []step{
		{event: "The list is in memory."},
		{who: "nobody", method: get, path: "/"},
		{who: "stranger", user: stranger, method: get, path: "/"},
		{who: "guest", user: guest, method: get, path: "/"},
		{who: "guest", user: guest, method: get, path: "/grades"},
		{who: "teacher", user: teacher, method: get, path: "/grades"},
		{who: "teacher", user: teacher, method: post, path: "/orgs/7/reports"},
		{who: "homeroom teacher", user: homeroom, method: post, path: "/orgs/7/reports"},
		{who: "homeroom teacher", user: homeroom, method: post, path: "/orgs/8/reports"},
		{who: "homeroom teacher", user: homeroom, method: post, path: "/orgs/007/reports"},
		{who: "principal", user: principal, method: get, path: "/orgs/7/staff"},
		{who: "principal", user: principal, method: get, path: "/orgs/8/staff"},
		{who: "principal", user: principal, method: get, path: "/status"},
		{who: "admin", user: admin, method: get, path: "/status"},

		{event: "The marketplace makes the guest a teacher; an incremental pull sees it.", do: func(ctx context.Context) error {
			d.market.Grant(guest, otherSchool, "teacher")
			return gate.Refresh(ctx)
		}},
		{who: "guest", user: guest, method: get, path: "/grades"},

		{event: "The marketplace takes the teacher off the list; only a full walk sees it.", do: func(ctx context.Context) error {
			d.market.Revoke(teacher)
			return gate.Refresh(ctx)
		}},
		{who: "teacher", user: teacher, method: get, path: "/grades"},
		{event: "The full walk.", do: func(ctx context.Context) error { return gate.Resync(ctx) }},
		{who: "teacher", user: teacher, method: get, path: "/grades"},

		{event: "The marketplace breaks down: the list stays as it is.", do: func(ctx context.Context) error {
			d.market.Fail(rolegatetest.ErrorEnvelope(500, "internal error"))
			defer d.market.Recover()
			if gate.Resync(ctx) == nil {
				return fmt.Errorf("a walk succeeded while the marketplace was down")
			}
			return nil
		}},
		{who: "admin", user: admin, method: get, path: "/status"},
	}
}

// walkThrough sends the requests and prints a table of them.
func (d *demo) walkThrough(ctx context.Context, url string, gate *rolegate.Gate, log *reasonLog, out io.Writer) error {
	if err := gate.Refresh(ctx); err != nil { // the first list
		return err
	}
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	row := func(who, route, status, why string) {
		fmt.Fprintf(out, "%-17s %-27s %-6s  %s\n", who, route, status, why)
	}
	fmt.Fprintln(out)
	row("WHO", "ROUTE", "STATUS", "WHY")
	for _, s := range d.steps(gate) {
		if s.event != "" {
			if s.do != nil {
				if err := s.do(ctx); err != nil {
					return err
				}
			}
			fmt.Fprintf(out, "-- %s\n", s.event)
			continue
		}
		status, why, err := s.ask(ctx, client, url, log)
		if err != nil {
			return err
		}
		row(s.who, s.method+" "+s.path, strconv.Itoa(status), why)
	}
	fmt.Fprintln(out)
	return nil
}

// ask sends one request. Why it was refused the client is not told: the
// operator finds it in the log, by the decision's id.
func (s step) ask(ctx context.Context, client *http.Client, url string, log *reasonLog) (status int, why string, err error) {
	r, err := http.NewRequestWithContext(ctx, s.method, url+s.path, nil)
	if err != nil {
		return 0, "", err
	}
	if s.user != 0 {
		r.Header.Set("X-User-Id", strconv.FormatInt(s.user, 10))
	}
	resp, err := client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return resp.StatusCode, rolegate.Granted.String(), nil
	}
	var problem struct {
		Decision string `json:"decision"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&problem); err != nil {
		return 0, "", fmt.Errorf("%s %s: %w", s.method, s.path, err)
	}
	return resp.StatusCode, log.why(problem.Decision), nil
}

func (d *demo) printCurl(out io.Writer, url string) {
	fmt.Fprintf(out, "Still serving. Try:\n\n"+
		"  curl -i -H 'X-User-Id: %d' %s/grades\n"+
		"  curl -i -H 'X-User-Id: %d' -X POST %s/orgs/7/reports\n"+
		"  curl -s -H 'X-User-Id: %d' %s/status\n\n"+
		"Ctrl-C ends it.\n", guest, url, homeroom, url, admin, url)
}

// A reasonLog is a slog.Handler that remembers why decisions were refused, by
// their ids: what an operator does with grep.
type reasonLog struct {
	slog.Handler
	shared *reasons
}

type reasons struct {
	mu    sync.Mutex
	quiet bool
	byID  map[string]string
}

func newReasonLog(h slog.Handler) *reasonLog {
	return &reasonLog{Handler: h, shared: &reasons{byID: map[string]string{}}}
}

// hush keeps lines from being printed, or has them printed again. Decisions
// are remembered only meanwhile.
func (l *reasonLog) hush(quiet bool) {
	l.shared.mu.Lock()
	defer l.shared.mu.Unlock()
	l.shared.quiet = quiet
	clear(l.shared.byID)
}

func (l *reasonLog) why(decision string) string {
	l.shared.mu.Lock()
	defer l.shared.mu.Unlock()
	return l.shared.byID[decision]
}

// Handle implements slog.Handler.
func (l *reasonLog) Handle(ctx context.Context, r slog.Record) error {
	attrs := map[string]string{}
	r.Attrs(func(a slog.Attr) bool {
		attrs[a.Key] = a.Value.String()
		return true
	})
	l.shared.mu.Lock()
	quiet := l.shared.quiet
	if id := attrs["decision"]; id != "" && quiet {
		l.shared.byID[id] = attrs["reason"] + ": " + attrs["guard"]
	}
	l.shared.mu.Unlock()
	if quiet {
		return nil
	}
	return l.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (l *reasonLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &reasonLog{Handler: l.Handler.WithAttrs(attrs), shared: l.shared}
}

// WithGroup implements slog.Handler.
func (l *reasonLog) WithGroup(name string) slog.Handler {
	return &reasonLog{Handler: l.Handler.WithGroup(name), shared: l.shared}
}
