package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/wire"
	"github.com/rolegate/rolegate/marketplace"
)

// firstPage asks for the first page and has the client check it. ok is whether
// it was taken for a page.
func (d *doctor) firstPage(ctx context.Context) (p *page, ok bool) {
	p = &page{}
	d.recorder.allow("0")
	begun := time.Now()
	err := d.client.PullPages(ctx, 0, func(records []rolegate.Record) error {
		for _, r := range records {
			r.Grants = append([]rolegate.Grant(nil), r.Grants...)
			p.records = append(p.records, r)
		}
		return errEnough
	})
	x := d.recorder.last
	if x != nil && x.tls != nil && d.proxied() {
		d.certificate(*x.tls)
	}
	if err == nil || errors.Is(err, errEnough) || len(p.records) > 0 {
		// An error after the page was read is one of the next request: see
		// cursor.
		p.exchange = x
		p.read()
		d.say("token.accepted", d.file.Marketplace.AppID)
		return p, true
	}
	d.refused(err, x, time.Since(begun))
	return nil, false
}

func (d *doctor) proxied() bool {
	proxy, _ := d.Proxy(&http.Request{URL: d.base})
	return proxy != nil
}

// refused says why there was no page.
func (d *doctor) refused(err error, x *exchange, took time.Duration) {
	var pe *rolegate.PullError
	if !errors.As(err, &pe) {
		d.say("token.failed", err)
		return
	}
	detail := d.detail(err)
	switch pe.Failure {
	case rolegate.FailureRefused:
		if x.status == http.StatusOK {
			d.say("token.refused_in_body", detail)
		} else {
			d.say("token.refused", detail)
		}
	case marketplace.FailureToken:
		d.say("token.unavailable", detail)
	case marketplace.FailureUpstream:
		switch x.code() {
		case http.StatusNotFound:
			d.say("token.not_found", detail, d.otherBase())
		default:
			d.say("token.code", detail)
		}
	case rolegate.FailureHTTPStatus:
		d.status(x, detail)
	case marketplace.FailureMalformed:
		switch {
		case x.isHTML():
			d.say("token.html")
		case x.incomplete:
			d.say("token.cut_off", detail)
		default:
			d.say("token.content", detail)
		}
	case marketplace.FailureCachedReply: // see freshness
		d.say("token.unknown")
	case rolegate.FailureTooLarge:
		d.say("page.too_large", detail)
	case marketplace.FailureCursorLoop:
		d.say("cursor.stuck", detail)
	case marketplace.FailureCursorTie:
		d.say("cursor.tie", detail)
	case marketplace.FailureDescending:
		d.say("cursor.descending", detail)
	case rolegate.FailureTimeout:
		d.say("token.timeout", duration(took))
	case marketplace.FailureNetwork:
		d.say("token.broken", detail)
	default:
		d.say("token.failed", detail)
	}
}

// status says what an HTTP status other than 200 means.
func (d *doctor) status(x *exchange, detail string) {
	switch s := x.status; {
	case s >= 300 && s < 400:
		d.redirect(x)
	case s == http.StatusNotFound || s == http.StatusMethodNotAllowed:
		d.say("token.not_found", detail, d.otherBase())
	case s == http.StatusForbidden:
		d.say("token.forbidden", detail)
	case s == http.StatusTooManyRequests:
		d.say("token.too_many", detail)
	case s == http.StatusProxyAuthRequired:
		d.say("token.proxy_password")
	case s >= 500:
		d.say("token.server", detail)
	default:
		d.say("token.status", detail)
	}
}

// redirect says where to: no more than scheme and host, since the rest may have
// the token in it.
func (d *doctor) redirect(x *exchange) {
	to, err := url.Parse(x.header.Get("Location"))
	switch {
	case err != nil || to.Host == "":
		d.say("token.redirect", x.status, d.base.Scheme+"://"+d.base.Host)
	case d.base.Scheme == "http" && to.Scheme == "https" && to.Hostname() == d.base.Hostname():
		better := *d.base
		better.Scheme, better.Host = "https", to.Host
		d.say("token.redirect_https", x.status, better.String())
	default:
		d.say("token.redirect", x.status, to.Scheme+"://"+to.Host)
	}
}

// otherBase is the base URL with /api at its end, or without.
func (d *doctor) otherBase() string {
	other := *d.base
	other.Path = strings.TrimRight(other.Path, "/")
	if path, has := strings.CutSuffix(other.Path, "/api"); has {
		other.Path = path
	} else {
		other.Path += "/api"
	}
	other.RawPath = ""
	return other.String()
}

// detail is what an error of the client says besides the call and what a
// program could do about it.
func (d *doctor) detail(err error) string {
	text := err.Error()
	if _, after, found := strings.Cut(text, "marketplace: GET "); found {
		if _, what, found := strings.Cut(after, ": "); found {
			text = what
		}
	}
	text, _, _ = strings.Cut(text, ": the access token or the app id is not accepted")
	text, _, _ = strings.Cut(text, ": exempt this URL")
	return inFile(text)
}

// code is the code of the envelope, 0 if there is none.
func (x *exchange) code() int {
	var e struct{ Code json.RawMessage }
	if json.Unmarshal(x.body.Bytes(), &e) != nil {
		return 0
	}
	n, _ := wire.ParseInt(e.Code)
	return int(n)
}

func (x *exchange) isHTML() bool {
	return strings.HasPrefix(strings.ToLower(x.header.Get("Content-Type")), "text/html") ||
		bytes.HasPrefix(bytes.TrimSpace(x.body.Bytes()), []byte("<"))
}
