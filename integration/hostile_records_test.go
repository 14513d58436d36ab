package integration

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/avro"
)

// hostileModel is one that answers well: what fails, fails before it is asked.
const hostileModel = "healthy"

func header(key, value string) kgo.RecordHeader {
	return kgo.RecordHeader{Key: key, Value: []byte(value)}
}

// wholeRequest is a request in JSON that would be answered, with further members.
func wholeRequest(id, members string) []byte {
	return fmt.Appendf(nil, `{"id":%q,"tenant":"acme","model":%q,"messages":[{"role":"user","parts":[{"kind":"text","text":"hi"}]}]%s}`, id, hostileModel, members)
}

var (
	unreadable = []schemas.Code{schemas.InvalidRequest}
	answered   = []schemas.Code{schemas.OK}
)

// brokenJSON are values that begin like JSON and are no request.
func brokenJSON() []attack {
	values := map[string][]byte{
		"nothing": {}, "a number": []byte("7"), "a list": []byte("[]"), "a string": []byte(`"x"`),
		"half an object": []byte(`{"id":"h","tenant":`), "two objects": append(wholeRequest("two", ""), "{}"...),
		"an unknown member": wholeRequest("unknown", `,"surprise":1`), "a mark of byte order": append([]byte("\xef\xbb\xbf"), wholeRequest("bom", "")...),
		"a number beyond floats":  wholeRequest("inf", `,"sampling":{"temperature":1e999}`),
		"tokens beyond integers":  wholeRequest("tokens", `,"max_output_tokens":99999999999999999999`),
		"a date that is none":     wholeRequest("date", `,"deadline":"2026-13-45T99:00:00Z"`),
		"lists 1,000,000 deep":    append([]byte(`{"ext":{"openai":`), repeated("[", 1_000_000)...),
		"objects 200,000 deep":    append([]byte(`{"ext":{"openai":`), repeated(`{"a":`, 200_000)...),
		"parts within parts":      append([]byte(`{"id":"p","messages":[`), repeated(`{"parts":[{"tool_result":`, 30_000)...),
		"text that is not UTF-8":  append([]byte("\xff\xfe{"), wholeRequest("utf", "")...),
		"a password file's words": []byte("root:x:0:0:root:/root:/bin/bash\n"),
	}
	out := make([]attack, 0, len(values))
	for name, v := range values {
		out = append(out, attack{name: name, rec: kgo.Record{Value: v}, want: unreadable, dead: schemas.DeadUndecodable})
	}
	return out
}

// invalidRequests can be read and can never be answered.
func invalidRequests() []attack {
	long := string(repeated("x", 800_000))
	labels := map[string]string{}
	for i := range 40_000 {
		labels["label "+strconv.Itoa(i)] = "v"
	}
	manyLabels, _ := json.Marshal(labels)
	values := map[string][]byte{
		"null": []byte("null"), "an empty object": []byte("{}"), "no model": []byte(`{"id":"m","tenant":"acme"}`),
		"an id of 800 kB":                 wholeRequest(long, ""),
		"a tenant of 800 kB":              []byte(`{"id":"t1","model":"m","tenant":"` + long + `"}`),
		"a model of 800 kB":               []byte(`{"id":"m1","tenant":"acme","model":"` + long + `"}`),
		"40,000 labels":                   wholeRequest("l1", `,"labels":`+string(manyLabels)),
		"a label of 800 kB":               wholeRequest("l2", `,"labels":{"team":"`+long+`"}`),
		"an operation of 800 kB":          wholeRequest("o1", `,"op":"`+long+`"`),
		"a role of 800 kB":                []byte(`{"id":"r1","tenant":"acme","model":"healthy","messages":[{"role":"` + long + `"}]}`),
		"300,000 messages without a role": append(append([]byte(`{"id":"a1","tenant":"acme","model":"healthy","messages":[{}`), repeated(",{}", 300_000)...), "]}"...),
	}
	out := make([]attack, 0, len(values)+8)
	for name, v := range values {
		out = append(out, attack{name: name, rec: kgo.Record{Value: v}, want: append(unreadable, schemas.Unsupported), dead: schemas.DeadInvalid})
	}
	// What a request names as the place of its answer is not believed.
	for _, topic := range []string{
		"sira.requests.standard", "sira.retry.30s", "sira.dead", "sira.events.costs", "__consumer_offsets", "elsewhere", "http://169.254.169.254/latest/meta-data/", "../results", "a\x00b",
	} {
		name, _ := json.Marshal(topic)
		out = append(out,
			attack{name: "an answer to " + topic, rec: kgo.Record{Value: wholeRequest("reply", `,"reply_to":`+string(name))}, want: unreadable},
			attack{name: "an answer to " + topic + " by header", rec: kgo.Record{Value: wholeRequest("reply", ""), Headers: []kgo.RecordHeader{header(schemas.HeaderReplyTo, topic)}}, want: unreadable})
	}
	return append(out, attack{name: "no such model", rec: kgo.Record{Value: []byte(`{"id":"n","tenant":"acme","model":"../../etc","messages":[{"role":"user"}]}`)}, want: []schemas.Code{schemas.Unroutable}, dead: schemas.DeadUnroutable})
}

// brokenAvro are values that begin like Avro and are no request.
func brokenAvro(t *testing.T, codecs *avro.Codecs) []attack {
	t.Helper()
	whole, err := codecs.Request.Append(nil, Request("avro"))
	if err != nil {
		t.Fatal(err)
	}
	result, err := codecs.Result.Append(nil, &schemas.Result{RequestID: "r"})
	if err != nil {
		t.Fatal(err)
	}
	var out []attack
	add := func(name string, v []byte) {
		out = append(out, attack{name: name, rec: kgo.Record{Value: v}, want: unreadable, dead: schemas.DeadUndecodable})
	}
	add("one byte", []byte{0})
	add("a header only", whole[:5])
	add("bytes after the end", append(bytes.Clone(whole), 1, 2, 3))
	add("another type's schema", result)
	for _, id := range []uint32{0, 99, 4242, math.MaxInt32, 1 << 31, math.MaxUint32} {
		v := bytes.Clone(whole)
		binary.BigEndian.PutUint32(v[1:], id)
		add(fmt.Sprintf("schema id %d", id), v)
	}
	for n := 6; n < len(whole); n += 1 + len(whole)/40 {
		add(fmt.Sprintf("%d of %d bytes", n, len(whole)), whole[:n])
	}
	prefix := append(bytes.Clone(whole[:5]), 2, 'i', 2, 't', 0)
	add("two billion labels", binary.AppendVarint(bytes.Clone(prefix), math.MaxInt32))
	messages := append(bytes.Clone(prefix), 0, 0, 2, 'm')
	add("two billion messages", binary.AppendVarint(bytes.Clone(messages), math.MaxInt32))
	add("a negative block", binary.AppendVarint(binary.AppendVarint(bytes.Clone(messages), -math.MaxInt32), 1<<40))
	add("a string of 2 GB", binary.AppendVarint(bytes.Clone(whole[:5]), math.MaxInt32))
	return out
}

// oddHeaders ride on requests that are whole.
func oddHeaders(rng *rand.Rand) []attack {
	many := make([]kgo.RecordHeader, 30_000)
	for i := range many {
		many[i] = header("h"+strconv.Itoa(i), "v")
	}
	big := string(repeated("t", 900_000))
	with := func(name string, want []schemas.Code, hs ...kgo.RecordHeader) attack {
		return attack{name: name, rec: kgo.Record{Value: wholeRequest(name, ""), Headers: hs}, want: want}
	}
	bad := func(name string, hs ...kgo.RecordHeader) attack {
		return attack{name: name, rec: kgo.Record{Value: []byte("{"), Headers: hs}, want: unreadable, dead: schemas.DeadUndecodable}
	}
	return []attack{
		with("30,000 headers", answered, many...), bad("30,000 headers on nothing", many...),
		with("a trace context of 900 kB", answered, header(schemas.HeaderTraceparent, big)), bad("a trace context of 900 kB on nothing", header(schemas.HeaderTraceparent, big)),
		with("a tenant of 900 kB by header", answered, header(schemas.HeaderTenant, big)), bad("a tenant of 900 kB on nothing", header(schemas.HeaderTenant, big)),
		bad("a tenant of noise on nothing", header(schemas.HeaderTenant, string(noise(rng, 100)))),
		bad("a request id of 900 kB on nothing", header(schemas.HeaderID, big)), bad("a place for the answer of 900 kB on nothing", header(schemas.HeaderReplyTo, big)),
		with("a deadline that is no number", answered, header(schemas.HeaderDeadline, "soon")),
		with("a negative deadline", answered, header(schemas.HeaderDeadline, "-5")),
		with("a deadline in 292 million years", answered, header(schemas.HeaderDeadline, strconv.FormatInt(math.MaxInt64, 10))),
		with("a deadline long ago", []schemas.Code{schemas.Expired}, header(schemas.HeaderDeadline, "1")),
		with("a round that was never made", answered, header(schemas.HeaderAttempt, "99"), header(schemas.HeaderHistory, `[{"number":1}]`), header(schemas.HeaderPending, `{"job":{"id":"x"}}`), header(schemas.HeaderOrigin, "elsewhere/0/0")),
		with("a time to wait for", answered, header(schemas.HeaderNotBefore, strconv.FormatInt(math.MaxInt64, 10))),
		with("a lane that is not its own", answered, header(schemas.HeaderLane, "vip")),
		with("a content type that lies", answered, header(schemas.HeaderContentType, "application/vnd.sira.avro")),
		with("dead already", answered, header(schemas.HeaderDeadReason, "poison"), header(schemas.HeaderDeadOrigin, "elsewhere/0/0")),
		{name: "a key of 900 kB", rec: kgo.Record{Key: []byte(big), Value: wholeRequest("key", "")}, want: answered},
		{name: "a key of 900 kB on nothing", rec: kgo.Record{Key: []byte(big), Value: []byte("{")}, want: unreadable, dead: schemas.DeadUndecodable},
		{name: "a key of noise on nothing", rec: kgo.Record{Key: noise(rng, 64), Value: []byte("{")}, want: unreadable, dead: schemas.DeadUndecodable},
		{name: "a time in 292 million years", rec: kgo.Record{Value: wholeRequest("later", ""), Timestamp: time.UnixMilli(math.MaxInt64)}, want: []schemas.Code{schemas.OK, schemas.Expired}},
		{name: "a time in the year 2200", rec: kgo.Record{Value: wholeRequest("later still", ""), Timestamp: time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)}, want: answered},
		{name: "a time in 292 million years on nothing", rec: kgo.Record{Value: []byte("{"), Timestamp: time.UnixMilli(math.MaxInt64)}, want: unreadable, dead: schemas.DeadUndecodable},
		{name: "a time before all", rec: kgo.Record{Value: wholeRequest("earlier", ""), Timestamp: time.UnixMilli(-1 << 60)}, want: []schemas.Code{schemas.Expired}},
	}
}

// bombs are small on the topic and large once they are unpacked.
func bombs(t *testing.T, blobs string) []attack {
	t.Helper()
	packed := func(n int) []byte { // a gzip stream of a record with a value of n spaces
		var body bytes.Buffer
		w, _ := gzip.NewWriterLevel(&body, gzip.BestSpeed)
		head := []byte{0, 0, 0, 1} // attributes, timestamp delta, offset delta, key length -1
		head = binary.AppendVarint(head, int64(n))
		_, _ = w.Write(binary.AppendVarint(nil, int64(len(head)+n+1)))
		_, _ = w.Write(head)
		for chunk := repeated(" ", 1<<20); n > 0; n -= len(chunk) {
			_, _ = w.Write(chunk[:min(len(chunk), n)])
		}
		_, _ = w.Write([]byte{0})
		_ = w.Close()
		return body.Bytes()
	}
	ref := func(name string, content []byte, codes ...schemas.Code) attack {
		return attack{name: "a claim check " + name[:min(len(name), 40)], rec: kgo.Record{Headers: []kgo.RecordHeader{header(schemas.HeaderDataRef, name)}, Value: content}, want: codes}
	}
	out := []attack{
		{name: "a batch of 100 MB", raw: packed(100 << 20), codec: 1, want: unreadable, dead: schemas.DeadUndecodable},
		{name: "a batch of 30 MB", raw: packed(30 << 20), codec: 1, want: unreadable, dead: schemas.DeadUndecodable},
		{name: "gzip that is noise", raw: []byte("\x1f\x8b\x08 this is not gzip"), codec: 1, dead: schemas.DeadUndecodable},
		{name: "zstd that is noise", raw: []byte("this is not zstd"), codec: 4, dead: schemas.DeadUndecodable},
		{name: "snappy that is noise", raw: []byte("\xff\xff\xff\xff\x0fthis is not snappy"), codec: 2, dead: schemas.DeadUndecodable},
		{name: "lz4 that is noise", raw: []byte("this is not lz4"), codec: 3, dead: schemas.DeadUndecodable},
		ref("sha256:../../../../etc/passwd", nil, unreadable...), ref("file:///etc/passwd", nil, unreadable...),
		ref("http://169.254.169.254/latest/meta-data/", nil, unreadable...), ref("sha256:"+string(repeated("0", 64)), nil, unreadable...),
		ref("", wholeRequest("empty-ref", ""), answered...),
	}
	keep := func(name string, size int64, content []byte) string {
		path := filepath.Join(blobs, name[:2], name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if size > 0 {
			if err := os.Truncate(path, size); err != nil {
				t.Fatal(err)
			}
		}
		return "sha256:" + name
	}
	id := func(c string) string { return string(repeated(c, 64)) }
	out = append(out,
		ref(keep(id("a"), 0, wholeRequest("tampered", "")), nil, unreadable...),
		ref(keep(id("c"), 0, packed(20<<20)), nil, unreadable...))
	for range 40 {
		out = append(out, ref(keep(id("b"), 200<<30, nil), nil, schemas.PayloadTooLarge))
	}
	if err := os.MkdirAll(filepath.Join(blobs, "dd", id("d")), 0o750); err != nil {
		t.Fatal(err)
	}
	return append(out, ref("sha256:"+id("d"), nil, unreadable...))
}

// randomAttacks are records of noise, and whole ones with a few bytes changed.
func randomAttacks(t *testing.T, rng *rand.Rand, codecs *avro.Codecs, n int) []attack {
	t.Helper()
	inAvro, err := codecs.Request.Append(nil, Request("random"))
	if err != nil {
		t.Fatal(err)
	}
	out := make([]attack, n)
	for i := range out {
		var v []byte
		switch rng.IntN(4) {
		case 0:
			v = noise(rng, rng.IntN(2000))
		case 1:
			v = append([]byte{0, 0, 0, 0, byte(rng.IntN(20))}, noise(rng, rng.IntN(500))...)
		case 2:
			v = mutated(rng, inAvro)
		default:
			v = mutated(rng, wholeRequest("random", ""))
		}
		rec := kgo.Record{Value: v, Key: noise(rng, rng.IntN(300))}
		for range rng.IntN(4) {
			names := []string{schemas.HeaderTenant, schemas.HeaderID, schemas.HeaderDeadline, schemas.HeaderReplyTo, schemas.HeaderDataRef, "x"}
			rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: names[rng.IntN(len(names))], Value: noise(rng, rng.IntN(40))})
		}
		out[i] = attack{name: fmt.Sprintf("random %d", i), rec: rec, want: []schemas.Code{
			schemas.OK, schemas.InvalidRequest, schemas.Unsupported, schemas.Unroutable, schemas.Expired, schemas.PayloadTooLarge, schemas.ContextLength,
		}}
	}
	return out
}

func mutated(rng *rand.Rand, whole []byte) []byte {
	v := bytes.Clone(whole)
	for range 1 + rng.IntN(6) {
		at := rng.IntN(len(v))
		switch rng.IntN(3) {
		case 0:
			v[at] ^= 1 << rng.IntN(8)
		case 1:
			v[at] = byte(rng.Uint32())
		default:
			v = append(v[:at], v[min(len(v), at+rng.IntN(20)):]...)
			if len(v) == 0 {
				return v
			}
		}
	}
	return v
}
