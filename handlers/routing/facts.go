package routing

import (
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/schemas"
)

// facts are what an expression can ask about. The names are part of the
// configuration's contract: add, never rename. docs/routing.md lists them.
type facts struct {
	Model       string            `expr:"model"`
	Tenant      string            `expr:"tenant"`
	Op          string            `expr:"op"`
	Operation   string            `expr:"operation"`
	Lane        string            `expr:"lane"`
	Labels      map[string]string `expr:"labels"` // a missing label is ""
	Tags        map[string]string `expr:"tags"`   // the labels by another name
	Stream      bool              `expr:"stream"`
	InputBytes  int               `expr:"input_bytes"`       // of text in all messages
	Messages    int               `expr:"messages"`          // how many
	Tools       int               `expr:"tools"`             // how many are offered
	MaxTokens   int               `expr:"max_output_tokens"` // 0: not limited
	Hour        int               `expr:"hour"`              // 0 to 23, UTC, when a worker took the request up
	Weekday     int               `expr:"weekday"`           // 1 Monday to 7 Sunday, UTC
	Round       int               `expr:"round"`             // 0 at first, more after a retry topic
	Attachments int               `expr:"attachments"`       // parts that are images, audio, video or files
	Language    string            `expr:"language"`          // of the last user message; "" where it can't be told
	Complexity  float64           `expr:"complexity"`        // 0 to 1
	Request     requestFacts      `expr:"request"`
	Time        timeFacts         `expr:"time"`
	Size        sizeFacts         `expr:"size"`
	Modality    modalityFacts     `expr:"modality"`
	Price       priceFacts        `expr:"price"`
	Health      map[string]health `expr:"health"` // by provider
	Candidate   candidateFacts    `expr:"candidate"`
}

type requestFacts struct {
	ID             string `expr:"id"`
	ConversationID string `expr:"conversation_id"`
	EndUser        string `expr:"end_user"`
	JSON           bool   `expr:"json"`     // an answer in JSON or in a schema is asked for
	Thinking       bool   `expr:"thinking"` // thinking is asked for
	Seeded         bool   `expr:"seeded"`   // a seed is given
}

type timeFacts struct {
	Hour    int    `expr:"hour"`
	Minute  int    `expr:"minute"`
	Weekday int    `expr:"weekday"` // 1 Monday to 7 Sunday
	Day     int    `expr:"day"`
	Month   int    `expr:"month"`
	Year    int    `expr:"year"`
	Date    string `expr:"date"` // 2026-11-23; compares in the order of time
	Unix    int    `expr:"unix"` // seconds
}

type sizeFacts struct {
	Bytes    int `expr:"bytes"`
	Tokens   int `expr:"tokens"` // estimated
	Messages int `expr:"messages"`
	Turns    int `expr:"turns"` // messages of the user
	Tools    int `expr:"tools"`
	Media    int `expr:"media"`
	Output   int `expr:"output"` // the same as max_output_tokens
}

type modalityFacts struct {
	Text  bool `expr:"text"`
	Image bool `expr:"image"`
	Audio bool `expr:"audio"`
	Video bool `expr:"video"`
	File  bool `expr:"file"`
}

// priceFacts are about the requested model's targets: magnitudes of prices, see
// magnitude.
type priceFacts struct {
	Known    bool    `expr:"known"`    // a target has a price; the others are 0 else
	Cheapest float64 `expr:"cheapest"` // of what the request would cost there
	Dearest  float64 `expr:"dearest"`
}

// magnitude returns how much an amount is, as a number to compare with a limit and
// to rank by. It is the only way from money to a float, and there is none back: what
// is added up or billed stays a decimal.
func magnitude(amount decimal.Decimal) float64 { return amount.InexactFloat64() }

// health is how calls to a provider went lately. A provider without calls is well.
type health struct {
	Known     bool    `expr:"known"`
	Failures  float64 `expr:"failures"` // 0 to 1
	LatencyMS float64 `expr:"latency_ms"`
	FirstMS   float64 `expr:"first_token_ms"`
}

// candidateFacts are about the target that is looked at; only strategies that
// look at one at a time offer them.
type candidateFacts struct {
	Provider  string  `expr:"provider"`
	Model     string  `expr:"model"`
	Region    string  `expr:"region"`
	Weight    int     `expr:"weight"`
	Priority  int     `expr:"priority"`
	Context   int     `expr:"context"`    // tokens; 0: not known
	Priced    bool    `expr:"priced"`     // price is known
	Magnitude float64 `expr:"price"`      // of this request's price
	Seen      bool    `expr:"seen"`       // there were calls to tell from
	LatencyMS float64 `expr:"latency_ms"` // of answered calls lately
	FirstMS   float64 `expr:"first_token_ms"`
	Failures  float64 `expr:"failures"` // share of calls lately, 0 to 1
}

// parts of facts are filled in when an expression asks for them.
type parts uint

const (
	partRequest parts = 1 << iota
	partContent
	partTime
	partPrice
	partHealth
	partCandidate
)

// partOf returns which part a top-level name belongs to.
func partOf(name string) parts {
	switch name {
	case "input_bytes", "attachments", "language", "complexity", "size", "modality":
		return partContent
	case "hour", "weekday", "time":
		return partTime
	case "price":
		return partContent | partPrice
	case "health":
		return partHealth
	case "candidate":
		return partCandidate
	}
	return partRequest
}

// expectedOutput is taken where a request sets no limit, in tokens.
const expectedOutput = 512

// need fills in the parts of facts that are asked for and were not yet.
func (q *Query) need(p parts, providers []string) {
	f, missing := &q.facts, p&^q.read
	if missing&partRequest != 0 {
		q.readRequest()
	}
	if missing&partContent != 0 {
		c := q.Features()
		f.InputBytes, f.Attachments, f.Language, f.Complexity = c.Bytes, c.Media, c.Language, c.Complexity.Score
		f.Size = sizeFacts{
			Bytes: c.Bytes, Tokens: c.Tokens, Messages: len(q.Request.Messages), Turns: c.Turns, Tools: len(q.Request.Tools),
			Media: c.Media, Output: maxTokens(q.Request),
		}
		f.Modality = modalityFacts{Text: c.Text, Image: c.Image, Audio: c.Audio, Video: c.Video, File: c.File}
	}
	if missing&partTime != 0 {
		at := q.Now.UTC()
		f.Hour, f.Weekday = at.Hour(), (int(at.Weekday())+6)%7+1
		f.Time = timeFacts{
			Hour: f.Hour, Minute: at.Minute(), Weekday: f.Weekday, Day: at.Day(), Month: int(at.Month()), Year: at.Year(),
			Date: at.Format("2006-01-02"), Unix: int(at.Unix()),
		}
	}
	if missing&partPrice != 0 {
		f.Price = q.readPrice()
	}
	if p&partHealth != 0 {
		q.readHealth(providers)
	}
	q.read |= p &^ (partHealth | partCandidate)
}

func (q *Query) readRequest() {
	f, r := &q.facts, q.Request
	f.Model, f.Tenant, f.Op, f.Lane, f.Labels, f.Stream = r.Model, r.Tenant, string(r.Operation()), q.Job.Origin.Lane, r.Labels, r.Stream
	f.Operation, f.Tags = f.Op, f.Labels
	f.Messages, f.Tools, f.MaxTokens, f.Round = len(r.Messages), len(r.Tools), maxTokens(r), q.Job.Origin.Round
	f.Request = requestFacts{
		ID: r.ID, ConversationID: r.ConversationID, EndUser: r.EndUser,
		JSON:     r.Output != nil && strings.HasPrefix(r.Output.Format, "json"),
		Thinking: r.Thinking != nil, Seeded: r.Sampling != nil && r.Sampling.Seed != nil,
	}
}

func maxTokens(r *schemas.Request) int {
	if r.MaxTokens == nil {
		return 0
	}
	return int(*r.MaxTokens)
}

// readPrice looks at prices in the currency of the first that has one.
func (q *Query) readPrice() priceFacts {
	var out priceFacts
	if q.Sources.Prices == nil {
		return out
	}
	usage, money := q.Usage(expectedOutput), ""
	var low, high decimal.Decimal
	for i := range q.specs {
		amount, currency, _, known := q.Sources.Prices.Price(q.specs[i].Target, q.Now, usage)
		if !known || (out.Known && currency != money) {
			continue
		}
		if !out.Known || amount.LessThan(low) {
			low = amount
		}
		if !out.Known || amount.GreaterThan(high) {
			high = amount
		}
		out.Known, money = true, currency
	}
	out.Cheapest, out.Dearest = magnitude(low), magnitude(high)
	return out
}

func (q *Query) readHealth(providers []string) {
	f := &q.facts
	if f.Health == nil {
		f.Health = make(map[string]health)
	}
	for _, p := range providers {
		if _, done := f.Health[p]; done {
			continue
		}
		var h health
		if q.Sources.Health != nil {
			if seen, known := q.Sources.Health.Health(schemas.Target{Provider: p}, q.Now); known {
				h = health{true, seen.Failures, milliseconds(seen.Latency), milliseconds(seen.FirstToken)}
			}
		}
		f.Health[p] = h
	}
}

// about fills in candidateFacts.
func (q *Query) about(c *Candidate) {
	out := candidateFacts{
		Provider: c.Target.Provider, Model: c.Target.Model, Region: c.Target.Region, Weight: c.Weight, Priority: c.Priority,
	}
	if c.Can != nil {
		out.Context = c.Can.Context
	}
	if amount, _, known := q.Price(c, q.Usage(expectedOutput)); known {
		out.Priced, out.Magnitude = true, magnitude(amount)
	}
	if seen, known := q.Health(c); known {
		out.Seen, out.Failures = true, seen.Failures
		out.LatencyMS, out.FirstMS = milliseconds(seen.Latency), milliseconds(seen.FirstToken)
	}
	q.facts.Candidate = out
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// drop forgets what belongs to a request.
func (f *facts) drop() {
	h := f.Health
	clear(h)
	*f = facts{Health: h}
}

// known are the names that stand alone in expressions, for messages.
const known = "model, tenant, op, lane, labels, stream, input_bytes, messages, attachments, tools, max_output_tokens, hour, weekday, " +
	"round, language, complexity, and with fields request, time, size, modality, price, health"
