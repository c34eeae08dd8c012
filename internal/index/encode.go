package index

import "encoding/binary"

// This file is how users are written down and read back, one behind the other:
// for each the id, the length of the content with the marks in its lowest two
// bits, and the content.

// AppendUser appends the user in that place to dst.
func (t *Table) AppendUser(dst []byte, at Place) []byte {
	content := t.content(at)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(t.ID(at)))
	dst = binary.AppendUvarint(dst, uint64(len(content))<<2|uint64(t.block(at).marks(int(at.i))>>marksShift))
	return append(dst, content...)
}

// PutUsers takes in what AppendUser wrote, whoever wrote it. It reports whether
// every user in it is one that the table can have.
func (b *Builder) PutUsers(users []byte) (ok bool) {
	for len(users) > 0 {
		if len(users) < 8 {
			return false
		}
		id := recordID(users)
		n, width := uvarint(users[8:])
		m := marks(n&3) << marksShift
		n >>= 2
		users = users[8+width:]
		if width == 0 || n > uint64(len(users)) || id <= 0 {
			return false
		}
		content := users[:n]
		users = users[n:]
		if m&invalid != 0 {
			if n > 0 || m != invalid {
				return false
			}
		} else if !validContent(content, b.table.Fields, b.codes) {
			return false
		}
		b.putContent(id, content, m)
	}
	return true
}

// validContent reports whether bytes from outside are a content that a table
// with these fields can have. codes are the roles by number; "" is none.
func validContent(content []byte, fields FieldSet, codes []string) bool {
	grants := uint64(len(content) / grantSize)
	text := content
	if fields != 0 {
		n, width := uvarint(content)
		if width == 0 {
			return false
		}
		grants, text = n, content[width:]
	}
	if grants > uint64(len(text)/grantSize) {
		return false
	}
	gs := Grants(text[:grants*grantSize])
	text = text[len(gs):]
	for i := range gs.Len() {
		if gs.Org(i) <= 0 || int(gs.Role(i)) >= len(codes) || codes[gs.Role(i)] == "" {
			return false
		}
		if i > 0 && (gs.Org(i-1) > gs.Org(i) || gs.Org(i-1) == gs.Org(i) && gs.Role(i-1) >= gs.Role(i)) {
			return false
		}
	}
	for f := range NumFields {
		if !fields.Has(f) {
			continue
		}
		n, width := uvarint(text)
		if width == 0 || n > uint64(len(text)-width) {
			return false
		}
		text = text[width+int(n):]
	}
	return len(text) == 0
}

// uvarint reads a number as binary.AppendUvarint writes it, in no more bytes
// than it needs; width is 0 if there is none.
func uvarint(b []byte) (n uint64, width int) {
	n, width = binary.Uvarint(b)
	if width <= 0 || width > 1 && b[width-1] == 0 {
		return 0, 0
	}
	return n, width
}
