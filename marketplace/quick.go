package marketplace

import "errors"

// maxHeld bounds the elements that are held back until the end of their page. A
// page has no more than maxPageSize of them, unless the server does not heed
// the limit.
const maxHeld = 2 * maxPageSize

// errNotQuick says that a page is to be read carefully. Nobody gets to see it, nor
// any other error of quickly.
var errNotQuick = errors.New("something about the page is not as usual")

// quickly reads a whole page in one go, and strictly: what it takes is a success
// in which no record has anything wrong with it. The elements are held back until
// the end of the page has been read, since the envelope may say only there that
// it is none. They, and their grants, are valid until the next page.
//
// ok is false for any other page. Then nothing that was read counts: the page
// is to be read again with parseEnvelope and carefully, which know what is
// wrong and whom it concerns. Whatever quickly takes, these would take for just
// the same.
func (d *recordDecoder) quickly(body []byte) (p page, ok bool) {
	d.quick, d.elements, d.grants = true, d.elements[:0], d.grants[:0]
	s := d.strict
	s.StrictlyButDoubles(body)
	var e envelope
	err := s.Members(envelopeKeys, func(key string) error {
		if key == "data" {
			begin, err := d.list()
			if err == nil {
				e.data = body[begin:s.InputOffset()]
			}
			return err
		}
		v, err := s.ReadValue()
		if err != nil {
			return err
		}
		return e.set(s, key, v, body)
	})
	if err != nil || !e.ok() || e.data == nil {
		return page{}, false
	}
	return page{data: e.data, elements: d.elements}, true
}

// list reads an array of records, all of them good, into d.elements. It returns
// where the array begins.
func (d *recordDecoder) list() (begin int64, err error) {
	s := d.strict
	if s.PeekKind() != '[' {
		return 0, errNotQuick
	}
	_, _ = s.ReadToken() // the '[' that was seen
	begin = s.InputOffset() - int64(len("["))
	for s.PeekKind() != ']' {
		if len(d.elements) == maxHeld {
			return 0, errNotQuick
		}
		d.elements = append(d.elements, element{})
		if err := d.element(&d.elements[len(d.elements)-1]); err != nil {
			return 0, err
		}
	}
	_, err = s.ReadToken()
	return begin, err
}
