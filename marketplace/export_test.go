package marketplace

import (
	"errors"
	"net/http"
	"time"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/wire"
)

// RetryAfter is what a Client reads of a Retry-After.
func RetryAfter(h http.Header, now time.Time) time.Duration { return wire.RetryAfter(h, now) }

// Scrub is what an error's text and a message become once token has been used.
func Scrub(token, text string) (clean, message string) {
	var s wire.Secrets
	s.Add(token)
	return s.Clean(text), s.Message(text)
}

// WrapError is what an error of a transport becomes once token has been used.
func WrapError(token string, err error) error {
	var s wire.Secrets
	s.Add(token)
	return s.Wrap(err)
}

// DecodePage decodes a page as Pull does, and reports how many elements it
// has. rolegate.Record keeps none of what a Client knows besides.
func DecodePage(body []byte, yield func(rolegate.Record)) (rows int, err error) {
	return NewDecoder().Page(body, yield)
}

// A Decoder decodes the pages of one pull.
type Decoder struct{ *decoder }

func NewDecoder() Decoder { return Decoder{newDecoder()} }

// Page is DecodePage.
func (d Decoder) Page(body []byte, yield func(rolegate.Record)) (rows int, err error) {
	e, err := d.page(body)
	if err != nil || !e.ok() || e.data != dataList {
		return 0, errors.Join(err, errors.New("no list"))
	}
	rows = len(d.records)
	for _, r := range d.yield() {
		yield(r)
	}
	return rows, nil
}
