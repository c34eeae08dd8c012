package rediscache

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/rolegate/rolegate"
)

const (
	maxMessage = 1 << 10 // bytes

	// maxAsks is how many messages are kept, and askKept for how long when
	// nobody asks any more.
	maxAsks = 1000
	askKept = 10 * time.Minute

	// A message is forgotten when it is older than askOld. A leader that has
	// just begun heeds those of the last askRecent.
	askOld    = time.Minute
	askRecent = 10 * time.Second

	// asksAtOnce is how many messages are read at once.
	asksAtOnce = 100
)

// heard is a message that was read: as which entry, and when.
type heard struct {
	id string
	at time.Time
}

// Ask implements [rolegate.SharedCache]. The message has the time in it, by the
// clock of Redis, so that one that somebody stores again later is not heeded.
func (c *Cache) Ask(ctx context.Context, message []byte) error {
	g, err := c.joined()
	if err == nil && len(message) > maxMessage {
		err = fmt.Errorf("the message has %d bytes, which is more than %d", len(message), maxMessage)
	}
	if err == nil {
		err = c.ask(ctx, g, message)
	}
	if err != nil {
		return fmt.Errorf("rediscache: ask: %w", err)
	}
	return nil
}

func (c *Cache) ask(ctx context.Context, g *group, message []byte) error {
	now, _, err := c.now(ctx, g)
	if err != nil {
		return err
	}
	plain := binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(message)), uint64(now.UnixMilli()))
	sealed := g.seal(askPlace, append(plain, message...))
	_, err = call(ctx, func() (any, error) {
		return tell.Run(ctx, c.client, []string{g.asks()}, sealed, maxAsks, askKept.Milliseconds()).Result()
	})
	return err
}

// Asked implements [rolegate.SharedCache].
func (c *Cache) Asked(ctx context.Context, after string) ([]rolegate.Asked, error) {
	g, err := c.joined()
	if err != nil {
		return nil, fmt.Errorf("rediscache: asked: %w", err)
	}
	list, err := c.listen(ctx, g, after)
	if err != nil {
		return nil, fmt.Errorf("rediscache: asked: %w", err)
	}
	return list, nil
}

func (c *Cache) listen(ctx context.Context, g *group, after string) ([]rolegate.Asked, error) {
	at, ok := parseVersion(after)
	if !ok && after != "" {
		return nil, errors.New("after is not the ID of a message")
	}
	old, first := askOld, true
	if after == "" {
		old = askRecent
	}
	for {
		now, last, err := c.now(ctx, g)
		if err != nil {
			return nil, err
		}
		// Where nothing is left that came so late, Redis has begun anew.
		if first && after == "" || last.compare(at) < 0 {
			at = version{Term: uint64(now.Add(-old).UnixMilli())}
		}
		first = false
		messages, err := c.await(ctx, c.waits[1], g.asks(), at.String(), asksAtOnce)
		if err != nil {
			return nil, err
		}
		if len(messages) == 0 {
			continue
		}
		if now, _, err = c.now(ctx, g); err != nil {
			return nil, err
		}
		if list := c.authentic(g, messages, now, old); len(list) > 0 {
			return list, nil
		}
		if at, ok = parseVersion(messages[len(messages)-1].ID); !ok {
			return nil, errForged
		}
	}
}

// authentic returns those that some replica has sent, not long ago, and once.
func (c *Cache) authentic(g *group, messages []redis.XMessage, now time.Time, old time.Duration) (list []rolegate.Asked) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for nonce, h := range c.asked {
		if age := now.Sub(h.at); age > 2*askOld || age < -2*askOld {
			delete(c.asked, nonce)
		}
	}
	for _, m := range messages {
		sealed, _ := m.Values["ask"].(string)
		plain, err := g.open(askPlace, sealed)
		if err != nil || len(plain) < 8 {
			continue
		}
		sent := time.UnixMilli(int64(binary.BigEndian.Uint64(plain)))
		if age := now.Sub(sent); age > old || age < -askOld {
			continue
		}
		nonce := sealed[:nonceSize]
		if h, ok := c.asked[nonce]; ok && h.id != m.ID {
			continue
		}
		c.asked[nonce] = heard{m.ID, sent}
		list = append(list, rolegate.Asked{ID: m.ID, Message: plain[8:]})
	}
	return list
}
