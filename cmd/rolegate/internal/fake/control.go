package fake

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/lang"
)

// controlPrefix is where the fake is changed by hand.
const controlPrefix = "/_fake/"

// controlHelp is what GET /_fake/ answers.
const controlHelp = `Change the fake marketplace, from this machine alone:

  POST /_fake/grant?user=ID&org=ID&role=CODE   give a role, or several; none: put the user on the list
  POST /_fake/take?user=ID&org=ID&role=CODE    take a role away
  POST /_fake/revoke?user=ID                   take the user off the list
  POST /_fake/bind?user=ID&third_user_id=ID    bind the app's own id to the user; or third_account=TEXT
  POST /_fake/fault?fault=NAME[=ARG][@WHEN]    let requests fail: see rolegate fake --fault list
  POST /_fake/recover                          end all faults
  POST /_fake/sync?state=running|done|unknown  say how the sync of 云上指挥 is (--cloud-command)
  GET  /_fake/requests?last=20                 what the marketplace was asked, as JSON lines
  GET  /_fake/settings                         a settings file for rolegate serve
`

// newControl returns what serves all that is below /_fake/.
func (s *Server) newControl() http.Handler {
	mux := http.NewServeMux()
	var one sync.Mutex // one change at a time: some read what they change
	post := func(name string, do func(url.Values) (string, error), parameters ...string) {
		mux.HandleFunc("POST "+controlPrefix+name, func(w http.ResponseWriter, r *http.Request) {
			values, err := readParameters(w, r, parameters)
			if err == nil {
				var said string
				one.Lock()
				said, err = do(values)
				one.Unlock()
				if err == nil {
					say(w, http.StatusOK, said)
					return
				}
			}
			say(w, http.StatusBadRequest, s.cfg.Lang.Text(err.Error()))
		})
	}
	post("grant", s.grant, "user", "org", "role")
	post("take", s.take, "user", "org", "role")
	post("revoke", s.revoke, "user")
	post("bind", s.bind, "user", "third_user_id", "third_account")
	post("fault", s.setFault, "fault")
	post("recover", s.recover)
	post("sync", s.setSync, "state")
	mux.HandleFunc("GET "+controlPrefix+"requests", s.serveRequests)
	mux.HandleFunc("GET "+controlPrefix+"settings", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/yaml; charset=utf-8")
		_, _ = io.WriteString(w, s.cfg.Settings)
	})
	mux.HandleFunc("GET "+controlPrefix+"{$}", func(w http.ResponseWriter, _ *http.Request) {
		say(w, http.StatusOK, strings.TrimSuffix(s.cfg.Lang.Text(controlHelp), "\n"))
	})
	return fromHere(mux, s.cfg.Lang)
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n")
}

// fromHere lets only this machine through, and no page that a browser on it
// shows: neither by a request across sites, nor by a name of its own that it has
// let point here.
func fromHere(h http.Handler, l lang.Language) http.Handler {
	var origins http.CrossOriginProtection
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		switch {
		case err != nil || !from.Addr().Unmap().IsLoopback():
			say(w, http.StatusForbidden, l.Sprintf("expected a request from this machine: others cannot change the fake"))
		case !Loopback(hostOf(r.Host)):
			say(w, http.StatusForbidden, l.Sprintf("expected a request to localhost or a loopback address, such as http://127.0.0.1:9400/_fake/"))
		case origins.Check(r) != nil:
			say(w, http.StatusForbidden, l.Sprintf("expected no request of a page of another site: use curl"))
		default:
			h.ServeHTTP(w, r)
		}
	})
}

// hostOf is a Host header without its port.
func hostOf(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}

// Loopback reports whether host is localhost or a loopback address.
func Loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// readParameters reads the query and a form in the body, which may have
// parameters of these names.
func readParameters(w http.ResponseWriter, r *http.Request, names []string) (url.Values, error) {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); strings.HasSuffix(kind, "json") {
		return nil, fmt.Errorf("send form fields, not JSON: %s", formExample(r.URL.Path))
	}
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		return nil, errors.New("expected parameters in the query, or a form of up to 64 KiB")
	}
	for name := range r.Form {
		if !slices.Contains(names, name) {
			if strings.HasPrefix(strings.TrimSpace(name), "{") {
				return nil, fmt.Errorf("send form fields, not JSON: %s", formExample(r.URL.Path))
			}
			if len(names) == 0 {
				return nil, fmt.Errorf("parameter %q: expected none", name)
			}
			return nil, fmt.Errorf("parameter %q: expected none but %s", name, strings.Join(names, ", "))
		}
	}
	return r.Form, nil
}

// formExample is a call with form fields of what is below controlPrefix.
func formExample(path string) string {
	fields := map[string]string{
		"grant": "-d user=8 -d org=7 -d role=teacher", "take": "-d user=8 -d org=7 -d role=teacher", "revoke": "-d user=8",
		"bind":  "-d user=8 -d third_user_id=42",
		"fault": "-d fault=truncated@next=5", "sync": "-d state=running",
	}[strings.TrimPrefix(path, controlPrefix)]
	if fields == "" {
		fields = "-X POST"
	}
	return "curl " + fields + " http://127.0.0.1:9400" + path
}

// id reads an id.
func id(values url.Values, name string) (int64, error) {
	n, ok := decimal(values.Get(name))
	if !ok || n <= 0 || len(values[name]) != 1 {
		return 0, fmt.Errorf("%s: expected an id once, a whole number above 0", name)
	}
	return n, nil
}

func decimal(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// role reads what grant and take have in common.
func role(values url.Values, least int) (user, org int64, roles []string, err error) {
	if user, err = id(values, "user"); err != nil {
		return 0, 0, nil, err
	}
	roles = values["role"]
	if len(roles) < least || slices.Contains(roles, "") {
		return 0, 0, nil, errors.New("role: expected the code of a role, such as teacher")
	}
	if len(roles) > 0 || values.Has("org") {
		org, err = id(values, "org")
	}
	return user, org, roles, err
}

func (s *Server) grant(values url.Values) (string, error) {
	user, org, roles, err := role(values, 0)
	if err != nil {
		return "", err
	}
	before := s.market.Sequence()
	s.market.Grant(user, org, roles...)
	if s.market.Sequence() == before {
		return s.tell(user) + s.cfg.Lang.Sprintf(" Nothing has changed."), nil
	}
	return s.tell(user) + s.cfg.Lang.Sprintf(" The gate's next incremental refresh sees it."), nil
}

func (s *Server) take(values url.Values) (string, error) {
	user, org, roles, err := role(values, 1)
	if err != nil {
		return "", err
	}
	had, _ := s.market.User(user)
	s.market.Take(user, org, roles...)
	has, _ := s.market.User(user)
	switch {
	case len(has.Grants) == len(had.Grants):
		return s.tell(user) + s.cfg.Lang.Sprintf(" Nothing has changed."), nil
	case s.cfg.Marketplace.QuietRoleLoss:
		return s.tell(user) + s.cfg.Lang.Sprintf(" Only a full refresh sees it (--quiet-role-loss)."), nil
	}
	return s.tell(user) + s.cfg.Lang.Sprintf(" The gate's next incremental refresh sees it."), nil
}

func (s *Server) revoke(values url.Values) (string, error) {
	user, err := id(values, "user")
	if err != nil {
		return "", err
	}
	if _, listed := s.market.User(user); !listed {
		return s.tell(user) + s.cfg.Lang.Sprintf(" Nothing has changed."), nil
	}
	s.market.Revoke(user)
	return s.tell(user) + s.cfg.Lang.Sprintf(" The gate's next full refresh sees it; an incremental one cannot."), nil
}

func (s *Server) bind(values url.Values) (string, error) {
	user, err := id(values, "user")
	if err != nil {
		return "", err
	}
	if !values.Has("third_user_id") && !values.Has("third_account") || len(values["third_user_id"]) > 1 || len(values["third_account"]) > 1 {
		return "", errors.New("expected third_user_id or third_account, each once; an empty one unbinds")
	}
	u, listed := s.market.User(user)
	if !listed {
		return "", fmt.Errorf("user %d is not on the list: expected one who is", user)
	}
	for name, text := range map[string]*string{"third_user_id": &u.ThirdUserID, "third_account": &u.ThirdAccount} {
		if values.Has(name) {
			*text = values.Get(name)
		}
	}
	s.market.Put(u)
	return s.cfg.Lang.Sprintf("User %d has the third_user_id %q and the third_account %q. The gate's next incremental refresh sees it.", user, u.ThirdUserID, u.ThirdAccount), nil
}

// tell says what a user has.
func (s *Server) tell(user int64) string {
	u, listed := s.market.User(user)
	if !listed {
		return s.cfg.Lang.Sprintf("User %d is not on the list.", user)
	}
	if len(u.Grants) == 0 {
		return s.cfg.Lang.Sprintf("User %d is on the list, without a role.", user)
	}
	var roles []string
	for _, g := range u.Grants {
		roles = append(roles, s.cfg.Lang.Sprintf("%s in %d", g.RoleCode, g.OrgID))
	}
	return s.cfg.Lang.Sprintf("User %d is %s.", user, strings.Join(roles, ", "))
}

func (s *Server) setFault(values url.Values) (string, error) {
	if len(values["fault"]) != 1 {
		return "", errors.New("fault: expected one, such as fault=http-status=503@next=5")
	}
	f, err := ParseFault(values.Get("fault"))
	if err != nil {
		return "", err
	}
	if err := s.Fail(f); err != nil {
		return "", err
	}
	return s.cfg.Lang.Sprintf("On now: %s. POST /_fake/recover ends it.", strings.Join(s.faults.list(), ", ")), nil
}

func (s *Server) recover(url.Values) (string, error) {
	s.Recover()
	return s.cfg.Lang.Sprintf("No faults any more."), nil
}

func (s *Server) setSync(values url.Values) (string, error) {
	if s.cloud == nil {
		return "", errors.New("there is no 云上指挥 here: start rolegate fake with --cloud-command")
	}
	switch state := values.Get("state"); state {
	case "running":
		s.cloud.Running("")
		return s.cfg.Lang.Sprintf("A sync is running."), nil
	case "done":
		s.cloud.Done("")
		return s.cfg.Lang.Sprintf("The sync is done."), nil
	case "unknown":
		s.cloud.Unknown()
		return s.cfg.Lang.Sprintf("Nothing is known of a sync."), nil
	}
	return "", errors.New("state: expected running, done or unknown")
}

// An entry is one request that the marketplace has received.
type entry struct {
	Time   time.Time `json:"time"`
	Method string    `json:"method"`
	Path   string    `json:"path"`
	After  int64     `json:"after"`
	Limit  int64     `json:"limit"`
	Rows   int       `json:"rows"`
	Status int       `json:"status"`
}

func (s *Server) serveRequests(w http.ResponseWriter, r *http.Request) {
	last := int64(20)
	if text := r.URL.Query().Get("last"); text != "" {
		var ok bool
		if last, ok = decimal(text); !ok || last < 1 {
			say(w, http.StatusBadRequest, s.cfg.Lang.Sprintf("last: expected how many of the last requests, such as 20"))
			return
		}
	}
	requests := s.market.Requests()
	requests = requests[max(0, len(requests)-int(min(last, int64(len(requests))))):]
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	lines := json.NewEncoder(w)
	for _, q := range requests {
		_ = lines.Encode(entry{q.Time, q.Method, q.Path, q.After, q.Limit, q.Rows, q.Status}) // the client may have left
	}
}
