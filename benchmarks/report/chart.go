package main

import (
	"bytes"
	"image/color"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// A series is one line of the chart.
type series struct {
	label  string
	color  color.Color
	glyph  draw.GlyphDrawer
	points plotter.XYs
}

// The colours are Okabe and Ito's, which the colour-blind can tell apart.
var (
	black      = color.RGBA{A: 255}
	orange     = color.RGBA{R: 230, G: 159, A: 255}
	skyBlue    = color.RGBA{R: 86, G: 180, B: 233, A: 255}
	green      = color.RGBA{G: 158, B: 115, A: 255}
	blue       = color.RGBA{G: 114, B: 178, A: 255}
	vermillion = color.RGBA{R: 213, G: 94, A: 255}
	purple     = color.RGBA{R: 204, G: 121, B: 167, A: 255}
)

// allSeries are the lines of the chart, those that take longest first, without
// the points that were not measured.
func allSeries(all results) []series {
	looks := map[string]series{
		"opa":            {color: purple, glyph: draw.PyramidGlyph{}},
		"casbin":         {color: orange, glyph: draw.SquareGlyph{}},
		"casbin-reduced": {color: vermillion, glyph: draw.BoxGlyph{}},
		"cedar-go":       {color: green, glyph: draw.TriangleGlyph{}},
		"gorbac":         {color: skyBlue, glyph: draw.CrossGlyph{}},
	}
	var lines []series
	for _, p := range peerNames {
		s := looks[p.name]
		s.label = p.shown
		for _, n := range peerSizes {
			s.add(all, "Peers", p.name+"/users="+n, "ns/decision", n)
		}
		lines = append(lines, s)
	}
	raw := series{label: "a Go map", color: black, glyph: draw.RingGlyph{}}
	own := series{label: "rolegate", color: blue, glyph: draw.CircleGlyph{}}
	for i, n := range decideSizes {
		raw.add(all, "Decide", fresh[i], "map-ns/decision", n)
		own.add(all, "Decide", fresh[i], "ns/decision", n)
	}
	return append(lines, raw, own)
}

func (s *series) add(all results, family, benchmark, unit, users string) {
	y, ok := all.get(family, benchmark, unit)
	x, err := strconv.ParseFloat(users, 64)
	if ok && err == nil && y > 0 {
		s.points = append(s.points, plotter.XY{X: x, Y: y})
	}
}

// chart is docs/benchmarks.svg: what a decision takes, by the number of users,
// both axes logarithmic.
func chart(all results) ([]byte, error) {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	p := plot.New()
	p.BackgroundColor = nil
	p.Title.Text = "Time of a decision, by the number of users (less is better)"
	p.Title.TextStyle.Font.Size = 15
	p.Title.Padding = 8
	p.X.Label.Text = "users"
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Label.TextStyle.Font.Size = 12
		axis.Label.Padding = 6
		axis.Tick.Label.Font.Size = 11
		axis.Scale = plot.LogScale{}
	}
	p.X.Tick.Marker = decades{func(v float64) string { return thousands(strconv.FormatFloat(v, 'f', 0, 64)) }}
	p.Y.Tick.Marker = decades{func(v float64) string { return duration(v) + "  " }} // apart from the axis in any font

	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = color.Gray{Y: 225}, color.Gray{Y: 225}
	p.Add(grid)
	// To the right of the lines that end at 100,000 users.
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.XOffs, p.Legend.YOffs = 380, -8
	p.Legend.TextStyle.Font.Size = 11
	p.Legend.Padding = 3
	p.Legend.ThumbnailWidth = 26

	xs, ys := bounds{800, 7e6}, bounds{50, 1000}
	for _, s := range allSeries(all) {
		if len(s.points) == 0 {
			continue
		}
		line, points, err := plotter.NewLinePoints(s.points)
		if err != nil {
			return nil, err
		}
		line.Color, points.Color = s.color, s.color
		line.Width, points.Radius, points.Shape = 2, 3.5, s.glyph
		p.Add(line, points)
		p.Legend.Add(s.label, line, points)
		for _, at := range s.points {
			ys = ys.with(at.Y)
		}
	}
	p.X.Min, p.X.Max = xs.low, xs.high
	p.Y.Min, p.Y.Max = ys.low/1.3, ys.high*1.5

	canvas := vgsvg.New(vg.Points(640), vg.Points(430))
	whole := draw.New(canvas)
	whole.SetColor(color.White)
	whole.Fill(whole.Rectangle.Path())
	p.Draw(draw.Crop(whole, 10, -10, 8, -10))
	var out bytes.Buffer
	if _, err := canvas.WriteTo(&out); err != nil {
		return nil, err
	}
	// The font is on few machines: name some that look like it.
	return bytes.ReplaceAll(out.Bytes(),
		[]byte("font-family:Liberation Sans;"),
		[]byte("font-family:'Liberation Sans',Arial,Helvetica,sans-serif;")), nil
}

// bounds are the ends of an axis.
type bounds struct{ low, high float64 }

func (b bounds) with(v float64) bounds { return bounds{min(b.low, v), max(b.high, v)} }

// decades ticks an axis at the powers of ten, and without a label at their
// multiples.
type decades struct{ label func(float64) string }

// Ticks implements [plot.Ticker].
func (d decades) Ticks(low, high float64) (ticks []plot.Tick) {
	for power := math.Pow(10, math.Floor(math.Log10(low))); power <= high; power *= 10 {
		for k := 1.0; k < 10; k++ {
			if v := k * power; v >= low && v <= high {
				tick := plot.Tick{Value: v}
				if k == 1 {
					tick.Label = d.label(v)
				}
				ticks = append(ticks, tick)
			}
		}
	}
	return ticks
}

// duration writes nanoseconds with the unit that suits them.
func duration(ns float64) string {
	switch {
	case ns < 999:
		return number(ns) + " ns"
	case ns < 999e3:
		return number(ns/1e3) + " µs"
	default:
		return number(ns/1e6) + " ms"
	}
}
