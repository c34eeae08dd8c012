//go:build drill && !race

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rediscache"
)

// restartProcesses is how many processes the replicas share that restart at once.
// One process for each would measure how long the machine takes to start so many.
const restartProcesses = 8

// restarts is how many replicas restart at once. ROLEGATE_E2E_RESTARTS is
// another number, for machines without the memory.
func restarts(t testing.TB) int {
	t.Helper()
	text := os.Getenv("ROLEGATE_E2E_RESTARTS")
	if text == "" {
		return 200
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, "ROLEGATE_E2E_RESTARTS")
	return n
}

// crewEnv is set in a process that is some replicas, and nothing else.
const crewEnv = "ROLEGATE_E2E_CREW"

// A crewOrder is what such a process is to be.
type crewOrder struct {
	Name   string
	First  int // the number of its first replica
	Count  int
	Market string // its URL
	App    string
	Redis  string // its address
}

// init makes a process that is one of them out of a copy of the tests.
func init() {
	if order := os.Getenv(crewEnv); order != "" {
		fmt.Fprintln(os.Stderr, runCrew(order))
		os.Exit(1)
	}
}

// runCrew runs the replicas of a process: it says when all of them are ready, and goes
// on until it is killed.
func runCrew(text string) error {
	var o crewOrder
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	var opening sync.WaitGroup
	failed := make(chan error, o.Count)
	for i := o.First; i < o.First+o.Count; i++ {
		opening.Go(func() {
			source := marketplace.New(marketplace.Config{BaseURL: o.Market, AppID: o.App, Token: marketplace.StaticToken(tokenOf(fmt.Sprintf("%s-%d", o.Name, i)))})
			shared := rediscache.New(rediscache.Config{
				Client: redis.NewClient(&redis.Options{Addr: o.Redis}),
				Secret: rediscache.Secret("a secret of these tests, for nothing else"),
			})
			gate, err := rolegate.Open(context.Background(), rolegate.Config{
				Source: source, Cache: shared, Identify: rolegate.ByUserID(func(*http.Request) (int64, error) { return 0, nil }),
			})
			if err != nil {
				failed <- err
			} else if state := gate.Status().State; state != rolegate.StateReady {
				failed <- fmt.Errorf("a replica that is open is %v", state)
			}
		})
	}
	opening.Wait()
	select {
	case err := <-failed:
		return err
	default:
	}
	fmt.Println("ready")
	select {}
}

// A crew is a process of some replicas.
type crew struct {
	cmd   *exec.Cmd
	ready chan bool // false if it has ended before
	ended chan struct{}
}

func startCrew(t testing.TB, o crewOrder) *crew {
	t.Helper()
	text, err := json.Marshal(o)
	require.NoError(t, err)
	self, err := os.Executable()
	require.NoError(t, err)
	c := &crew{cmd: exec.Command(self), ready: make(chan bool, 1), ended: make(chan struct{})}
	c.cmd.Stderr = os.Stderr
	c.cmd.Env = append(os.Environ(), crewEnv+"="+string(text))
	stdout, err := c.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.cmd.Start())
	t.Cleanup(c.kill)
	go func() {
		lines := bufio.NewScanner(stdout)
		c.ready <- lines.Scan() && lines.Text() == "ready"
		for lines.Scan() {
		}
		_ = c.cmd.Wait()
		close(c.ended)
	}()
	return c
}

// kill ends it by SIGKILL, and waits until it has.
func (c *crew) kill() {
	_ = c.cmd.Process.Kill() // it may have ended
	<-c.ended
}

// All replicas are killed, and 200 start at once: the marketplace sees two full
// refreshes at most, whether Redis still has the index or not.
func TestReplicasRestartAtOnce(t *testing.T) {
	for _, program := range redisPrograms {
		t.Run(filepath.Base(program), func(t *testing.T) {
			server := startRedis(t, program)
			market := openMarket(t, drillUsers, drillLatency)
			begin := func(name string, n int) (crews []*crew) {
				for i := range restartProcesses {
					first, next := n*i/restartProcesses, n*(i+1)/restartProcesses
					crews = append(crews, startCrew(t, crewOrder{
						Name: name, First: first, Count: next - first, Market: market.url, App: market.AppID(), Redis: server.addr,
					}))
				}
				for _, c := range crews {
					select {
					case ready := <-c.ready:
						require.True(t, ready, "it ended")
					case <-time.After(5 * patience):
						require.FailNow(t, "the replicas do not get ready")
					}
				}
				return crews
			}
			crews := begin("before", drillReplicas)
			for _, c := range []struct {
				name   string
				before func()
			}{
				{"with the index", func() {}},
				{"with nothing", func() { require.NoError(t, server.client.FlushAll(t.Context()).Err()) }},
			} {
				for _, c := range crews {
					c.kill()
				}
				c.before()
				begun := time.Now()
				crews = begin(c.name, restarts(t))
				refreshes := market.seen(begun)
				t.Logf("Redis %s: %d replicas were ready after %v, with %d full refreshes", c.name, restarts(t),
					time.Since(begun).Round(time.Millisecond), len(refreshes))
				assert.LessOrEqual(t, len(refreshes), 2, "%+v", refreshes)
			}
		})
	}
}
