package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// This file is the load: clients that write their requests in bundles to a
// connection that is kept alive, and read the answers. net/http's client would
// cost more than the app that is asked.

// patience is how long a bundle may take.
const patience = 15 * time.Second

// A client is one connection.
type client struct {
	soak   *soak
	rnd    *rand.Rand
	bundle int      // requests under way at once
	routes []*route // asked for, one as often as another

	conn  net.Conn
	in    *bufio.Reader
	out   []byte
	body  []byte
	under []exchange
	tally tally
}

// A tally is what became of the requests.
type tally struct {
	answers  map[int]uint64
	verdicts [wrong + 1]uint64
}

func (t *tally) add(x *exchange, v verdict) {
	if t.answers == nil {
		t.answers = map[int]uint64{}
	}
	t.answers[x.status]++
	t.verdicts[v]++
}

func (t *tally) plus(u tally) {
	if t.answers == nil {
		t.answers = map[int]uint64{}
	}
	for status, n := range u.answers {
		t.answers[status] += n
	}
	for v, n := range u.verdicts {
		t.verdicts[v] += n
	}
}

func (t *tally) total() (n uint64) {
	for _, m := range t.answers {
		n += m
	}
	return n
}

// run asks until ctx ends, or something is wrong with the connection.
func (c *client) run(ctx context.Context, addr string) error {
	dialer := net.Dialer{Timeout: patience}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	c.conn, c.in = conn, bufio.NewReaderSize(conn, 64<<10)
	c.under = make([]exchange, c.bundle)
	for ctx.Err() == nil {
		if err := c.ask(); err != nil {
			return err
		}
	}
	return nil
}

// ask sends one bundle and checks what comes back.
func (c *client) ask() error {
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	said := *c.soak.said.Load() // before they are sent
	c.out = c.out[:0]
	for i := range c.under {
		c.under[i] = c.draw()
		c.under[i].claim = said
		c.write(&c.under[i])
	}
	sent := now()
	if _, err := c.conn.Write(c.out); err != nil {
		return err
	}
	for i := range c.under {
		x := &c.under[i]
		x.sent = sent
		if err := c.receive(x); err != nil {
			return fmt.Errorf("answer %d of %d on this connection: %w", i+1, len(c.under), err)
		}
		x.got = now()
		c.soak.verdict(&c.tally, x)
	}
	return nil
}

// draw makes up a request.
func (c *client) draw() exchange {
	t := c.soak.town
	x := exchange{route: c.routes[c.rnd.IntN(len(c.routes))]}
	switch n := c.rnd.IntN(100); {
	case n < 30:
		x.who = t.users[c.rnd.IntN(t.fixed)]
	case n < 65:
		x.who = t.recent[c.rnd.IntN(recents)].Load()
	case n < 95:
		x.who = t.users[t.fixed+c.rnd.IntN(len(t.users)-t.fixed)]
	case n < 97:
		x.id = firstID + 1 + 2*c.rnd.Int64N(int64(len(t.users))) // between two who are listed
	default:
		x.anonymous = true
	}
	x.org = 1 + c.rnd.Int64N(orgs)
	if x.who == nil {
		return x
	}
	x.id = x.who.id
	if s := x.who.last(); len(s.orgs) > 0 && c.rnd.IntN(5) > 0 {
		x.org = s.orgs[c.rnd.IntN(len(s.orgs))].org
	}
	return x
}

// write appends the request to what is to be sent.
func (c *client) write(x *exchange) {
	b := append(append(c.out, x.route.method...), ' ')
	if x.route == report || x.route == staff {
		b = strconv.AppendInt(append(b, "/orgs/"...), x.org, 10)
		b = append(b, x.route.path[len("/orgs/%d"):]...)
	} else {
		b = append(b, x.route.path...)
	}
	b = append(b, " HTTP/1.1\r\nHost: soak\r\n"...)
	if x.route.method == "POST" {
		b = append(b, "Content-Length: 0\r\n"...)
	}
	boss := c.soak.town.boss.id
	switch {
	case !x.anonymous:
		b = header(b, x.id)
	case c.rnd.IntN(2) == 0: // none at all
	case c.rnd.IntN(2) == 0: // twice
		b = header(header(b, boss), boss)
	default: // not as ids are written
		b = strconv.AppendInt(append(b, "X-User-Id: +"...), boss, 10)
		b = append(b, "\r\n"...)
	}
	c.out = append(b, "\r\n"...)
}

func header(b []byte, id int64) []byte {
	return append(strconv.AppendInt(append(b, "X-User-Id: "...), id, 10), "\r\n"...)
}

// receive reads one answer.
func (c *client) receive(x *exchange) error {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) || len(line) < len("HTTP/1.1 200") {
		return fmt.Errorf("no status line: %q", line)
	}
	if x.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return fmt.Errorf("no status line: %q", line)
	}
	length, stored := -1, true
	for {
		if line, err = c.in.ReadSlice('\n'); err != nil {
			return err
		}
		line = bytes.TrimSuffix(line, []byte("\r\n"))
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch string(name) {
		case "Content-Length":
			if length, err = strconv.Atoi(string(value)); err != nil {
				return fmt.Errorf("no length: %q", line)
			}
		case "Cache-Control":
			stored = string(value) != "no-store"
		case "Connection":
			return fmt.Errorf("an answer %d with %q", x.status, line)
		}
	}
	if length < 0 || length > 64<<10 || stored {
		return fmt.Errorf("an answer %d of length %d, to be stored by caches: %v", x.status, length, stored)
	}
	c.body = append(c.body[:0], make([]byte, length)...)
	if _, err := io.ReadFull(c.in, c.body); err != nil {
		return err
	}
	x.body = c.body
	if x.status != http.StatusOK {
		return checkProblem(x.status, c.body)
	}
	return nil
}

// refusals are the bodies of refusals up to the decision's id, by status: the
// first that was seen. They must be the same for everybody.
var refusals sync.Map

func checkProblem(status int, body []byte) error {
	const key, end = `"decision":"`, `"}`
	form, rest, ok := bytes.Cut(body, []byte(key))
	if ok && len(bytes.TrimSuffix(rest, []byte("\n"))) == idLength+len(end) {
		if first, _ := refusals.LoadOrStore(status, string(form)); first == string(form) {
			return nil
		}
	}
	return fmt.Errorf("answer %d: the body is not as it is for everybody: %q", status, body)
}

// idLength is that of a decision's id.
const idLength = 26
