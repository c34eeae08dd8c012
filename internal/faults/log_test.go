package faults_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"math"
	"strings"
	"sync"
)

// A logBook collects every log line, of every level, as JSON.
type logBook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *logBook) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(b, &slog.HandlerOptions{Level: slog.Level(math.MinInt), AddSource: true}))
}

// count is how many lines of that level have a message that says so.
func (b *logBook) count(level slog.Level, says string) (n int) {
	for line := range strings.Lines(b.String()) {
		var entry struct{ Level, Msg string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Level == level.String() && strings.Contains(entry.Msg, says) {
			n++
		}
	}
	return n
}
