package rediscache

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/rolegate/rolegate"
)

// A version is written as the ID of an entry of a stream is: an entry of the
// log has the version to which it leads as its ID.
type version rolegate.Version

func (v version) String() string { return fmt.Sprintf("%d-%d", v.Term, v.Number) }

func (v version) compare(w version) int {
	return cmp.Or(cmp.Compare(v.Term, w.Term), cmp.Compare(v.Number, w.Number))
}

// parseVersion reads what String writes, and nothing else.
func parseVersion(s string) (v version, ok bool) {
	term, number, _ := strings.Cut(s, "-")
	var ok1, ok2 bool
	v.Term, ok1 = parseNumber(term)
	v.Number, ok2 = parseNumber(number)
	if !ok1 || !ok2 {
		return version{}, false
	}
	return v, true
}

// parseNumber reads a number in its one form.
func parseNumber(s string) (uint64, bool) {
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil && (s == "0" || s[0] != '0' && s[0] != '+')
}

// A pointer says where the newest whole index is. It is stored sealed, since a
// snapshot is to be read to its end and to no other.
type pointer struct {
	name    string
	version version
	chunks  int
	size    uint64 // of the index, in bytes
}

func (p pointer) String() string {
	return fmt.Sprintf("%s %v %d %d", p.name, p.version, p.chunks, p.size)
}

const maxChunks = 1 << 20

func parsePointer(s string) (p pointer, ok bool) {
	parts := strings.Split(s, " ")
	if len(parts) != 4 || parts[0] == "" {
		return pointer{}, false
	}
	p.name = parts[0]
	var ok1, ok2, ok3 bool
	var chunks uint64
	p.version, ok1 = parseVersion(parts[1])
	chunks, ok2 = parseNumber(parts[2])
	p.size, ok3 = parseNumber(parts[3])
	if !ok1 || !ok2 || !ok3 || chunks < 1 || chunks > maxChunks {
		return pointer{}, false
	}
	p.chunks = int(chunks)
	return p, true
}

// openPointer returns the zero pointer if there is none, and an error if it is
// not authentic.
func (s *sealer) openPointer(sealed string) (pointer, error) {
	if sealed == "" {
		return pointer{}, nil
	}
	plain, err := s.open(pointerPlace, sealed)
	if err != nil {
		return pointer{}, err
	}
	p, ok := parsePointer(string(plain))
	if !ok {
		return pointer{}, errForged
	}
	return p, nil
}

// openTerm returns the term if it has its seal, and else 0: nobody but a leader
// makes terms, so that a forged one cannot use them up.
func (s *sealer) openTerm(term, proof string) uint64 {
	n, ok := parseNumber(term)
	if !ok || n == 0 {
		return 0
	}
	if _, err := s.open(termPlace(n), proof); err != nil {
		return 0
	}
	return n
}

// texts reads a reply that is an array of strings, numbers and nils.
func texts(reply any, n int) ([]string, error) {
	list, ok := reply.([]any)
	if !ok || len(list) < n {
		return nil, fmt.Errorf("an answer of another form than expected: %T", reply)
	}
	all := make([]string, len(list))
	for i, v := range list {
		switch v := v.(type) {
		case string:
			all[i] = v
		case int64:
			all[i] = strconv.FormatInt(v, 10)
		}
	}
	return all, nil
}
