package console

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// A timeline is the drawing of both ages: one panel for each, since the one is
// seconds where the other is minutes.
type timeline struct {
	Width, Height int
	Left, Right   float64 // where the panels begin and end
	Window        string
	Ticks         []tick
	Panels        []panel
}

type tick struct {
	X, Y  float64
	Label string
}

type panel struct {
	Name           string // "contact" or "verified", for the style
	Title          string
	Top, Bottom    float64
	LimitY         float64
	LimitLabel     string
	LimitLabelY    float64
	HalfY          float64
	HalfLabel      string
	Line, Area     string // paths
	Dot            *tick  // the age of now
	Over           bool   // the age of now is over the limit
	Now, NowPhrase string
}

// windows are how much time a drawing may show: as little as has been seen.
var windows = []time.Duration{
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 30 * time.Minute, time.Hour,
}

const (
	timelineWidth = 960
	panelHeight   = 88
	panelGap      = 36
	panelTop      = 28
	plotLeft      = 64
	plotRight     = timelineWidth - 16
	plotPoints    = 240 // samples at most
)

// newTimeline draws samples, the oldest first.
func newTimeline(l lang, samples []sample, now time.Time, staleAfter, expireAfter time.Duration) timeline {
	window := windows[len(windows)-1]
	seen := time.Duration(0)
	if len(samples) > 0 {
		seen = now.Sub(samples[0].at)
	}
	for _, w := range windows {
		if seen <= w {
			window = w
			break
		}
	}
	t := timeline{
		Width: timelineWidth, Height: panelTop + 2*panelHeight + panelGap + 26, Left: plotLeft, Right: plotRight, Window: l.duration(window),
	}
	x := func(at time.Time) float64 {
		return plotRight - (plotRight-plotLeft)*now.Sub(at).Seconds()/window.Seconds()
	}
	form := "15:04"
	if window <= 5*time.Minute {
		form = "15:04:05"
	}
	for i := range 5 {
		at := now.Add(-window * time.Duration(4-i) / 4)
		t.Ticks = append(t.Ticks, tick{X: round(x(at)), Y: float64(t.Height - 6), Label: at.Format(form)})
	}
	for i, p := range []struct {
		name, title, limitLabel string
		limit                   time.Duration
		age                     func(sample) time.Duration
	}{
		{"contact", l.T("age.contact"), l.T("limit.stale", l.duration(staleAfter)), staleAfter, func(s sample) time.Duration { return s.contact }},
		{"verified", l.T("age.verified"), l.T("limit.expire", l.duration(expireAfter)), expireAfter, func(s sample) time.Duration { return s.verified }},
	} {
		top := float64(panelTop + i*(panelHeight+panelGap))
		pl := panel{Name: p.name, Title: p.title, Top: top, Bottom: top + panelHeight, LimitLabel: p.limitLabel, Now: l.T("none")}
		most := p.limit
		for _, s := range samples {
			most = max(most, p.age(s))
		}
		scale := panelHeight / (1.18 * max(most.Seconds(), 1))
		y := func(age time.Duration) float64 { return pl.Bottom - scale*age.Seconds() }
		pl.LimitY = round(y(p.limit))
		pl.LimitLabelY = round(pl.LimitY - 5)
		pl.HalfY, pl.HalfLabel = round(y(p.limit/2)), l.duration(p.limit/2)
		pl.Line, pl.Area = draw(samples, p.age, x, y, pl.Bottom)
		if n := len(samples); n > 0 && p.age(samples[n-1]) >= 0 {
			age := p.age(samples[n-1])
			pl.Dot = &tick{X: round(x(samples[n-1].at)), Y: round(y(age))}
			pl.Over = age > p.limit
			pl.Now = l.age(age)
		}
		t.Panels = append(t.Panels, pl)
	}
	return t
}

// draw returns the path of an age, and that of what lies below it. Of samples
// that are drawn as one the oldest list counts, so that no peak is lost.
func draw(samples []sample, age func(sample) time.Duration, x func(time.Time) float64, y func(time.Duration) float64, bottom float64) (line, area string) {
	var l, a strings.Builder
	var last *sample // of the stroke that is being drawn
	to := func(at time.Time, age time.Duration) {
		point := "L" + number(max(x(at), plotLeft)) + " " + number(y(age))
		l.WriteString(point)
		a.WriteString(point)
	}
	end := func() {
		if last != nil {
			a.WriteString("L" + number(max(x(last.at), plotLeft)) + " " + number(bottom) + "Z")
		}
		last = nil
	}
	for _, s := range thin(samples, age) {
		if age(s) < 0 {
			end()
			continue
		}
		if last == nil {
			from := number(max(x(s.at), plotLeft))
			l.WriteString("M" + from + " " + number(y(age(s))))
			a.WriteString("M" + from + " " + number(bottom) + "L" + from + " " + number(y(age(s))))
		} else {
			// An age grows as time goes by, until a refresh makes it young again: it
			// goes back to that refresh's beginning.
			if began := s.at.Add(-age(s)); began.Sub(last.at.Add(-age(*last))) > lookEvery/4 {
				at := began
				if last.at.After(began) {
					at = last.at // a refresh that took long
				}
				to(at, age(*last)+at.Sub(last.at))
				to(at, at.Sub(began))
			}
			to(s.at, age(s))
		}
		last = &s
	}
	end()
	return l.String(), a.String()
}

// thin returns the samples, or as many of them as can be told apart: the one
// with the oldest list of each few.
func thin(samples []sample, age func(sample) time.Duration) (thinned []sample) {
	step := max(1, (len(samples)+plotPoints-1)/plotPoints)
	for from := 0; from < len(samples); from += step {
		oldest := samples[from]
		for _, s := range samples[from:min(from+step, len(samples))] {
			if age(s) > age(oldest) {
				oldest = s
			}
		}
		thinned = append(thinned, oldest)
	}
	return thinned
}

func round(x float64) float64 { return math.Round(x*10) / 10 }

func number(x float64) string { return strconv.FormatFloat(round(x), 'f', -1, 64) }
