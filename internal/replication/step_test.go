package replication_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/replication"
)

// A machine is the state of a replica, told one event after the other.
type machine struct {
	replication.State
	t   *testing.T
	now clock.Instant
	own replication.Own
	ago time.Duration // by which the store's clock is ahead of the monotonic one
}

func newMachine(t *testing.T, now clock.Instant) *machine {
	return &machine{t: t, now: now, ago: time.Duration(simEpoch), State: replication.New(replication.Config{
		Lease: simLease, Bound: [replication.Kinds]time.Duration{simBoundIncremental, simBoundFull}, DemandBound: 10 * time.Second,
	}, 1)}
}

// tell returns the actions that follow from an event. Each Sync is answered at
// once, with that reply: leases are granted if they are wanted.
func (m *machine) tell(e replication.Event, reply replication.Reply) (all []replication.Action) {
	m.t.Helper()
	for range 10 {
		e.Now, e.Own = m.now, m.own
		var actions []replication.Action
		m.State, actions = m.Step(e, nil)
		all = append(all, actions...)
		if len(actions) == 0 || actions[len(actions)-1].Type != replication.Sync {
			return all
		}
		if reply.Epoch == "" {
			reply.Epoch = "epoch"
		}
		answer := reply
		answer.Time = m.now.Mono + int64(m.ago)
		for k, want := range actions[len(actions)-1].Want {
			answer.Granted[k] = want && answer.Granted[k]
		}
		e = replication.Event{Type: replication.Synced, Sent: m.now, Reply: answer}
	}
	require.FailNow(m.t, "it does not come to rest", "%+v", all)
	return nil
}

func (m *machine) pass(d time.Duration) { m.now = m.now.Add(d) }

func (m *machine) has(actions []replication.Action, what replication.ActionType, k replication.Kind) bool {
	for _, a := range actions {
		if a.Type == what && a.Kind == k {
			return true
		}
	}
	return false
}

// ran has this replica find a list, in a full refresh that begins now.
func (m *machine) ran(reply replication.Reply) []replication.Action {
	m.own = replication.Own{Loaded: true, Began: m.now, Contact: m.now}
	m.pass(time.Second)
	return m.tell(replication.Event{Type: replication.Ran, Kind: replication.Full}, reply)
}

// The monotonic clock may read anything: in a bubble of testing/synctest that is
// decades less than 0.
func TestTheMonotonicClockMayReadAnything(t *testing.T) {
	t.Parallel()
	for name, mono := range map[string]time.Duration{
		"as it does in a process": time.Second, "0": 0, "less than 0": -time.Hour, "decades less": -26 * 365 * 24 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, clock.Instant{Mono: int64(mono), Wall: simEpoch})
			assert.True(t, m.has(m.tell(replication.Event{Type: replication.Tick}, replication.Reply{}), replication.Sync, 0), "it asks at once")
			m.own = replication.Own{Loaded: true, Began: m.now, Contact: m.now}
			published := false
			for range 10 {
				m.pass(time.Second)
				full := [replication.Kinds]bool{replication.Full: true}
				published = published || m.has(m.tell(replication.Event{Type: replication.Tick}, replication.Reply{Granted: full}), replication.Publish, replication.Full)
			}
			assert.True(t, published, "what the store lacks")
		})
	}
}

// A list that is found while the one before is still on its way is published
// after it: what is said of one is not taken for the other.
func TestOneListIsPublishedAtATime(t *testing.T) {
	t.Parallel()
	m := newMachine(t, clock.Instant{Mono: int64(time.Hour), Wall: simEpoch})
	granted := replication.Reply{Granted: [replication.Kinds]bool{true, true}}
	m.tell(replication.Event{Type: replication.Tick}, replication.Reply{})
	require.True(t, m.has(m.tell(replication.Event{Type: replication.Due, Kind: replication.Full}, granted), replication.Run, replication.Full))
	require.True(t, m.has(m.ran(granted), replication.Publish, replication.Full))
	first := m.own.Began

	m.pass(time.Second)
	demanded := m.tell(replication.Event{Type: replication.Due, Kind: replication.Full, Demand: true}, granted)
	require.False(t, m.has(demanded, replication.Run, replication.Full), "it waits for what is on its way")
	assert.True(t, m.has(m.tell(replication.Event{Type: replication.Due, Kind: replication.Incremental}, granted), replication.Run, replication.Incremental),
		"that is nothing to an incremental refresh")

	m.pass(15 * time.Second)
	require.True(t, m.has(m.tell(replication.Event{Type: replication.Tick}, granted), replication.Run, replication.Full), "but not for ever")
	require.False(t, m.has(m.ran(granted), replication.Publish, replication.Full))

	granted.Base = replication.Base{Name: "first", Began: first.Mono + int64(m.ago)}
	done := m.tell(replication.Event{Type: replication.Published, At: first, Reply: replication.Reply{Base: granted.Base}}, granted)
	for range 5 {
		m.pass(time.Second)
		done = append(done, m.tell(replication.Event{Type: replication.Tick}, granted)...)
	}
	for _, a := range done {
		if a.Type == replication.Publish {
			assert.Empty(t, a.Base.Name, "another list")
			assert.Equal(t, m.own.Began, a.At)
			return
		}
	}
	assert.Fail(t, "the second is not published")
}

// What the clocks say when they disagree: nothing becomes younger than it is, and
// a clock that was set makes nothing older where two others agree.
func TestClocksThatDisagree(t *testing.T) {
	t.Parallel()
	const s = time.Second
	for _, c := range []struct {
		name              string
		mono, wall, store time.Duration // by which each went on
		another           bool          // store, or it has begun anew
		age               time.Duration // then, of what was 100 s old
		stamp             time.Duration // as how old it is published
		void              bool
	}{
		{"they agree", 10 * s, 10 * s, 10 * s, false, 110 * s, 110 * s, false},
		{"the wall clock was set forward", 10 * s, 7200 * s, 10 * s, false, 110 * s, 110 * s, false},
		{"the wall clock was set back", 10 * s, -7200 * s, 10 * s, false, 110 * s, 110 * s, false},
		{"the machine was suspended", 10 * s, 900 * s, 900 * s, false, 1000 * s, 1000 * s, false},
		{"and the store's clock was put back", 10 * s, 900 * s, 500 * s, false, 1000 * s, 1000 * s, true},
		{"and the store is another", 10 * s, 900 * s, 50 * s, true, 1000 * s, 1000 * s, false},
		{"the store's clock was put back", 10 * s, 10 * s, -90 * s, false, 110 * s, 110 * s, true},
		{"the store's clock was put forward, or both others stood still", 10 * s, 10 * s, 900 * s, false, 110 * s, 1000 * s, false},
		{"all three were set", 10 * s, 300 * s, 900 * s, false, 1000 * s, 1000 * s, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, clock.Instant{Mono: int64(time.Hour), Wall: simEpoch})
			m.tell(replication.Event{Type: replication.Tick}, replication.Reply{Epoch: "epoch"})
			began := m.now.Add(-100 * s)
			m.own = replication.Own{Loaded: true, Began: began, Contact: began}
			m.now = clock.Instant{Mono: m.now.Mono + int64(c.mono), Wall: m.now.Wall + int64(c.wall)}
			m.ago += c.store - c.mono
			reply := replication.Reply{Epoch: "epoch"}
			if c.another {
				reply.Epoch = "another"
			}
			void := false
			note := func(actions []replication.Action) {
				for _, a := range actions {
					switch a.Type {
					case replication.Shift:
						if a.UnderWay {
							break
						}
						m.own.Began, m.own.Contact = a.Shifted(m.own.Began), a.Shifted(m.own.Contact)
					case replication.Sync:
						void = void || a.Void != ""
					}
				}
			}
			note(m.tell(replication.Event{Type: replication.Tick}, reply))
			assert.Equal(t, c.age, m.own.Began.Age(m.now))
			assert.Equal(t, c.void, void, "whether what the store has is worth nothing")

			reply.Granted[replication.Full] = true
			for range 10 {
				m.pass(s)
				reply.Epoch = "anew"
				for _, a := range m.tell(replication.Event{Type: replication.Tick}, reply) {
					if a.Type == replication.Publish {
						age := time.Duration(m.now.Mono + int64(m.ago) - a.Base.Began)
						passed := time.Duration(m.now.Mono) - time.Hour - c.mono
						assert.Equal(t, c.stamp, age-passed)
						return
					}
				}
			}
			assert.Fail(t, "nothing is published")
		})
	}
}

// What a replica has read while its machine was suspended is not told as known since
// before that: others would take it for a part of a base that lacks it. Only the
// store's clock, read again, says how long that was.
func TestRowsThatWereReadWhileTheMachineWasSuspended(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		frozen bool // the wall clock stood still too
	}{{"its monotonic clock stands still", false}, {"both of its clocks stand still", true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, clock.Instant{Mono: int64(time.Hour), Wall: simEpoch})
			m.own = replication.Own{Loaded: true, Began: m.now, Contact: m.now}
			m.tell(replication.Event{Type: replication.Tick}, replication.Reply{})
			m.pass(time.Minute)
			began, atStore := m.now, m.now.Mono+int64(m.ago)
			const suspended = 7 * time.Minute
			m.pass(time.Millisecond)
			m.ago += suspended
			if !c.frozen {
				m.now.Wall += int64(suspended)
			}
			var appended []replication.Entry
			for _, a := range m.tell(replication.Event{Type: replication.Read, At: began, Entry: replication.Entry{From: 3, To: 9}}, replication.Reply{}) {
				if a.Type == replication.Append {
					appended = append(appended, a.Entry)
				}
			}
			require.Len(t, appended, 1)
			assert.GreaterOrEqual(t, appended[0].Ended, m.now.Mono+int64(m.ago), "known since it woke")
			assert.LessOrEqual(t, appended[0].Read, atStore, "read from before it slept")
			assert.Equal(t, int64(3), appended[0].From)
			assert.Equal(t, int64(9), appended[0].To)
		})
	}
}

// What the store's clock said when a refresh was demanded, and when it began, is known
// within the time of a call: nobody refreshes once more for that.
func TestWhoHelps(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name                string
		wanted, store, here time.Duration // after which these lists began
		helps               bool
	}{
		{"nobody has what is waited for", 10 * time.Second, 0, 0, true},
		{"it is published", 10 * time.Second, 11 * time.Second, 0, false},
		{"it is published, as far as clocks tell", 10 * time.Second, 10*time.Second - 50*time.Millisecond, 0, false},
		{"it is on its way from here", 10 * time.Second, 0, 11 * time.Second, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, clock.Instant{Mono: int64(time.Hour), Wall: simEpoch})
			start := m.now
			began := start.Add(c.here)
			m.own = replication.Own{Loaded: true, Began: began, Contact: began}
			m.pass(12 * time.Second)
			at := func(d time.Duration) int64 { return start.Mono + int64(m.ago+d) }
			reply := replication.Reply{Base: replication.Base{Name: "base", Began: at(c.store)}, Wanted: at(c.wanted)}
			helps := false
			for range 10 {
				helps = helps || m.has(m.tell(replication.Event{Type: replication.Tick}, reply), replication.Soon, replication.Full)
				m.pass(time.Second)
			}
			assert.Equal(t, c.helps, helps)
		})
	}
}
