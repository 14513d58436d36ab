package budget

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/shopspring/decimal"
)

// tape is a changelog that dies on demand, as a process does: before it keeps
// something or after, but before anybody hears of it.
type tape struct {
	changes []Change
	left    int  // appends until it dies; below 0: never
	kept    bool // whether the last one is kept
}

var errDied = errors.New("killed")

func (l *tape) Append(changes []Change) error {
	if l.left == 0 {
		if l.kept {
			l.changes = append(l.changes, changes...)
		}
		return errDied
	}
	l.left--
	l.changes = append(l.changes, changes...)
	return nil
}

// office is a budget whose owner is killed again and again. The next one is made from
// the changelog alone.
type office struct {
	t     *testing.T
	limit string

	mu    sync.Mutex
	tape  tape
	rng   *rand.Rand
	owner *Owner
	died  int
}

func newOffice(t *testing.T, limit string) *office {
	o := &office{t: t, limit: limit, rng: rand.New(rand.NewPCG(1, 2))}
	o.next()
	return o
}

func (o *office) next() {
	o.owner = owner(o.t, Hard, o.limit)
	if err := o.owner.Restore(o.tape.changes); err != nil {
		o.t.Error(err)
	}
	o.tape.left, o.tape.kept = 2+o.rng.IntN(400), o.rng.IntN(2) == 0
}

// ask asks until an owner lives long enough to answer.
func (o *office) ask(c Command) Change {
	for {
		o.mu.Lock()
		changes := o.owner.Handle(c)
		var kept []Change
		for _, c := range changes {
			if c.Seq > 0 {
				kept = append(kept, c)
			}
		}
		err := o.tape.Append(kept)
		if err != nil {
			o.died++
			o.next()
		}
		o.mu.Unlock()
		if err == nil {
			return changes[len(changes)-1]
		}
	}
}

// Eight workers, 10,000 requests at once, one budget, and an owner that is killed
// dozens of times: spending never exceeds the limit, nearly all of it can be used, and
// the ledger of what was really spent is what the owner believes.
func TestManyWorkersNeverExceedTheLimitWhileOwnersDie(t *testing.T) {
	t.Parallel()
	const workers, requests = 8, 10_000
	limit := "60"
	o := newOffice(t, limit)
	var work sync.WaitGroup
	var mu sync.Mutex
	var paid, worst decimal.Decimal
	refused := 0
	for w := range workers {
		for shard := range 16 { // calls in flight at once in one worker
			work.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(w), uint64(shard)))
				for n := shard; n < requests/workers; n += 16 {
					id := fmt.Sprintf("%d/%d", w, n)
					most := decimal.New(rng.Int64N(40_000)+1, -6) // up to 4 cents
					got := o.ask(Command{Budget: "b", Action: Reserve, ID: id, Amount: most, At: noon, TTL: time.Hour})
					if got.Decision == Refused {
						mu.Lock()
						refused++
						mu.Unlock()
						continue
					}
					cost := most.Mul(decimal.New(rng.Int64N(101), -2)) // at most what was reserved
					mu.Lock()
					paid = paid.Add(cost)
					worst = decimal.Max(worst, paid)
					mu.Unlock()
					o.ask(Command{Budget: "b", Action: Settle, ID: id, Amount: cost, At: noon})
				}
			})
		}
	}
	work.Wait()
	final := owner(t, Hard, limit)
	if err := final.Restore(o.tape.changes); err != nil {
		t.Fatal(err)
	}
	s, _ := final.Snapshot("b")
	if worst.GreaterThan(dec(limit)) {
		t.Errorf("%s was spent of %s", worst, limit)
	}
	if paid.LessThan(dec("57")) || refused == 0 {
		t.Errorf("only %s of %s could be used, %d refused: the test proves nothing", paid, limit, refused)
	}
	if !s.Spent.Equal(paid) || !s.Reserved.IsZero() || len(s.Open) > 0 {
		t.Errorf("the owner believes in %s spent and %s reserved; %s was spent", s.Spent, s.Reserved, paid)
	}
	if o.died < 10 {
		t.Errorf("only %d owners died", o.died)
	}
	t.Logf("%s of %s spent, %d of %d refused, %d owners died, %d changes", paid, limit, refused, requests, o.died, len(o.tape.changes))
}

// Calls that cost more than was reserved exceed the limit by the difference, for
// those in flight, and by no more.
func TestTheExcessIsWhatCallsCostBeyondTheirReservation(t *testing.T) {
	t.Parallel()
	o := owner(t, Hard, "10")
	var paid decimal.Decimal
	const flight = 10
	var open []string
	for n := 0; ; n++ {
		id := fmt.Sprint(n)
		if got := o.Handle(reserve(id, "0.7", noon)); got[0].Decision == Refused {
			break
		}
		if open = append(open, id); len(open) == flight {
			o.Handle(settle(open[0], "1", noon))
			paid, open = paid.Add(dec("1")), open[1:]
		}
	}
	for _, id := range open {
		o.Handle(settle(id, "1", noon))
		paid = paid.Add(dec("1"))
	}
	if bound := dec("10").Add(dec("0.3").Mul(decimal.NewFromInt(flight))); paid.GreaterThan(bound) || paid.LessThan(dec("9.5")) {
		t.Errorf("spent %s; the bound is %s", paid, bound)
	}
}

func TestTheEstimatorLearnsByKeyAndFallsBackToTheModel(t *testing.T) {
	t.Parallel()
	e, first := new(Estimator), dec("0.05")
	mine := Key{"k1", "gpt", "r", "USD"}
	if got := e.Estimate(mine, first); !got.Equal(dec("0.05")) {
		t.Errorf("unknown: %s", got)
	}
	for n := range 100 {
		e.Learn(Key{"k2", "gpt", "r", "USD"}, decimal.New(int64(n+1), -3))
	}
	if got := e.Estimate(mine, first); got.LessThan(dec("0.095")) || got.GreaterThan(dec("0.107")) {
		t.Errorf("from the route: %s, want 0.095 and at most an eighth more", got)
	}
	for range 100 {
		e.Learn(mine, dec("2"))
	}
	if got := e.Estimate(mine, first); got.LessThan(dec("2")) || got.GreaterThan(dec("2.25")) {
		t.Errorf("its own: %s", got)
	}
	for range 20_000 {
		e.Learn(mine, dec("0.001"))
	}
	if got := e.Estimate(mine, first); got.GreaterThan(dec("0.0012")) {
		t.Errorf("it does not forget: %s", got)
	}
	for _, s := range []string{"0", "-1", "0.000000000001", "1e30"} {
		e.Learn(Key{Model: "odd" + s}, dec(s)) // must not panic
	}
}

func BenchmarkHandle(b *testing.B) { // go test -bench Handle ./handlers/cost/budget
	o := owner(b, Hard, "1000000000")
	n := 0
	for b.Loop() {
		id := fmt.Sprint(n)
		o.Handle(reserve(id, "0.01", noon))
		o.Handle(settle(id, "0.01", noon))
		n++
	}
}
