package faults_test

import (
	"encoding/json"
	"log/slog"
	"math"
	"strings"

	"github.com/rolegate/rolegate/internal/logbook"
)

// A logBook collects every log line, of every level, as JSON.
type logBook struct{ logbook.Book }

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
