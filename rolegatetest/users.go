package rolegatetest

import (
	"maps"
	"slices"

	"github.com/rolegate/rolegate"
)

// A User is one user of a [Marketplace]'s list. The zero value of a field goes
// out as "", 0 or an empty list; the zero ID is spelt 0, which identifies
// nobody. Text that is not UTF-8 is fixed on its way out; [Marketplace.Raw]
// sends it as it is.
type User struct {
	ID                                       int64
	Account, Email, Nickname                 string
	ThirdAccount, ThirdUserID, ThirdUserName string
	Gender                                   int // 1 male, 2 female
	Grants                                   []rolegate.Grant
}

// Put adds users to the list, or replaces those whose ID is on it. Each raises
// the sequence by one, in the order given. Nothing of users is kept.
func (m *Marketplace) Put(users ...User) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range users {
		m.users.set(users[i].ID, m.next(), pack(&users[i]))
	}
}

// PutTied is [Marketplace.Put] with one and the same sequence for all of them:
// a server that numbers transactions rather than rows.
func (m *Marketplace) PutTied(users ...User) {
	if len(users) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	sequence := m.next()
	for i := range users {
		m.users.set(users[i].ID, sequence, pack(&users[i]))
	}
}

// Grant gives a user roles in an organisation. A user who is not on the list is
// put there, also without any role; for one who has all of the roles already
// nothing changes. A change raises the sequence by one.
func (m *Marketplace) Grant(userID, orgID int64, roles ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	user, listed := m.user(userID)
	before := len(user.Grants)
	for _, role := range roles {
		if g := (rolegate.Grant{OrgID: orgID, RoleCode: role}); !slices.Contains(user.Grants, g) {
			user.Grants = append(user.Grants, g)
		}
	}
	if !listed || len(user.Grants) > before {
		m.users.set(userID, m.next(), pack(&user))
	}
}

// Take takes roles in an organisation away from a user, who stays on the list
// even without any. A change raises the sequence by one, unless
// [MarketplaceConfig].QuietRoleLoss is set. Roles that the user does not have, and a
// user who is not on the list, change nothing.
func (m *Marketplace) Take(userID, orgID int64, roles ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	user, _ := m.user(userID)
	before := len(user.Grants)
	user.Grants = slices.DeleteFunc(user.Grants, func(g rolegate.Grant) bool {
		return g.OrgID == orgID && slices.Contains(roles, g.RoleCode)
	})
	switch {
	case len(user.Grants) == before:
	case m.cfg.QuietRoleLoss:
		m.users.replace(userID, pack(&user))
	default:
		m.users.set(userID, m.next(), pack(&user))
	}
}

// Revoke takes users off the list. An incremental refresh sees nothing of it: the
// protocol has no such message. Unknown users are passed over.
func (m *Marketplace) Revoke(userIDs ...int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range userIDs {
		m.users.remove(id)
	}
}

// Clear takes everybody off the list. The sequence stays where it is.
func (m *Marketplace) Clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.users = newList()
}

// Touch raises the sequence of users without changing them, so that the next
// incremental refresh has them again. Unknown users are passed over.
func (m *Marketplace) Touch(userIDs ...int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range userIDs {
		if packed, ok := m.users.get(id); ok {
			m.users.set(id, m.next(), packed)
		}
	}
}

// Raw sends json in place of a user's record, byte for byte, whatever it may
// be: for keys that come twice, ids out of range and all else that a [User]
// cannot say. Two objects with a comma between them are two records. The user
// must be on the list for it to be sent, and the sequence stays as it is: use
// [Marketplace.Touch] to show it to an incremental refresh. "" ends it.
func (m *Marketplace) Raw(userID int64, json string) {
	if json == "" {
		m.Respell(userID, nil)
		return
	}
	m.Respell(userID, func(string) string { return json })
}

// Respell is [Marketplace.Raw] with a function that is given the record as it
// would have been sent, sequence and all, and returns what is sent instead. It
// may be called from several goroutines at once. nil ends it.
func (m *Marketplace) Respell(userID int64, record func(json string) string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	spellings := maps.Clone(m.spellings)
	if spellings == nil {
		spellings = make(map[int64]func(string) string)
	}
	if record == nil {
		delete(spellings, userID)
	} else {
		spellings[userID] = record
	}
	m.spellings = spellings // pages that are being written go on with the old one
}

// User returns a user of the list, and whether they are on it. The value is the
// caller's own.
func (m *Marketplace) User(id int64) (User, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.user(id)
}

// user is User for callers that hold the lock. An unknown user comes back with
// the ID set, ready to be filled in.
func (m *Marketplace) user(id int64) (User, bool) {
	packed, ok := m.users.get(id)
	if !ok {
		return User{ID: id}, false
	}
	return unpack(id, packed, nil), true
}

// Users returns everybody on the list, in the order of their sequences, nil if
// there is nobody. The slice is the caller's own.
func (m *Marketplace) Users() []User {
	m.mu.RLock()
	rows := m.users.page(nil, 0, m.users.len())
	m.mu.RUnlock()
	var users []User
	for _, row := range rows {
		users = append(users, unpack(row.id, row.packed, nil))
	}
	return users
}

// Len returns how many users are on the list.
func (m *Marketplace) Len() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.users.len()
}

// A Backup is a [Marketplace]'s list and sequence as they once were. It never
// changes. The zero Backup is an empty list at sequence 0.
type Backup struct {
	users    list
	sequence int64
}

// Backup returns the list and the sequence as they are now.
func (m *Marketplace) Backup() *Backup {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return &Backup{users: m.users.clone(), sequence: m.sequence}
}

// Restore puts the list and the sequence back to what they were, as an operator
// does who restores a database: sequences are then given out a second time, for
// other changes. Everything else stays: token, faults, [Marketplace.Raw] and the
// record of requests. One backup may be restored many times, also into another
// Marketplace; nil panics.
func (m *Marketplace) Restore(b *Backup) {
	users := b.users.clone()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.users, m.sequence = users, b.sequence
}
