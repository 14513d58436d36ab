package replay

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Arrival is one request of a trace.
type Arrival struct {
	At     time.Duration // since the first
	Input  int           // tokens
	Output int           // tokens
	Model  string        // "": the one that is replayed
	Tenant string        // "": one tenant
}

// maxLine and maxTokens bound what a trace may hold.
const (
	maxLine   = 1 << 20
	maxTokens = 10_000_000
)

// columns are names that traces give to what is needed, in lower case: those of
// Azure/AzurePublicDataset, of HPMLL/BurstGPT and plain ones.
var columns = map[string]string{
	"timestamp": "time", "time": "time", "at": "time",
	"contexttokens": "input", "request tokens": "input", "input_tokens": "input", "input": "input",
	"generatedtokens": "output", "response tokens": "output", "output_tokens": "output", "output": "output",
	"model": "model", "tenant": "tenant",
}

// ReadTrace reads a trace of requests: CSV with a header, or JSON objects one a
// line, with time (seconds or a date), input_tokens and output_tokens, and perhaps
// model and tenant. At most limit requests are read; 0: all. Arrivals are returned
// in the order of time, the first at 0.
func ReadTrace(r io.Reader, limit int) ([]Arrival, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	first, err := b.Peek(1)
	if err != nil {
		return nil, errors.New("the trace is empty")
	}
	var rows []row
	if first[0] == '{' {
		rows, err = readJSON(b, limit)
	} else {
		rows, err = readCSV(b, limit)
	}
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, errors.New("the trace has no request")
	}
	slices.SortStableFunc(rows, func(a, b row) int { return a.at.Compare(b.at) })
	out := make([]Arrival, len(rows))
	for i, r := range rows {
		out[i] = r.Arrival
		out[i].At = r.at.Sub(rows[0].at)
	}
	return out, nil
}

type row struct {
	Arrival
	at time.Time
}

func readCSV(r io.Reader, limit int) ([]row, error) {
	c := csv.NewReader(r)
	c.ReuseRecord, c.FieldsPerRecord = true, -1
	header, err := c.Read()
	if err != nil {
		return nil, fmt.Errorf("reading the header: %w", err)
	}
	place := make([]string, len(header))
	for i, name := range header {
		place[i] = columns[strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\ufeff")))]
	}
	for _, need := range []string{"time", "input", "output"} {
		if !slices.Contains(place, need) {
			return nil, fmt.Errorf("the header has no column for %s: name it time, input_tokens and output_tokens", need)
		}
	}
	var rows []row
	for limit == 0 || len(rows) < limit {
		fields, err := c.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading request %d: %w", len(rows)+1, err)
		}
		var one row
		for i := range min(len(fields), len(place)) {
			if err := one.set(place[i], fields[i]); err != nil {
				return nil, fmt.Errorf("reading request %d: %w", len(rows)+1, err)
			}
		}
		rows = append(rows, one)
	}
	return rows, nil
}

func readJSON(r io.Reader, limit int) ([]row, error) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxLine)
	var rows []row
	for s.Scan() && (limit == 0 || len(rows) < limit) {
		line := bytes.TrimSpace(s.Bytes())
		if len(line) == 0 {
			continue
		}
		var fields map[string]any
		d := json.NewDecoder(bytes.NewReader(line))
		d.UseNumber()
		if err := d.Decode(&fields); err != nil {
			return nil, fmt.Errorf("reading request %d: %w", len(rows)+1, err)
		}
		var one row
		for name, v := range fields {
			if err := one.set(columns[strings.ToLower(name)], fmt.Sprint(v)); err != nil {
				return nil, fmt.Errorf("reading request %d: %w", len(rows)+1, err)
			}
		}
		if one.at.IsZero() {
			return nil, fmt.Errorf("reading request %d: it has no time", len(rows)+1)
		}
		rows = append(rows, one)
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("reading the trace: %w", err)
	}
	return rows, nil
}

func (r *row) set(what, text string) (err error) {
	switch what {
	case "time":
		r.at, err = parseTime(text)
	case "input":
		r.Input, err = parseTokens(text)
	case "output":
		r.Output, err = parseTokens(text)
	case "model":
		r.Model = text
	case "tenant":
		r.Tenant = text
	}
	return err
}

func parseTokens(text string) (int, error) {
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || !(n >= 0 && n <= maxTokens) {
		return 0, fmt.Errorf("%q is no number of tokens", text)
	}
	return int(n), nil
}

// parseTime reads seconds or a date; seconds count from the year 1970.
func parseTime(text string) (time.Time, error) {
	text = strings.TrimSpace(text)
	if s, err := strconv.ParseFloat(text, 64); err == nil && math.Abs(s) < 1e11 {
		return time.Unix(0, 0).Add(time.Duration(math.Mod(s, 9e9) * float64(time.Second))), nil
	}
	for _, layout := range []string{"2006-01-02 15:04:05.999999999", time.RFC3339Nano} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time: write seconds, or 2026-11-23T14:30:00Z", text)
}
