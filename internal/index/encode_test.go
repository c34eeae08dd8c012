package index_test

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/internal/index"
)

const (
	listedUser  = 0
	droppedUser = 1 // a grant of theirs was dropped
	invalidUser = 2
)

// user is one as [index.Table.AppendUser] writes them.
func user(id int64, marks uint64, content ...byte) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(id))
	return append(binary.AppendUvarint(b, uint64(len(content))<<2|marks), content...)
}

func grant(org int64, role uint16) []byte {
	return binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint64(nil, uint64(org)), role)
}

// What is read back may have been written by anybody: a file or a replica. There
// is no user in it that no list has, and nothing of them that no user has.
func TestUsersThatNoListHas(t *testing.T) {
	t.Parallel()
	codes := []string{"teacher", "", "pupil"}
	text := func(s string) []byte { return append([]byte{byte(len(s))}, s...) }
	join := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	const none, two = index.FieldSet(0), index.FieldSet(1<<index.FieldAccount | 1<<index.FieldThirdUserName)
	for _, c := range []struct {
		name   string
		fields index.FieldSet
		users  []byte
		ok     bool
	}{
		{"nobody", none, nil, true},
		{"a user without roles", none, user(1, listedUser), true},
		{"a user whose record is invalid", none, user(1, invalidUser), true},
		{"a dropped grant", none, user(1, droppedUser, grant(7, 0)...), true},
		{"two users", none, join(user(1, listedUser, grant(7, 0)...), user(2, listedUser, grant(7, 2)...)), true},
		{"two roles in one organisation", none, user(1, listedUser, join(grant(7, 0), grant(7, 2))...), true},
		{"a role in two organisations", none, user(1, listedUser, join(grant(7, 2), grant(8, 0))...), true},
		{"strings", two, user(1, listedUser, join([]byte{1}, grant(7, 0), text("ann"), text(""))...), true},
		{"strings of a user without roles", two, user(1, listedUser, join([]byte{0}, text(""), text("Ann"))...), true},

		{"half an id", none, user(1, listedUser)[:7], false},
		{"an id alone", none, user(1, listedUser)[:8], false},
		{"an id of 0", none, user(0, listedUser), false},
		{"an id below 0", none, user(-1, listedUser), false},
		{"a length that does not end", none, append(user(1, listedUser)[:8], 0x80), false},
		{"a length that is too long", none, append(user(1, listedUser)[:8], 0x80, 0), false},
		{"a length of more than 64 bits", none, append(user(1, listedUser)[:8], slices.Repeat([]byte{0xff}, 11)...), false},
		{"less content than there should be", none, user(1, listedUser, grant(7, 0)...)[:18], false},
		{"an invalid record with content", none, user(1, invalidUser, grant(7, 0)...), false},
		{"an invalid record with a dropped grant", none, user(1, invalidUser|droppedUser), false},
		{"half a grant", none, user(1, listedUser, grant(7, 0)[:5]...), false},
		{"a grant and a half", none, user(1, listedUser, join(grant(7, 0), grant(8, 0)[:5])...), false},
		{"no organisation", none, user(1, listedUser, grant(0, 0)...), false},
		{"an organisation below 0", none, user(1, listedUser, grant(-7, 0)...), false},
		{"a role that has no code", none, user(1, listedUser, grant(7, 1)...), false},
		{"a role behind the last", none, user(1, listedUser, grant(7, 3)...), false},
		{"organisations that descend", none, user(1, listedUser, join(grant(8, 0), grant(7, 2))...), false},
		{"roles that descend", none, user(1, listedUser, join(grant(7, 2), grant(7, 0))...), false},
		{"a grant twice", none, user(1, listedUser, join(grant(7, 0), grant(7, 0))...), false},
		{"neither grants nor strings", two, user(1, listedUser), false},
		{"a number of grants that does not end", two, user(1, listedUser, 0x80), false},
		{"more grants than there are", two, user(1, listedUser, join([]byte{2}, grant(7, 0), text(""), text("Ann"))...), false},
		{"a great many grants", two, user(1, listedUser, join(binary.AppendUvarint(nil, 1<<63), text(""), text(""))...), false},
		{"no strings", two, user(1, listedUser, join([]byte{1}, grant(7, 0))...), false},
		{"one string of two", two, user(1, listedUser, join([]byte{0}, text("ann"))...), false},
		{"one string too many", two, user(1, listedUser, join([]byte{0}, text("ann"), text("Ann"), text(""))...), false},
		{"a string that is cut off", two, user(1, listedUser, join([]byte{0}, text("ann"), text("Ann")[:3])...), false},
		{"a string that is cut off before another", two, user(1, listedUser, join([]byte{0}, text(""), []byte{2, 'A'})...), false},
		{"strings that nobody keeps", none, user(1, listedUser, join(grant(7, 0), text("ann"))...), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := index.NewCodedBuilder(c.fields, codes)
			require.Equal(t, c.ok, b.PutUsers(c.users))
			if !c.ok {
				b := index.NewCodedBuilder(c.fields, codes)
				assert.False(t, b.PutUsers(append(user(9, invalidUser), c.users...)), "it is the last of two")
				return
			}
			table, err := b.Finish()
			require.NoError(t, err)
			var again []byte
			for id := range int64(9) {
				if at, known := table.Place(id); known {
					again = table.AppendUser(again, at)
				}
			}
			assert.Equal(t, string(c.users), string(again), "it is written as it was")
		})
	}
}
