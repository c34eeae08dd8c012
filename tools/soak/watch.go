package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// This file is what the soak asks by net/http: the status, and the streams.

// A statusReader reads /status again and again, as an admin who never changes.
type statusReader struct {
	soak   *soak
	client *http.Client
	said   []claim // of the last seconds
	tally  tally

	failures map[string]uint64
	agesMin  time.Duration
	agesMax  time.Duration
	heldMost int
}

// statusText is what is read of the status.
type statusText struct {
	State      string    `json:"state"`
	Generation uint64    `json:"generation"`
	Contact    time.Time `json:"contact"`
	Verified   time.Time `json:"verified"`
	Held       struct {
		Users int `json:"users"`
	} `json:"held"`
	Incremental, Full struct {
		Succeeded uint64 `json:"succeeded"`
	}
	Failures map[string]uint64 `json:"failures"`
}

// read reads the status once. It returns false if the admin was refused.
func (r *statusReader) read(ctx context.Context) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, "GET", r.soak.child.url+"/status", nil)
	if err != nil {
		return false, err
	}
	boss := r.soak.town.boss
	req.Header.Set("X-User-Id", strconv.FormatInt(boss.id, 10))
	x := exchange{route: status, who: boss, id: boss.id, claim: *r.soak.said.Load(), sent: now()}
	resp, err := r.client.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return false, err
	}
	x.got, x.status = now(), resp.StatusCode
	if strings.Contains(string(body), r.soak.market.Token()) {
		return false, fmt.Errorf("the status has the access token in it: %s", body)
	}
	if x.claim.generation == 0 && x.status == http.StatusServiceUnavailable {
		return false, nil // there is no list yet
	}
	r.soak.verdict(&r.tally, &x)
	if x.status != http.StatusOK {
		return false, nil
	}
	var text statusText
	if err := json.Unmarshal(body, &text); err != nil {
		return false, fmt.Errorf("the status is no JSON: %w", err)
	}
	if text.State != "ready" && text.State != "stale" {
		return false, fmt.Errorf("the state is %s, and yet the status was served", text.State)
	}
	r.take(claim{
		read: x.got, verified: text.Verified.UnixNano(), contact: text.Contact.UnixNano(), generation: text.Generation,
		fulls: text.Full.Succeeded, pulls: text.Incremental.Succeeded, held: text.Held.Users,
	}, text.Failures)
	return true, nil
}

func (r *statusReader) take(c claim, failures map[string]uint64) {
	if before := r.soak.said.Load(); before.generation > 0 {
		if what := c.follows(*before); what != "" {
			r.soak.report("the status: %s", what)
		}
	}
	age := time.Duration(c.read - c.verified)
	if r.failures == nil {
		r.agesMin = age
	}
	r.failures = failures
	r.agesMin, r.agesMax, r.heldMost = min(r.agesMin, age), max(r.agesMax, age), max(r.heldMost, c.held)
	r.soak.said.Store(&c)
	r.said = append(r.said, c)
	for len(r.said) > 1 && r.said[1].read < c.read-int64(streamPatience) {
		r.said = r.said[1:]
	}
	r.soak.saidOnce.Store(&r.said[0])
}

// run reads the status until ctx ends.
func (r *statusReader) run(ctx context.Context) error {
	for ctx.Err() == nil {
		if _, err := r.read(ctx); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

// streamPatience is how long a stream may go on after its user has lost it, by
// the status: the example's ticks are a second apart, and a machine may be busy.
const streamPatience = 3 * time.Second

// A listener opens streams and sees that they end when they must.
type listener struct {
	soak    *soak
	rnd     *rand.Rand
	client  *http.Client
	tally   tally
	revoked uint64 // streams that were ended
}

func (l *listener) run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := l.listen(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// listen opens one stream, and stays with it for some seconds.
func (l *listener) listen(ctx context.Context) error {
	var u *user
	for range 20 {
		if u = l.soak.town.recent[l.rnd.IntN(recents)].Load(); u.last().anywhere()&teacher != 0 {
			break
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(2+l.rnd.IntN(9))*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", l.soak.child.url+"/live", nil)
	if err != nil {
		return err
	}
	req.Header.Set("X-User-Id", strconv.FormatInt(u.id, 10))
	x := exchange{route: live, who: u, id: u.id, claim: *l.soak.said.Load(), sent: now()}
	resp, err := l.client.Do(req)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	x.status, x.got = resp.StatusCode, now()
	l.soak.verdict(&l.tally, &x)
	if x.status != http.StatusOK {
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	ended := false
	seen := *l.soak.said.Load()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		x.got = now()
		switch line := lines.Text(); {
		case line == "event: end":
			ended = true
		case ended && strings.HasPrefix(line, "data: "):
			if line != "data: rolegate: the access was revoked" {
				return fmt.Errorf("a stream ended with %q", line)
			}
			// Between the last tick and now the user was not to be admitted.
			l.revoked++
			x.claim, x.status = seen, http.StatusForbidden
			l.soak.verdict(&l.tally, &x)
		case strings.HasPrefix(line, "data: "):
			x.claim, x.status = *l.soak.saidOnce.Load(), http.StatusOK
			l.soak.verdict(&l.tally, &x)
			seen = *l.soak.said.Load()
		}
	}
	if err := lines.Err(); err != nil && ctx.Err() == nil {
		return err
	}
	if !ended && ctx.Err() == nil {
		return fmt.Errorf("a stream of user %d broke off", u.id)
	}
	return nil
}
