package kafka

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

func headerOf(r pipeline.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// A record that came compressed unpacked to more than a record of ours may have. Its
// dead letter was refused by the broker, again and again, and the lane stood still.
func TestADeadLetterOfAnySizeFits(t *testing.T) {
	t.Parallel()
	d, blobs := newDeliverer(t)
	j := failing(schemas.InvalidRequest)
	j.Dead = &pipeline.Dead{Reason: schemas.DeadUndecodable, Detail: "broken"}
	value := bytes.Repeat([]byte("x"), 20<<20)
	src := &j.Origin.Record
	src.Value, src.Key = value, bytes.Repeat([]byte("k"), 1<<20)
	src.Headers = []pipeline.Header{{Key: "small", Value: []byte("kept")}, {Key: "large", Value: bytes.Repeat([]byte("h"), 1<<20)}}
	for range 10_000 {
		src.Headers = append(src.Headers, pipeline.Header{Key: "many", Value: []byte("small as well, and too many")})
	}
	_, byTopic := outputs(t, d, j)
	if len(byTopic["dead"]) != 1 {
		t.Fatalf("%d dead letters", len(byTopic["dead"]))
	}
	letter := byTopic["dead"][0]
	if got := blobs[headerOf(letter, schemas.HeaderDataRef)]; !bytes.Equal(got, value) {
		t.Errorf("%d bytes are kept by reference, want the value of %d", len(got), len(value))
	}
	if letter.Key != nil || letter.Value != nil || headerOf(letter, "small") != "kept" || headerOf(letter, "large") != "" {
		t.Errorf("key of %d bytes, value of %d, headers %d", len(letter.Key), len(letter.Value), len(letter.Headers))
	}
	if said := headerOf(letter, schemas.HeaderDeadOmitted); !strings.HasSuffix(said, "headers, key") {
		t.Errorf("the letter says that %q was left out", said)
	}
}

// What a requester or a vendor says in megabytes must not hold up the lane either:
// the job ends as one that the gateway can't handle.
func TestAnOutcomeThatNoBrokerTakesIsHopeless(t *testing.T) {
	t.Parallel()
	d, _ := newDeliverer(t)
	j := job()
	j.Attempts[0].VendorCode = strings.Repeat("v", 2<<20)
	if _, err := d.Outputs(t.Context(), j); !errors.Is(err, pipeline.ErrHopeless) {
		t.Errorf("an attempt of 2 MiB: %v", err)
	}
	late := job() // a year that JSON can't write
	late.Origin.JSON, late.Created = true, time.Date(20_000, 1, 1, 0, 0, 0, 0, time.UTC)
	if _, err := d.Outputs(t.Context(), late); !errors.Is(err, pipeline.ErrHopeless) {
		t.Errorf("a result of the year 20000: %v", err)
	}
}

// A large request waits for its next round by reference.
func TestALargeRequestGoesToItsNextRoundByReference(t *testing.T) {
	t.Parallel()
	d, blobs := newDeliverer(t)
	j := failing(schemas.Overloaded)
	j.Origin.Record.Value = bytes.Repeat([]byte("x"), 2<<20)
	s, _ := outputs(t, d, j)
	ref := headerOf(pipeline.Record{Headers: s.RetryHeaders}, schemas.HeaderDataRef)
	if s.Retry == 0 || !bytes.Equal(blobs[ref], j.Origin.Record.Value) {
		t.Errorf("retry after %s, %d bytes behind %q", s.Retry, len(blobs[ref]), ref)
	}
}
