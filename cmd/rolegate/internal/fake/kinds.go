package fake

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/rolegate/rolegate/rolegatetest"
)

// A Kind is a way in which the fake can fail.
type Kind struct {
	Name    string
	Arg     string // what may be behind a =, "" if nothing may
	Default string // what that is when it is left out
	Help    string // one line

	only  target // who alone can have it, 0 if both can
	fault func(arg string) (rolegatetest.Fault, error)
}

// A target is who meets with a fault.
type target int

const (
	market target = iota + 1
	cloud
)

// Kinds returns all there are, those that break a reply first.
func Kinds() []Kind {
	return []Kind{
		{Name: "truncated", Help: "the connection breaks in the middle of a page", fault: always(rolegatetest.Truncated)},
		{Name: "unterminated", Help: "a page ends in its middle, and nothing but the JSON shows it", fault: always(rolegatetest.Unterminated)},
		{Name: "reset", Help: "the connection breaks before there is an answer", fault: always(rolegatetest.Reset)},
		{Name: "hang", Help: "there is no answer until the client gives up", fault: always(rolegatetest.Hang)},
		{Name: "slow", Arg: "TIME", Default: "2s", Help: "a page is read at once and sent after that time", fault: lasting(rolegatetest.Slow, time.Nanosecond)},
		{Name: "drip", Arg: "TIME", Default: "10ms", Help: "a page is sent byte by byte, with that pause before each", fault: lasting(rolegatetest.Drip, time.Nanosecond)},

		{Name: "error-envelope", Arg: "CODE", Default: "500", Help: "HTTP 200 with the documented error envelope", only: market, fault: envelope(rolegatetest.ErrorEnvelope)},
		{Name: "error-r", Arg: "CODE", Default: "500", Help: "HTTP 200 with the error envelope of 云上指挥", only: cloud, fault: envelope(rolegatetest.ErrorR)},
		{Name: "http-status", Arg: "STATUS", Default: "503", Help: "that HTTP status", fault: httpStatus},
		{Name: "retry-after", Arg: "TIME", Default: "7s", Help: "HTTP 503 that asks to be left alone for so long", fault: lasting(retryAfter, time.Second)},
		{Name: "refuse-token", Help: "the right access token is refused", fault: always(rolegatetest.RefuseToken)},
		{Name: "html", Help: "HTTP 200 with a login page", fault: always(rolegatetest.HTMLPage)},
		{Name: "garbage", Help: "HTTP 200 with bytes that are not JSON", fault: always(rolegatetest.Garbage)},
		{Name: "empty-body", Help: "HTTP 200 with nothing", fault: always(rolegatetest.EmptyBody)},
		{Name: "empty-data", Help: "success, with {} where the list belongs", fault: always(rolegatetest.EmptyData)},
		{Name: "body", Arg: "TEXT", Default: "null", Help: "HTTP 200 with that text", fault: text(rolegatetest.Body)},
		{Name: "trailing", Arg: "TEXT", Default: "{}", Help: "a page with that text behind it", fault: text(rolegatetest.Trailing)},
		{Name: "cached", Arg: "TIME", Default: "30s", Help: "a page that a cache has had for so long, in whole seconds", fault: lasting(rolegatetest.CachedReply, time.Second)},

		{Name: "drop-rows", Arg: "N", Default: "10", Help: "the list ends after its first N users, and that is called a success", only: market, fault: dropRows},
		{Name: "descending", Help: "pages begin with the highest sequence", only: market, fault: always(rolegatetest.Descending)},
		{Name: "echo-sequence", Help: "each record has the lastSequence of the request", only: market, fault: always(rolegatetest.EchoSequence)},
		{Name: "empty-as", Arg: "JSON", Default: "null", Help: "that text in place of an empty list", only: market, fault: text(rolegatetest.EmptyAs)},
		{Name: "null-roles", Help: "null in place of an empty roleList", only: market, fault: always(rolegatetest.NullRoles)},
		{Name: "throttle", Arg: "N", Default: "20", Help: "HTTP 429 to all but N requests a second", only: market, fault: throttle(0)},
		{Name: "throttle-retry-after", Arg: "N", Default: "20", Help: "the same, with Retry-After: 1", only: market, fault: throttle(time.Second)},
		{Name: "stuck-page", Help: "every request gets the first page", only: market, fault: always(rolegatetest.StuckPage)},
		{Name: "no-progress", Help: "full pages whose sequence never moves on", only: market, fault: always(rolegatetest.NoProgress)},
		{Name: "endless", Help: "full pages without an end", only: market, fault: always(rolegatetest.Endless)},
	}
}

func always(fault func() rolegatetest.Fault) func(string) (rolegatetest.Fault, error) {
	return func(string) (rolegatetest.Fault, error) { return fault(), nil }
}

func text(fault func(string) rolegatetest.Fault) func(string) (rolegatetest.Fault, error) {
	return func(arg string) (rolegatetest.Fault, error) { return fault(arg), nil }
}

// maxTime is how long a fault may take: more is a slip.
const maxTime = 24 * time.Hour

func lasting(fault func(time.Duration) rolegatetest.Fault, least time.Duration) func(string) (rolegatetest.Fault, error) {
	return func(arg string) (rolegatetest.Fault, error) {
		d, err := time.ParseDuration(arg)
		if err != nil || d < least || d > maxTime {
			return nil, fmt.Errorf("expected a time from %v to 24h, such as 2s", least)
		}
		return fault(d), nil
	}
}

func envelope(fault func(int, string) rolegatetest.Fault) func(string) (rolegatetest.Fault, error) {
	return func(arg string) (rolegatetest.Fault, error) {
		code, err := strconv.ParseInt(arg, 10, 32)
		if err != nil {
			return nil, errors.New("expected a code such as 500")
		}
		return fault(int(code), "internal error"), nil
	}
}

func httpStatus(arg string) (rolegatetest.Fault, error) {
	status, err := strconv.Atoi(arg)
	if err != nil || status <= 200 || status > 599 {
		return nil, errors.New("expected an HTTP status from 201 to 599")
	}
	return rolegatetest.HTTPStatus(status), nil
}

func retryAfter(d time.Duration) rolegatetest.Fault {
	return rolegatetest.HTTPStatus(503, "Retry-After", strconv.FormatInt(int64(d/time.Second), 10))
}

func throttle(retryAfter time.Duration) func(string) (rolegatetest.Fault, error) {
	return func(arg string) (rolegatetest.Fault, error) {
		n, err := strconv.Atoi(arg)
		if err != nil || n < 1 {
			return nil, errors.New("expected a number of requests a second, 1 or more")
		}
		return rolegatetest.Throttle(n, retryAfter), nil
	}
}

func dropRows(arg string) (rolegatetest.Fault, error) {
	n, err := strconv.Atoi(arg)
	if err != nil || n < 0 {
		return nil, errors.New("expected a number of users, 0 or more")
	}
	return rolegatetest.DropRows(n), nil
}
