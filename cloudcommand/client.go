package cloudcommand

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/wire"
)

// A Client asks for the state of a sync. It is a [rolegate.SyncChecker], made
// by [New], and safe for concurrent use.
type Client struct {
	invalid    error
	where      string // what is asked, without a query
	tokenWhere string
	clientID   string
	tenantID   string
	scope      string
	syncID     func() int64
	interpret  func(Data) rolegate.SyncState
	endless    bool // no text means done
	timeout    time.Duration
	maxBytes   int64
	transport  http.RoundTripper
	own        *http.Transport // transport, if it is ours
	refused    func(httpStatus, code int) bool
	tokens     *wire.Cell[token]
	secrets    *wire.Secrets

	// The credentials are in functions, where no verb of fmt looks.
	authorize func(http.Header)
	grant     func() url.Values
}

// Validate returns every mistake of the Config at once, and nil if there is
// none. It does not connect to anything.
func (c *Client) Validate() error {
	if c == nil || c.secrets == nil {
		return errors.New("cloudcommand: expected a client from cloudcommand.New")
	}
	return c.invalid
}

// CloseIdleConnections closes the connections that wait for the next check. A
// Transport that was handed in is left alone. The client can be used
// afterwards.
func (c *Client) CloseIdleConnections() {
	if c != nil && c.own != nil {
		c.own.CloseIdleConnections()
	}
}

// String returns the client's URL and client id. It has no secret in it.
func (c *Client) String() string {
	if c.Validate() != nil {
		return "cloudcommand.Client(not valid)"
	}
	return fmt.Sprintf("cloudcommand.Client(%s as %s)", c.where, c.clientID)
}

// GoString implements [fmt.GoStringer] for %#v, as String does for %v.
func (c *Client) GoString() string { return c.String() }

// LogValue implements [slog.LogValuer] with the client's URL and client id.
func (c *Client) LogValue() slog.Value {
	if c.Validate() != nil {
		return slog.StringValue(c.String())
	}
	return slog.GroupValue(slog.String("url", c.where), slog.String("client", c.clientID))
}

var _ rolegate.SyncChecker = (*Client)(nil)
