package kafka

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/avro"
)

const prompt = "a prompt that nobody else may see"

var names = Topics{Results: "results", Costs: "costs", Attempts: "attempts", Audit: "audit", Dead: "dead", Chunks: "chunks"}

// memory is a Store that keeps payloads in a map.
type memory map[string][]byte

func (m memory) Put(_ context.Context, b []byte) (string, error) {
	ref := "ref-" + strconv.Itoa(len(m))
	m[ref] = b
	return ref, nil
}

func newDeliverer(t *testing.T) (*Deliverer, memory) {
	t.Helper()
	registry, err := avro.OpenEmbedded(avro.EmbeddedConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = registry.Close() })
	codecs := avro.NewCodecs(registry)
	err = codecs.Register(t.Context(), registry, avro.Topics{
		Results: []string{"results", "replies"}, Costs: []string{"costs"}, Attempts: []string{"attempts"}, Audit: []string{"audit"}, Chunks: []string{"chunks"},
	})
	if err != nil {
		t.Fatal(err)
	}
	blobs := memory{}
	return &Deliverer{
		Codecs: codecs, Topics: names, ReplyTopics: []string{"replies"}, Ordered: []string{"ordered"}, Blobs: blobs, Worker: "w1", ConfigVersion: "v1",
		Tiers: []Tier{{Delay: 10 * time.Second, Topic: "retry.10s"}, {Delay: time.Minute, Topic: "retry.1m"}},
	}, blobs
}

// job is an answered one; the tests change what they are about.
func job() *pipeline.Job {
	at := time.Now().UTC().Truncate(time.Millisecond)
	target := schemas.Target{Provider: "openai", Model: "gpt", Endpoint: "openai-eu"}
	req := &schemas.Request{ID: "r1", Tenant: "acme", Model: "fast", Messages: []schemas.Message{schemas.TextMessage(schemas.RoleUser, prompt)}}
	return &pipeline.Job{
		Request: req, Outgoing: req, Created: at, Started: at, Completed: at, Deadline: at.Add(time.Hour), Answered: &target,
		Origin: pipeline.Origin{Topic: "requests", Offset: 7, First: "requests/0/7", Lane: "standard", Record: pipeline.Record{
			Topic: "requests", Key: []byte("k"), Value: []byte(prompt), Headers: []pipeline.Header{{Key: "mine", Value: []byte("1")}, {Key: schemas.HeaderDeadReason, Value: []byte("old")}},
		}},
		Response: &schemas.Response{Model: "gpt", Choices: []schemas.Choice{{Message: schemas.TextMessage(schemas.RoleAssistant, "yes")}}},
		Attempts: []schemas.Attempt{{Number: 1, Target: target, Reason: "first", Outcome: schemas.OK, StartedAt: at, Usage: schemas.Usage{InputTokens: 3, Raw: json.RawMessage(`{"x":1}`)}}},
		Cost:     &schemas.CostEvent{ID: "requests/0/7", RequestID: "r1", Time: at, State: schemas.CostPriced, Amount: decimal.RequireFromString("0.5"), Currency: "USD", Outcome: schemas.OK},
		Audit:    &schemas.AuditEvent{ID: "requests/0/7:request.completed", Time: at, Outcome: schemas.OK},
	}
}

func failing(code schemas.Code) *pipeline.Job {
	j := job()
	j.Response, j.Answered, j.Failure = nil, nil, schemas.Fail(code, "the vendor quoted: "+prompt, nil)
	return j
}

func outputs(t *testing.T, d *Deliverer, j *pipeline.Job) (pipeline.Settlement, map[string][]pipeline.Record) {
	t.Helper()
	s, err := d.Outputs(t.Context(), j)
	if err != nil {
		t.Fatal(err)
	}
	by := map[string][]pipeline.Record{}
	for _, r := range s.Outputs {
		by[r.Topic] = append(by[r.Topic], r)
	}
	return s, by
}

func header(r pipeline.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

func TestProducerIsAnsweredInItsOwnForm(t *testing.T) {
	t.Parallel()
	d, _ := newDeliverer(t)
	_, by := outputs(t, d, job())
	var inAvro, inJSON schemas.Result
	if err := d.Codecs.Result.Decode(t.Context(), by["results"][0].Value, &inAvro); err != nil {
		t.Fatal(err)
	}
	j := job()
	j.Origin.JSON = true
	_, by = outputs(t, d, j)
	if err := json.Unmarshal(by["results"][0].Value, &inJSON); err != nil {
		t.Fatal(err)
	}
	if h := header(by["results"][0], schemas.HeaderContentType); h != schemas.ContentTypeJSON {
		t.Errorf("content type %q", h)
	}
	for _, r := range []schemas.Result{inAvro, inJSON} {
		if r.Response.Text() != "yes" || r.Cost.Money.Amount.String() != "0.5" || r.Target.Provider != "openai" || r.Origin != "requests/0/7" || r.ConfigVersion != "v1" {
			t.Errorf("result: %+v", r)
		}
	}
	for _, topic := range []string{"costs", "attempts", "audit"} {
		if len(by[topic]) != 1 || by[topic][0].Value[0] != 0 {
			t.Errorf("%s: %d records, want one in Avro", topic, len(by[topic]))
		}
	}
	if len(by["dead"]) != 0 {
		t.Error("an answered request is on the dead-letter topic")
	}
}

func TestForbiddenReplyTopicIsRefused(t *testing.T) {
	t.Parallel()
	d, _ := newDeliverer(t)
	for topic, allowed := range map[string]bool{"": true, "results": true, "replies": true, "costs": false, "__consumer_offsets": false} {
		j := job()
		j.Request.ReplyTo = topic
		err := d.Admit(t.Context(), j)
		var f *schemas.Failure
		if got := err == nil; got != allowed {
			t.Errorf("%q: %v", topic, err)
		} else if !allowed && (!errors.As(err, &f) || f.Code != schemas.InvalidRequest || f.Param != "reply_to") {
			t.Errorf("%q: %v", topic, err)
		}
		_, by := outputs(t, d, j)
		want := "results"
		if allowed && topic != "" {
			want = topic
		}
		if len(by[want]) != 1 {
			t.Errorf("%q: no result on %s", topic, want)
		}
	}
}

func TestLaterRounds(t *testing.T) {
	t.Parallel()
	d, _ := newDeliverer(t)
	for _, c := range []struct {
		name string
		edit func(*pipeline.Job)
		want time.Duration
	}{
		{"first round", func(*pipeline.Job) {}, 10 * time.Second},
		{"second round", func(j *pipeline.Job) { j.Origin.Round = 1 }, time.Minute},
		{"out of rounds", func(j *pipeline.Job) { j.Origin.Round = 2 }, 0},
		{"the provider asks for more", func(j *pipeline.Job) { j.Failure.RetryAfterMS = 30_000 }, 30 * time.Second},
		{"the provider forbids it", func(j *pipeline.Job) { j.Failure.NoRetry = true }, 0},
		{"too late", func(j *pipeline.Job) { j.Deadline = time.Now().Add(5 * time.Second) }, 0},
		{"ordered lane", func(j *pipeline.Job) { j.Origin.Lane = "ordered" }, 0},
		{"hopeless", func(j *pipeline.Job) { j.Failure.Code = schemas.InvalidRequest }, 0},
	} {
		j := failing(schemas.Overloaded)
		c.edit(j)
		s, by := outputs(t, d, j)
		if s.Retry != c.want {
			t.Errorf("%s: waits %s, want %s", c.name, s.Retry, c.want)
		}
		if n := len(by["results"]); n != 0 != (c.want == 0) {
			t.Errorf("%s: %d results", c.name, n)
		}
	}
	for delay, want := range map[time.Duration]string{time.Second: "retry.10s", 11 * time.Second: "retry.1m", time.Hour: "retry.1m"} {
		if got := TierTopic(d.Tiers, delay); got != want {
			t.Errorf("%s waits on %s, want %s", delay, got, want)
		}
	}
}

func TestHistoryTravelsBounded(t *testing.T) {
	t.Parallel()
	d, _ := newDeliverer(t)
	j := failing(schemas.Overloaded)
	one := j.Attempts[0]
	one.VendorCode = strings.Repeat("é", 10_000)
	one.Usage.Raw = json.RawMessage(`"` + strings.Repeat("x", 10_000) + `"`)
	j.Attempts = nil
	for i := range 1000 {
		one.Number = i + 1
		j.Attempts = append(j.Attempts, one)
	}
	s, _ := outputs(t, d, j)
	rec := pipeline.Record{Headers: s.RetryHeaders}
	history := header(rec, schemas.HeaderHistory)
	var attempts []schemas.Attempt
	if err := json.Unmarshal([]byte(history), &attempts); err != nil {
		t.Fatal(err)
	}
	if len(history) > 100<<10 || len(attempts) == 0 || attempts[len(attempts)-1].Number != 1000 {
		t.Errorf("%d bytes, %d attempts", len(history), len(attempts))
	}
	if header(rec, schemas.HeaderDeadline) != strconv.FormatInt(j.Deadline.UnixMilli(), 10) || header(rec, schemas.HeaderTenant) != "acme" {
		t.Errorf("headers: %v", s.RetryHeaders)
	}
}

func TestAttemptsOfEarlierRoundsAreNotWrittenAgain(t *testing.T) {
	t.Parallel()
	d, _ := newDeliverer(t)
	j := job()
	second := j.Attempts[0]
	second.Number, second.Round = 2, 1
	j.Origin.Round, j.Attempts = 1, append(j.Attempts, second)
	_, by := outputs(t, d, j)
	if len(by["attempts"]) != 1 {
		t.Fatalf("%d attempts, want 1", len(by["attempts"]))
	}
	var e schemas.AttemptEvent
	if err := d.Codecs.Attempt.Decode(t.Context(), by["attempts"][0].Value, &e); err != nil {
		t.Fatal(err)
	}
	if e.ID != "requests/0/7#2" || e.Worker != "w1" || len(e.Attempt.Usage.Raw) != 0 || string(by["attempts"][0].Key) != "openai-eu" {
		t.Errorf("attempt: %+v", e)
	}
	var r schemas.Result
	if err := d.Codecs.Result.Decode(t.Context(), by["results"][0].Value, &r); err != nil || len(r.Attempts) != 2 {
		t.Errorf("the result names %d attempts, error %v", len(r.Attempts), err)
	}
}

func TestDeadLetterIsTheRequestUntouchedWithTheReason(t *testing.T) {
	t.Parallel()
	d, _ := newDeliverer(t)
	for name, c := range map[string]struct {
		job  func() *pipeline.Job
		want schemas.DeadReason
	}{
		"unroutable": {func() *pipeline.Job {
			j := failing(schemas.Unroutable)
			j.Request.Model = prompt
			return j
		}, schemas.DeadUnroutable},
		"too large": {func() *pipeline.Job {
			j := failing(schemas.PayloadTooLarge)
			j.Attempts = nil
			return j
		}, schemas.DeadTooLarge},
		"exhausted": {func() *pipeline.Job {
			j := failing(schemas.Overloaded)
			j.Origin.Round = 2
			return j
		}, schemas.DeadExhausted},
		"by a stage": {func() *pipeline.Job {
			j := failing(schemas.InvalidRequest)
			j.Dead = &pipeline.Dead{Reason: schemas.DeadInvalid, Detail: "model: not valid"}
			return j
		}, schemas.DeadInvalid},
	} {
		j := c.job()
		_, by := outputs(t, d, j)
		if len(by["dead"]) != 1 || len(by["results"]) != 1 {
			t.Errorf("%s: %d dead letters, %d results", name, len(by["dead"]), len(by["results"]))
			continue
		}
		dead := by["dead"][0]
		if !bytes.Equal(dead.Value, j.Origin.Record.Value) || !bytes.Equal(dead.Key, j.Origin.Record.Key) || header(dead, "mine") != "1" {
			t.Errorf("%s: the record was changed", name)
		}
		if got := header(dead, schemas.HeaderDeadReason); got != string(c.want) {
			t.Errorf("%s: reason %q, want %q", name, got, c.want)
		}
		if detail := header(dead, schemas.HeaderDeadDetail); detail == "" || strings.Contains(detail, prompt) {
			t.Errorf("%s: detail %q", name, detail)
		}
		if got, want := header(dead, schemas.HeaderDeadAttempt), strconv.Itoa(j.Origin.Round+1); got != want {
			t.Errorf("%s: %s rounds, want %s", name, got, want)
		}
	}
}

func TestLargeResultTravelsByReference(t *testing.T) {
	t.Parallel()
	for _, asJSON := range []bool{false, true} {
		d, blobs := newDeliverer(t)
		j := job()
		j.Origin.JSON = asJSON
		j.Response.Choices[0].Message = schemas.TextMessage(schemas.RoleAssistant, strings.Repeat("y", schemas.ClaimCheckBytes))
		j.Request.Metadata = map[string]string{"big": strings.Repeat("z", 2<<20)}
		_, by := outputs(t, d, j)
		rec := by["results"][0]
		whole := blobs[header(rec, schemas.HeaderDataRef)]
		if len(rec.Value) > schemas.ClaimCheckBytes || len(whole) <= schemas.ClaimCheckBytes {
			t.Fatalf("the record has %d bytes, the payload %d", len(rec.Value), len(whole))
		}
		var small, full schemas.Result
		decode(t, d, asJSON, rec.Value, &small)
		decode(t, d, asJSON, whole, &full)
		if small.Response != nil || small.RequestID != "r1" || len(full.Response.Text()) != schemas.ClaimCheckBytes {
			t.Error("the payload is not the whole result, or the record still holds the answer")
		}
		full.Response, full.Metadata = nil, nil
		if diff := cmp.Diff(full, small, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("record and payload differ in more than the large parts:\n%s", diff)
		}
	}
}

func decode(t *testing.T, d *Deliverer, asJSON bool, value []byte, r *schemas.Result) {
	t.Helper()
	err := json.Unmarshal(value, r)
	if !asJSON {
		err = d.Codecs.Result.Decode(t.Context(), value, r)
	}
	if err != nil {
		t.Fatal(err)
	}
}
