package console

import (
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// Every text is in both languages, takes the same things into it, and is used.
func TestTexts(t *testing.T) {
	t.Parallel()
	verbs := regexp.MustCompile(`%[a-z]`)
	var source strings.Builder
	for _, name := range []string{"page.html", "view.go", "why.go", "accept.go", "lang.go", "timeline.go", "routes.go", "find.go"} {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		source.Write(b)
	}
	made := regexp.MustCompile(`^(state|held|pull|failure|kind|replica|sync|step\.list|step\.user|reason|mark|unit)\.`)
	for name, text := range texts {
		assert.NotEmpty(t, text[english], name)
		assert.NotEmpty(t, text[chinese], name)
		assert.Equal(t, verbs.FindAllString(text[english], -1), verbs.FindAllString(text[chinese], -1), name)
		assert.NotRegexp(t, `[\p{Han}]`, text[english], name)
		assert.NotRegexp(t, `[,;!?]$`, text[chinese], "%s ends with a sign of another script", name)
		if !made.MatchString(name) {
			assert.Contains(t, source.String(), `"`+name+`"`, "%s is not used", name)
		}
	}
	for _, m := range regexp.MustCompile(`T "([a-z.]+)"|v\.T\("([a-z.]+)"|l\.T\("([a-z.]+)"`).FindAllStringSubmatch(source.String(), -1) {
		name := m[1] + m[2] + m[3]
		if strings.HasSuffix(name, ".") {
			continue // the rest of it is a word of the gate's
		}
		assert.Contains(t, texts, name)
	}
}

// Every word that the gate may say has a text.
func TestTextsOfTheGatesWords(t *testing.T) {
	t.Parallel()
	var names []string
	for r := rolegate.ReasonNotReady; r <= rolegate.ReasonClientGone; r++ {
		names = append(names, "reason."+r.String())
	}
	for k := rolegate.KindUserID; k <= rolegate.KindThirdUserID; k++ {
		names = append(names, "kind."+k.String())
	}
	for _, s := range []rolegate.State{rolegate.StateStarting, rolegate.StateReady, rolegate.StateStale, rolegate.StateExpired, rolegate.StateClosed} {
		names = append(names, "state."+string(s), "state."+string(s)+".says", "step.list."+string(s))
	}
	for _, r := range []rolegate.Reason{rolegate.ReasonNoIdentity, rolegate.ReasonIdentifyFailed, rolegate.ReasonAmbiguous, rolegate.ReasonNotAuthorized} {
		names = append(names, "step.user."+r.String())
	}
	for _, f := range []rolegate.Failure{marketplace.FailureNetwork, rolegate.FailureTimeout, rolegate.FailureHTTPStatus, rolegate.FailureRefused, marketplace.FailureToken,
		marketplace.FailureUpstream, marketplace.FailureMalformed, rolegate.FailureTooLarge, marketplace.FailureCachedReply, marketplace.FailureCursorLoop, rolegate.FailureCursorRegressed,
		rolegate.FailureDrift, rolegate.FailurePanic, rolegate.FailureOther} {
		names = append(names, "failure."+string(f))
	}
	for _, s := range []rolegate.SyncState{rolegate.SyncUnknown, rolegate.SyncRunning, rolegate.SyncDone} {
		names = append(names, "sync."+s.String())
	}
	names = append(names, "replica.connected", "replica.unavailable", "replica.since")
	for _, c := range []string{"shrink_guard", "sync", "doubt"} {
		names = append(names, "held."+c)
	}
	for _, k := range []pullKind{incremental, full, followed} {
		names = append(names, "pull."+string(k))
	}
	for _, name := range names {
		assert.Contains(t, texts, name)
	}
	assert.Equal(t, "no.such.text", english.T("no.such.text"))
}

func TestDurations(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		d      time.Duration
		en, zh string
	}{
		{-time.Second, "0 s", "0 秒"}, {0, "0 s", "0 秒"}, {time.Microsecond, "1 ms", "1 毫秒"}, {250 * time.Millisecond, "250 ms", "250 毫秒"},
		{1500 * time.Millisecond, "1.5 s", "1.5 秒"}, {2 * time.Second, "2 s", "2 秒"}, {59 * time.Second, "59 s", "59 秒"},
		{time.Minute, "1 min", "1 分钟"}, {125 * time.Second, "2 min 5 s", "2 分 5 秒"}, {time.Hour, "1 h", "1 小时"},
		{90 * time.Minute, "1 h 30 min", "1 小时 30 分"}, {24 * time.Hour, "1 d", "1 天"}, {50 * time.Hour, "2 d 2 h", "2 天 2 小时"},
	} {
		assert.Equal(t, c.en, english.duration(c.d))
		assert.Equal(t, c.zh, chinese.duration(c.d))
	}
	assert.Equal(t, "under 1 s", english.age(time.Millisecond))
	assert.Equal(t, "1 s", english.age(1900*time.Millisecond))
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		assert.Equal(t, want, group(n))
	}
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.Local)
	assert.Equal(t, "09:00:00", clock(now.Add(-time.Hour), now))
	assert.Equal(t, "2026-11-21 10:00:00", clock(now.Add(-24*time.Hour), now))
	assert.Equal(t, "–", clock(time.Time{}, now))
}

func TestPlain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, want string }{
		{"a code", "homeroom", "homeroom"}, {"Chinese", "班主任 2", "班主任 2"}, {"empty", "", ""},
		{"turned round", "\u202egnp.exe", `\u{202e}gnp.exe`}, {"no width", "te\u200bacher", `te\u{200b}acher`}, {"control", "a\x00\n\tb", `a\u{0}\u{a}\u{9}b`},
		{"another blank", "a\u00a0b\u3000", `a\u{a0}b\u{3000}`}, {"no text", "\xff", `�`}, {"long", strings.Repeat("长", 300), strings.Repeat("长", 200) + "…"},
	} {
		assert.Equal(t, c.want, plain(c.text), c.name)
	}
}

// What a history makes of what it sees.
func TestHistory(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	at := func(seconds int) time.Time { return now.Add(time.Duration(seconds) * time.Second) }
	h := newHistory()
	s := rolegate.Status{Generation: 1, ContactAge: time.Second, VerifiedAge: time.Minute}
	s.Full.Succeeded, s.Full.Last, s.Full.Duration, s.Full.Outcome.Added = 7, at(0), time.Second, 3
	see := func(seconds int) { h.observe(s, at(seconds)) }
	see(1)
	pulls, samples := h.recent()
	require.Len(t, pulls, 1, "of what was before it began, the last")
	assert.Equal(t, pull{kind: full, at: at(0), took: time.Second, outcome: rolegate.RefreshOutcome{Added: 3}}, pulls[0])
	assert.Equal(t, []sample{{at(1), time.Second, time.Minute}}, samples)

	see(1)
	_, samples = h.recent()
	assert.Len(t, samples, 1, "two looks at once are one")

	s.Incremental.Succeeded, s.Incremental.Last = 3, at(2)
	s.Full.Failed, s.Full.FailedAt, s.Full.Failure, s.Full.Error, s.Full.Consecutive, s.Full.Duration = 1, at(3), marketplace.FailureNetwork, "away", 1, time.Minute
	see(4)
	pulls, _ = h.recent()
	require.Len(t, pulls, 3)
	assert.Equal(t, pull{kind: full, at: at(3), took: time.Minute, failure: marketplace.FailureNetwork, err: "away"}, pulls[0], "the newest first")
	assert.Equal(t, pull{kind: incremental, at: at(2), unseen: 2}, pulls[1])

	// It fails, and succeeds after that, within one look.
	s.Full.Failed, s.Full.FailedAt, s.Full.Succeeded, s.Full.Last, s.Full.Consecutive = 2, at(5), 8, at(6), 0
	see(7)
	pulls, _ = h.recent()
	assert.Equal(t, []rolegate.Failure{"", marketplace.FailureNetwork}, []rolegate.Failure{pulls[0].failure, pulls[1].failure})

	old := s
	old.Full.Succeeded = 7
	h.observe(old, at(8))
	again, _ := h.recent()
	assert.Equal(t, pulls, again, "a look that came late is none")

	// A follower pulls nothing itself.
	s.Replica.Shared, s.Generation = true, 5
	see(9)
	pulls, _ = h.recent()
	assert.Equal(t, pull{kind: followed, at: at(9), from: 1, to: 5}, pulls[0])

	for i := range 3000 {
		s.Incremental.Succeeded++
		see(10 + 2*i)
	}
	pulls, samples = h.recent()
	assert.Len(t, pulls, maxPulls)
	assert.Len(t, samples, maxSamples)
	assert.Equal(t, at(10+2*2999), samples[len(samples)-1].at)
}

// The console looks by itself while the gate is open, and no longer.
func TestLooksUntilTheGateIsClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gate, err := rolegate.Open(t.Context(), rolegate.Config{
			Source: rolegatetest.NewStatic(rolegate.Record{UserID: 1}), Aliases: []rolegate.Kind{rolegate.KindAccount}, Logger: slog.New(slog.DiscardHandler),
		})
		require.NoError(t, err)
		c := New(gate, Config{}).(*console)
		<-time.After(time.Minute + time.Second/2) // of the bubble's time
		_, samples := c.history.recent()
		assert.Len(t, samples, int(time.Minute/lookEvery)+1)
		require.NoError(t, gate.Close())
		<-time.After(lookEvery)
		_, last := c.history.recent()
		<-time.After(time.Hour)
		_, samples = c.history.recent()
		assert.Equal(t, last, samples)
	})
}

// The drawing of an hour: bounded, and with each peak in it.
func TestTimeline(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	var samples []sample
	for i := range maxSamples {
		at := now.Add(-time.Duration(maxSamples-1-i) * lookEvery)
		s := sample{at: at, contact: time.Duration(i%30) * lookEvery, verified: time.Duration(i%300) * lookEvery}
		if i < 20 {
			s.contact, s.verified = -1, -1
		}
		if i == 777 {
			s.contact = 10 * time.Minute
		}
		samples = append(samples, s)
	}
	drawn := newTimeline(english, samples, now, 5*time.Minute, time.Hour)
	assert.Equal(t, "1 h", drawn.Window)
	require.Len(t, drawn.Panels, 2)
	contact, verified := drawn.Panels[0], drawn.Panels[1]
	for _, p := range drawn.Panels {
		assert.Less(t, strings.Count(p.Line, "L"), 3*plotPoints)
		assert.Equal(t, 1, strings.Count(p.Line, "M"))
		assert.NotContains(t, p.Line, "NaN")
		assert.NotContains(t, p.Line+p.Area, "-", "nothing is outside")
	}
	assert.Contains(t, contact.Line, fmt.Sprintf(" %s", number(contact.Bottom-panelHeight/1.18)), "the peak is there")
	assert.Greater(t, contact.LimitY, contact.Top)
	assert.False(t, contact.Over)
	assert.Equal(t, "expires after 1 h", verified.LimitLabel)
	assert.Equal(t, "58 s", contact.Now)

	// A refresh that took three seconds: the age falls at once, to where it began.
	long := []sample{{now.Add(-4 * time.Second), 40 * time.Second, 0}, {now.Add(-2 * time.Second), 42 * time.Second, 0}, {now, 3 * time.Second, 0}}
	line := newTimeline(english, long, now, 30*time.Second, time.Hour).Panels[0].Line
	assert.Regexp(t, `^M[\d.]+ [\d.]+L([\d.]+) [\d.]+L([\d.]+) [\d.]+L([\d.]+) [\d.]+L[\d.]+ [\d.]+$`, line)
	x := regexp.MustCompile(`L([\d.]+) `).FindAllStringSubmatch(line, -1)
	assert.Equal(t, x[0][1], x[1][1])
	assert.Equal(t, x[1][1], x[2][1], "straight down")

	for _, c := range []struct {
		name    string
		samples []sample
		window  string
		now     string
		over    bool
	}{
		{"nothing yet", nil, "1 min", "none", false},
		{"one look", []sample{{now, time.Second, time.Second}}, "1 min", "1 s", false},
		{"no list", []sample{{now.Add(-90 * time.Second), -1, -1}, {now, -1, -1}}, "2 min", "none", false},
		{"too old", []sample{{now.Add(-time.Second), 2 * time.Hour, 2 * time.Hour}}, "1 min", "2 h", true},
		{"a clock that was put back", []sample{{now.Add(time.Hour), time.Second, time.Second}, {now, 0, 0}}, "1 min", "under 1 s", false},
		{"a machine that slept", []sample{{now.Add(-9 * time.Hour), 0, 0}, {now, 9 * time.Hour, 9 * time.Hour}}, "1 h", "9 h", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			drawn := newTimeline(english, c.samples, now, 5*time.Minute, time.Hour)
			assert.Equal(t, c.window, drawn.Window)
			assert.Equal(t, c.now, drawn.Panels[0].Now)
			assert.Equal(t, c.over, drawn.Panels[0].Over)
			assert.Len(t, drawn.Ticks, 5)
		})
	}
}
