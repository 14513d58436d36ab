// Package performance spreads calls at random, with more of them for endpoints
// that answer faster and more surely, within bounds.
package performance

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// Entry offers this balancer as kind "performance".
var Entry balance.Entry = catalog.Define("performance", Config{Latency: 1, Success: 4, Bound: 4, Every: balance.Duration(500 * time.Millisecond), Seed: 1}, New)

// Config says what performance is worth.
type Config struct {
	Latency float64          `json:"latency,omitempty"` // exponent of speed: 1, an endpoint twice as fast gets twice the calls; 0: speed is worth nothing
	Success float64          `json:"success,omitempty"` // exponent of the share of calls that succeed; 4
	Bound   float64          `json:"bound,omitempty"`   // how many times more, or fewer, calls than its weight says an endpoint may get; 4
	Every   balance.Duration `json:"every,omitempty"`   // how often performance is looked at; 500 ms
	Seed    uint64           `json:"seed,omitempty"`    // of the draws
}

// Validate reports what is wrong with c.
func (c *Config) Validate() error {
	for _, x := range []struct {
		name string
		x    float64
	}{{"latency", c.Latency}, {"success", c.Success}} {
		if !(x.x >= 0 && x.x <= 16) {
			return fmt.Errorf("%s is %v: write an exponent from 0 to 16, such as 1", x.name, x.x)
		}
	}
	if !(c.Bound >= 1 && c.Bound <= 100) {
		return fmt.Errorf("bound is %v: write a factor from 1 to 100, such as 4", c.Bound)
	}
	if c.Every <= 0 {
		return fmt.Errorf("every is %s: write a duration above 0, such as 500ms", c.Every)
	}
	return nil
}

// New returns the balancer. An endpoint is drawn with its live weight times its
// worth, which is (typical latency / its latency)^Latency x success^Success, held
// within 1/Bound and Bound; typical is the mean, by weight, of the logarithms. One
// without measurements is worth 1.
func New(c Config, _ catalog.Env) (balance.Balancer, error) {
	b := &balancer{config: c, draws: balance.NewDraws(c.Seed), began: time.Now()}
	b.worth.Store(new([]int64))
	return b, nil
}

// unit is the worth of a typical endpoint. It keeps sums of weight times worth
// within 64 bits: 10^8 x 10^2 x 10^3 for each of a million endpoints at most.
const unit = 1000

type balancer struct {
	config  Config
	draws   *balance.Draws
	lottery balance.Lottery
	began   time.Time
	worth   atomic.Pointer[[]int64] // by endpoint index, in units
	due     atomic.Int64            // when worth is to be found anew, nanoseconds since began

	mu  sync.Mutex // held while that is done
	all []*balance.Endpoint
}

// Watch learns of the endpoints to compare.
func (b *balancer) Watch(endpoints []*balance.Endpoint) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = endpoints
	b.due.Store(0)
}

// tries is how many endpoints are drawn before all of them are weighed.
const tries = 8

func (b *balancer) Pick(_ uint64, endpoints []*balance.Endpoint) *balance.Endpoint {
	if len(endpoints) == 1 {
		return endpoints[0]
	}
	if since := int64(time.Since(b.began)); since >= b.due.Load() && b.mu.TryLock() {
		b.assess(since)
		b.mu.Unlock()
	}
	worth := *b.worth.Load()
	for range tries {
		at, ticket := b.lottery.Draw(b.draws, len(endpoints))
		if e := endpoints[at]; b.lottery.Wins(ticket, weigh(e, worth)) {
			return e
		}
	}
	return b.among(endpoints, worth)
}

// among draws where a few weigh much more than the others. Weights that change
// meanwhile move the draw.
func (b *balancer) among(endpoints []*balance.Endpoint, worth []int64) *balance.Endpoint {
	var sum, heaviest int64
	for _, e := range endpoints {
		w := weigh(e, worth)
		sum += w
		heaviest = max(heaviest, w)
	}
	b.lottery.Reset(heaviest)
	at := int64(b.draws.Below(uint64(sum)))
	for _, e := range endpoints[:len(endpoints)-1] {
		if at -= weigh(e, worth); at < 0 {
			return e
		}
	}
	return endpoints[len(endpoints)-1]
}

func weigh(e *balance.Endpoint, worth []int64) int64 {
	if i := e.Index(); i < len(worth) {
		return e.LiveWeight() * worth[i]
	}
	return e.LiveWeight() * unit // it has just joined
}

// assess finds what every endpoint is worth. mu is held.
func (b *balancer) assess(since int64) {
	b.due.Store(since + int64(b.config.Every))
	now := time.Now().UnixNano()
	seen := make([]balance.Performance, len(b.all))
	var logs, weights float64
	size := 0
	for i, e := range b.all {
		seen[i] = e.Performance(now)
		size = max(size, e.Index()+1)
		if seen[i].Mean > 0 {
			w := float64(e.LiveWeight())
			logs += w * math.Log(float64(seen[i].Mean))
			weights += w
		}
	}
	worth := slices.Repeat([]int64{unit}, size)
	for i, e := range b.all {
		x := math.Pow(max(seen[i].Success, 0), b.config.Success)
		if seen[i].Mean > 0 {
			x *= math.Exp(b.config.Latency * (logs/weights - math.Log(float64(seen[i].Mean))))
		}
		x = min(max(x, 1/b.config.Bound), b.config.Bound)
		worth[e.Index()] = max(int64(math.Round(x*unit)), 1)
	}
	b.worth.Store(&worth)
}
