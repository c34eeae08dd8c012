package marketplace

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/rolegate/rolegate"
)

// Why a record cannot be understood. None of these has anything from the wire
// in it.
var (
	errNotObject    = errors.New("record: expected an object")
	errDuplicateKey = errors.New("record: expected each key once")
	errUserID       = errors.New("userId: expected an integer above 0, as a number or a decimal string")
	errSequence     = errors.New("lastSequence: expected an integer of at least 0, as a number or a decimal string")
	errRoleList     = errors.New("roleList: expected an array, an empty one for a user without roles")
	errRole         = errors.New("roleList[]: expected an object")
	errOrgID        = errors.New("roleList[].orgId: expected an integer, as a number or a decimal string")
	errRoleCode     = errors.New("roleList[].roleCode: expected a string")
	errRoleCodeText = errors.New("roleList[].roleCode: expected valid UTF-8")
	errRoleUser     = errors.New("roleList[].userId: expected none, or the userId of the record")
)

// unreadable stands for a sequence that could not be read.
const unreadable = -1

// maxInterned bounds the role codes that are kept to be shared: an app has
// dozens of them, and users have millions.
const maxInterned = 1024

// A decoder decodes pages, one after the other, in one go and by their syntax
// alone: what is wrong inside a record concerns its own user, and is noted
// there. What it returns does not share memory with the page, and is valid
// until the next one.
type decoder struct {
	*scanner
	records []rolegate.Record // of the page; Sequence may be unreadable
	grants  []rolegate.Grant  // of all of them
	counts  []int             // how many grants each has
	more    []rolegate.Record // for the further ids of records that name several
	garbled int               // records with a text that is not UTF-8
	codes   map[string]string
	texts   texts

	// Of the record at hand.
	invalid    error
	structural bool
	noUTF8     bool
}

func newDecoder() *decoder {
	return &decoder{scanner: newScanner(), codes: make(map[string]string)}
}

// page decodes a whole page. Nothing of what was decoded counts if it returns
// an error, or an envelope that is not ok or has no list.
func (d *decoder) page(body []byte) (envelope, error) {
	d.reset()
	e, err := d.parseEnvelope(body, d.list)
	if err != nil {
		return envelope{}, err
	}
	if d.garbled >= minGarbled && 2*d.garbled > len(d.records) {
		return envelope{}, errNotUTF8
	}
	rest := d.grants
	for i, n := range d.counts {
		if n > 0 {
			d.records[i].Grants, rest = rest[:n:n], rest[n:]
		}
	}
	return e, nil
}

// reset forgets the page there was.
func (d *decoder) reset() {
	clear(d.records)
	d.records, d.grants, d.counts, d.more, d.garbled = d.records[:0], d.grants[:0], d.counts[:0], d.more[:0], 0
}

// yield returns the records of the page as they are handed over.
func (d *decoder) yield() []rolegate.Record {
	for i := range d.records {
		d.records[i].Sequence = max(d.records[i].Sequence, 0)
	}
	return append(d.records, d.more...)
}

// minGarbled is how many records must have texts in another encoding for the
// page to be taken for one that has, and not for one with a few odd names.
const minGarbled = 10

// errNotUTF8 says that a page is encoded in another way than JSON is.
var errNotUTF8 = errors.New("the reply is not in UTF-8: it looks like GBK: have the marketplace or the proxy in between answer in UTF-8")

// list reads the array of records that comes next.
func (d *decoder) list() error {
	_, _ = d.ReadToken() // the '[' that was seen
	for d.PeekKind() != ']' {
		if err := d.record(); err != nil {
			return err
		}
		if n := len(d.records); n > maxPageSize && int64(n)*leastRecordBytes > d.InputOffset() {
			return errNoUsers
		}
	}
	_, err := d.ReadToken()
	return err
}

// leastRecordBytes is less than any user takes. Small change, millions of them,
// would take up more memory than the page.
const leastRecordBytes = 32

var errNoUsers = errors.New("data: expected users")

// fault notes what is wrong with the record at hand: the first thing counts.
// It is structural if nobody can have written it into a field.
func (d *decoder) fault(err error, structural bool) {
	if d.invalid == nil {
		d.invalid, d.structural = err, structural
	}
}

// record reads the next value as a record. Its errors are those of the syntax.
func (d *decoder) record() error {
	d.invalid, d.noUTF8 = nil, false
	first := len(d.grants)
	r := rolegate.Record{Sequence: unreadable}
	var ids []int64 // what it names besides r.UserID
	if d.PeekKind() != '{' {
		d.fault(errNotObject, true)
		if err := d.SkipValue(); err != nil {
			return err
		}
	} else if err := d.members(&r, &ids); err != nil {
		return err
	}
	if d.noUTF8 {
		d.garbled++
	}
	if d.invalid != nil {
		d.grants = d.grants[:first]
		r = rolegate.Record{UserID: r.UserID, Sequence: r.Sequence, Bad: d.invalid, Structural: d.structural}
		for _, id := range ids {
			if id != r.UserID {
				d.more = append(d.more, rolegate.Record{UserID: id, Sequence: max(r.Sequence, 0), Bad: r.Bad, Structural: r.Structural})
			}
		}
	}
	d.records = append(d.records, r)
	d.counts = append(d.counts, len(d.grants)-first)
	return nil
}

// members reads the object of a record.
func (d *decoder) members(r *rolegate.Record, ids *[]int64) error {
	_, _ = d.ReadToken() // the '{' that was seen
	var seen keySet
	var owner int64 // the userId in the roles, 0 if there is none
	agree := true   // all sequences are the same
	for d.PeekKind() != '}' {
		name, err := d.name()
		if err != nil {
			return err
		}
		k := keyOf(name)
		if k == otherKey || k >= keyOrgID {
			k = otherKey
			if !isIgnored(name) {
				k = d.recordKeyInOtherCase(name, r)
			}
		} else if seen.add(k) {
			switch k {
			case keyUserID, keyLastSequence, keyRoleList:
				d.fault(errDuplicateKey, false)
			default:
				markUnreadable(&r.Unreadable, k)
			}
		}
		switch k {
		case keyUserID:
			// A record with several ids bars each of them: whichever the
			// marketplace means, it is not admitted by an older record.
			n, ok, err := d.ReadInt()
			switch {
			case err != nil:
				return err
			case !ok || n <= 0:
				d.fault(errUserID, true)
			case r.UserID == 0:
				r.UserID = n
			default:
				*ids = append(*ids, n)
			}
		case keyLastSequence:
			// One that is too high would make the cursor skip users: they have
			// to agree.
			n, ok, err := d.ReadInt()
			switch {
			case err != nil:
				return err
			case !ok || n < 0:
				d.fault(errSequence, true)
			case r.Sequence != unreadable && r.Sequence != n:
				agree = false
			default:
				r.Sequence = n
			}
		case keyRoleList:
			err = d.roleList(r, &owner)
		case keyAccount:
			r.Account, err = d.text(&r.Unreadable.Account)
		case keyEmail:
			r.Email, err = d.text(&r.Unreadable.Email)
		case keyThirdAccount:
			r.ThirdAccount, err = d.text(&r.Unreadable.ThirdAccount)
		case keyThirdUserID:
			r.ThirdUserID, err = d.thirdUserID(r)
		case keyNickname:
			r.Nickname, err = d.text(&r.Unreadable.Nickname)
		case keyThirdUserName:
			r.ThirdUserName, err = d.text(&r.Unreadable.ThirdUserName)
		default:
			err = d.SkipValue()
		}
		if err != nil {
			return err
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	if !agree {
		r.Sequence = unreadable
	}
	switch {
	case r.UserID == 0:
		d.fault(errUserID, true)
	case r.Sequence == unreadable:
		d.fault(errSequence, true)
	case seen&(1<<keyRoleList) == 0:
		d.fault(errRoleList, true)
	case owner != 0 && owner != r.UserID:
		d.fault(errRoleUser, true)
	}
	if r.Unreadable != (rolegate.Keep{}) {
		forget(r)
	}
	return nil
}

// recordKeyInOtherCase returns what the value of an unknown key is to be read
// as. A key that differs from one that is read by its case alone leaves open
// which of the two counts: that depends on who reads it.
func (d *decoder) recordKeyInOtherCase(name []byte, r *rolegate.Record) key {
	k := inOtherCase(name, keyUserID, keyLastSequence, keyRoleList, keyAccount, keyEmail,
		keyThirdAccount, keyThirdUserID, keyNickname, keyThirdUserName)
	switch k {
	case otherKey:
	case keyUserID, keyLastSequence:
		d.fault(fmt.Errorf("%s: expected this key in this case", keyNames[k]), true)
		return k
	case keyRoleList:
		d.fault(fmt.Errorf("%s: expected this key in this case", keyNames[k]), true)
	default:
		markUnreadable(&r.Unreadable, k)
	}
	return otherKey
}

// markUnreadable marks the text of a key; a key of something else marks nothing.
func markUnreadable(texts *rolegate.Keep, k key) {
	switch k {
	case keyAccount:
		texts.Account = true
	case keyEmail:
		texts.Email = true
	case keyThirdAccount:
		texts.ThirdAccount = true
	case keyThirdUserID:
		texts.ThirdUserID = true
	case keyNickname:
		texts.Nickname = true
	case keyThirdUserName:
		texts.ThirdUserName = true
	}
}

// forget empties the texts that are unreadable.
func forget(r *rolegate.Record) {
	for _, t := range []struct {
		text       *string
		unreadable bool
	}{
		{&r.Account, r.Unreadable.Account},
		{&r.Email, r.Unreadable.Email},
		{&r.ThirdAccount, r.Unreadable.ThirdAccount},
		{&r.ThirdUserID, r.Unreadable.ThirdUserID},
		{&r.Nickname, r.Unreadable.Nickname},
		{&r.ThirdUserName, r.Unreadable.ThirdUserName},
	} {
		if t.unreadable {
			*t.text = ""
		}
	}
}

// name reads the next key of an object. It is valid until the next read.
func (d *decoder) name() ([]byte, error) {
	v, err := d.ReadValue()
	if err != nil {
		return nil, err
	}
	name, _ := d.unquote(v)
	return name, nil
}

// unquote returns what the JSON string v stands for, valid until the next read,
// and whether that is valid UTF-8.
func (d *decoder) unquote(v jsontext.Value) (text []byte, ok bool) {
	if bytes.IndexByte(v, '\\') < 0 {
		return v[1 : len(v)-1], utf8.Valid(v)
	}
	d.unquoted, ok = d.unquoted[:0], utf8.Valid(v)
	var err error
	d.unquoted, err = jsontext.AppendUnquote(d.unquoted, v)
	return d.unquoted, ok && err == nil
}

// text reads the next value as a string or null; anything else makes it
// unreadable.
func (d *decoder) text(unreadable *bool) (string, error) {
	v, err := d.ReadValue()
	if err != nil {
		return "", err
	}
	switch v.Kind() {
	case 'n':
		return "", nil
	case '"':
		if b, ok := d.readable(v); ok {
			return d.texts.string(b), nil
		}
	}
	*unreadable = true
	return "", nil
}

// readable is unquote, and notes a text that is not UTF-8 as it came.
func (d *decoder) readable(v jsontext.Value) (text []byte, ok bool) {
	text, ok = d.unquote(v)
	d.noUTF8 = d.noUTF8 || !ok && !utf8.Valid(v)
	return text, ok
}

// thirdUserID reads a thirdUserId: an integer in the document of the list, text
// in others of the same platform, and so text here. Ids that are not above 0
// are what the platform writes for "none".
func (d *decoder) thirdUserID(r *rolegate.Record) (string, error) {
	v, err := d.ReadValue()
	if err != nil {
		return "", err
	}
	b, ok := []byte(v), false
	switch v.Kind() {
	case 'n':
		return "", nil
	case '"':
		b, ok = d.readable(v)
	case '0':
		ok = !bytes.ContainsAny(b, ".eE")
	}
	switch {
	case !ok:
		r.Unreadable.ThirdUserID = true
		return "", nil
	case namesNobody(b):
		return "", nil
	}
	return d.texts.string(b), nil
}

// namesNobody reports whether an id is empty or an integer not above 0.
func namesNobody(id []byte) bool {
	digits, negative := bytes.CutPrefix(id, []byte("-"))
	if len(digits) == 0 {
		return !negative
	}
	return len(bytes.Trim(digits, "0")) == 0 || negative && len(bytes.Trim(digits, "0123456789")) == 0
}
