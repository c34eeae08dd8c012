package main

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/lang"
)

// A progress shows on a terminal how far a pull is. The zero progress shows
// nothing.
type progress struct{ bar *progressbar.ProgressBar }

func startProgress(log io.Writer, quiet bool, l lang.Language) progress {
	file, ok := log.(*os.File)
	if quiet || !ok || !term.IsTerminal(int(file.Fd())) {
		return progress{}
	}
	return newProgress(file, l)
}

// newProgress shows the progress on w. How many users there will be is not
// known.
func newProgress(w io.Writer, l lang.Language) progress {
	return progress{progressbar.NewOptions64(-1,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription(l.Sprintf("pulling")),
		progressbar.OptionShowCount(),
		progressbar.OptionShowIts(),
		progressbar.OptionSetItsString(l.Sprintf("users")),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetSpinnerChangeInterval(0), // or else a goroutine turns it, for longer than the pull
		progressbar.OptionClearOnFinish(),
	)}
}

func (p progress) one() {
	if p.bar != nil {
		_ = p.bar.Add(1) // who cannot see it misses nothing
	}
}

// end takes it away.
func (p progress) end() {
	if p.bar != nil {
		_ = p.bar.Finish()
		_ = p.bar.Clear()
	}
}
