package rolegatetest

import (
	"encoding/binary"
	"sort"

	"github.com/rolegate/rolegate"
)

// list holds users in the order of their sequences. A change only ever appends:
// the row that it replaces stays behind as a gap, and gaps are closed when they
// outnumber the users. So a page is a binary search and a short run of rows,
// also among a million users.
type list struct {
	rows []row
	at   map[int64]int // index in rows by user id
}

// row is one user, or a gap, whose packed is "".
type row struct {
	sequence, id int64
	packed       string
}

func newList() list { return list{at: make(map[int64]int)} }

func (l *list) len() int { return len(l.at) }

func (l *list) get(id int64) (packed string, ok bool) {
	i, ok := l.at[id]
	if !ok {
		return "", false
	}
	return l.rows[i].packed, true
}

// set puts a user at the end of the list: sequence must not be below that of any
// row before.
func (l *list) set(id, sequence int64, packed string) {
	l.remove(id)
	l.at[id] = len(l.rows)
	l.rows = append(l.rows, row{sequence: sequence, id: id, packed: packed})
}

// replace changes a listed user in place.
func (l *list) replace(id int64, packed string) { l.rows[l.at[id]].packed = packed }

func (l *list) remove(id int64) {
	i, ok := l.at[id]
	if !ok {
		return
	}
	delete(l.at, id)
	l.rows[i].packed = ""
	if gaps := len(l.rows) - len(l.at); gaps > 64 && gaps > len(l.at) {
		l.compact()
	}
}

// compact closes the gaps.
func (l *list) compact() {
	if len(l.rows) == len(l.at) {
		return
	}
	rows := make([]row, 0, len(l.at)+len(l.at)/8) // a new one, to give the memory back
	for _, r := range l.rows {
		if r.packed != "" {
			l.at[r.id] = len(rows)
			rows = append(rows, r)
		}
	}
	l.rows = rows
}

// page appends to buf the first limit users with a sequence of from or above.
func (l *list) page(buf []row, from int64, limit int) []row {
	i := sort.Search(len(l.rows), func(i int) bool { return l.rows[i].sequence >= from })
	for ; i < len(l.rows) && limit > 0; i++ {
		if l.rows[i].packed != "" {
			buf = append(buf, l.rows[i])
			limit--
		}
	}
	return buf
}

func (l *list) clone() list {
	c := list{at: make(map[int64]int, len(l.at)), rows: make([]row, 0, len(l.at))}
	for _, r := range l.rows {
		if r.packed != "" {
			c.at[r.id] = len(c.rows)
			c.rows = append(c.rows, r)
		}
	}
	return c
}

// pack writes everything of a user but the ID into one string, which is never
// empty. A million users are then a million small objects rather than ten.
func pack(u *User) string {
	var array [256]byte
	b := binary.AppendVarint(array[:0], int64(u.Gender))
	for _, text := range [...]string{u.Account, u.Email, u.Nickname, u.ThirdAccount, u.ThirdUserID, u.ThirdUserName} {
		b = appendText(b, text)
	}
	for _, g := range u.Grants {
		b = binary.AppendVarint(b, g.OrgID)
		b = appendText(b, g.RoleCode)
	}
	return string(b)
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// unpack is the reverse of pack; the texts point into packed, and the grants are
// appended to grants.
func unpack(id int64, packed string, grants []rolegate.Grant) User {
	p := unpacker(packed)
	u := User{
		ID:            id,
		Gender:        int(p.int()),
		Account:       p.text(),
		Email:         p.text(),
		Nickname:      p.text(),
		ThirdAccount:  p.text(),
		ThirdUserID:   p.text(),
		ThirdUserName: p.text(),
		Grants:        grants,
	}
	for p != "" {
		u.Grants = append(u.Grants, rolegate.Grant{OrgID: p.int(), RoleCode: p.text()})
	}
	return u
}

// unpacker is what is left to be read.
type unpacker string

// uint is binary.Uvarint for a string.
func (p *unpacker) uint() (n uint64) {
	for i := 0; ; i++ {
		c := (*p)[i]
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			*p = (*p)[i+1:]
			return n
		}
	}
}

// int undoes the zigzag of binary.AppendVarint.
func (p *unpacker) int() int64 {
	n := p.uint()
	return int64(n>>1) ^ -int64(n&1)
}

func (p *unpacker) text() string {
	n := int(p.uint())
	s := string((*p)[:n])
	*p = (*p)[n:]
	return s
}
