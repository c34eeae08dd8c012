//go:build drill

package browser

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
)

// TestPictures makes the READMEs' pictures of the console, of two minutes in the
// life of a school, in the folder that ROLEGATE_PICTURES names: ../../docs. Without
// it, there is none to make.
func TestPictures(t *testing.T) {
	folder := os.Getenv("ROLEGATE_PICTURES")
	var looks []look
	if folder != "" {
		looks = withBrowser(t,
			look{name: "en", language: "en", width: 1180, height: 1000},
			look{name: "zh", language: "zh-CN", width: 1180, height: 1000},
		)
	}
	if len(looks) == 0 {
		return
	}
	var tabs []*tab
	for _, l := range looks { // a browser may take long to start
		tabs = append(tabs, open(t, l, map[string]any{"X-User-Id": strconv.FormatInt(admin, 10)}))
	}
	s := openSchool(t,
		rolegate.Refresh{Every: 3 * time.Second, ResyncEvery: 8 * time.Second, StaleAfter: 15 * time.Second, ExpireAfter: time.Minute, SyncHold: time.Second},
		rolegate.Record{UserID: 1542135022016057003, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "principal"}}},
		rolegate.Record{UserID: 1542135022016057006, Account: "shared.too", Grants: []rolegate.Grant{{OrgID: 9, RoleCode: "teacher"}}})
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for second := range 105 {
		switch second {
		case 14, 15, 16:
			s.source.Put(rolegate.Record{UserID: int64(firstPupil + 100 + second), Grants: []rolegate.Grant{{OrgID: 9, RoleCode: "pupil"}}})
		case 40:
			s.source.Fail(&rolegate.PullError{Failure: rolegate.FailureHTTPStatus, Err: errors.New("marketplace: HTTP status 502 Bad Gateway")})
		case 60:
			s.source.Recover()
		case 80:
			s.source.Put(rolegate.Record{UserID: firstPupil + 1, Grants: []rolegate.Grant{{OrgID: 8, RoleCode: "teacher"}}})
		case 92:
			s.source.Remove(firstPupil+114, firstPupil+115)
		}
		s.gate.Decide(t.Context(), rolegate.UserID(int64(firstPupil+second%33)))
		<-tick.C
	}
	for id := int64(firstPupil); id < firstPupil+pupils-6; id++ {
		s.source.Remove(id)
	}
	require.ErrorIs(t, s.gate.RefreshAll(t.Context()), rolegate.ErrHeld)
	for _, b := range tabs {
		b.do("open the console", chromedp.Navigate(s.url+"/console"), chromedp.WaitVisible("#held", chromedp.ByQuery))
		var shot []byte
		height := eval[float64](b, `document.querySelector(".columns").getBoundingClientRect().bottom + scrollY`)
		b.do("make a picture", chromedp.ActionFunc(func(ctx context.Context) (err error) {
			shot, err = page.CaptureScreenshot().WithCaptureBeyondViewport(true).
				WithClip(&page.Viewport{Width: float64(b.look.width), Height: height + 8, Scale: 1}).Do(ctx)
			return err
		}))
		small := shrinkPNG(t, shot)
		assert.Less(t, len(small), 150_000)
		require.NoError(t, os.WriteFile(filepath.Join(folder, "console-"+b.look.name+".png"), small, 0o644))
		t.Log(strconv.Itoa(len(small)) + " bytes")
	}
}

// shrinkPNG gives a picture a palette: the page has few colours, and what lies
// between two of them only smooths letters.
func shrinkPNG(t *testing.T, data []byte) []byte {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(data))
	require.NoError(t, err)
	count := map[color.RGBA]int{}
	at := func(x, y int) color.RGBA {
		r, g, b, _ := img.At(x, y).RGBA()
		return color.RGBA{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8), 255}
	}
	bounds := img.Bounds()
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			count[at(x, y)]++
		}
	}
	palette := color.Palette{}
	for len(palette) < 256 && len(count) > 0 {
		var best color.RGBA
		for c, n := range count {
			if m := count[best]; n > m || n == m && (c.R < best.R || c.R == best.R && (c.G < best.G || c.G == best.G && c.B < best.B)) {
				best = c
			}
		}
		palette = append(palette, best)
		delete(count, best)
	}
	out := image.NewPaletted(bounds, palette)
	index := map[color.RGBA]uint8{}
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			c := at(x, y)
			i, known := index[c]
			if !known {
				i = uint8(palette.Index(c))
				index[c] = i
			}
			out.SetColorIndex(x, y, i)
		}
	}
	var small bytes.Buffer
	require.NoError(t, (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&small, out))
	return small.Bytes()
}
