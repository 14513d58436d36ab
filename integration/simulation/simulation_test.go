package simulation

import (
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
)

// seeds is how many worlds are tried, and which is the first: `make simulate
// SEEDS=200 FIRST=1`.
func seeds(t *testing.T) (first, n uint64) {
	t.Helper()
	number := func(name string, otherwise uint64) uint64 {
		s := os.Getenv(name)
		if s == "" {
			return otherwise
		}
		v, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return v
	}
	return number("SIRA_FIRST", 1), number("SIRA_SEEDS", 3)
}

// Every request gets one result and one cost, requests of a key are worked on in
// order, and workers end when they are asked to, whatever happens.
func TestNothingIsLostDoubledOrStuckInAnyWorld(t *testing.T) {
	first, n := seeds(t)
	for seed := first; seed < first+n; seed++ {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			began, dir := time.Now(), t.TempDir()
			defer standstill(seed).Stop()
			var virtual time.Duration
			synctest.Test(t, func(t *testing.T) {
				log := zap.NewNop()
				if testing.Verbose() && n == 1 {
					log = zaptest.NewLogger(t)
				}
				cfg := Config{Seed: seed}
				if seed%2 == 0 {
					cfg.Dir = dir
				}
				out, err := Run(t.Context(), cfg, log)
				if err != nil {
					story := ""
					if out != nil {
						story = strings.Join(out.History, "\n")
					}
					t.Fatalf("seed %d: %v\n%s\nrun it again with: make simulate SEEDS=1 FIRST=%d", seed, err, story, seed)
				}
				virtual = out.Took
				if wrong := out.wrong(1200); len(wrong) > 0 {
					t.Errorf("seed %d: %s\n%s\nrun it again with: make simulate SEEDS=1 FIRST=%d",
						seed, strings.Join(wrong, "\n"), strings.Join(out.History, "\n"), seed)
				}
			})
			t.Logf("%s of virtual time in %s", virtual.Round(time.Second), time.Since(began).Round(time.Millisecond))
		})
		if t.Failed() {
			return // the first seed is enough, and its story long
		}
	}
}

// standstill ends the program with the stacks of all goroutines if a world takes
// minutes of real time for what takes a second: virtual time stands still while a
// goroutine waits for a lock, and for ever if the lock's holder waits for time.
func standstill(seed uint64) *time.Timer {
	return time.AfterFunc(2*time.Minute, func() {
		debug.SetTraceback("all")
		panic(fmt.Sprintf("seed %d: virtual time stands still; run it again with: make simulate SEEDS=1 FIRST=%d", seed, seed))
	})
}

// wrong says which promises were broken.
func (o *Outcome) wrong(requests int) []string {
	var out []string
	for i := range requests {
		if n := o.Results[id(i)]; n != 1 {
			out = append(out, fmt.Sprintf("%s has %d results: %s", id(i), n, strings.Join(o.Places[id(i)], ", ")))
		}
		if n := o.Costs[id(i)]; n != 1 {
			out = append(out, fmt.Sprintf("%s has %d costs", id(i), n))
		}
	}
	for what, seen := range map[string]map[string]int{"results": o.Results, "costs": o.Costs} {
		if len(seen) > requests {
			out = append(out, fmt.Sprintf("%d different requests have %s", len(seen), what))
		}
	}
	for key, numbers := range o.Order {
		// A call may be made again, but none before an earlier one of its key.
		highest := -1
		for _, n := range numbers {
			if n > highest && highest >= 0 && !slices.Contains(numbers[:slices.Index(numbers, n)], n-36) {
				out = append(out, fmt.Sprintf("%s: %d was worked on before %d", key, n, n-36))
			}
			highest = max(highest, n)
		}
	}
	return out
}
