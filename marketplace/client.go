package marketplace

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/wire"
)

// What the zero fields of a [Config] mean, and where its fields end.
const (
	defaultPath         = "app/user/list"
	defaultPageTimeout  = 15 * time.Second
	defaultMaxPageBytes = 16 << 20
	defaultMaxUsers     = 20_000_000

	// maxPageSize is the document's own: 0 < limit <= 1000, default 1000.
	maxPageSize = 1000

	// mostPageBytes keeps a mistyped cap from being none.
	mostPageBytes = 1 << 30
)

// Config says where the marketplace is and who is asking. BaseURL, AppID and
// Token are needed; the zero values of all other fields mean the defaults named
// here. Changes made to a Config after [New] have no effect.
type Config struct {
	_ struct{}

	// BaseURL is where the marketplace's interface begins, with or without a
	// slash at its end: "https://market.example.com/api". http or https, no
	// user name, query or fragment. Over http, the token can be read by
	// everybody on the way.
	BaseURL string

	// AppID is the app's client id. It is sent as X-App-Id.
	AppID string

	// Token has the access token. See [TokenFunc] and [StaticToken].
	Token TokenSource

	// Path is what is asked for, below BaseURL. "" means "app/user/list".
	Path string

	// RoleListPath is what [Client.RoleCodes] asks for, below BaseURL: the call
	// that lists the app's roles. It is not part of the document of the list,
	// so that there is no default; by analogy it would be "app/role/list". Ask
	// the marketplace's operator.
	RoleListPath string

	// PageSize is how many users are asked for in one request, the document's
	// `limit`: 1 to 1000. 0 means 900 to 1000, another number for each pull:
	// nothing else differs between the requests of two full refreshes, and a cache on
	// the way that heeds no Cache-Control, as nginx' proxy_cache does, would
	// answer one with the pages of the other. With 1, a server that answers with the
	// users from the cursor on (and not only those above it) cannot be told
	// from one that does not move on.
	PageSize int

	// PageTimeout is how long one page, of users or of roles, may take, from connecting to the last
	// byte of its body, and also, by itself, how long Token may take.
	// 0 means 15 seconds.
	PageTimeout time.Duration

	// MaxPageBytes is how large one page may be after decompression, up to
	// 1 GiB. 0 means 16 MiB. A page is held in memory as a whole, and the
	// records that were read from it besides, one page at a time in each pull.
	MaxPageBytes int64

	// MaxUsers is how many records one pull may bring, so that pages without
	// end come to one. 0 means 20 million. A server that answers with the
	// users from the cursor on repeats one or two at the border of each page;
	// those count as well.
	MaxUsers int

	// Transport sends the requests. It must honour a request's context, and
	// must not follow redirects: the token would go with them. nil means a
	// clone of [http.DefaultTransport] that no one else uses, with lower
	// limits.
	Transport http.RoundTripper

	// RefusedCodes are the codes in the envelope by which this marketplace
	// refuses a token, if that is known: 40014 for example. Those and 401, as
	// code or HTTP status, make the client ask Token for another one at once.
	// Any other refusal does so only when it comes twice in a row, and not more
	// than once in two minutes.
	RefusedCodes []int

	// MaxRequestsPerSecond is how many requests the client sends in a second at
	// most, all pulls together: 2.5 for example. 0 means no limit, until the
	// marketplace answers 429: then the client finds out how many are accepted.
	MaxRequestsPerSecond float64

	// Refused decides whether a failed reply means that the token is not
	// accepted (any more). httpStatus is that of the reply, code that of its
	// envelope, 0 if there is none. nil means HTTP status 401, or code 401 or
	// one of RefusedCodes under any HTTP status. Which codes the marketplace
	// uses is documented nowhere.
	Refused func(httpStatus, code int) bool

	// UniqueSequences says that no two users of the list ever have the same
	// `lastSequence`. It saves one request after each page that has news. Set
	// it only if the marketplace's operator has said so: if it is not true,
	// users are left out and nobody is told. See "How it pages" above.
	UniqueSequences bool

	// CacheBuster is the name of a query parameter that gets a new random
	// value in each request, for caches on the way that keep pages for longer
	// than the hundred pulls for which PageSize makes a difference.
	// "" sends none: it is not documented whether the marketplace accepts
	// parameters that it does not know.
	CacheBuster string
}

// A Client reads the list of authorised users. It is a [rolegate.Source], made
// by [New], and safe for concurrent use.
type Client struct {
	invalid   error
	appID     string
	listURL   string        // without a query
	rolesURL  string        // likewise; "" without RoleListPath
	pageSize  int           // 0: see limit
	pulls     atomic.Uint32 // counts pulls, from somewhere
	timeout   time.Duration
	maxBytes  int64
	maxUsers  int
	transport http.RoundTripper
	own       *http.Transport // transport, if it is ours
	refused   func(httpStatus, code int) bool
	unique    bool
	buster    string
	tokens    *tokens
	pacer     *pacer
	secrets   *wire.Secrets

	// capacity is how many users the last full refresh has seen in a page.
	capacity atomic.Int64

	// repeats is whether the server was seen to begin a page with the last users of
	// the one before.
	repeats atomic.Bool

	// The first pages of full refreshes and of others, and the roles: see
	// dateGuard.
	fullDates, newsDates, roles *dateGuard
}

// New returns a client for cfg. It opens no connection. Mistakes in cfg are
// kept for [Client.Validate], which [rolegate.Open] calls, so that New fits
// into the literal of a rolegate.Config.
func New(cfg Config) *Client {
	c := &Client{
		appID:     cfg.AppID,
		pageSize:  cfg.PageSize,
		timeout:   wire.Or(cfg.PageTimeout, defaultPageTimeout),
		maxBytes:  wire.Or(cfg.MaxPageBytes, defaultMaxPageBytes),
		maxUsers:  wire.Or(cfg.MaxUsers, defaultMaxUsers),
		transport: cfg.Transport,
		refused:   cfg.Refused,
		unique:    cfg.UniqueSequences,
		buster:    cfg.CacheBuster,
		secrets:   new(wire.Secrets),
		pacer:     newPacer(cfg.MaxRequestsPerSecond),
		fullDates: new(dateGuard),
		newsDates: new(dateGuard),
		roles:     new(dateGuard),
	}
	c.pulls.Store(rand.Uint32())
	base, baseErr := wire.CheckBaseURL(cfg.BaseURL, "https://market.example.com/api")
	listPath := wire.Or(cfg.Path, defaultPath)
	if baseErr == nil && cfg.Path == "" && strings.HasSuffix(strings.TrimRight(base.Path, "/"), "/"+defaultPath) {
		baseErr = fmt.Errorf("Config.BaseURL: it ends in %s, which the client adds itself: expected the URL without that", defaultPath)
	}
	var roleListErr error
	if cfg.RoleListPath != "" {
		roleListErr = wire.CheckPath("RoleListPath", cfg.RoleListPath, "app/role/list")
	}
	c.invalid = errors.Join(
		baseErr,
		checkAppID(cfg.AppID),
		checkToken(cfg.Token),
		wire.CheckPath("Path", listPath, defaultPath),
		roleListErr,
		wire.CheckRange("PageSize", int64(cfg.PageSize), maxPageSize, "users a page, 0 for 900 to 1000"),
		wire.CheckRange("PageTimeout", int64(cfg.PageTimeout), 0, "as a duration, 0 for 15s"),
		wire.CheckRange("MaxPageBytes", cfg.MaxPageBytes, mostPageBytes, "bytes, 0 for 16 MiB"),
		wire.CheckRange("MaxUsers", int64(cfg.MaxUsers), 0, "records a pull, 0 for 20 million"),
		checkRate(cfg.MaxRequestsPerSecond),
		checkCodes(cfg.RefusedCodes),
		checkCacheBuster(cfg.CacheBuster),
	)
	if c.invalid != nil {
		c.invalid = fmt.Errorf("marketplace: %w", c.invalid)
		return c
	}
	c.listURL = base.JoinPath(listPath).String()
	if cfg.RoleListPath != "" {
		c.rolesURL = base.JoinPath(cfg.RoleListPath).String()
	}
	c.tokens = newTokens(cfg.Token, c.timeout, c.secrets)
	if c.refused == nil {
		codes := slices.Clone(cfg.RefusedCodes)
		c.refused = func(httpStatus, code int) bool {
			return httpStatus == http.StatusUnauthorized || code == http.StatusUnauthorized || slices.Contains(codes, code)
		}
	}
	if c.transport == nil {
		c.own = wire.NewTransport()
		c.transport = c.own
	}
	return c
}

// Validate returns every mistake of the Config at once, and nil if there is
// none. It does not connect to anything.
func (c *Client) Validate() error {
	if c == nil || c.secrets == nil {
		return errors.New("marketplace: expected a client from marketplace.New")
	}
	return c.invalid
}

func checkAppID(id string) error {
	switch {
	case id == "":
		return errors.New("Config.AppID: it is empty: expected the client id that the marketplace gave to the app")
	case !wire.IsHeaderText(id):
		return errors.New("Config.AppID: expected visible ASCII without blanks, since it is sent as a header: look for a line break or a quotation mark that was copied with it")
	}
	return nil
}

func checkRate(perSecond float64) error {
	if perSecond < 0 || math.IsNaN(perSecond) || math.IsInf(perSecond, 0) {
		return errors.New("Config.MaxRequestsPerSecond: expected requests a second, like 2.5, or 0 for no limit")
	}
	return nil
}

func checkCodes(codes []int) error {
	if slices.Contains(codes, 200) || slices.Contains(codes, 0) {
		return errors.New("Config.RefusedCodes: 200 is success and 0 is no code: expected the codes by which the marketplace refuses a token, like 40014")
	}
	return nil
}

var parameterName = regexp.MustCompile(`^[A-Za-z0-9._~-]*$`)

func checkCacheBuster(name string) error {
	switch name {
	case "accessToken", "lastSequence", "limit":
		return fmt.Errorf("Config.CacheBuster: %q is a parameter of the call itself: expected another name, like \"_\"", name)
	}
	if !parameterName.MatchString(name) {
		return errors.New("Config.CacheBuster: expected a parameter name of letters, digits and . _ ~ -, like \"_\"")
	}
	return nil
}

// CloseIdleConnections closes the connections that wait for the next pull. A
// Transport that was handed in is left alone. The client can be used
// afterwards.
func (c *Client) CloseIdleConnections() {
	if c != nil && c.own != nil {
		c.own.CloseIdleConnections()
	}
}

// CacheKey says which list the client reads, so that a rolegate.Cache with the
// index of another app, marketplace or environment is not taken for it: the URL
// of the list, a blank, and the app id. It has no secret in it. It is "" if the
// client is not valid.
func (c *Client) CacheKey() string {
	if c.Validate() != nil {
		return ""
	}
	// A URL that was put together has no blank in it, so that no other pair of
	// URL and app id has the same key.
	return c.listURL + " " + c.appID
}

// String returns the client's URL and app id. It has no secret in it.
func (c *Client) String() string {
	if c.Validate() != nil {
		return "marketplace.Client(not valid)"
	}
	return fmt.Sprintf("marketplace.Client(%s as %s)", c.listURL, c.appID)
}

// GoString implements [fmt.GoStringer] for %#v, as String does for %v.
func (c *Client) GoString() string { return c.String() }

// LogValue implements [slog.LogValuer] with the client's URL and app id.
func (c *Client) LogValue() slog.Value {
	if c.Validate() != nil {
		return slog.StringValue(c.String())
	}
	return slog.GroupValue(slog.String("url", c.listURL), slog.String("app", c.appID))
}

var _ rolegate.PageSource = (*Client)(nil)
