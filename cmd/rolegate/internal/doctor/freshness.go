package doctor

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rolegate/rolegate/internal/wire"
)

// The headers by which caches say whether they had the reply.
var cacheHeaders = []string{"X-Cache", "X-Cache-Status", "X-Proxy-Cache", "Cf-Cache-Status"}

// freshness says how old the first page was, by its headers.
func (d *doctor) freshness(x *exchange) {
	d.clock(x)
	if wire.FromCache(x.header) {
		d.say("freshness.cached", d.secrets.Message(x.header.Get("Age")))
	} else if name, value, hit := cacheHeader(x.header); hit {
		d.say("freshness.hit", name, d.secrets.Message(value))
	} else if name != "" {
		d.say("freshness.cache", name, d.secrets.Message(value))
	} else if storable(x.header) {
		d.say("freshness.storable")
	}
	const worthwhile = 64 << 10
	if x.unzipped {
		d.say("freshness.compressed")
	} else if x.body.Len() > worthwhile {
		d.say("freshness.plain", size(x.body.Len()))
	}
}

// clock compares the Date of a reply with the clock here.
func (d *doctor) clock(x *exchange) {
	date, err := http.ParseTime(x.header.Get("Date"))
	if err != nil {
		d.say("freshness.no_date")
		return
	}
	// A Date is of a moment while the reply was under way, without its fraction.
	switch ahead := x.received.Sub(date); {
	case ahead > time.Minute+x.took:
		d.say("freshness.ahead", duration(ahead.Truncate(time.Second)))
	case ahead < -time.Minute:
		d.say("freshness.behind", duration(-ahead.Truncate(time.Second)))
	default:
		d.say("freshness.clock")
	}
}

// cacheHeader finds what a cache on the way has written, and whether it says
// that the reply was stored.
func cacheHeader(h http.Header) (name, value string, hit bool) {
	for _, name := range cacheHeaders {
		if h.Get(name) == "" {
			continue
		}
		value := strings.Join(h.Values(name), ", ")
		words := strings.FieldsFunc(strings.ToUpper(value), func(r rune) bool { return r < 'A' || r > 'Z' })
		hit := slices.ContainsFunc(words, func(w string) bool { return w == "HIT" || w == "STALE" || w == "UPDATING" })
		return name, value, hit
	}
	return "", "", false
}

// storable reports whether a reply invites caches to keep it.
func storable(h http.Header) bool {
	for _, value := range h.Values("Cache-Control") {
		for _, part := range strings.Split(strings.ToLower(value), ",") {
			part = strings.TrimSpace(part)
			if part == "public" {
				return true
			}
			name, age, _ := strings.Cut(part, "=")
			if n, err := strconv.Atoi(age); err == nil && n > 0 && (name == "max-age" || name == "s-maxage") {
				return true
			}
		}
	}
	return false
}
