package ledger

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

// Rates are dated exchange rates against the euro. They do not change and are safe
// for concurrent use.
type Rates struct {
	days []string                     // sorted
	per  map[string][]decimal.Decimal // by currency: units for one euro on each day; zero: not quoted
}

// euro is what the rates of the European Central Bank are for.
const euro = "EUR"

// maxRateAge is how many days back a quotation holds: weekends and holidays have
// none.
const maxRateAge = 7

var quotation = regexp.MustCompile(`^[0-9]{1,12}(\.[0-9]{1,12})?$`)

// ReadRates reads the reference rates of the European Central Bank (eurofxref-hist.csv):
// a header Date,USD,JPY,… and a line for each day with units per euro, N/A where
// there is none.
func ReadRates(r io.Reader) (*Rates, error) {
	in := csv.NewReader(r)
	in.FieldsPerRecord = -1
	header, err := in.Read()
	if err != nil || len(header) < 2 || header[0] != "Date" {
		return nil, errors.New("reading exchange rates: the first line must be Date and currencies, such as Date,USD,JPY")
	}
	type line struct {
		day   string
		units []decimal.Decimal
	}
	var lines []line
	for n := 2; ; n++ {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading exchange rates: %w", err)
		}
		if _, err := time.Parse(time.DateOnly, record[0]); err != nil {
			return nil, fmt.Errorf("reading exchange rates: line %d: write a day such as 2026-01-31, not %q", n, record[0])
		}
		l := line{record[0], make([]decimal.Decimal, len(header))}
		for i := 1; i < min(len(record), len(header)); i++ {
			if quotation.MatchString(record[i]) {
				l.units[i] = decimal.RequireFromString(record[i])
			}
		}
		lines = append(lines, l)
	}
	slices.SortFunc(lines, func(a, b line) int { return strings.Compare(a.day, b.day) })
	out := &Rates{per: make(map[string][]decimal.Decimal, len(header))}
	for _, l := range lines {
		out.days = append(out.days, l.day)
		for i, name := range header {
			if i > 0 && name != "" {
				out.per[name] = append(out.per[name], l.units[i])
			}
		}
	}
	return out, nil
}

// Rate is what one unit of a currency was worth in another.
type Rate struct {
	Day   string   // of the quotation
	Value *big.Rat // exact
}

// Rate returns the rate of a day, or the last one quoted at most seven days
// before. It reports false where there is none.
func (r *Rates) Rate(from, to string, day time.Time) (Rate, bool) {
	want := day.UTC().Format(time.DateOnly)
	if from == to {
		return Rate{want, big.NewRat(1, 1)}, true
	}
	if r == nil {
		return Rate{}, false
	}
	oldest := day.UTC().AddDate(0, 0, -maxRateAge).Format(time.DateOnly)
	i, found := slices.BinarySearch(r.days, want)
	if !found {
		i--
	}
	for ; i >= 0 && r.days[i] >= oldest; i-- {
		a, b := r.units(from, i), r.units(to, i)
		if a.IsPositive() && b.IsPositive() {
			return Rate{r.days[i], new(big.Rat).Quo(b.Rat(), a.Rat())}, true
		}
	}
	return Rate{}, false
}

func (r *Rates) units(currency string, day int) decimal.Decimal {
	if currency == euro {
		return decimal.NewFromInt(1)
	}
	if list := r.per[currency]; day < len(list) {
		return list[day]
	}
	return decimal.Decimal{}
}

// Places returns the decimal places that a currency is paid with (ISO 4217).
func Places(currency string) int32 {
	switch currency {
	case "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF":
		return 0
	case "BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND":
		return 3
	}
	return 2
}

// Round returns an exact amount with so many places, half to even.
func Round(amount *big.Rat, places int32) decimal.Decimal {
	scaled := new(big.Rat).Mul(amount, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(places)), nil)))
	q, rest := new(big.Int).QuoRem(scaled.Num(), scaled.Denom(), new(big.Int))
	twice := new(big.Int).Mul(rest.Abs(rest), big.NewInt(2))
	if c := twice.Cmp(scaled.Denom()); c > 0 || c == 0 && q.Bit(0) == 1 {
		q.Add(q, big.NewInt(int64(scaled.Sign())))
	}
	return decimal.NewFromBigInt(q, -places)
}
