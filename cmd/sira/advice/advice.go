// Package advice asks the tables where money could be saved. Each piece of advice
// is the answer to a query that can be read and run by hand: the query holds all of
// the reasoning.
package advice

import (
	"embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/handlers/cost"
)

//go:embed *.sql
var files embed.FS

// Kinds of queries, in the order of [Queries]. The query model also gives advice of
// the kind route: the same model at another provider.
var kinds = [...]string{"model", "cache", "prompt", "batch", "idle"}

// Kinds returns the names of all queries.
func Kinds() []string { return slices.Clone(kinds[:]) }

// Config is what advice is about.
type Config struct {
	From, To time.Time
	Tenant   string // empty: all
	IdleDays int    // since a key was last used
	Prices   []Price
	// Lanes are those on which requests may wait for a day, with the topic of each.
	Lanes map[string]string
}

// Price is what a provider asks for a model today.
type Price struct {
	Provider, Model, Currency string
	Top                       int64 // largest input, tokens; 0: any
	// Of one token; nil where the book does not say.
	Input, CacheRead, Output *decimal.Decimal
	Batch                    decimal.Decimal // share of the price; 1: no batches
}

// PriceOf turns the smallest band of a row of the book into a price under a
// provider's name. Batch is what the row says, if the vendor's batches can be used.
func PriceOf(provider string, r cost.PriceRow, batches bool) Price {
	p := Price{Provider: provider, Model: r.Model, Currency: r.Currency, Top: r.MaxInput, Batch: decimal.NewFromInt(1)}
	of := func(column string) *decimal.Decimal {
		d, ok := r.Prices[column]
		if !ok {
			return nil
		}
		d = d.DivRound(decimal.NewFromInt(max(1, r.Per)), 18)
		return &d
	}
	p.Input, p.CacheRead, p.Output = of("input"), of("cache_read"), of("output")
	if share, ok := r.Tiers["batch"]; ok && batches {
		p.Batch = share
	}
	return p
}

// Query is SQL whose rows are pieces of advice: kind, tenant, subject, instead,
// requests, currency, spent, saving, evidence. Saving is of the same period as
// spent.
type Query struct{ Name, SQL string }

// Queries returns the queries of some kinds, all without names.
func Queries(c Config, names ...string) ([]Query, error) {
	if len(names) == 0 {
		names = kinds[:]
	}
	var lanes, topics []string
	for lane, topic := range c.Lanes {
		lanes, topics = append(lanes, quoted(lane)), append(topics, quoted(topic))
	}
	slices.Sort(lanes)
	slices.Sort(topics)
	tenant := "1"
	if c.Tenant != "" {
		tenant = "tenant = " + quoted(c.Tenant)
	}
	days := "day >= " + day(c.From) + " AND day < " + day(c.To.Add(24*time.Hour-time.Nanosecond))
	fill := strings.NewReplacer(
		"{days_of_calls}", days, "{days}", days+" AND "+tenant, "{times}", "event_time >= "+second(c.From)+" AND event_time < "+second(c.To)+" AND "+tenant,
		"{today}", day(c.To), "{idle}", strconv.Itoa(c.IdleDays), "{tenant}", tenant, "{prices}", values(c.Prices),
		"{lanes}", orNone(lanes), "{topics}", orNone(topics),
	)
	var out []Query
	for _, name := range names {
		text, err := files.ReadFile(name + ".sql")
		if err != nil {
			return nil, fmt.Errorf("%q is no kind of advice: write %s", name, strings.Join(kinds[:], ", "))
		}
		out = append(out, Query{name, strings.TrimSpace(fill.Replace(string(text)))})
	}
	return out, nil
}

// values is the table of prices as a function of SQL.
func values(prices []Price) string {
	number := func(d *decimal.Decimal) string {
		if d == nil {
			return "NULL"
		}
		return quoted(d.String())
	}
	rows := []string{quoted("provider String, model String, currency String, top UInt64, input Nullable(Decimal(38, 18)), cache_read Nullable(Decimal(38, 18)), output Nullable(Decimal(38, 18)), batch Decimal(18, 6)")}
	for _, p := range prices {
		rows = append(rows, fmt.Sprintf("(%s, %s, %s, %d, %s, %s, %s, %s)", quoted(p.Provider), quoted(p.Model), quoted(p.Currency), p.Top, number(p.Input), number(p.CacheRead), number(p.Output), number(&p.Batch)))
	}
	if len(prices) == 0 {
		rows = append(rows, "('', '', '', 0, NULL, NULL, NULL, '1')") // without rows it is no table
	}
	return "values(" + strings.Join(rows, ",\n    ") + ")"
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "''"
	}
	return strings.Join(list, ", ")
}

func day(t time.Time) string { return "toDate('" + t.UTC().Format(time.DateOnly) + "')" }

func second(t time.Time) string { return "toDateTime('" + t.UTC().Format(time.DateTime) + "', 'UTC')" }

// quoted returns a text as a literal of SQL.
func quoted(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}
