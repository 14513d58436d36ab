package integration

import (
	"fmt"
	"testing"
	"time"

	"github.com/shopspring/decimal"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/handlers/cost/budget/office"
	"github.com/sira-ai/sira/integration/kafkatest"
	"github.com/sira-ai/sira/schemas"
)

const (
	budgetLimit = "0.03"   // dollars: about 2,400 of the requests
	reservation = "0.0001" // more than a request can cost
)

func TestSpendersStayWithinTheirBudgetOnTheEmbeddedBroker(t *testing.T) {
	r := newRig(t)
	r.start("broker", "kafka,registry", nil)
	r.spendersStay()
}

func TestSpendersStayWithinTheirBudgetOnApacheKafka(t *testing.T) {
	r := newRig(t)
	r.Shared["kafka"].(Document)["brokers"] = kafkatest.Start(t, kafkatest.Options{}).Brokers()
	r.start("registry", "registry", nil)
	r.spendersStay()
}

// spendersStay: fifty spenders, three workers, one hard budget, and whoever owns it is killed with
// kill -9, twice, in the middle of it: the limit is exceeded by one reservation at
// most, what the owner believes is what was spent, and nothing stays set aside for
// those who died.
func (r *rig) spendersStay() {
	t := r.t
	t.Helper()
	r.Shared["budgets"] = []Document{{
		"id": "acme", "tenant": "acme", "limit": budgetLimit, "currency": "USD", "window": "month", "first_reservation": reservation,
	}}
	r.ready()
	r.start("clickhouse", "clickhouse", nil)
	r.start("recorder", "recorder", nil)
	r.start("simulator", "simulator", nil)
	r.simulate(fast())
	const n = 4000
	r.spend(n, 50)
	small := Document{"worker": Document{"concurrency": 17, "fixed_concurrency": true, "session_timeout": "6s"}}
	workers := map[string]*Process{}
	for _, name := range []string{"w0", "w1", "w2"} {
		workers[name] = r.start(name, "worker", small)
	}
	answered := r.answered()
	limit := decimal.RequireFromString(budgetLimit)
	for _, part := range []string{"0.25", "0.6"} {
		mark := limit.Mul(decimal.RequireFromString(part))
		var a office.Account
		r.until("spending of "+mark.String(), 3*time.Minute, func() bool { a = r.budget("acme"); return a.Spent.GreaterThanOrEqual(mark) })
		owner := workers[a.Owner]
		if owner == nil {
			t.Fatalf("the budget is owned by %q", a.Owner)
		}
		owner.Kill()
		left := r.budget("acme")
		t.Logf("%s is killed: %s spent, %s reserved by %d calls", a.Owner, left.Spent, left.Reserved, len(left.Open))
		r.until("another owner", time.Minute, func() bool { return r.budget("acme").Owner != a.Owner })
		r.again(owner)
	}
	r.until("all answers", 2*time.Minute, func() bool { return answered.Load() == n })
	failed := r.exactlyOnce(n)
	var a office.Account
	spent := r.spent()
	r.until("all that was reserved to come back", time.Minute, func() bool {
		a = r.budget("acme")
		return a.Reserved.IsZero() && len(a.Open) == 0 && a.Spent.Equal(spent)
	})
	if over := limit.Add(decimal.RequireFromString(reservation)); spent.GreaterThan(over) {
		t.Errorf("%s was spent of %s; one reservation more is the bound", spent, limit)
	}
	if spent.LessThan(limit.Mul(decimal.RequireFromString("0.95"))) || failed == 0 {
		t.Errorf("only %s of %s could be used, %d requests were refused", spent, limit, failed)
	}
	r.budgetRows(spent)
	t.Logf("%s of %s spent, %d of %d requests refused", spent, limit, failed, n)
}

// spend enqueues n requests of several spenders.
func (r *rig) spend(n, spenders int) {
	r.t.Helper()
	p, err := NewProducer(r.t.Context(), r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	defer p.Client.Close()
	first := new(kgo.FirstErrPromise)
	for i := range n {
		req := Request(fmt.Sprintf("r%d", i))
		req.Labels["key"] = fmt.Sprintf("k%d", i%spenders)
		rec, err := p.Record(req, i%2 == 0)
		if err != nil {
			r.t.Fatal(err)
		}
		p.Client.Produce(r.t.Context(), rec, first.Promise())
	}
	if err := p.Client.Flush(r.t.Context()); err != nil || first.Err() != nil {
		r.t.Fatal(err, first.Err())
	}
}

// budget returns how a budget stands, as its owner keeps it.
func (r *rig) budget(id string) office.Account {
	r.t.Helper()
	client := func(opts ...kgo.Opt) (*kgo.Client, error) { return r.cfg.Client().NewClient(nil, nil, opts...) }
	accounts, err := office.Read(r.t.Context(), client, r.cfg.BudgetTopics().State)
	if err != nil {
		r.t.Fatal(err)
	}
	return accounts[id]
}

// spent adds up the ledger. A refused request must not have been asked.
func (r *rig) spent() (sum decimal.Decimal) {
	r.t.Helper()
	codecs := r.codecs()
	r.each(app.TopicCosts, func(rec *kgo.Record) error {
		var e schemas.CostEvent
		if err := codecs.Cost.Decode(r.t.Context(), rec.Value, &e); err != nil {
			return fmt.Errorf("decoding cost: %w", err)
		}
		if e.Outcome == schemas.BudgetExceeded && (e.Attempts > 0 || !e.Amount.IsZero()) {
			r.t.Errorf("%s was refused after %d attempts for %s", e.RequestID, e.Attempts, e.Amount)
		}
		sum = sum.Add(e.Amount)
		return nil
	})
	return sum
}

// budgetRows compares the table with the ledger.
func (r *rig) budgetRows(spent decimal.Decimal) {
	r.t.Helper()
	conn, events := r.tables(), r.records(app.TopicBudgets)
	r.until("rows of all events", time.Minute, func() bool { return r.number(conn, "SELECT count() FROM budget_events") == events })
	var settled decimal.Decimal
	var gaps int64
	var warned uint64
	err := conn.QueryRow(r.t.Context(), `SELECT sumIf(amount, decision = 'settled'), max(seq) - count(), countIf(warning > 0) FROM budget_events`).Scan(&settled, &gaps, &warned)
	if err != nil {
		r.t.Fatal(err)
	}
	if !settled.Equal(spent) || gaps != 0 || warned != 2 {
		r.t.Errorf("rows say that %s was settled, with %d gaps and %d warnings; %s was spent", settled, gaps, warned, spent)
	}
}
