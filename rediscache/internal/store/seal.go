package store

import (
	"bytes"
	"compress/flate"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

// A sealer encrypts and authenticates what is stored of one list. Everything is
// sealed for its place: it opens nowhere else, under no other secret or prefix,
// and for no other list.
type sealer struct{ aead cipher.AEAD }

func newSealer(secret, prefix, list string) (*sealer, error) {
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, "github.com/rolegate/rolegate/rediscache 1 "+prefix+" "+list, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &sealer{aead}, nil
}

var errForged = errors.New("what Redis has is forged, damaged, or made with another Secret: give all replicas the same Secret; if they have it, see who else can write to this Redis")

func (s *sealer) seal(place string, plain []byte) []byte {
	return s.aead.Seal(nil, nil, plain, []byte(place))
}

func (s *sealer) open(place string, sealed string) ([]byte, error) {
	plain, err := s.aead.Open(nil, nil, []byte(sealed), []byte(place))
	if err != nil {
		return nil, errForged
	}
	return plain, nil
}

// The places. What is put into them is numbers, names of bases and epochs, so that
// no two are the same.

func basePlace(name string, began int64) string { return fmt.Sprintf("base %s %d", name, began) }
func rowsPlace(epoch string) string             { return "rows " + epoch }
func chunkPlace(name string, i int, last bool) string {
	return fmt.Sprintf("chunk %s %d %v", name, i, last)
}

// Rows say in the first byte how the rest is stored.
const (
	asIs byte = iota
	deflated
)

const (
	deflateFrom = 512      // bytes
	maxPlain    = 64 << 20 // bytes of an entry that was deflated
)

// pack makes rows shorter if that is worth it.
func pack(plain []byte) []byte {
	if len(plain) >= deflateFrom {
		b := bytes.NewBuffer(make([]byte, 0, len(plain)/2))
		b.WriteByte(deflated)
		z, _ := flate.NewWriter(b, flate.BestSpeed) // the level is a good one
		_, err := z.Write(plain)
		if err = errors.Join(err, z.Close()); err == nil && b.Len() <= len(plain) {
			return b.Bytes()
		}
	}
	return append([]byte{asIs}, plain...)
}

func unpack(packed []byte) ([]byte, error) {
	if len(packed) == 0 {
		return nil, errForged
	}
	switch packed[0] {
	case asIs:
		return packed[1:], nil
	case deflated:
		plain, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed[1:])), maxPlain+1))
		if err == nil && len(plain) > maxPlain {
			err = errors.New("it is too long")
		}
		if err != nil {
			return nil, fmt.Errorf("inflating it: %w", err)
		}
		return plain, nil
	}
	return nil, errors.New("a newer version of rediscache wrote it: update this replica too")
}
