package main

import (
	"net/http"
	"sync"

	"github.com/gin-gonic/gin"

	"github.com/rolegate/rolegate/gingate"
)

// A hub hands what happens in an organisation to those who watch its feed, and to
// nobody else.
type hub struct {
	mu       sync.Mutex
	watchers map[int64]map[chan string]bool // by organisation
}

// watch begins a feed. leave ends it.
func (h *hub) watch(org int64) (events <-chan string, leave func()) {
	mine := make(chan string, 16)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watchers[org] == nil {
		h.watchers[org] = map[chan string]bool{}
	}
	h.watchers[org][mine] = true
	return mine, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if delete(h.watchers[org], mine); len(h.watchers[org]) == 0 {
			delete(h.watchers, org)
		}
	}
}

// tell passes over who does not keep up: no request waits for them.
func (h *hub) tell(org int64, event string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers[org] {
		select {
		case w <- event:
		default:
		}
	}
}

// feed sends what happens in an organisation, until the client leaves, the user
// loses the role or the server shuts down.
func (s *school) feed(c *gin.Context) {
	org, _ := gingate.Org(c) // which the guard has checked
	events, leave := s.hub.watch(org)
	defer leave()
	c.Header("Content-Type", "text/event-stream")
	c.Writer.WriteHeader(http.StatusOK)
	c.Writer.Flush()
	for {
		select {
		case <-c.Request.Context().Done():
			return
		case event := <-events:
			if c.Request.Context().Err() == nil {
				c.SSEvent("news", event)
				c.Writer.Flush()
			}
		}
	}
}
