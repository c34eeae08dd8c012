// Package control is how the commands why, status and reload ask a running server: HTTP
// over a Unix socket that only its own user, and root, can connect to.
package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/rolegate/rolegate"
)

// The paths that a server answers at.
const (
	WhyPath    = "/why"
	StatusPath = "/status"
	ReloadPath = "/reload"
)

// A Question is what why asks about: a user, and a request of theirs, or a resource
// and an action, or nothing more than whether they are listed.
type Question struct {
	Kind string `json:"kind"` // as rolegate.Kind names it
	User string `json:"user"`

	Method string `json:"method,omitempty"`
	Host   string `json:"host,omitempty"`
	URI    string `json:"uri,omitempty"`

	Resource string `json:"resource,omitempty"`
	Action   string `json:"action,omitempty"`
	Org      int64  `json:"org,omitempty,string"`
}

// An Answer is a decision, and what led to it. Ages are seconds.
type Answer struct {
	Allowed bool   `json:"allowed"`
	Reason  string `json:"reason"`
	Status  int    `json:"status"` // the HTTP status of a refusal, 200 of a grant

	Pattern string `json:"pattern,omitempty"` // the one that the request matches
	Denied  string `json:"denied,omitempty"`  // why it matches none
	OrgErr  string `json:"org_error,omitempty"`

	UserID  int64  `json:"user_id,omitempty,string"`
	Digest  string `json:"identity_digest,omitempty"` // by which the log has an identity that is no user id
	Found   string `json:"found,omitempty"`           // the reason of the look-up: granted if it is on the list
	Held    bool   `json:"held,omitempty"`
	Invalid bool   `json:"invalid_record,omitempty"`
	Policy  string `json:"policy,omitempty"`
	When    bool   `json:"when,omitempty"` // the rule has conditions on the question, which was not asked here
	Org     int64  `json:"org,omitempty,string"`
	Orgs    []Org  `json:"orgs,omitempty"`

	State       string  `json:"state"`
	ContactAge  float64 `json:"contact_age"`
	VerifiedAge float64 `json:"verified_age"`
	StaleAfter  float64 `json:"stale_after"`
	ExpireAfter float64 `json:"expire_after"`
	MaxAge      float64 `json:"max_age,omitempty"`
	Age         float64 `json:"age,omitempty"`
	Wait        float64 `json:"wait,omitempty"`

	Shadow      bool `json:"shadow,omitempty"`
	ShadowAdmit bool `json:"shadow_admit,omitempty"`

	// UnassignedRoles are roles that the rule names and nobody on the list has.
	UnassignedRoles []rolegate.UnassignedRole `json:"unassigned_roles,omitempty"`
}

// A Reloaded is what has become of a reload. UnassignedRoles are roles that the new
// settings name and nobody on the list has.
type Reloaded struct {
	UnassignedRoles []rolegate.UnassignedRole `json:"unassigned_roles,omitempty"`
}

// An Org is what the checks come to in one organisation.
type Org struct {
	Org    int64    `json:"org,string"`
	Roles  []string `json:"roles"`
	Checks []Check  `json:"checks"`
}

// A Check is what one check comes to.
type Check struct {
	Check   string   `json:"check"`
	Outcome string   `json:"outcome"`
	Roles   []string `json:"roles,omitempty"`
	Either  []Check  `json:"either,omitempty"`
}

// NewAnswer says what an explanation says.
func NewAnswer(e rolegate.Explanation) *Answer {
	d := e.Decision
	a := &Answer{
		Allowed: d.Allowed(), Reason: d.Reason.String(), Status: d.Reason.Status(),
		UserID: d.User.ID(), Digest: e.IdentityDigest, Found: e.Found.String(), Held: d.Held, Invalid: e.InvalidRecord, Policy: e.Policy, Org: d.Org,
		State: string(e.State), ContactAge: e.ContactAge.Seconds(), VerifiedAge: e.VerifiedAge.Seconds(),
		StaleAfter: e.StaleAfter.Seconds(), ExpireAfter: e.ExpireAfter.Seconds(),
		MaxAge: e.MaxAge.Seconds(), Age: e.Age.Seconds(), Wait: e.Wait.Seconds(),
		Shadow: e.Shadow, ShadowAdmit: e.ShadowAdmit,
	}
	if a.Allowed { // by Shadow, whatever the reason
		a.Status = http.StatusOK
	}
	for _, o := range e.Orgs {
		a.Orgs = append(a.Orgs, Org{o.Org, o.Roles, checks(o.Checks)})
	}
	return a
}

func checks(of []rolegate.CheckExplanation) (all []Check) {
	for _, c := range of {
		all = append(all, Check{c.Check, outcome(c), c.Roles, checks(c.Either)})
	}
	return all
}

func outcome(c rolegate.CheckExplanation) string {
	switch {
	case c.Holds:
		return "holds"
	case c.NeedsRequest:
		return "needs_request"
	}
	return "fails"
}

// A Client asks one server.
type Client struct {
	path string
	http *http.Client
}

// NewClient returns a client of the server with that socket.
func NewClient(path string) *Client {
	var d net.Dialer
	return &Client{path, &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", path) },
		},
	}}
}

// How long the server may take: it answers from memory, but a reload may wait for
// a list.
const (
	timeout       = 10 * time.Second
	reloadTimeout = 5 * time.Minute
)

// Why asks why.
func (c *Client) Why(ctx context.Context, q Question) (*Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	var a Answer
	text, err := c.ask(ctx, http.MethodPost, WhyPath, body)
	if err != nil {
		return nil, err
	}
	return &a, json.Unmarshal(text, &a)
}

// Status asks how the server is, and returns its rolegate.Status as JSON.
func (c *Client) Status(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return c.ask(ctx, http.MethodGet, StatusPath, nil)
}

// Reload has the server read its settings file again, and waits until that is
// done. A [RefusedError] says what is wrong with the file, or why the old settings
// go on otherwise. If ctx ends before, the server gives it up.
func (c *Client) Reload(ctx context.Context) (*Reloaded, error) {
	ctx, cancel := context.WithTimeout(ctx, reloadTimeout)
	defer cancel()
	text, err := c.ask(ctx, http.MethodPost, ReloadPath, nil)
	if err != nil {
		return nil, err
	}
	var told Reloaded
	return &told, json.Unmarshal(text, &told)
}

func (c *Client) ask(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://rolegate"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	answer, err := c.http.Do(r)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("no rolegate serve listens on %s: start it, or say with --socket or -c where the one that runs has its control socket", c.path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s is not open to this user: run it as the user of the server, or as root", c.path)
	case err != nil:
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 16<<20))
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, &RefusedError{answer.StatusCode, string(bytes.TrimSpace(text))}
	}
	return text, nil
}

// A RefusedError is an answer of the server's that it does not understand the
// question.
type RefusedError struct {
	Status int
	Text   string
}

func (e *RefusedError) Error() string { return e.Text }
