package console

import (
	"net/http"
	"slices"
	"strings"

	"github.com/rolegate/rolegate"
)

// A routeList is the routes of the app's router.
type routeList struct {
	Known         bool // whether a router was given
	Failed        bool
	Lines         []routeLine
	Guarded, Open int
}

// A routeLine is the methods of one pattern that have the same guards.
type routeLine struct {
	Methods []string
	Any     bool // all methods
	Pattern string
	Guards  []guardLine
	guards  []*rolegate.Policy
}

// A guardLine is a guard in front of a route.
type guardLine struct {
	Policy        string
	Shadow, Other bool // Other: it is another gate's
}

// Value names the route in a form.
func (l routeLine) Value() string { return strings.TrimLeft(l.Methods[0]+" "+l.Pattern, " ") }

// Label names it for people.
func (l routeLine) Label(v *view) string {
	if l.Any {
		return plain(l.Pattern) + " (" + v.T("route.any") + ")"
	}
	return strings.Join(l.Methods, ", ") + " " + plain(l.Pattern)
}

// chiMethods is how many methods chi knows: a handler for all of them is listed
// once for each.
const chiMethods = 9

func (c *console) listRoutes(r *http.Request) routeList {
	list := routeList{Known: true}
	routes, err := c.cfg.Routes()
	if err != nil {
		c.cfg.Logger.ErrorContext(r.Context(), "rolegate console: the routes cannot be listed", "err", err)
		list.Failed = true
		return list
	}
	for _, r := range routes {
		if r.Guarded() {
			list.Guarded++
		} else {
			list.Open++
		}
		if n := len(list.Lines); n > 0 && list.Lines[n-1].Pattern == r.Pattern && slices.Equal(list.Lines[n-1].guards, r.Guards) {
			list.Lines[n-1].Methods = append(list.Lines[n-1].Methods, r.Method)
			continue
		}
		l := routeLine{Methods: []string{r.Method}, Pattern: r.Pattern, guards: r.Guards}
		for _, p := range r.Guards {
			l.Guards = append(l.Guards, guardLine{Policy: plain(p.String()), Shadow: p.IsShadow(), Other: p.Gate() != c.gate})
		}
		list.Lines = append(list.Lines, l)
	}
	list.Guarded, list.Open = 0, 0
	for i, l := range list.Lines {
		list.Lines[i].Any = l.Methods[0] == "" || len(l.Methods) >= chiMethods
		if len(l.Guards) > 0 {
			list.Guarded++
		} else {
			list.Open++
		}
	}
	return list
}
