// Command agesvg draws docs/ages.svg: the two ages of a gate's list over two
// hours, by the rules and the defaults of the package, through an outage of the
// marketplace.
//
//	go run ./tools/agesvg >docs/ages.svg
package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// All times are minutes.
const (
	every       = 1.0
	resyncEvery = 10.0
	staleAfter  = 5.0
	expireAfter = 60.0

	downFrom, downTo = 24.5, 100.0 // the outage
	until            = 120.0

	left, top     = 56.0, 40.0
	width, height = 840.0, 300.0
	most          = 84.0 // the highest age drawn
)

func main() {
	if err := draw(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "agesvg:", err)
		os.Exit(1)
	}
}

func x(minute float64) float64 { return left + minute/until*width }
func y(age float64) float64    { return top + height - age/most*height }

// age draws an age as a line: it grows by a minute a minute, and falls to 0 at
// the start of each refresh that succeeds.
func age(pulls []float64) string {
	var line strings.Builder
	last := 0.0
	fmt.Fprintf(&line, "M%.1f %.1f", x(0), y(0))
	for _, at := range pulls {
		fmt.Fprintf(&line, " L%.1f %.1f L%.1f %.1f", x(at), y(at-last), x(at), y(0))
		last = at
	}
	fmt.Fprintf(&line, " L%.1f %.1f", x(until), y(until-last))
	return line.String()
}

// pulls are when pulls succeed that are made so often: not in the outage, and
// again within a minute of its end, which is the longest back-off.
func pulls(interval float64) (at []float64) {
	next := interval
	for next < until {
		if next >= downFrom && next < downTo {
			next = downTo + 1
		}
		at = append(at, next)
		next += interval
	}
	return at
}

func draw(to io.Writer) error {
	fulls := pulls(resyncEvery)
	var lastFull, lastPull float64
	for _, at := range fulls {
		if at < downFrom {
			lastFull = at
		}
	}
	for _, at := range pulls(every) {
		if at < downFrom {
			lastPull = at
		}
	}
	stale, expired, again := lastPull+staleAfter, lastFull+expireAfter, downTo+1

	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="system-ui, sans-serif" font-size="13" role="img">`, left+width+24, top+height+78)
	p(`<title>The two ages of the list through an outage of the marketplace</title>`)
	p(`<style>
text { fill: #333 } .faint { stroke: #999; stroke-dasharray: 4 4 } .axis { stroke: #333 }
.contact { stroke: #0a7d6c; fill: none; stroke-width: 2 } .verified { stroke: #b3450b; fill: none; stroke-width: 2 }
.serves { fill: #e3f4e8 } .warns { fill: #fdf1d0 } .denies { fill: #fbdcd9 } .c { fill: #0a7d6c } .v { fill: #b3450b }
@media (prefers-color-scheme: dark) {
text { fill: #ddd } .axis { stroke: #ddd } .serves { fill: #12301f } .warns { fill: #3a2f0c } .denies { fill: #431b17 }
.contact { stroke: #3fd0b6 } .verified { stroke: #ff9a5c } .c { fill: #3fd0b6 } .v { fill: #ff9a5c }
}
</style>`)
	band := func(class, label string, from, to float64) {
		p(`<rect class="%s" x="%.1f" y="%.0f" width="%.1f" height="%.0f"/>`, class, x(from), top, x(to)-x(from), height)
		p(`<text x="%.1f" y="%.0f" text-anchor="middle">%s</text>`, (x(from)+x(to))/2, top-12, label)
	}
	band("serves", "serves", 0, stale)
	band("warns", "serves and warns", stale, expired)
	band("denies", "503", expired, again)
	band("serves", "serves", again, until)
	for _, limit := range []struct {
		age, at float64
		name    string
	}{{staleAfter, 45, "StaleAfter"}, {expireAfter, 1, "ExpireAfter"}} {
		p(`<line class="faint" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, x(0), x(until), y(limit.age), y(limit.age))
		p(`<text x="%.1f" y="%.1f">%s (%.0f min)</text>`, x(limit.at), y(limit.age)-5, limit.name, limit.age)
	}
	p(`<path class="verified" d="%s"/>`, age(fulls))
	p(`<path class="contact" d="%s"/>`, age(pulls(every)))
	p(`<line class="axis" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, x(0), x(until), y(0), y(0))
	p(`<line class="axis" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, x(0), x(0), y(0), y(most))
	for minute := 0.0; minute <= until; minute += 20 {
		p(`<text x="%.1f" y="%.1f" text-anchor="middle">%.0f</text>`, x(minute), y(0)+18, minute)
	}
	p(`<text x="%.1f" y="%.1f" text-anchor="end">minutes</text>`, x(until), y(0)+36)
	p(`<text x="%.1f" y="%.1f" text-anchor="middle">marketplace down</text>`, (x(downFrom)+x(downTo))/2, y(0)+36)
	p(`<line class="axis" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, x(downFrom), x(downTo), y(0)+22, y(0)+22)
	for i := 0.0; i <= 60; i += 20 {
		p(`<text x="%.1f" y="%.1f" text-anchor="end">%.0f</text>`, x(0)-8, y(i)+4, i)
	}
	p(`<text x="%.1f" y="%.1f" text-anchor="end">age</text>`, x(0)-8, top+8)
	p(`<text class="v" x="%.1f" y="%.0f">— verified age: revocations up to then are known</text>`, x(0), top+height+66)
	p(`<text class="c" x="%.1f" y="%.0f">— contact age: since the last refresh that succeeded</text>`, x(0)+400, top+height+66)
	p(`</svg>`)
	_, err := io.WriteString(to, b.String())
	return err
}
