package ledger

import (
	"crypto/sha256"
	_ "embed" // the page of a statement
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

// Portion is what one group of costs came to on one day, in one currency.
type Portion struct {
	Day       time.Time
	Keys      []string // values of the dimensions
	Currency  string
	Amount    decimal.Decimal
	Requests  uint64
	Estimated uint64
	Unpriced  uint64
	Input     uint64
	Output    uint64
}

// Span is a range of offsets of one partition that entries came from.
type Span struct {
	Topic     string `json:"topic"`
	Partition uint32 `json:"partition"`
	First     uint64 `json:"first"`
	Last      uint64 `json:"last"`
	Entries   uint64 `json:"entries"`
}

// Statement says what somebody has to pay for a period. It holds all that is
// needed to make it again: made twice from the same sources, it is the same to the
// last byte.
type Statement struct {
	Tenant   string          `json:"tenant,omitempty"` // empty: all
	From     string          `json:"from"`             // first day, UTC
	To       string          `json:"to"`               // day after the last
	AsOf     string          `json:"as_of"`            // adjustments booked until then are in it
	By       []string        `json:"by"`               // dimensions
	Currency string          `json:"currency"`         // of settlement; empty: each in its own
	Rounding string          `json:"rounding"`
	Rows     []StatementRow  `json:"rows"`
	Totals   []StatementSum  `json:"totals"`
	Rates    []StatementRate `json:"rates,omitempty"`
	Sources  []Span          `json:"sources"`
	Digest   string          `json:"digest"` // SHA-256 of all above, hex
}

// StatementRow is one line.
type StatementRow struct {
	Keys      []string        `json:"keys"`
	Currency  string          `json:"currency"` // of Exact
	Exact     decimal.Decimal `json:"exact"`    // as booked, twelve places
	Settled   decimal.Decimal `json:"settled"`  // in the currency of settlement, rounded once
	Pays      string          `json:"pays"`     // currency of Settled
	Requests  uint64          `json:"requests"`
	Estimated uint64          `json:"estimated"`
	Unpriced  uint64          `json:"unpriced"` // unknown, not zero
	Input     uint64          `json:"input_tokens"`
	Output    uint64          `json:"output_tokens"`
}

// StatementSum is what all lines of a currency come to: the sum of the rounded
// lines, so that a reader can add them up.
type StatementSum struct {
	Currency string          `json:"currency"`
	Amount   decimal.Decimal `json:"amount"`
	Unpriced uint64          `json:"unpriced"`
}

// StatementRate is an exchange rate that was used, with ten significant places for
// people; the computing is exact.
type StatementRate struct {
	From  string `json:"from"`
	To    string `json:"to"`
	Used  string `json:"used"`   // day that was converted
	Day   string `json:"quoted"` // day of the quotation
	Value string `json:"value"`
}

// Fill adds up portions into rows. Amounts are converted with the rate of each
// day, added up exactly, and rounded once for each row. It fails where a rate is
// missing.
func (s *Statement) Fill(portions []Portion, rates *Rates) error {
	type key struct{ keys, currency string }
	exact := make(map[key]*big.Rat)
	rows := make(map[key]*StatementRow)
	used := make(map[StatementRate]bool)
	for i := range portions {
		p := &portions[i]
		k := key{strings.Join(p.Keys, "\x00"), p.Currency}
		row := rows[k]
		if row == nil {
			row = &StatementRow{Keys: p.Keys, Currency: p.Currency, Pays: pays(s.Currency, p.Currency)}
			rows[k], exact[k] = row, new(big.Rat)
		}
		row.Exact = row.Exact.Add(p.Amount)
		row.Requests, row.Estimated, row.Unpriced = row.Requests+p.Requests, row.Estimated+p.Estimated, row.Unpriced+p.Unpriced
		row.Input, row.Output = row.Input+p.Input, row.Output+p.Output
		if p.Amount.IsZero() {
			continue
		}
		rate, ok := rates.Rate(p.Currency, row.Pays, p.Day)
		if !ok {
			return fmt.Errorf("no exchange rate from %s to %s for %s: give a newer file of rates", p.Currency, row.Pays, p.Day.Format(time.DateOnly))
		}
		exact[k].Add(exact[k], new(big.Rat).Mul(p.Amount.Rat(), rate.Value))
		if p.Currency != row.Pays {
			used[StatementRate{p.Currency, row.Pays, p.Day.UTC().Format(time.DateOnly), rate.Day, rate.Value.FloatString(10)}] = true
		}
	}
	s.Rows = s.Rows[:0]
	for k, row := range rows {
		row.Settled = Round(exact[k], Places(row.Pays))
		s.Rows = append(s.Rows, *row)
	}
	slices.SortFunc(s.Rows, func(a, b StatementRow) int {
		if c := slices.Compare(a.Keys, b.Keys); c != 0 {
			return c
		}
		return strings.Compare(a.Currency, b.Currency)
	})
	for r := range used {
		s.Rates = append(s.Rates, r)
	}
	slices.SortFunc(s.Rates, func(a, b StatementRate) int {
		return strings.Compare(a.Used+a.From+a.To, b.Used+b.From+b.To)
	})
	s.Rounding = "half to even, once for each row, to the currency's smallest coin; totals add up rounded rows"
	s.total()
	s.Digest = ""
	sum := sha256.New()
	if err := json.NewEncoder(sum).Encode(s); err != nil {
		return fmt.Errorf("computing digest: %w", err)
	}
	s.Digest = hex.EncodeToString(sum.Sum(nil))
	return nil
}

// pays returns the currency that an amount is settled in.
func pays(settlement, own string) string {
	if settlement == "" || own == "" {
		return own
	}
	return settlement
}

func (s *Statement) total() {
	s.Totals = s.Totals[:0]
	for _, r := range s.Rows {
		i := slices.IndexFunc(s.Totals, func(t StatementSum) bool { return t.Currency == r.Pays })
		if i < 0 {
			i = len(s.Totals)
			s.Totals = append(s.Totals, StatementSum{Currency: r.Pays})
		}
		s.Totals[i].Amount = s.Totals[i].Amount.Add(r.Settled)
		s.Totals[i].Unpriced += r.Unpriced
	}
	slices.SortFunc(s.Totals, func(a, b StatementSum) int { return strings.Compare(a.Currency, b.Currency) })
}

// WriteCSV writes a line for each row, with a header.
func (s *Statement) WriteCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	header := slices.Concat(s.By, []string{"currency", "exact", "pays", "settled", "requests", "estimated", "unpriced", "input_tokens", "output_tokens"})
	_ = out.Write(header) // an error stays until Flush
	for _, r := range s.Rows {
		cells := make([]string, 0, len(header))
		for _, k := range r.Keys {
			cells = append(cells, harmless(k))
		}
		cells = append(cells, r.Currency, r.Exact.String(), r.Pays, r.Settled.StringFixed(Places(r.Pays)))
		for _, n := range []uint64{r.Requests, r.Estimated, r.Unpriced, r.Input, r.Output} {
			cells = append(cells, strconv.FormatUint(n, 10))
		}
		_ = out.Write(cells)
	}
	out.Flush()
	return out.Error()
}

// harmless keeps a spreadsheet from taking a label for a formula.
func harmless(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

//go:embed statement.html
var page string

// WriteHTML writes a page that prints well and needs nothing else.
func (s *Statement) WriteHTML(w io.Writer) error {
	t, err := template.New("statement").Funcs(template.FuncMap{
		"paid": func(d decimal.Decimal, currency string) string { return d.StringFixed(Places(currency)) },
	}).Parse(page)
	if err != nil {
		return fmt.Errorf("reading page of statements: %w", err)
	}
	return t.Execute(w, s)
}
