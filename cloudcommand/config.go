package cloudcommand

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/wire"
)

// What the zero fields of a [Config] mean, and where its fields end.
const (
	defaultPath      = "api/blade-external/checkSyncData"
	defaultTokenPath = "oauth/token"
	defaultTenantID  = "000000"
	defaultScope     = "all"
	defaultTimeout   = 5 * time.Second
	defaultMaxBytes  = 1 << 20

	// mostBytes keeps a mistyped cap from being none.
	mostBytes = 64 << 20
)

// RunningText is what the message of a sync that runs has in it, by the
// document's only example: "正在同步数据中...!".
const RunningText = "正在同步数据中"

// Config says where 云上指挥 is and who is asking. BaseURL, ClientID and
// ClientSecret are needed; the zero values of all other fields mean the
// defaults named here. Changes made to a Config after [New] have no effect.
type Config struct {
	_ struct{}

	// BaseURL is the document's {host}, with or without a slash at its end:
	// "https://command.example.com". http or https, no user name, query or
	// fragment. Over http, all secrets can be read by everybody on the way.
	BaseURL string

	// ClientID and ClientSecret are sent as Basic credentials with each
	// request.
	ClientID     string
	ClientSecret Secret

	// Username and Password ask for tokens by the password grant. Both empty
	// mean the client credentials grant. The password is sent as it stands
	// here: if the platform wants a digest of it, write that. Give the app a
	// user of its own; some platforms lock a user whose password is wrong too
	// often.
	Username string
	Password Secret

	// TenantID is the tenant that tokens are asked for, sent as the header
	// Tenant-Id and the form field tenantId. "" means "000000".
	TenantID string

	// Scope is the scope that tokens are asked for. "" means "all".
	Scope string

	// TokenPath is where tokens are asked for, below BaseURL. "" means
	// "oauth/token". BladeX as it is sold has "blade-auth/oauth/token".
	TokenPath string

	// Path is what is asked for, below BaseURL. "" means
	// "api/blade-external/checkSyncData".
	Path string

	// SyncID is the sync that [Client.CheckSync] asks about: the number that
	// the platform returned when the sync of organisations and users was
	// asked for. 0 sends none; the document leaves open what is answered then.
	SyncID int64

	// CurrentSyncID is SyncID for an app that begins syncs as it runs. It is
	// called by each CheckSync, must be safe for concurrent use and return at
	// once; 0 or less sends none. Set one of the two.
	CurrentSyncID func() int64

	// Running are the texts that mean that a sync is running: one of them is
	// in the message. nil means [RunningText] alone.
	Running []string

	// Done are the texts that mean that a sync is done: one of them is the
	// whole message, blanks at its ends aside. "In the message" would not do:
	// a text that says done of a part, or that something is not done, has the
	// same words in it. nil means that no text is known.
	Done []string

	// Interpret, if set, takes the place of Running and Done. It must be safe
	// for concurrent use and return at once; a panic fails the check.
	Interpret func(Data) rolegate.SyncState

	// Timeout is how long a check may take altogether, a new token and a
	// second request included: a platform that is down holds up a pull for no
	// longer. 0 means 5 seconds.
	Timeout time.Duration

	// MaxBytes is how large an answer may be after decompression, up to
	// 64 MiB. 0 means 1 MiB.
	MaxBytes int64

	// Transport sends the requests. It must honour a request's context, and
	// must not follow redirects: the credentials would go with them. nil means
	// a clone of [http.DefaultTransport] that no one else uses, with lower
	// limits.
	Transport http.RoundTripper

	// Refused decides whether a reply to a check means that the token is not
	// accepted (any more). httpStatus is that of the reply, code that of its
	// envelope, 0 if there is none. nil means HTTP status 401, or code 401
	// under any HTTP status.
	Refused func(httpStatus, code int) bool
}

// New returns a client for cfg. It opens no connection. Mistakes in cfg are
// kept for [Client.Validate], which [rolegate.Open] calls, so that New fits
// into the literal of a rolegate.Config.
func New(cfg Config) *Client {
	c := &Client{
		clientID:  cfg.ClientID,
		tenantID:  wire.Or(cfg.TenantID, defaultTenantID),
		scope:     wire.Or(cfg.Scope, defaultScope),
		syncID:    cfg.CurrentSyncID,
		timeout:   wire.Or(cfg.Timeout, defaultTimeout),
		maxBytes:  wire.Or(cfg.MaxBytes, defaultMaxBytes),
		transport: cfg.Transport,
		refused:   cfg.Refused,
		interpret: cfg.Interpret,
		endless:   cfg.Interpret == nil && len(cfg.Done) == 0,
		secrets:   new(wire.Secrets),
	}
	path, tokenPath := wire.Or(cfg.Path, defaultPath), wire.Or(cfg.TokenPath, defaultTokenPath)
	base, baseErr := wire.CheckBaseURL(cfg.BaseURL, "https://command.example.com")
	c.invalid = errors.Join(
		baseErr,
		checkClient(cfg.ClientID, cfg.ClientSecret),
		checkUser(cfg.Username, cfg.Password),
		checkTenant(c.tenantID),
		wire.CheckPath("TokenPath", tokenPath, defaultTokenPath),
		wire.CheckPath("Path", path, defaultPath),
		checkSyncID(cfg.SyncID, cfg.CurrentSyncID),
		checkTexts(cfg),
		wire.CheckRange("Timeout", int64(cfg.Timeout), 0, "a duration, 0 for 5s"),
		wire.CheckRange("MaxBytes", cfg.MaxBytes, mostBytes, "bytes, 0 for 1 MiB"),
	)
	if c.invalid != nil {
		c.invalid = fmt.Errorf("cloudcommand: %w", c.invalid)
		return c
	}
	c.where = base.JoinPath(path).String()
	c.tokenWhere = base.JoinPath(tokenPath).String()
	c.authorize = authorize(cfg.ClientID, cfg.ClientSecret, c.secrets)
	c.grant = grant(cfg.Username, cfg.Password, c.secrets)
	c.tokens = wire.NewCell(c.timeout, c.fetchToken)
	if c.syncID == nil {
		id := cfg.SyncID
		c.syncID = func() int64 { return id }
	}
	if c.interpret == nil {
		c.interpret = byTexts(cfg.Running, cfg.Done)
	}
	if c.refused == nil {
		c.refused = func(httpStatus, code int) bool {
			return httpStatus == http.StatusUnauthorized || code == http.StatusUnauthorized
		}
	}
	if c.transport == nil {
		c.own = wire.NewTransport()
		c.transport = c.own
	}
	return c
}

func checkClient(id string, secret Secret) error {
	var idErr error
	switch {
	case id == "":
		idErr = errors.New("Config.ClientID: it is empty: expected the client id that the platform gave to the app")
	case strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r == ':' || r == 0x7f }):
		idErr = errors.New("Config.ClientID: expected one without blanks and colons, which Basic credentials cannot carry: look for a line break that was copied with it")
	}
	return errors.Join(idErr, checkSecret("ClientSecret", secret, "the secret that belongs to ClientID"))
}

func checkUser(name string, password Secret) error {
	switch {
	case name == "" && password == "":
		return nil // the client credentials grant
	case name == "":
		return errors.New("Config.Username: it is empty, and there is a Password: expected both or neither")
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return errors.New("Config.Username: expected one without line breaks and other control characters")
	}
	return checkSecret("Password", password, "the password of Username, or neither of them for the client credentials grant")
}

func checkSecret(field string, s Secret, what string) error {
	switch {
	case s == "":
		return fmt.Errorf("%s: it is empty: expected %s", "Config."+field, what)
	case strings.TrimSpace(string(s)) != string(s):
		return fmt.Errorf("%s: it has blanks or line breaks at its ends: expected none: use strings.TrimSpace on what was read from a file", "Config."+field)
	case strings.ContainsFunc(string(s), func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("%s: expected one without line breaks and other control characters", "Config."+field)
	}
	return nil
}

func checkTenant(id string) error {
	if !wire.IsHeaderText(id) {
		return errors.New("Config.TenantID: expected visible ASCII without blanks, since it is sent as a header")
	}
	return nil
}

func checkSyncID(id int64, f func() int64) error {
	switch {
	case id < 0:
		return errors.New("Config.SyncID: it is below 0: expected the number that the platform returned, 0 for none")
	case id != 0 && f != nil:
		return errors.New("Config.SyncID: there is a CurrentSyncID as well: expected one of them")
	}
	return nil
}

func checkTexts(cfg Config) error {
	isBlank := func(s string) bool { return strings.TrimSpace(s) == "" }
	var errs []error
	if cfg.Running != nil && len(cfg.Running) == 0 || slices.ContainsFunc(cfg.Running, isBlank) {
		errs = append(errs, errors.New("Config.Running: it is empty, or one of it is: expected texts, or nil for the documented one"))
	}
	if slices.ContainsFunc(cfg.Done, isBlank) {
		errs = append(errs, errors.New("Config.Done: one of it is empty: expected texts: an answer without a message is no sync that is done"))
	}
	if cfg.Interpret != nil && len(cfg.Running)+len(cfg.Done) > 0 {
		errs = append(errs, errors.New("Config.Interpret: there are texts in Running or Done as well: expected one or the other"))
	}
	return errors.Join(errs...)
}

// byTexts is what Config.Interpret is if there is none.
func byTexts(running, done []string) func(Data) rolegate.SyncState {
	if running == nil {
		running = []string{RunningText}
	}
	running, done = slices.Clone(running), slices.Clone(done)
	for i, s := range done {
		done[i] = strings.TrimSpace(s)
	}
	return func(d Data) rolegate.SyncState {
		switch {
		case slices.ContainsFunc(running, func(s string) bool { return strings.Contains(d.Message, s) }):
			return rolegate.SyncRunning
		case slices.Contains(done, strings.TrimSpace(d.Message)):
			return rolegate.SyncDone
		}
		return rolegate.SyncUnknown
	}
}
