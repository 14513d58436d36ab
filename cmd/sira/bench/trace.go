package bench

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// columns are the names that traces use for what a schedule needs: our own first,
// then those of the Azure LLM inference traces and of BurstGPT. Case is ignored.
var columns = [...][]string{
	{"at", "timestamp", "arrived_at"},
	{"input_tokens", "contexttokens", "request tokens", "num_prefill_tokens"},
	{"output_tokens", "generatedtokens", "response tokens", "num_decode_tokens"},
	{"model"},
}

// ReadTrace reads the arrivals of a CSV file with a header: when, how many tokens
// in, how many out, which model. Only the first is required. Moments are seconds
// or dates with a time; the first one is the start. Lines need not be in order.
func ReadTrace(r io.Reader) ([]Arrival, error) {
	in := csv.NewReader(r)
	in.ReuseRecord = true
	header, err := in.Read()
	if err != nil {
		return nil, fmt.Errorf("reading the trace's header: %w", err)
	}
	var at [len(columns)]int
	for i, names := range columns {
		at[i] = slices.IndexFunc(header, func(h string) bool {
			return slices.Contains(names, strings.ToLower(strings.TrimSpace(strings.TrimPrefix(h, "\ufeff"))))
		})
	}
	if at[0] < 0 {
		return nil, fmt.Errorf("the trace has no column of times: name one of its columns %s", strings.Join(columns[0], ", "))
	}
	var out []Arrival
	for {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading the trace: %w", err)
		}
		a, err := readArrival(row, at)
		if err != nil {
			line, _ := in.FieldPos(0)
			return nil, fmt.Errorf("reading the trace: line %d: %w", line, err)
		}
		if len(out) == maxArrivals {
			return nil, fmt.Errorf("reading the trace: it has more than %d requests; cut it", maxArrivals)
		}
		out = append(out, a)
	}
	return fromStart(out)
}

// fromStart orders arrivals by time and counts it from the first one.
func fromStart(out []Arrival) ([]Arrival, error) {
	if len(out) == 0 {
		return nil, errors.New("reading the trace: it has no requests")
	}
	slices.SortStableFunc(out, func(a, b Arrival) int { return int(min(max(a.At-b.At, -1), 1)) })
	first := out[0].At
	for i := range out {
		out[i].At -= first
	}
	return out, nil
}

func readArrival(row []string, at [len(columns)]int) (Arrival, error) {
	var a Arrival
	var err error
	if a.At, err = moment(strings.TrimSpace(row[at[0]])); err != nil {
		return a, err
	}
	for i, v := range []*int{&a.Input, &a.Output} {
		if at[i+1] < 0 {
			continue
		}
		text := strings.TrimSpace(row[at[i+1]])
		n, err := strconv.ParseFloat(text, 64) // some traces write 12.0
		if err != nil || n < 0 || n > 1e9 {
			return a, fmt.Errorf("%q is no number of tokens", text)
		}
		*v = int(n)
	}
	if at[3] >= 0 {
		a.Model = strings.Clone(strings.TrimSpace(row[at[3]]))
	}
	return a, nil
}

// maxMoment is a century: further away, times are not those of one trace.
const maxMoment = 100 * 365 * 24 * time.Hour

// moment reads seconds, or a date with a time.
func moment(s string) (time.Duration, error) {
	if seconds, err := strconv.ParseFloat(s, 64); err == nil {
		if !(seconds >= 0 && seconds <= maxMoment.Seconds()) {
			return 0, fmt.Errorf("%q is no number of seconds since a start", s)
		}
		return time.Duration(seconds * float64(time.Second)), nil
	}
	for _, layout := range []string{"2006-01-02 15:04:05.999999999", time.RFC3339Nano, "2006-01-02 15:04:05.999999999-07:00"} {
		if t, err := time.Parse(layout, s); err == nil {
			since := t.Sub(time.Unix(0, 0))
			if since < 0 || since > maxMoment {
				return 0, fmt.Errorf("%q is not within a century of 1970", s)
			}
			return since, nil
		}
	}
	return 0, fmt.Errorf("%q is no moment: write seconds, or a date and a time such as 2026-01-31 15:04:05.5", s)
}

// Compress makes a schedule speed times as fast and cuts it off at length, if that
// is not zero.
func Compress(in []Arrival, speed float64, length time.Duration) []Arrival {
	out := make([]Arrival, 0, len(in))
	for _, a := range in {
		a.At = time.Duration(float64(a.At) / speed)
		if length > 0 && a.At >= length {
			break
		}
		out = append(out, a)
	}
	return out
}
