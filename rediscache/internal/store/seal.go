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

// newAEAD returns what encrypts and authenticates what is stored of one list.
// Everything is sealed for its place: it opens nowhere else, under no other secret or
// prefix, and for no other list.
func newAEAD(secret, prefix, list string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, "github.com/rolegate/rolegate/rediscache 1 "+prefix+" "+list, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

var errForged = errors.New("what Redis has is forged, damaged, or made with another Secret: give all replicas the same Secret; if they have it, see who else can write to this Redis")

func (s *Store) seal(place string, plain []byte) []byte {
	return s.aead.Seal(nil, nil, plain, []byte(place))
}

func (s *Store) open(place string, sealed string) ([]byte, error) {
	plain, err := s.aead.Open(nil, nil, []byte(sealed), []byte(place))
	if err != nil {
		return nil, errForged
	}
	return plain, nil
}

// The places. What is put into them is numbers, names of bases and epochs, so that
// no two are the same.

func basePlace(name string, began int64) string { return fmt.Sprintf("base %s %d", name, began) }
func chunkPlace(name string, i int) string      { return fmt.Sprintf("chunk %s %d", name, i) }
func rowsPlace(epoch string) string             { return "deflated rows " + epoch }

const maxPlain = 64 << 20 // bytes of rows

func deflate(plain []byte) []byte {
	var b bytes.Buffer
	z, _ := flate.NewWriter(&b, flate.BestSpeed) // neither fails, nor does the buffer
	_, _ = z.Write(plain)
	_ = z.Close()
	return b.Bytes()
}

func inflate(deflated []byte) ([]byte, error) {
	plain, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(deflated)), maxPlain+1))
	if err == nil && len(plain) > maxPlain {
		err = errors.New("it is too long")
	}
	return plain, err
}
