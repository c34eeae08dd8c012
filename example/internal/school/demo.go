package school

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cloudcommand"
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

	// pupils are thirty more, in the other school.
	firstPupil = 1542135022016058000
	pupils     = 30

	school, otherSchool = 7, 8
)

// A demo is a fake marketplace and a fake 云上指挥, and what to try with them.
type demo struct {
	market *rolegatetest.Marketplace
	cloud  *rolegatetest.CloudCommand
	stop   func()

	url    string // of the app
	client *http.Client
}

func startDemo(s *settings) (*demo, error) {
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{IDs: rolegatetest.IDsString})
	m.Grant(teacher, school, "teacher")
	m.Grant(homeroom, school, "teacher", "homeroom")
	m.Grant(homeroom, otherSchool, "teacher")
	m.Grant(principal, school, "principal")
	m.Grant(admin, school, "admin")
	m.Grant(guest, otherSchool)
	for id := int64(firstPupil); id < firstPupil+pupils; id++ {
		m.Grant(id, otherSchool, "pupil")
	}
	url, stopMarket, err := m.Listen()
	if err != nil {
		return nil, err
	}
	c := rolegatetest.NewCloudCommand(rolegatetest.CloudCommandConfig{})
	cloudURL, stopCloud, err := c.Listen()
	if err != nil {
		stopMarket()
		return nil, err
	}
	s.baseURL, s.appID, s.token = url, m.AppID(), marketplace.StaticToken(m.Token())
	s.sync = cloudcommand.New(cloudcommand.Config{
		BaseURL: cloudURL, ClientID: c.ClientID(), ClientSecret: cloudcommand.Secret(c.ClientSecret()),
		Done: []string{"同步完成"},
	})
	return &demo{market: m, cloud: c, stop: func() { stopMarket(); stopCloud() }}, nil
}

// A step is one request of the walk-through, or something that happens at the
// marketplace and what the gate makes of it.
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
	full := func(ctx context.Context) error {
		if err := gate.RefreshAll(ctx); !errors.Is(err, rolegate.ErrHeld) {
			return err
		}
		return nil // and the table says how many are held
	}
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

		{event: "The marketplace makes a pupil a teacher. The gate looks once before it refuses.", do: func(context.Context) error {
			d.market.Grant(firstPupil, otherSchool, "teacher")
			return nil
		}},
		{who: "pupil", user: firstPupil, method: get, path: "/grades"},

		{event: "The marketplace makes the guest a teacher. An incremental refresh sees it.", do: func(ctx context.Context) error {
			d.market.Grant(guest, otherSchool, "teacher")
			return gate.Refresh(ctx)
		}},
		{who: "guest", user: guest, method: get, path: "/grades"},

		{event: "The marketplace takes the teacher off the list. An incremental refresh cannot see it …", do: func(ctx context.Context) error {
			d.market.Revoke(teacher)
			return gate.Refresh(ctx)
		}},
		{who: "teacher", user: teacher, method: get, path: "/grades"},
		{event: "… a full refresh does.", do: full},
		{who: "teacher", user: teacher, method: get, path: "/grades"},

		{event: "The guest reads a stream. Then the guest is taken off the list; the next full refresh ends it.", do: func(ctx context.Context) error {
			return d.streamUntilRevoked(ctx, gate, guest)
		}},
		{who: "guest", user: guest, method: get, path: "/live"},

		{event: "The marketplace answers with a fraction of its list. What is missing is held, not removed.", do: func(ctx context.Context) error {
			d.market.Fail(rolegatetest.DropRows(3))
			defer d.market.Recover()
			return full(ctx)
		}},
		{who: "pupil", user: firstPupil, method: get, path: "/grades"},
		{event: "The whole list is back: nobody has noticed.", do: full},
		{who: "pupil", user: firstPupil, method: get, path: "/grades"},

		{event: "An organisation sync is running; a pupil is missing meanwhile.", do: func(ctx context.Context) error {
			d.cloud.Running("正在同步数据中...!")
			d.market.Revoke(firstPupil)
			return full(ctx)
		}},
		{who: "pupil", user: firstPupil, method: get, path: "/"},
		{event: "The sync is done, and the pupil is still missing.", do: func(ctx context.Context) error {
			d.cloud.Done("同步完成")
			return gate.RefreshAll(ctx)
		}},
		{who: "pupil", user: firstPupil, method: get, path: "/"},

		{event: "The marketplace breaks down. The list stays as it is …", do: func(ctx context.Context) error {
			d.market.Fail(rolegatetest.ErrorEnvelope(500, "internal error"))
			if gate.RefreshAll(ctx) == nil {
				return errors.New("a full refresh succeeded while the marketplace was down")
			}
			return nil
		}},
		{who: "admin", user: admin, method: get, path: "/status"},
		{who: "homeroom teacher", user: homeroom, method: get, path: "/grades"},
		{event: "… and comes back. A route with MaxAge has the list refreshed when it is older than that.", do: func(ctx context.Context) error {
			d.market.Recover()
			return gate.RefreshAll(ctx)
		}},
		{who: "homeroom teacher", user: homeroom, method: get, path: "/exams"},
	}
}

// streamUntilRevoked opens a stream, has its user revoked, and returns when the
// stream has ended.
func (d *demo) streamUntilRevoked(ctx context.Context, gate *rolegate.Gate, user int64) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	resp, err := d.send(ctx, step{user: user, method: http.MethodGet, path: "/live"})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	d.market.Revoke(user)
	if err := gate.RefreshAll(ctx); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return fmt.Errorf("the stream did not end: %w", err)
	}
	return nil
}

// walkThrough sends the requests and prints a table of them.
func (d *demo) walkThrough(ctx context.Context, url string, gate *rolegate.Gate, log *reasonLog, out io.Writer) error {
	if err := gate.RefreshAll(ctx); err != nil { // the first list
		return err
	}
	d.url, d.client = url, &http.Client{Timeout: 10 * time.Second}
	defer d.client.CloseIdleConnections()
	row := func(who, route, status, why string) {
		fmt.Fprintf(out, "%-17s %-27s %-6s  %s\n", who, route, status, why)
	}
	fmt.Fprintln(out)
	row("WHO", "ROUTE", "STATUS", "WHY")
	for _, s := range d.steps(gate) {
		if s.event != "" {
			fmt.Fprintf(out, "-- %s\n", s.event)
			if s.do == nil {
				continue
			}
			before := gate.Status()
			if err := s.do(ctx); err != nil {
				return err
			}
			tellPulls(out, before, gate.Status())
			continue
		}
		status, why, err := d.ask(ctx, s, log)
		if err != nil {
			return err
		}
		row(s.who, s.method+" "+s.path, strconv.Itoa(status), why)
	}
	fmt.Fprintln(out)
	return nil
}

// tellPulls prints what the gate did during an event.
func tellPulls(out io.Writer, before, now rolegate.Status) {
	for _, p := range []struct {
		name        string
		before, now rolegate.RefreshStatus
	}{{"incremental refresh", before.Incremental, now.Incremental}, {"full refresh", before.Full, now.Full}} {
		o := p.now.Outcome
		switch {
		case p.now.Failed > p.before.Failed:
			fmt.Fprintf(out, "   %s: failed (%s), the list stays\n", p.name, p.now.Failure)
		case p.now.Succeeded > p.before.Succeeded:
			fmt.Fprintf(out, "   %s: %d added, %d removed, %d changed, %d held\n", p.name, o.Added, o.Removed, o.Changed, o.Held)
		}
	}
}

// send sends the request of a step.
func (d *demo) send(ctx context.Context, s step) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, s.method, d.url+s.path, nil)
	if err != nil {
		return nil, err
	}
	if s.user != 0 {
		r.Header.Set("X-User-Id", strconv.FormatInt(s.user, 10))
	}
	return d.client.Do(r)
}

// ask sends one request. Why it was refused the client is not told: the
// operator finds it in the log, by the decision's id.
func (d *demo) ask(ctx context.Context, s step, log *reasonLog) (status int, why string, err error) {
	resp, err := d.send(ctx, s)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return resp.StatusCode, rolegate.ReasonGranted.String(), nil
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
		"  curl -s -H 'X-User-Id: %d' %s/status\n\n", int64(homeroom), url, int64(homeroom), url, int64(admin), url)
}

// printRestart prints how to start the app again when this marketplace is gone,
// if its list is kept.
func (d *demo) printRestart(out io.Writer, s *settings) {
	if s.file == "" {
		return
	}
	fmt.Fprintf(out, "The list is kept in %s. End this, and start the app while its marketplace is away: it serves\n"+
		"the last list at once, until it is %v old. The requests above then work as before.\n\n"+
		"  ROLEGATE_BASE_URL=%s ROLEGATE_APP_ID=%s ROLEGATE_ACCESS_TOKEN=none go run ./example -cache %[1]s\n\n",
		s.file, s.expire, s.baseURL, s.appID)
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
