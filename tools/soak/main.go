// Command soak runs the example under load while a fake marketplace fails in
// every way that it can be, and checks each answer by what the marketplace had
// said:
//
//	go run ./tools/soak -for 20s
//
// It exits with 1, and says what is needed to see it again, if anybody was let
// in or refused wrongly, or if the example printed, answered or grew as it must
// not. docs/soak.md says what it checks. A seed makes the same faults and
// changes come in the same order, but not at the same moments between the
// requests.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// A plan is what the flags say.
type plan struct {
	length  time.Duration
	seed    uint64
	users   int
	clients int
	bundle  int
	race    bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:]))
}

func run(ctx context.Context, args []string) int {
	var p plan
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	flags.DurationVar(&p.length, "for", 20*time.Second, "how long the load lasts, from 5s")
	flags.Uint64Var(&p.seed, "seed", 0, "of what is random; 0 takes one from the clock")
	flags.IntVar(&p.users, "users", 6000, "how many users there are, from 100")
	flags.IntVar(&p.clients, "clients", 8*runtime.GOMAXPROCS(0), "how many connections ask at once")
	flags.IntVar(&p.bundle, "bundle", 32, "how many requests are under way on each")
	flags.BoolVar(&p.race, "race", false, "build the example with the race detector")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if p.length < 5*time.Second || p.users < 100 || p.clients < 1 || p.bundle < 1 || flags.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "soak: -for from 5s, -users from 100, -clients and -bundle from 1, and nothing else")
		return 2
	}
	if p.seed == 0 {
		p.seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	fmt.Printf("soak: seed %d, for %v\n", p.seed, p.length)
	s := newSoak(p)
	if err := s.run(ctx); err != nil {
		s.report("%v", err)
	}
	if ctx.Err() != nil {
		s.report("%v", errors.New("interrupted"))
	}
	s.summarize(os.Stdout)
	return s.exitCode(os.Stdout)
}

// random returns the n-th source of randomness of this seed.
func (p plan) random(n uint64) *rand.Rand { return rand.New(rand.NewPCG(p.seed, n)) }
