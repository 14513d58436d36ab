package kafka

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

func waitingRecord(key, own string, at time.Time) record {
	return record{
		timestamp: at, key: []byte(key), value: []byte(`{"id":"` + own + `"}`),
		headers: []pipeline.Header{{Key: schemas.HeaderOrigin, Value: []byte("t/0/" + own)}, {Key: schemas.HeaderKey, Value: []byte(own)}},
	}
}

// Batches take what is due, in the limits, with the requests' own keys; the rest is
// written again and keeps its time.
func TestBatchesAreCutAndTheRestWaitsOn(t *testing.T) {
	t.Parallel()
	var kept [][]byte
	w := newWaiting(&CollectorConfig{
		Topic: "wait", RetryTopic: "retry", MaxRequests: 3, MaxBytes: 1 << 20, MaxWait: time.Minute,
		Put: func(_ context.Context, b []byte) (string, error) {
			kept = append(kept, b)
			return fmt.Sprintf("ref%d", len(kept)), nil
		},
	})
	now := time.UnixMilli(1_000_000)
	for i := range 4 {
		w.add(waitingRecord("full", fmt.Sprint(i), now), now)
	}
	w.add(waitingRecord("few", "9", now), now)
	if !w.due(now) || !w.next(now).Equal(now.Add(time.Minute)) {
		t.Fatalf("due %v, next %s", w.due(now), w.next(now))
	}
	out, err := w.records(t.Context(), now)
	if err != nil || len(out) != 3 {
		t.Fatalf("%d records, error %v; want a batch, one beyond its count and one that waits", len(out), err)
	}
	var own []string
	for _, b := range kept {
		members, err := parseMembers(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range members {
			own = append(own, string(m.key)+m.header(schemas.HeaderKey)+" "+m.header(schemas.HeaderOrigin))
		}
		own = append(own, "|")
	}
	if got, want := strings.Join(own, ","), "0 t/0/0,1 t/0/1,2 t/0/2,|"; got != want {
		t.Errorf("batches hold %s, want %s", got, want)
	}
	if out[0].Topic != "wait" || string(out[0].Key) != "full" {
		t.Errorf("beyond the count: %+v, want it to wait for others", out[0])
	}
	left := record{key: out[2].Key, value: out[2].Value, headers: out[2].Headers}
	if out[2].Topic != "wait" || string(left.key) != "few" || left.number(headerSince) != now.UnixMilli() || left.header(schemas.HeaderKey) != "9" {
		t.Errorf("left for later: %+v", out[2])
	}
	later := newWaiting(w.cfg)
	later.add(left, now.Add(50*time.Second))
	if later.due(now.Add(59*time.Second)) || !later.due(now.Add(time.Minute)) {
		t.Error("a request that was written again begins to wait anew")
	}
}

func FuzzRequestsOfABatchAreReadOrRefused(f *testing.F) {
	r := waitingRecord("k", "1", time.UnixMilli(5))
	f.Add(appendMember(appendMember(nil, &r), &r))
	f.Add([]byte{0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		members, err := parseMembers(b)
		if err != nil {
			return
		}
		var again []byte
		for i := range members {
			again = appendMember(again, &members[i])
		}
		twice, err := parseMembers(again)
		if err != nil || !cmp.Equal(members, twice, cmp.AllowUnexported(record{})) {
			t.Errorf("written again and read: %v, error %v", twice, err)
		}
	})
}
