package ledger

import (
	"bytes"
	"encoding/csv"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"
)

const rateFile = `Date,USD,JPY,XXX,
2026-04-13,1.1684,186.75,N/A,
2026-04-10,1.1711,186.43,5,
2026-04-09,1.1700,186.00,5,
`

func rates(t testing.TB) *Rates {
	t.Helper()
	r, err := ReadRates(strings.NewReader(rateFile))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func date(s string) time.Time {
	d, err := time.Parse(time.DateOnly, s)
	if err != nil {
		panic(err)
	}
	return d
}

func TestTheLastQuotationOfAWeekHolds(t *testing.T) {
	t.Parallel()
	r := rates(t)
	for _, c := range []struct{ from, to, day, quoted, value string }{
		{"EUR", "USD", "2026-04-13", "2026-04-13", "1.1684000000"},
		{"USD", "EUR", "2026-04-12", "2026-04-10", "0.8538980446"}, // a Sunday
		{"USD", "JPY", "2026-04-20", "2026-04-13", "159.8339609723"},
		{"USD", "USD", "1990-01-01", "1990-01-01", "1.0000000000"},
		{"EUR", "XXX", "2026-04-13", "2026-04-10", "5.0000000000"},
		{"EUR", "USD", "2026-04-21", "", ""}, // eight days old
		{"EUR", "USD", "2026-04-08", "", ""},
		{"EUR", "ZZZ", "2026-04-13", "", ""},
	} {
		got, ok := r.Rate(c.from, c.to, date(c.day))
		if ok != (c.quoted != "") || ok && (got.Day != c.quoted || got.Value.FloatString(10) != c.value) {
			t.Errorf("%s to %s on %s: got %+v, %v", c.from, c.to, c.day, got, ok)
		}
	}
}

// The file in testdata has the central bank's form and quotations that we made up.
// The bank's own is read too where it is at hand.
func TestTheCentralBanksFileIsRead(t *testing.T) {
	t.Parallel()
	const theirs = "../../../../shared/data/fx/eurofxref-hist.csv"
	want := map[string]string{"testdata/eurofxref-hist.csv": "1.2500"}
	if _, err := os.Stat(theirs); err == nil {
		want[theirs] = "1.1684"
	}
	for path, usd := range want {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		r, err := ReadRates(f)
		_ = f.Close()
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if got, ok := r.Rate("EUR", "USD", date("2026-04-13")); !ok || got.Value.FloatString(4) != usd {
			t.Errorf("%s: got %+v, %v", path, got, ok)
		}
		if got, ok := r.Rate("EUR", "BGN", date("2026-04-13")); ok {
			t.Errorf("%s: a currency that is quoted no more is worth %+v", path, got)
		}
	}
}

func TestHalvesAreRoundedToEven(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"0.005": "0.00", "0.015": "0.02", "0.025": "0.02", "0.0250001": "0.03", "-0.015": "-0.02", "-0.005": "0.00", "-0.0051": "-0.01", "1": "1.00"} {
		r, _ := new(big.Rat).SetString(in)
		if got := Round(r, 2).StringFixed(2); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

var portions = []Portion{
	{Day: date("2026-04-13"), Keys: []string{"acme", "=cmd()"}, Currency: "USD", Amount: dec("10.004"), Requests: 2, Input: 5},
	{Day: date("2026-04-10"), Keys: []string{"acme", "=cmd()"}, Currency: "USD", Amount: dec("10.004"), Requests: 1, Estimated: 1},
	{Day: date("2026-04-10"), Keys: []string{"acme", "<b>"}, Currency: "EUR", Amount: dec("0.125"), Requests: 1},
	{Day: date("2026-04-10"), Keys: []string{"acme", "<b>"}, Currency: "", Requests: 3, Unpriced: 3},
}

func statement(t testing.TB, currency string, in []Portion) *Statement {
	t.Helper()
	s := &Statement{From: "2026-04-01", To: "2026-05-01", AsOf: "2026-05-01", By: []string{"tenant", "team"}, Currency: currency}
	if err := s.Fill(in, rates(t)); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAStatementConvertsByDayAndRoundsEachRowOnce(t *testing.T) {
	t.Parallel()
	s := statement(t, "EUR", portions)
	var got []string
	for _, r := range s.Rows {
		got = append(got, strings.Join(r.Keys, " ")+" "+r.Exact.String()+r.Currency+" "+r.Settled.String()+r.Pays)
	}
	// 10.004/1.1684 + 10.004/1.1711 = 17.10453…
	want := []string{"acme <b> 0 0", "acme <b> 0.125EUR 0.12EUR", "acme =cmd() 20.008USD 17.1EUR"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(s.Totals) != 2 || s.Totals[0].Unpriced != 3 || !s.Totals[1].Amount.Equal(dec("17.22")) || len(s.Rates) != 2 {
		t.Errorf("totals %+v, rates %+v", s.Totals, s.Rates)
	}
	missing := &Statement{Currency: "ZZZ"}
	if err := missing.Fill(portions, rates(t)); err == nil {
		t.Error("a missing rate was taken for one")
	}
}

func TestAStatementMadeTwiceIsTheSame(t *testing.T) {
	t.Parallel()
	a := statement(t, "EUR", portions)
	backwards := []Portion{portions[3], portions[2], portions[1], portions[0]}
	if b := statement(t, "EUR", backwards); a.Digest != b.Digest || a.Digest == "" {
		t.Error("the order of what came in shows in the digest")
	}
	changed := append([]Portion{}, portions...)
	changed[0].Amount = changed[0].Amount.Add(dec("0.000000000001"))
	if b := statement(t, "EUR", changed); a.Digest == b.Digest {
		t.Error("the smallest change does not show in the digest")
	}
}

func TestLabelsDoNotBecomeFormulasOrMarkup(t *testing.T) {
	t.Parallel()
	s := statement(t, "", portions)
	var text, html bytes.Buffer
	if err := s.WriteCSV(&text); err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(&text).ReadAll()
	if err != nil || len(lines) != 4 || lines[3][1] != "'=cmd()" || lines[2][5] != "0.12" {
		t.Errorf("%q, %v", lines, err)
	}
	if err := s.WriteHTML(&html); err != nil {
		t.Fatal(err)
	}
	if out := html.String(); strings.Contains(out, "<b>") || !strings.Contains(out, "&lt;b&gt;") || !strings.Contains(out, s.Digest) || !strings.Contains(out, "20.01 USD") {
		t.Errorf("page:\n%s", out)
	}
}

func TestAnInvoiceIsReconciledByModelAndCurrency(t *testing.T) {
	t.Parallel()
	invoice, err := ReadInvoice(strings.NewReader("\ufeffAmount, model ,currency,input_tokens,note\n10.00,a,usd,100,x\n5,b,USD,,\n-1.5,c,USD,,refund\n0.00,d,USD,,\n"))
	if err != nil {
		t.Fatal(err)
	}
	got := Reconcile(invoice, []Booked{
		{Model: "a", Currency: "USD", Amount: dec("9.96"), Input: 90, Requests: 4},
		{Model: "b", Currency: "USD", Amount: dec("4"), Unpriced: 2},
		{Model: "e", Currency: "USD", Amount: dec("7")},
		{Model: "f", Currency: "USD", Amount: dec("0.001")},
		{Model: "d", Currency: "USD", Amount: decimal.Decimal{}},
	}, dec("0.5"))
	var lines []string
	for _, d := range got {
		lines = append(lines, d.Model+" "+string(d.Finding)+" "+d.Drift.String()+" "+d.Percent)
	}
	want := []string{"e not_invoiced -7 -100.00", "c not_booked -1.5 ", "b drifts 1 25.00", "a agrees 0.04 0.40", "f agrees -0.001 -100.00", "d agrees 0 "}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
	if got[3].InputDrift != 10 || got[2].InputDrift != 0 {
		t.Errorf("tokens: %+v", got[3])
	}
	for _, text := range []string{"", "model,amount\n", "model,currency,amount\na,USD,1e5\n", "model,currency,amount\na,DOLLAR,1\n", "model,currency,amount,input_tokens\na,USD,1,-1\n"} {
		if _, err := ReadInvoice(strings.NewReader(text)); err == nil {
			t.Errorf("%q was taken for an invoice", text)
		}
	}
}

func FuzzReadRates(f *testing.F) {
	f.Add([]byte(rateFile))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := ReadRates(bytes.NewReader(text))
		if err != nil {
			return
		}
		for name := range r.per {
			for _, day := range r.days {
				if rate, ok := r.Rate("EUR", name, date(day)); ok && rate.Value.Sign() <= 0 {
					t.Fatalf("%s on %s: %s", name, day, rate.Value)
				}
			}
		}
	})
}

func FuzzReadInvoice(f *testing.F) {
	f.Add([]byte("model,currency,amount,input_tokens\na,USD,1,2\n"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		if lines, err := ReadInvoice(bytes.NewReader(text)); err == nil {
			Reconcile(lines, nil, decimal.NewFromInt(1))
		}
	})
}
