// Package store has what replicas share in Redis: a base, a log of rows, leases,
// and a counter. It is what [replication.State] asks and what keeps its promises:
// scripts compare in Redis itself whoever writes, and when what they write began.
package store

import (
	"cmp"
	"context"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/rolegate/rolegate/internal/replication"
)

const (
	// keep is for how long what is stored outlives its last replica; keepOld, for
	// how long a base may still be read when there is a newer one; keepUnfinished,
	// for how long one lasts whose writer says no more.
	keep           = 7 * 24 * time.Hour
	keepOld        = 2 * time.Minute
	keepUnfinished = 2 * time.Minute

	maxRows = 768 << 10 // bytes of an entry, sealed
)

var _ replication.Store = (*Store)(nil)

// A Store is one replica's view of what all share. It is safe for concurrent use.
type Store struct {
	client redis.UniversalClient
	aead   cipher.AEAD
	base   string // of all keys
	token  string // names this replica
	lease  time.Duration
}

// New returns the store of a list. Replicas share it if they have the same
// secret, prefix and list; the names of keys tell, in one hash tag, who does.
func New(client redis.UniversalClient, secret, prefix, list string, lease time.Duration) (*Store, error) {
	aead, err := newAEAD(secret, prefix, list)
	if err != nil {
		return nil, err
	}
	tag, err := hkdf.Key(sha256.New, []byte(secret), nil, "github.com/rolegate/rolegate/rediscache names 2 "+list, 8)
	if err != nil {
		return nil, err
	}
	return &Store{client: client, aead: aead, base: fmt.Sprintf("%s:{%x}:", prefix, tag), token: rand.Text(), lease: lease}, nil
}

func (s *Store) keys() []string { return []string{s.base + "state", s.base + "log"} }

func (s *Store) list(name string) string { return s.base + "base:" + name }

// run runs a script.
func (s *Store) run(ctx context.Context, script *redis.Script, keys []string, args ...any) *redis.Cmd {
	v, err := call(ctx, func() (any, error) { return script.Run(ctx, s.client, keys, args...).Result() })
	var answer redis.Error // anything else is for want of one
	if cluster, ok := s.client.(*redis.ClusterClient); ok && err != nil && !errors.As(err, &answer) {
		cluster.ReloadState(ctx) // or it would look in a minute
	}
	return redis.NewCmdResult(v, err)
}

var errForm = errors.New("an answer of another form than expected")

// Sync asks how things stand, and acquires or renews leases.
func (s *Store) Sync(ctx context.Context, a replication.Action) (replication.Reply, error) {
	all, err := s.run(ctx, syncScript, s.keys(),
		rand.Text(), s.token, s.lease.Milliseconds(), keep.Milliseconds(), a.Cursor, a.Known.Name, a.Known.Began/1000,
		a.Want[replication.Incremental], a.Want[replication.Full], a.Raise, cmp.Or(a.Void, "none")).Slice()
	if err != nil || len(all) != 13 {
		return replication.Reply{}, cmp.Or(err, errForm)
	}
	text := func(i int) string { t, _ := all[i].(string); return t }
	is := func(i int) bool { n, _ := all[i].(int64); return n == 1 }
	r := replication.Reply{
		Time: micros(text(0)), Epoch: text(1), Wanted: micros(text(5)), Cursor: text(6), More: is(7),
		Granted: [replication.Kinds]bool{is(8), is(10)}, Held: [replication.Kinds]bool{is(9), is(11)},
	}
	if name := text(2); name != "" {
		b := replication.Base{Name: name, Began: micros(text(3))}
		if _, err := s.open(basePlace(b.Name, b.Began), text(4)); err == nil {
			r.Base = b
		} else if err := s.run(ctx, brokenScript, s.keys(), name).Err(); err != nil { // whoever has a list publishes it
			return r, err
		}
	}
	entries, _ := all[12].([]any)
	for _, e := range entries {
		sealed, _ := e.(string)
		entry, err := s.openEntry(r.Epoch, sealed)
		if err != nil {
			continue // of another epoch, or forged: what it has is missed, and noticed as such
		}
		r.Entries = append(r.Entries, entry)
	}
	return r, nil
}

// micros reads a time in microseconds as one in nanoseconds.
func micros(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > 1<<53 {
		return 0
	}
	return n * 1000
}

// An entryHead is what an entry begins with; its rows follow, deflated.
type entryHead struct {
	From, To, Read, Ended int64
	Complete              bool
}

// Append puts rows into the log.
func (s *Store) Append(ctx context.Context, e replication.Entry, epoch string) error {
	plain, err := binary.Append(nil, binary.LittleEndian, entryHead{e.From, e.To, e.Read, e.Ended, e.Complete})
	if err != nil {
		return err
	}
	sealed := s.seal(rowsPlace(epoch), append(plain, deflate(e.Rows)...))
	if len(sealed) > maxRows {
		return fmt.Errorf("rows of %d bytes are too many at once: %d is the most", len(sealed), maxRows)
	}
	done, err := s.run(ctx, appendScript, s.keys(), epoch, sealed, keep.Milliseconds()).Bool()
	if err == nil && !done {
		err = replication.ErrRefused
	}
	return err
}

func (s *Store) openEntry(epoch, sealed string) (e replication.Entry, err error) {
	plain, err := s.open(rowsPlace(epoch), sealed)
	if err != nil {
		return e, err
	}
	var head entryHead
	n, err := binary.Decode(plain, binary.LittleEndian, &head)
	if err != nil {
		return e, err
	}
	e = replication.Entry{From: head.From, To: head.To, Read: head.Read, Ended: head.Ended, Complete: head.Complete}
	e.Rows, err = inflate(plain[n:])
	return e, err
}

// Release gives a lease back; nobody is to have it for that long.
func (s *Store) Release(ctx context.Context, k replication.Kind, wait time.Duration) error {
	return s.run(ctx, releaseScript, s.keys(), int(k), s.token, wait.Milliseconds()).Err()
}

// Spend takes one of so many in a minute that all replicas share. If there is
// none, it says for how long.
func (s *Store) Spend(ctx context.Context, perMinute int) (ok bool, wait time.Duration, err error) {
	all, err := s.run(ctx, spendScript, []string{s.base + "deny"}, perMinute).Int64Slice()
	if err != nil || len(all) != 2 {
		return false, 0, cmp.Or(err, errForm)
	}
	return all[0] == 1, time.Duration(all[1]) * time.Millisecond, nil
}
