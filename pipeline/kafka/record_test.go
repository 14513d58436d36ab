package kafka

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

const goodJSON = `{"id":"r1","tenant":"acme","model":"m","messages":[{"role":"user","parts":[{"kind":"text","text":"hi"}]}]}`

var recordTime = time.UnixMilli(1_700_000_000_000)

func recordOf(value string, headers ...string) *record {
	r := &record{topic: "requests", partition: 3, offset: 17, timestamp: recordTime, value: []byte(value)}
	for i := 0; i+1 < len(headers); i += 2 {
		r.headers = append(r.headers, pipeline.Header{Key: headers[i], Value: []byte(headers[i+1])})
	}
	return r
}

func engineConfig() *EngineConfig {
	return &EngineConfig{MaxRequestBytes: 1 << 20, Decode: func(context.Context, []byte, *schemas.Request) error {
		return errors.New("no such schema")
	}}
}

func openAs(t *testing.T, r *record, lane *LaneConfig) *pipeline.Job {
	t.Helper()
	job, err := r.open(t.Context(), engineConfig(), lane, time.Now())
	if err != nil {
		t.Fatalf("opening: %v", err)
	}
	return job
}

var requestLane = &LaneConfig{Name: "standard", MaxAge: time.Hour}

func TestTenantIsFoundBeforeDecoding(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rec  *record
		want string
	}{
		"header":                 {recordOf(goodJSON, schemas.HeaderTenant, "globex"), "globex"},
		"JSON value":             {recordOf(goodJSON), "acme"},
		"JSON with white space":  {recordOf("{ \"tenant\" : \n \"acme\" }"), "acme"},
		"JSON without":           {recordOf(`{"id":"1"}`), ""},
		"JSON with a number":     {recordOf(`{"tenant":7}`), ""},
		"JSON that ends early":   {recordOf(`{"tenant":"acm`), ""},
		"JSON that ends at once": {recordOf(`{"tenant"`), ""},
		"too long to be one":     {recordOf(`{"tenant":"` + strings.Repeat("x", schemas.MaxIDLength+1) + `"}`), ""},
		"Avro":                   {recordOf("\x00\x00\x00\x00\x01\"tenant\":\"acme\""), ""},
		"tombstone":              {recordOf(""), ""},
	} {
		if got := c.rec.tenant(); got != c.want {
			t.Errorf("%s: tenant %q, want %q", name, got, c.want)
		}
	}
}

func TestRequestWithoutIDIsStillKnownBySomething(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", schemas.MaxIDLength+1)
	for name, c := range map[string]struct {
		value, key, header, want string
	}{
		"its own":             {goodJSON, "k", "h", "r1"},
		"header":              {"{}", "k", "h", "h"},
		"key":                 {"{}", "k", "", "k"},
		"place":               {"{}", "", "", "requests/3/17"},
		"too long in value":   {`{"id":"` + long + `"}`, "", "h", "h"},
		"too long everywhere": {`{"id":"` + long + `"}`, long, long, "requests/3/17"},
		"no text everywhere":  {"{}", "\xff", "\xfe", "requests/3/17"},
		"not a request":       {"hello?", "k", "", "k"},
	} {
		r := recordOf(c.value, schemas.HeaderID, c.header)
		r.key = []byte(c.key)
		if got := openAs(t, r, requestLane).Request.ID; got != c.want {
			t.Errorf("%s: id %q, want %q", name, got, c.want)
		}
	}
}

func TestEarliestDeadlineCounts(t *testing.T) {
	t.Parallel()
	ms := func(d time.Duration) string { return strconv.FormatInt(recordTime.Add(d).UnixMilli(), 10) }
	with := func(d time.Duration) string {
		return strings.Replace(goodJSON, "{", `{"deadline":"`+recordTime.Add(d).UTC().Format(time.RFC3339)+`",`, 1)
	}
	for name, c := range map[string]struct {
		rec  *record
		want time.Duration
	}{
		"lane's":                 {recordOf(goodJSON), time.Hour},
		"header's":               {recordOf(goodJSON, schemas.HeaderDeadline, ms(time.Minute)), time.Minute},
		"request's":              {recordOf(with(2 * time.Minute)), 2 * time.Minute},
		"header before request":  {recordOf(with(2*time.Minute), schemas.HeaderDeadline, ms(time.Minute)), time.Minute},
		"request before header":  {recordOf(with(time.Minute), schemas.HeaderDeadline, ms(2*time.Minute)), time.Minute},
		"header that is no time": {recordOf(goodJSON, schemas.HeaderDeadline, "soon"), time.Hour},
		"not a request":          {recordOf("hello?"), time.Hour},
	} {
		if got := openAs(t, c.rec, requestLane).Deadline.Sub(recordTime); got != c.want {
			t.Errorf("%s: deadline after %s, want %s", name, got, c.want)
		}
	}
}

// retryHeaders are what only the gateway itself may say.
var retryHeaders = []string{
	schemas.HeaderAttempt, "2", schemas.HeaderOrigin, "other/0/5", schemas.HeaderLane, "interactive", headerCreated, "1600000000000",
	schemas.HeaderHistory, `[{"number":1,"outcome":"rate_limited"}]`,
}

func TestProducersCanNotForgeEarlierRounds(t *testing.T) {
	t.Parallel()
	job := openAs(t, recordOf(goodJSON, retryHeaders...), requestLane)
	o := job.Origin
	if o.Round != 0 || o.First != "requests/3/17" || o.Lane != "standard" || len(job.Attempts) != 0 || !job.Created.Equal(recordTime) {
		t.Errorf("a request topic's headers were believed: round %d, first %s, lane %s, %d attempts, created %s", o.Round, o.First, o.Lane, len(job.Attempts), job.Created)
	}
}

func TestRetryTopicBringsEarlierRoundsBack(t *testing.T) {
	t.Parallel()
	job := openAs(t, recordOf(goodJSON, retryHeaders...), &LaneConfig{Name: "retry", Retry: true})
	o := job.Origin
	if o.Round != 2 || o.First != "other/0/5" || o.Lane != "interactive" || len(job.Attempts) != 1 || job.Created.UnixMilli() != 1_600_000_000_000 {
		t.Errorf("round %d, first %s, lane %s, %d attempts, created %s", o.Round, o.First, o.Lane, len(job.Attempts), job.Created)
	}
	if job := openAs(t, recordOf(goodJSON), &LaneConfig{Name: "retry", Retry: true}); job.Origin.First != "requests/3/17" {
		t.Errorf("record without origin has first %q: its events would have no id", job.Origin.First)
	}
}

func TestWhatIsNoRequestIsAnsweredWithoutQuotingIt(t *testing.T) {
	t.Parallel()
	const secret = "my-secret-prompt"
	for name, c := range map[string]struct {
		value  string
		code   schemas.Code
		reason schemas.DeadReason
	}{
		"text":          {secret, schemas.InvalidRequest, schemas.DeadUndecodable},
		"empty":         {"", schemas.InvalidRequest, schemas.DeadUndecodable},
		"cut off":       {`{"id":"` + secret, schemas.InvalidRequest, schemas.DeadUndecodable},
		"wrong type":    {`{"id":1,"tenant":"` + secret + `"}`, schemas.InvalidRequest, schemas.DeadUndecodable},
		"two values":    {goodJSON + `{"id":"` + secret + `"}`, schemas.InvalidRequest, schemas.DeadUndecodable},
		"unknown avro":  {"\x00\x00\x00\x00\x01" + secret, schemas.InvalidRequest, schemas.DeadUndecodable},
		"no messages":   {`{"id":"1","tenant":"t","model":"m","end_user":"` + secret + `"}`, schemas.InvalidRequest, schemas.DeadInvalid},
		"too large":     {`{"id":"` + strings.Repeat(secret, 1<<17) + `"}`, schemas.PayloadTooLarge, schemas.DeadTooLarge},
		"unknown field": {`{"id":"1","prompt":"` + secret + `"}`, schemas.InvalidRequest, schemas.DeadUndecodable},
	} {
		job := openAs(t, recordOf(c.value), requestLane)
		if job.Failure == nil || job.Failure.Code != c.code || job.Dead == nil || job.Dead.Reason != c.reason {
			t.Errorf("%s: failure %v, dead %+v, want %s and %s", name, job.Failure, job.Dead, c.code, c.reason)
			continue
		}
		if text := job.Failure.Error() + job.Failure.Message + job.Dead.Detail; strings.Contains(text, secret) {
			t.Errorf("%s: %q quotes the record", name, text)
		}
	}
}

func TestClaimCheckThatCanNotBeReadNowIsNoOutcome(t *testing.T) {
	t.Parallel()
	cfg := engineConfig()
	cfg.Fetch = func(_ context.Context, ref string) ([]byte, error) {
		if ref == "later" {
			return nil, ErrNotNow
		}
		return []byte(goodJSON), nil
	}
	if _, err := recordOf("{}", schemas.HeaderDataRef, "later").open(t.Context(), cfg, requestLane, time.Now()); !errors.Is(err, ErrNotNow) {
		t.Errorf("error %v, want ErrNotNow", err)
	}
	job, err := recordOf("{}", schemas.HeaderDataRef, "now").open(t.Context(), cfg, requestLane, time.Now())
	if err != nil || job.Request.ID != "r1" || job.Failure != nil {
		t.Errorf("job %+v, error %v, want the fetched request", job, err)
	}
	if job := openAs(t, recordOf("{}", schemas.HeaderDataRef, "x"), requestLane); job.Dead == nil || job.Dead.Reason != schemas.DeadUndecodable {
		t.Errorf("without a store: dead %+v, want undecodable", job.Dead)
	}
}

func TestCopiedRecordSharesNothingWithTheFetchBuffer(t *testing.T) {
	t.Parallel()
	k := &kgo.Record{Key: []byte("k"), Value: []byte("v"), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("x")}}}
	r := copyRecord(k)
	k.Key[0], k.Value[0], k.Headers[0].Value[0] = 'X', 'X', 'X'
	if string(r.key)+string(r.value)+r.header("h") != "kvx" {
		t.Errorf("copy changed to %q %q %q", r.key, r.value, r.header("h"))
	}
	if c := copyRecord(&kgo.Record{}); c.key != nil || c.value != nil {
		t.Error("absent key or value became an empty one")
	}
}

func FuzzOpenRecord(f *testing.F) {
	f.Add([]byte(goodJSON), "", "")
	f.Add([]byte(`{"id":"a","tool_choice":{"mode":1}}`), "tenant", "17")
	f.Add([]byte(`{"messages":[{"role":"user","parts":[{"kind":"image","media":{"data":"AA"}}]}],"ext":{"x":[[[[]]]]}}`), "\xff", "-1")
	f.Add([]byte("\x00\x00\x00\x00\x01"), "", "99999999999999999999")
	f.Fuzz(func(t *testing.T, value []byte, header, deadline string) {
		r := recordOf(string(value), schemas.HeaderTenant, header, schemas.HeaderID, header, schemas.HeaderDeadline, deadline)
		_ = r.tenant()
		job, err := r.open(t.Context(), engineConfig(), requestLane, time.Now())
		if err != nil {
			t.Fatalf("a record that could be read gave %v", err)
		}
		if id := job.Request.ID; id == "" || len(id) > schemas.MaxIDLength || !utf8.ValidString(id) {
			t.Errorf("id %q can't be answered", id)
		}
		if job.Deadline.IsZero() || job.Emit == nil {
			t.Error("a job without deadline or Emit")
		}
		if (job.Failure == nil) != (job.Dead == nil) || (job.Failure == nil) != (job.Request.Validate() == nil) {
			t.Errorf("failure %v, dead %+v, validate %v do not agree", job.Failure, job.Dead, job.Request.Validate())
		}
	})
}
