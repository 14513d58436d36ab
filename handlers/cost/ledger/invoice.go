package ledger

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/shopspring/decimal"
)

// InvoiceLine is what a provider asks for the use of one model.
type InvoiceLine struct {
	Line     int    `json:"line"` // from 1
	Model    string `json:"model"`
	Currency string `json:"currency"`
	// Amount has at most twelve places.
	Amount decimal.Decimal `json:"amount"`
	Input  uint64          `json:"input_tokens,omitempty"`  // 0: not said
	Output uint64          `json:"output_tokens,omitempty"` // 0: not said
}

var money = regexp.MustCompile(`^-?[0-9]{1,20}(\.[0-9]{1,12})?$`)

// ReadInvoice reads an invoice: CSV with a header that names model, currency and
// amount and, if the provider says them, input_tokens and output_tokens, in any
// order. Other columns are ignored.
func ReadInvoice(r io.Reader) ([]InvoiceLine, error) {
	in := csv.NewReader(r)
	in.FieldsPerRecord = -1
	header, err := in.Read()
	if err != nil {
		return nil, fmt.Errorf("reading invoice: write CSV with the columns model, currency, amount: %w", err)
	}
	for i := range header {
		header[i] = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(header[i], "\ufeff")))
	}
	column := func(name string) int { return slices.Index(header, name) }
	for _, name := range []string{"model", "currency", "amount"} {
		if column(name) < 0 {
			return nil, fmt.Errorf("reading invoice: there is no column %s in %s", name, strings.Join(header, ", "))
		}
	}
	var out []InvoiceLine
	for n := 1; ; n++ {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading invoice: %w", err)
		}
		cell := func(name string) string {
			if i := column(name); i >= 0 && i < len(record) {
				return strings.TrimSpace(record[i])
			}
			return ""
		}
		l := InvoiceLine{Line: n, Model: cell("model"), Currency: strings.ToUpper(cell("currency"))}
		if !money.MatchString(cell("amount")) || len(l.Currency) != 3 {
			return nil, fmt.Errorf("reading invoice: line %d: write an amount such as 12.50 and a currency such as USD, not %q %q", n+1, cell("amount"), cell("currency"))
		}
		l.Amount = decimal.RequireFromString(cell("amount"))
		for name, to := range map[string]*uint64{"input_tokens": &l.Input, "output_tokens": &l.Output} {
			if s := cell(name); s != "" {
				if *to, err = strconv.ParseUint(s, 10, 64); err != nil {
					return nil, fmt.Errorf("reading invoice: line %d: %s: write a whole number, not %q", n+1, name, s)
				}
			}
		}
		out = append(out, l)
	}
}

// Booked is what the ledger has of one model.
type Booked struct {
	Model    string
	Currency string
	Amount   decimal.Decimal
	Requests uint64
	Unpriced uint64
	Input    uint64
	Output   uint64
}

// Finding says how ledger and invoice agree on a model.
type Finding string

// The findings.
const (
	Agrees      Finding = "agrees"       // within the tolerance
	Drifts      Finding = "drifts"       // beyond it
	NotInvoiced Finding = "not_invoiced" // only the ledger has it
	NotBooked   Finding = "not_booked"   // only the invoice has it
)

// Drift is a line of a reconciliation.
type Drift struct {
	Model    string          `json:"model"`
	Currency string          `json:"currency"`
	Finding  Finding         `json:"finding"`
	Invoiced decimal.Decimal `json:"invoiced"`
	Booked   decimal.Decimal `json:"booked"`
	Drift    decimal.Decimal `json:"drift"` // invoiced less booked, exact
	// Percent is the drift of what was booked, two places; empty where nothing was.
	Percent       string `json:"percent,omitempty"`
	Unpriced      uint64 `json:"unpriced"` // requests that may explain it
	InputDrift    int64  `json:"input_tokens_drift,omitempty"`
	OutputDrift   int64  `json:"output_tokens_drift,omitempty"`
	tokensInvoice bool
}

// Reconcile compares an invoice with the ledger, by model and currency. Amounts
// that differ by at most tolerance percent of the invoice, or by less than half a
// cent, agree.
func Reconcile(invoice []InvoiceLine, booked []Booked, tolerance decimal.Decimal) []Drift {
	type key struct{ model, currency string }
	found := make(map[key]*Drift)
	of := func(model, currency string) *Drift {
		k := key{model, currency}
		if found[k] == nil {
			found[k] = &Drift{Model: model, Currency: currency}
		}
		return found[k]
	}
	for _, l := range invoice {
		d := of(l.Model, l.Currency)
		d.Invoiced = d.Invoiced.Add(l.Amount)
		d.InputDrift, d.OutputDrift = d.InputDrift+int64(l.Input), d.OutputDrift+int64(l.Output)
		d.tokensInvoice = d.tokensInvoice || l.Input+l.Output > 0
		d.Finding = NotBooked
	}
	for _, b := range booked {
		d := of(b.Model, b.Currency)
		d.Booked, d.Unpriced = d.Booked.Add(b.Amount), d.Unpriced+b.Unpriced
		d.InputDrift, d.OutputDrift = d.InputDrift-int64(b.Input), d.OutputDrift-int64(b.Output)
		switch d.Finding {
		case "":
			d.Finding = NotInvoiced
		case NotBooked:
			d.Finding = Drifts
		}
	}
	out := make([]Drift, 0, len(found))
	for _, d := range found {
		d.judge(tolerance)
		out = append(out, *d)
	}
	slices.SortFunc(out, func(a, b Drift) int {
		if c := b.Drift.Abs().Cmp(a.Drift.Abs()); c != 0 {
			return c
		}
		return strings.Compare(a.Model+a.Currency, b.Model+b.Currency)
	})
	return out
}

func (d *Drift) judge(tolerance decimal.Decimal) {
	d.Drift = d.Invoiced.Sub(d.Booked)
	if !d.tokensInvoice {
		d.InputDrift, d.OutputDrift = 0, 0
	}
	hundred := decimal.NewFromInt(100)
	if !d.Booked.IsZero() {
		d.Percent = d.Drift.Mul(hundred).DivRound(d.Booked, 2).StringFixed(2)
	}
	near := d.Drift.Abs().LessThan(decimal.New(5, -3)) || d.Drift.Abs().Mul(hundred).LessThanOrEqual(d.Invoiced.Abs().Mul(tolerance))
	if d.Finding == Drifts && near || d.Finding == NotInvoiced && d.Booked.LessThan(decimal.New(5, -3)) && d.Unpriced == 0 {
		d.Finding = Agrees
	}
}
