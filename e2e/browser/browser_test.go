//go:build drill

package browser

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A look is how a browser shows a page.
type look struct {
	name           string
	language       string // Accept-Language
	dark           bool
	width, height  int64
	withoutScripts bool
}

// withBrowser returns the looks to test with, none if there is no browser: on a
// machine with nothing but Go the tests of the browser are left out. With
// CI=true that is a failure.
func withBrowser(t *testing.T, looks ...look) []look {
	t.Helper()
	if _, err := findBrowser(); err != nil {
		require.NotEqual(t, "true", os.Getenv("CI"), "no browser: install one with apt-get install chromium fonts-noto-cjk")
		t.Logf("left out: %v", err)
		return nil
	}
	return looks
}

func findBrowser() (path string, err error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err = exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no browser: %w", err)
}

// patience is how long a test waits for what must come: browsers are slow to
// start on a machine that is busy.
const patience = 3 * time.Minute

// A tab is a browser with one page open, and all that it complained about.
type tab struct {
	t    *testing.T
	ctx  context.Context
	look look

	mu         sync.Mutex
	complaints []string
}

// open starts a browser that sends these headers with each request.
func open(t *testing.T, l look, headers map[string]any, more ...chromedp.ExecAllocatorOption) *tab {
	t.Helper()
	path, err := findBrowser()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, append(append(chromedp.DefaultExecAllocatorOptions[:], more...),
		chromedp.ExecPath(path), chromedp.NoSandbox, // the tests run as root in a container
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("force-color-profile", "srgb"),
		chromedp.WSURLReadTimeout(patience),
	)...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithErrorf(func(string, ...any) {})) // of events newer than the library
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // it waits until the browser has ended
		cancel()
	})
	b := &tab{t: t, ctx: ctx, look: l}
	chromedp.ListenTarget(ctx, b.listen)
	if headers == nil {
		headers = map[string]any{}
	}
	headers["Accept-Language"] = l.language
	scheme := "light"
	if l.dark {
		scheme = "dark"
	}
	b.do("start the browser",
		log.Enable(), network.Enable(), runtime.Enable(),
		network.SetExtraHTTPHeaders(headers),
		emulation.SetDeviceMetricsOverride(l.width, l.height, 1, l.width < 600),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}),
		emulation.SetScriptExecutionDisabled(l.withoutScripts),
	)
	return b
}

// listen notes errors of scripts, of the network and of the content's policy.
func (b *tab) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *log.EventEntryAdded:
		b.complaints = append(b.complaints, fmt.Sprintf("%s: %s (%s)", e.Entry.Source, e.Entry.Text, e.Entry.URL))
	case *runtime.EventConsoleAPICalled:
		b.complaints = append(b.complaints, fmt.Sprintf("console.%s", e.Type))
	case *runtime.EventExceptionThrown:
		b.complaints = append(b.complaints, e.ExceptionDetails.Error())
	}
}

// complained returns what the browser has complained about so far, and forgets
// it.
func (b *tab) complained() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.complaints
	b.complaints = nil
	return all
}

func (b *tab) do(what string, actions ...chromedp.Action) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Run(b.ctx, actions...), what)
}

// text returns what is to be read in the first element that the selector finds.
func (b *tab) text(selector string) (text string) {
	b.t.Helper()
	b.do("read "+selector, chromedp.WaitVisible(selector, chromedp.ByQuery), chromedp.Text(selector, &text, chromedp.ByQuery))
	return text
}

// eval evaluates an expression in the page.
func eval[T any](b *tab, expression string) (value T) {
	b.t.Helper()
	b.do(expression, chromedp.Evaluate(expression, &value))
	return value
}

// await evaluates an expression that yields a promise, and waits for its value.
func await[T any](b *tab, expression string) (value T) {
	b.t.Helper()
	b.do(expression, chromedp.Evaluate(expression, &value, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
	return value
}

// press clicks on something that leads to another page, and waits for that.
func (b *tab) press(selector, then string) {
	b.t.Helper()
	b.do("press "+selector, chromedp.WaitVisible(selector, chromedp.ByQuery), chromedp.Click(selector, chromedp.ByQuery), chromedp.WaitVisible(then, chromedp.ByQuery))
}

// fill puts a value into a field of the form of Why.
func (b *tab) fill(name, value string) {
	b.t.Helper()
	assert.Equal(b.t, value, eval[string](b, fmt.Sprintf("document.querySelector(%q).value = %q", "#why [name="+name+"]", value)))
	assert.Equal(b.t, value, eval[string](b, fmt.Sprintf("document.querySelector(%q).value", "#why [name="+name+"]")))
}

// shoot saves a picture of the whole page. ROLEGATE_SCREENSHOTS is the folder;
// without it, the picture is only made.
func (b *tab) shoot(name string) {
	b.t.Helper()
	var png []byte
	b.do("make a picture", chromedp.FullScreenshot(&png, 100))
	assert.NotEmpty(b.t, png)
	dir := os.Getenv("ROLEGATE_SCREENSHOTS")
	if dir == "" {
		dir = b.t.TempDir()
	}
	require.NoError(b.t, os.MkdirAll(dir, 0o755))
	require.NoError(b.t, os.WriteFile(filepath.Join(dir, name+"-"+b.look.name+".png"), png, 0o644))
}
