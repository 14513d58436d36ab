// Package cost says what each request cost: a book of dated prices, and the
// settle step that books every job with it. A price that the book does not have
// is unpriced, never zero, and is never derived from another price.
package cost

import (
	"context"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// Config is what a [Stage] works with.
type Config struct {
	Book          *Book  // nil knows no price
	ConfigVersion string // is written on every event
}

// Stage is the settle step that writes the cost event of every job, also of
// those that failed or cost nothing.
type Stage struct {
	book    *Book
	version string
}

// New returns the stage.
func New(cfg Config) *Stage {
	if cfg.Book == nil {
		cfg.Book = new(Book)
	}
	return &Stage{book: cfg.Book, version: cfg.ConfigVersion}
}

// Handle implements pipeline.Stage. It sets job.Cost and always returns nil.
//
// Each attempt that a provider bills is a line of its own: the answer, and every
// failed call whose usage is known, such as a broken stream. The event is only as
// certain as its least certain line: unpriced if one line is, else estimated if
// one is, else priced. Without lines it is none.
//
// Amounts of different currencies are not added up: the lines keep theirs, and
// the event is unpriced and without a currency.
func (s *Stage) Handle(_ context.Context, job *pipeline.Job) error {
	e := &schemas.CostEvent{
		ID: job.Origin.First, RequestID: job.Request.ID, Tenant: job.Request.Tenant, Labels: job.Request.Labels,
		Time: job.Completed, Op: job.Request.Operation(), Model: job.Request.Model, Outcome: job.Outcome(),
		State: schemas.CostNone, Attempts: len(job.Attempts), ConfigVersion: s.version,
	}
	if t := job.Answered; t != nil {
		e.Provider, e.ProviderModel, e.Region = t.Provider, t.Model, t.Region
	}
	for i := range job.Attempts {
		if a := &job.Attempts[i]; billed(a) {
			s.add(e, a, len(job.Attempts)-i)
		}
	}
	total(e)
	line := 0
	for i := range job.Attempts {
		if a := &job.Attempts[i]; billed(a) {
			e.Lines[line].Usage = kept(e, &a.Usage)
			line++
		}
	}
	job.Cost = e
	return nil
}

// kept returns the usage of a line as JSON, or nothing where the totals of the
// event say it all.
func kept(e *schemas.CostEvent, u *schemas.Usage) string {
	simple := u.CacheWrite1h == 0 && u.ReasoningTokens == 0 && u.Tier == "" && len(u.Details) == 0 && len(u.Units) == 0
	if len(e.Lines) == 1 && e.State != schemas.CostUnpriced && simple {
		return ""
	}
	all := *u
	all.Raw = nil
	b, err := all.AppendJSON(make([]byte, 0, 160))
	if err != nil { // it holds numbers and names only
		return ""
	}
	return string(b)
}

// billed reports whether a provider charges for the attempt. An answer without
// any word on its usage is billed too: how much is what nobody knows.
func billed(a *schemas.Attempt) bool {
	if a.Usage.Source == schemas.UsageNone {
		return false
	}
	return a.Outcome == schemas.OK || a.Usage.InputTokens != 0 || a.Usage.OutputTokens != 0 || len(a.Usage.Units) > 0
}

// add books one attempt; at most left lines are still to come.
func (s *Stage) add(e *schemas.CostEvent, a *schemas.Attempt, left int) {
	if e.Lines == nil {
		e.Lines = make([]schemas.CostLine, 0, left)
	}
	u := &a.Usage
	e.Lines = append(e.Lines, schemas.CostLine{
		Attempt: a.Number, Kind: schemas.LineFailedAttempt, Provider: a.Target.Provider, Model: a.Target.Model,
		State: schemas.CostUnpriced, InputTokens: u.InputTokens, OutputTokens: u.OutputTokens, UsageSource: u.Source,
	})
	l := &e.Lines[len(e.Lines)-1]
	if a.Outcome == schemas.OK {
		l.Kind = schemas.LineUsage
	}
	e.InputTokens += u.InputTokens
	e.CacheRead += u.CacheReadTokens
	e.CacheWrite += u.CacheWriteTokens
	e.OutputTokens += u.OutputTokens
	if u.Source == "" && u.InputTokens == 0 && u.OutputTokens == 0 && len(u.Units) == 0 {
		return
	}
	r := s.book.find(&a.Target, e.Time, u)
	if r == nil {
		return
	}
	amount, ok := r.amount(u)
	if !ok {
		return
	}
	l.Amount, l.Currency, l.PriceVersion = amount, r.currency, r.version
	l.State = schemas.CostEstimated
	if u.Source == schemas.UsageReported {
		l.State = schemas.CostPriced
	}
}

// total sums the lines up.
func total(e *schemas.CostEvent) { e.State, e.Amount, e.Currency = Total(e.Lines) }

// Total returns what the lines of an event come to. See [Stage.Handle].
func Total(lines []schemas.CostLine) (state schemas.CostState, amount decimal.Decimal, currency string) {
	var (
		sum                                decimal.Decimal
		unpriced, estimated, priced, mixed bool
	)
	for i := range lines {
		l := &lines[i]
		switch l.State {
		case schemas.CostUnpriced:
			unpriced = true
			continue
		case schemas.CostEstimated:
			estimated = true
		}
		if !priced {
			priced, sum, currency = true, l.Amount, l.Currency
			continue
		}
		mixed = mixed || l.Currency != currency
		sum = sum.Add(l.Amount)
	}
	switch {
	case mixed:
		return schemas.CostUnpriced, decimal.Decimal{}, ""
	case unpriced:
		return schemas.CostUnpriced, decimal.Decimal{}, currency
	case estimated:
		return schemas.CostEstimated, sum, currency
	case priced:
		return schemas.CostPriced, sum, currency
	}
	return schemas.CostNone, decimal.Decimal{}, ""
}
