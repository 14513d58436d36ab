package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/schemas"
)

// demoPrompts are what the demo's tenants ask.
var demoPrompts = []string{
	"Summarise this incident for the morning meeting: the queue grew for an hour, then drained by itself.",
	"Translate into French: the parcel is at your neighbour's.",
	"Write a title for a talk about exactly-once delivery.",
	"Which of these three invoices is the odd one out, and why?",
	"Draft a polite reply to a customer whose order is two days late.",
	"Explain backpressure to a new colleague in two sentences.",
	"List the risks of raising a Kafka topic's partition count.",
	"Turn these notes into a changelog entry.",
}

// demoTenants have different tastes in models and lanes.
var demoTenants = []struct {
	name, lane, team string
	models           []string
}{
	{"acme", "interactive", "support", []string{"gpt-4o-mini", "gpt-4o-mini", "gpt-4o"}},
	{"globex", "standard", "search", []string{"gpt-4o", "claude-haiku-4-5"}},
	{"initech", "bulk", "reports", []string{"claude-haiku-4-5", "gpt-4o-mini"}},
	{"umbrella", "standard", "research", []string{"gpt-4o-mini", "claude-haiku-4-5", "gpt-4o"}},
}

// demoRecords returns n records: mostly good requests, and of every kind of
// trouble some, spread evenly.
func demoRecords(ctx context.Context, cfg app.Config, n int, seed uint64) ([]*kgo.Record, error) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	records := make([]*kgo.Record, 0, n)
	for i := range n {
		t := demoTenants[rnd.IntN(len(demoTenants))]
		r := &schemas.Request{
			ID: uuid.Must(uuid.NewV7()).String(), Tenant: t.name, Model: t.models[rnd.IntN(len(t.models))], CreatedAt: time.Now(),
			Labels:   map[string]string{"team": t.team, "project": "demo"},
			Messages: []schemas.Message{schemas.TextMessage(schemas.RoleSystem, "Be brief."), schemas.TextMessage(schemas.RoleUser, demoPrompts[rnd.IntN(len(demoPrompts))])},
			Stream:   i%3 == 0,
		}
		rec, err := demoRecord(ctx, cfg, t.lane, i, r)
		if err != nil {
			return nil, err
		}
		records = append(records, rec)
	}
	return records, nil
}

// demoRecord writes the i-th request, with the trouble that its number stands
// for.
func demoRecord(ctx context.Context, cfg app.Config, lane string, i int, r *schemas.Request) (*kgo.Record, error) {
	switch i % 100 {
	case 7: // long
		r.Messages = append(r.Messages, schemas.TextMessage(schemas.RoleUser, strings.Repeat("And then the next paragraph of a long report follows. ", 400)))
	case 13, 51, 88: // in no price book
		r.Model = "gpt-preview"
	case 23: // came too late
		r.Deadline = time.Now().Add(-time.Minute)
	case 37: // no such model
		r.Model = "gpt-9-ultra"
	case 43: // never succeeds
		if i%300 == 43 {
			r.Model = "overloaded"
		}
	case 61: // behind a claim check, and still fine
		if i%300 == 61 {
			r.Messages[1] = schemas.TextMessage(schemas.RoleUser, strings.Repeat("A transcript with many words. ", 10_000))
		}
	case 67: // behind a claim check, and too large
		if i%300 == 67 {
			r.Messages[1] = schemas.TextMessage(schemas.RoleUser, strings.Repeat("A transcript with too many words. ", 20_000))
		}
	}
	rec, err := requestRecord(ctx, cfg, lane, r)
	if err != nil {
		return nil, err
	}
	switch i % 100 {
	case 73: // cut off in the middle
		rec.Value = rec.Value[:len(rec.Value)/2]
	case 79: // not a request at all
		rec.Value, rec.Headers = []byte("hello?"), nil
	case 97: // a field that does not exist
		rec.Value = fmt.Appendf(nil, `{"id":%q,"tenant":%q,"model":"gpt-4o","prompt":"hi"}`, r.ID, r.Tenant)
	}
	return rec, nil
}

// freePort returns a loopback address whose port was free a moment ago.
func freePort() (string, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("finding a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}
