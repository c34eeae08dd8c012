package fake

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rolegate/rolegate/rolegatetest"
)

// cloudPrefix is before the faults of 云上指挥.
const cloudPrefix = "cloud:"

// A Fault is one that was asked for, and when it strikes. It is used once.
type Fault struct {
	text   string
	cloud  bool
	fault  rolegatetest.Fault
	when   []condition // all of them
	closed bool        // it will not strike any more
}

// ParseFault reads [cloud:]NAME[=ARG][@WHEN]. The last @ is the one before
// WHEN. Its error says what was expected.
func ParseFault(s string) (*Fault, error) {
	f := &Fault{text: s}
	var rest string
	rest, f.cloud = strings.CutPrefix(s, cloudPrefix)
	what, when := rest, "always"
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		what, when = rest[:i], rest[i+1:]
	}
	name, arg, given := strings.Cut(what, "=")
	to := market
	if f.cloud {
		to = cloud
	}
	kinds := Kinds()
	i := slices.IndexFunc(kinds, func(k Kind) bool { return k.Name == name && (k.only == 0 || k.only == to) })
	if i < 0 {
		return nil, fmt.Errorf("fault %q: expected one of %s", s, strings.Join(names(to), ", "))
	}
	k := kinds[i]
	if given && k.Arg == "" {
		return nil, fmt.Errorf("fault %q: expected nothing after %s, which has no argument", s, k.Name)
	}
	if !given {
		arg = k.Default
	}
	var err error
	if f.fault, err = k.fault(arg); err != nil {
		return nil, fmt.Errorf("fault %q, argument %s of %s: %w", s, k.Arg, k.Name, err)
	}
	if f.when, err = parseWhen(when, f.cloud); err != nil {
		return nil, fmt.Errorf("fault %q: %w", s, err)
	}
	return f, nil
}

// String returns what was parsed.
func (f *Fault) String() string { return f.text }

// Cloud reports whether f is a fault of 云上指挥.
func (f *Fault) Cloud() bool { return f.cloud }

// names are those of the faults that to can have.
func names(to target) (names []string) {
	for _, k := range Kinds() {
		if k.only == 0 || k.only == to {
			names = append(names, k.Name)
		}
	}
	return names
}

// faults decide for both fakes which requests meet with which fault. Of several
// that strike at once, the fake takes the one that was added last; the others
// do not count that request.
type faults struct {
	start time.Time

	mu     sync.Mutex
	random *rand.Rand
	on     []*Fault
}

func newFaults(seed uint64) *faults {
	return &faults{start: time.Now(), random: rand.New(rand.NewPCG(seed, 0xfa017))}
}

// add notes a fault and returns what decides whether it strikes.
func (f *faults) add(fault *Fault) (strikes func(full, goesOn bool) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.on = append(f.on, fault)
	return func(full, goesOn bool) bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		q := &asked{full: full, goesOn: goesOn, since: time.Since(f.start), random: f.random}
		if fault.closed {
			return false
		}
		for _, c := range fault.when {
			holds, last := c.holds(q)
			fault.closed = fault.closed || last
			if !holds {
				return false
			}
		}
		return true
	}
}

// clear forgets all faults.
func (f *faults) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, fault := range f.on {
		fault.closed = true
	}
	f.on = nil
}

// list returns what may still strike.
func (f *faults) list() (texts []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.on = slices.DeleteFunc(f.on, func(fault *Fault) bool { return fault.closed })
	for _, fault := range f.on {
		texts = append(texts, fault.text)
	}
	return texts
}
