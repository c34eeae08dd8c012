package rolegate

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/refresh"
	"github.com/rolegate/rolegate/internal/snapshot"
)

// This file is how replicas that follow have the one that leads pull: for a
// refusal that may be out of date, a MaxAge, Refresh and RefreshAll.

// An ask is the wish for a pull that begins after it.
type ask struct {
	id     uint64
	kind   refresh.Kind
	accept bool // a walk that holds nothing back
}

// FailureLeader is the failure of a pull that another replica was asked for and
// has not answered.
const FailureLeader Failure = "leader"

const (
	askVersion = 1
	askSize    = 11

	// askAgain is how soon an ask is repeated that nobody has answered: its
	// message may be lost. Whoever has it already does nothing twice.
	askAgain = 3 * time.Second

	// maxAnswers is how many answers wait to be published at most. Who does not
	// get his asks again.
	maxAnswers = 1024

	// askWait is how long an answer to an ask for an increment may take.
	askWait = 10 * time.Second
)

func (a ask) message() []byte {
	m := []byte{askVersion, byte(a.kind), 0}
	if a.accept {
		m[2] = 1
	}
	return binary.LittleEndian.AppendUint64(m, a.id)
}

func readAsk(m []byte) (a ask, ok bool) {
	if len(m) != askSize || m[0] != askVersion || refresh.Kind(m[1]) >= refresh.Kinds || m[2] > 1 {
		return ask{}, false
	}
	return ask{id: binary.LittleEndian.Uint64(m[3:]), kind: refresh.Kind(m[1]), accept: m[2] == 1}, true
}

// pull has the leader pull, and returns when what that has brought is swapped in
// here.
func (r *replica) pull(ctx context.Context, k refresh.Kind) error {
	a := ask{id: rand.Uint64(), kind: k, accept: k == refresh.Full && r.f.pull.acceptedOf(r.f.now.Load()) != ""}
	answered := make(chan snapshot.Answer, 1)
	r.mu.Lock()
	r.waiting[a.id] = answered
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.waiting, a.id)
		r.mu.Unlock()
	}()
	if k == refresh.Incremental {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, askWait)
		defer cancel()
	}
	timer := time.NewTimer(askAgain)
	defer timer.Stop()
	for {
		r.mu.Lock()
		turned := r.turned
		r.mu.Unlock()
		if !r.following() {
			return errOvertaken
		}
		if err := r.send(ctx, a); err != nil {
			return &PullError{Failure: FailureLeader, Err: fmt.Errorf("asking the replica that leads: %w", err)}
		}
		timer.Reset(askAgain)
		select {
		case b := <-answered:
			return answerError(b)
		case <-turned:
		case <-timer.C:
		case <-ctx.Done():
			return &PullError{Failure: FailureLeader, Err: fmt.Errorf("the replica that leads has not answered: %w", context.Cause(ctx))}
		}
	}
}

func (r *replica) send(ctx context.Context, a ask) error {
	ctx, cancel := context.WithTimeout(ctx, sharedTimeout)
	defer cancel()
	return callCache(func() error { return r.shared.Ask(ctx, a.message()) })
}

func answerError(a snapshot.Answer) error {
	if a.Failure == "" {
		return nil
	}
	return &PullError{Failure: Failure(a.Failure), Err: errors.New(a.Text)}
}

// answered hands the answers in a change to those who wait. taken is whether
// requests see the change.
func (r *replica) answered(answers []snapshot.Answer, taken bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range answers {
		if c, ok := r.waiting[a.ID]; ok && taken {
			delete(r.waiting, a.ID)
			c <- a
		}
	}
}

// listen takes in asks while this replica leads.
func (r *replica) listen() {
	after, failed := "", 0
	for r.f.tasks.Context().Err() == nil {
		r.mu.Lock()
		turned := r.turned
		r.mu.Unlock()
		if !r.leads() {
			after = ""
			timer := time.NewTimer(leaseEvery)
			select {
			case <-turned:
			case <-timer.C:
			case <-r.f.tasks.Context().Done():
			}
			timer.Stop()
			continue
		}
		var asked []Asked
		ctx, cancel := context.WithTimeout(r.f.tasks.Context(), followWait)
		err := callCache(func() (err error) {
			asked, err = r.shared.Asked(ctx, after)
			return err
		})
		over := ctx.Err() != nil
		cancel()
		if err == nil && (len(asked) == 0 || asked[len(asked)-1].ID == after) {
			err = errors.New("the SharedCache's Asked returned neither news nor an error")
		}
		failed++
		if err == nil || over {
			failed = 0
		} else {
			r.failed("listening to other replicas", err)
			r.pause(failed)
		}
		for _, m := range asked {
			after = m.ID
			if a, ok := readAsk(m.Message); ok {
				r.enqueue(a)
			}
		}
	}
}

func (r *replica) enqueue(a ask) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b, ok := r.served.Get(a.id); ok { // the answer may have been lost
		r.reply(b)
		signal(r.kick)
		return
	}
	if _, ok := r.serving[a.id]; ok {
		return
	}
	r.serving[a.id] = struct{}{}
	r.asked[a.kind] = append(r.asked[a.kind], a)
	signal(r.ask[a.kind])
}

// serve makes the pulls that are asked for: one for all who wait.
func (r *replica) serve(k refresh.Kind) {
	for {
		select {
		case <-r.f.tasks.Context().Done():
			return
		case <-r.ask[k]:
		}
		if !r.afford(k) {
			return
		}
		r.mu.Lock()
		asks := r.asked[k]
		r.asked[k] = nil
		r.mu.Unlock()
		var err error
		if r.leads() {
			err = r.pullFor(k, asks)
		} else {
			err = errOvertaken
		}
		r.mu.Lock()
		for _, a := range asks {
			delete(r.serving, a.id)
			if errors.Is(err, errOvertaken) || errors.Is(err, ErrClosed) {
				continue // they will ask whoever leads now
			}
			b := answerTo(a, err)
			r.served.Add(a.id, b)
			r.reply(b)
		}
		r.mu.Unlock()
		signal(r.kick)
	}
}

// reply has an answer published, once. It needs mu.
func (r *replica) reply(b snapshot.Answer) {
	for _, due := range r.answers {
		if due.ID == b.ID {
			return
		}
	}
	if len(r.answers) < maxAnswers {
		r.answers = append(r.answers, b)
	}
}

func answerTo(a ask, err error) snapshot.Answer {
	if err == nil || errors.Is(err, ErrHeld) { // whoever asked sees what is held
		return snapshot.Answer{ID: a.id}
	}
	return snapshot.Answer{ID: a.id, Failure: string(failureOf(err)), Text: err.Error()}
}

func (r *replica) pullFor(k refresh.Kind, asks []ask) error {
	for _, a := range asks {
		if a.accept {
			if gen := r.f.now.Load(); gen != nil {
				defer r.f.pull.accept(gen.HeldDigest())()
			}
			break
		}
	}
	return r.f.fresh(r.f.tasks.Context(), k)
}

// afford waits until a pull may be made for those who ask: so that ten replicas
// cost the source no more than one. An operator who accepts a shrink does not
// wait. It returns false if the gate is closed.
func (r *replica) afford(k refresh.Kind) bool {
	for {
		wait := r.price(k)
		if wait <= 0 {
			return true
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-r.ask[k]: // one more; it may be an operator
		case <-r.f.tasks.Context().Done():
			timer.Stop()
			return false
		}
		timer.Stop()
	}
}

// price is how long a pull for those who ask has to wait; if that is 0, it is
// paid for.
func (r *replica) price(k refresh.Kind) time.Duration {
	now := r.f.clock()
	if k == refresh.Incremental {
		return r.budget.Take(now)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.asked[refresh.Full] {
		if a.accept {
			return 0
		}
	}
	if wait := r.f.cfg.Refresh.ResyncMin - r.walked.Age(now); r.walked != (clock.Instant{}) && wait > 0 {
		return wait
	}
	r.walked = now
	return 0
}
