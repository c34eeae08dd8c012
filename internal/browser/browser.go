// Package browser tells a browser that opens a page from a script that reads an
// answer, and knows which language it wants. It serves what sends people to a login
// page, and what people read.
package browser

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// Headers are those that WantsPage reads.
func Headers() []string {
	return []string{"Accept", "Sec-Fetch-Mode", "Sec-Fetch-Dest", "X-Requested-With", "Turbo-Frame", "Hx-Request"}
}

// WantsPage reports whether a browser wants to show the answer as a page: a GET
// that Sec-Fetch-* calls a navigation or, where a browser does not send these
// (over plain HTTP), one that accepts HTML and that no script says it has sent.
func WantsPage(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	for _, name := range []string{"X-Requested-With", "Turbo-Frame", "Hx-Request"} {
		if len(r.Header.Values(name)) > 0 {
			return false
		}
	}
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" && mode != "navigate" {
		return false
	} else if mode != "" {
		switch r.Header.Get("Sec-Fetch-Dest") {
		case "", "document", "iframe", "frame":
			return true
		}
		return false
	}
	for _, value := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(value, ",") {
			media, params, err := mime.ParseMediaType(part)
			if err != nil || media != "text/html" && media != "application/xhtml+xml" {
				continue
			}
			if q, err := strconv.ParseFloat(params["q"], 64); params["q"] == "" || err == nil && q > 0 {
				return true
			}
		}
	}
	return false
}
