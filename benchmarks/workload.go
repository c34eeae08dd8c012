package benchmarks

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
)

// organisations and roles are how many of them a workload has.
const (
	organisations = 2000
	roles         = 40
)

// The roles that the guarded route of every benchmark asks for, by number.
const (
	teacher uint16 = iota
	admin
)

// roleCodes are the codes of the roles, by number.
var roleCodes = func() (codes [roles]string) {
	for i := range codes {
		codes[i] = fmt.Sprintf("role_%02d", i)
	}
	codes[teacher], codes[admin] = "teacher", "admin"
	return codes
}()

// A grant is one role in one organisation, as an app of its own would keep it.
type grant struct {
	org  int64
	role uint16
}

// opens reports whether the grant opens the guarded route.
func (g grant) opens() bool { return g.role == teacher || g.role == admin }

// A workload is a made-up list of users with one to three grants each. It is
// the same for the same size and seed, and nothing of it is in memory but which
// users have changed: everything else is made when it is asked for. So it adds
// no pointer to the heap that is measured.
type workload struct {
	size     int
	seed     uint64
	profiles bool // whether records have names and addresses

	mu      sync.RWMutex
	changes []uint32 // the users who were changed, in this order
	latest  []uint32 // for each user the number of their last change, from 1; 0 for none
}

func newWorkload(size int) *workload {
	return &workload{size: size, seed: 20260301, latest: make([]uint32, size)}
}

// Ids are snowflakes, as the marketplace's are: milliseconds, then ten bits for
// the machine that gave them out, then twelve that count within a millisecond.
const (
	firstUser = 367_674_594_000 // milliseconds
	firstOrg  = 301_000_000_000

	userEvery = 60 // a user is registered each so many milliseconds, more or less
	orgEvery  = 7919
)

func snowflake(milliseconds int64, machine, count uint64) int64 {
	return milliseconds<<22 | int64(machine)<<12 | int64(count)
}

// userID is the id of the user with that number.
func (w *workload) userID(i int) int64 {
	var rng rand.PCG
	rng.Seed(w.seed^1, uint64(i))
	x := rng.Uint64()
	late := int64(x>>32) % (userEvery - 1)
	return snowflake(firstUser+int64(i)*userEvery+late, x%3, x>>8%2)
}

// strangerID is an id that no user has, among those that users have.
func (w *workload) strangerID(i int) int64 {
	return snowflake(firstUser+int64(i)*userEvery+userEvery-1, uint64(i%3), 0)
}

// orgID is the id of the organisation with that number.
func orgID(i int) int64 { return snowflake(firstOrg+int64(i)*orgEvery, uint64(i%3), 0) }

// grants appends the grants that the user has now to buf[:0]. Two in five are
// for a teacher and one in ten for an admin; the others are spread over the
// rest of the roles. None is there twice.
func (w *workload) grants(buf []grant, i int) []grant {
	var rng rand.PCG
	rng.Seed(w.seed, uint64(i)<<32|uint64(w.latest[i]))
	buf = buf[:0]
	for range 1 + rng.Uint64()%3 {
		x := rng.Uint64()
		g := grant{org: orgID(int(x >> 32 % organisations))}
		switch x % 10 {
		case 0, 1, 2, 3:
			g.role = teacher
		case 4:
			g.role = admin
		default:
			g.role = admin + 1 + uint16(x>>8%(roles-2))
		}
		if !slices.Contains(buf, g) {
			buf = append(buf, g)
		}
	}
	return buf
}

// allowed says what the right answer is: the reference for everybody else.
func (w *workload) allowed(i int, org int64) bool {
	var buf [3]grant
	for _, g := range w.grants(buf[:], i) {
		if g.org == org && g.opens() {
			return true
		}
	}
	return false
}

// change gives count users, chosen at random, other grants, and returns them.
// The same user may be chosen more than once.
func (w *workload) change(count int) []uint32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	rng := rand.New(rand.NewPCG(w.seed^2, uint64(len(w.changes))))
	from := len(w.changes)
	for range count {
		i := uint32(rng.IntN(w.size))
		w.changes = append(w.changes, i)
		w.latest[i] = uint32(len(w.changes))
	}
	return w.changes[from:]
}

// A profile is what the list says of a user besides their grants.
type profile struct {
	account, email, nickname                 string
	thirdAccount, thirdUserID, thirdUserName string
}

// profile makes up the names of a user: about as long as real ones are.
func (w *workload) profile(i int) profile {
	number := strconv.Itoa(10_000_000 + i)
	account := "u" + number
	return profile{
		account:       account,
		email:         account + "@school.example",
		nickname:      "张" + number,
		thirdAccount:  "t-" + number,
		thirdUserID:   strconv.FormatInt(w.userID(i)+7, 10),
		thirdUserName: "教师" + number,
	}
}

// bytes is how many bytes the strings of a profile have together.
func (p profile) bytes() int {
	return len(p.account) + len(p.email) + len(p.nickname) +
		len(p.thirdAccount) + len(p.thirdUserID) + len(p.thirdUserName)
}
