package schemas

import (
	"time"

	"github.com/shopspring/decimal"
)

// Event is something that happened to a request and is worth keeping. Its ID is
// stable across redeliveries, so that the same event written twice is harmless.
type Event interface {
	EventID() string
}

// CostEvent is the ledger entry of one request record. There is exactly one for
// each, also for requests that failed or cost nothing.
type CostEvent struct {
	ID            string            `json:"id" avro:"id"` // the request record's origin
	RequestID     string            `json:"request_id" avro:"request_id"`
	Tenant        string            `json:"tenant" avro:"tenant"`
	Labels        map[string]string `json:"labels,omitempty" avro:"labels"`
	Time          time.Time         `json:"time" avro:"time"` // when the request was completed; prices of this moment apply
	Op            Operation         `json:"op" avro:"op"`
	Model         string            `json:"model" avro:"model"`                 // as requested
	Outcome       Code              `json:"outcome" avro:"outcome"`             // ok or the failure's code
	Provider      string            `json:"provider,omitempty" avro:"provider"` // who answered
	ProviderModel string            `json:"provider_model,omitempty" avro:"provider_model"`
	Region        string            `json:"region,omitempty" avro:"region"`
	State         CostState         `json:"state" avro:"state"`
	Amount        decimal.Decimal   `json:"amount" avro:"amount"`               // zero where State is unpriced or none
	Currency      string            `json:"currency,omitempty" avro:"currency"` // ISO 4217; empty where nothing is priced
	InputTokens   int64             `json:"input_tokens" avro:"input_tokens"`   // of all lines together
	CacheRead     int64             `json:"cache_read_tokens,omitempty" avro:"cache_read_tokens"`
	CacheWrite    int64             `json:"cache_write_tokens,omitempty" avro:"cache_write_tokens"`
	OutputTokens  int64             `json:"output_tokens" avro:"output_tokens"`
	Attempts      int               `json:"attempts" avro:"attempts"`
	Lines         []CostLine        `json:"lines,omitempty" avro:"lines"`
	ConfigVersion string            `json:"config_version,omitempty" avro:"config_version"`
}

// EventID returns the ID.
func (e *CostEvent) EventID() string { return e.ID }

// CostLine is what one attempt cost.
type CostLine struct {
	Attempt      int             `json:"attempt" avro:"attempt"`
	Kind         string          `json:"kind" avro:"kind"` // usage or failed_attempt
	Provider     string          `json:"provider" avro:"provider"`
	Model        string          `json:"model" avro:"model"`
	State        CostState       `json:"state" avro:"state"`
	Amount       decimal.Decimal `json:"amount" avro:"amount"`
	Currency     string          `json:"currency,omitempty" avro:"currency"`
	PriceVersion string          `json:"price_version,omitempty" avro:"price_version"` // which row of the price book
	InputTokens  int64           `json:"input_tokens" avro:"input_tokens"`
	OutputTokens int64           `json:"output_tokens" avro:"output_tokens"`
	UsageSource  UsageSource     `json:"usage_source,omitempty" avro:"usage_source"`
	// Usage is all that was used, the JSON of a Usage without raw, so that the line
	// can be priced again. Empty: the event's totals are all there was.
	Usage string `json:"usage,omitempty" avro:"usage"`
}

// The kinds of CostLine.
const (
	LineUsage         = "usage"
	LineFailedAttempt = "failed_attempt"
)

// AttemptEvent is an Attempt with whose request it was.
type AttemptEvent struct {
	ID        string    `json:"id" avro:"id"` // origin#number
	RequestID string    `json:"request_id" avro:"request_id"`
	Tenant    string    `json:"tenant" avro:"tenant"`
	Op        Operation `json:"op" avro:"op"`
	Model     string    `json:"model" avro:"model"` // as requested
	Stream    bool      `json:"stream" avro:"stream"`
	Worker    string    `json:"worker,omitempty" avro:"worker"`
	Attempt   Attempt   `json:"attempt" avro:"attempt"`
}

// EventID returns the ID.
func (e *AttemptEvent) EventID() string { return e.ID }

// AuditEvent records who did what, when, and what was decided. The hash chain
// over these records is made where they are kept (handlers/audit).
type AuditEvent struct {
	ID            string    `json:"id" avro:"id"` // origin:action
	Time          time.Time `json:"time" avro:"time"`
	Tenant        string    `json:"tenant" avro:"tenant"`
	Actor         string    `json:"actor" avro:"actor"`       // user or key label, else the tenant
	Action        string    `json:"action" avro:"action"`     // request.completed, dead.redriven, …
	Resource      string    `json:"resource" avro:"resource"` // request id or other subject
	Outcome       Code      `json:"outcome" avro:"outcome"`
	Decision      string    `json:"decision,omitempty" avro:"decision"`         // route and targets with reasons, JSON, without content
	RequestHash   string    `json:"request_hash,omitempty" avro:"request_hash"` // SHA-256 of the request record's value, hex
	ConfigVersion string    `json:"config_version,omitempty" avro:"config_version"`
	Worker        string    `json:"worker,omitempty" avro:"worker"`
}

// EventID returns the ID.
func (e *AuditEvent) EventID() string { return e.ID }

// MetricEvent is one sample of a gauge.
type MetricEvent struct {
	Time     time.Time `json:"time" avro:"time"`
	Name     string    `json:"name" avro:"name"`
	Endpoint string    `json:"endpoint,omitempty" avro:"endpoint"`
	Worker   string    `json:"worker" avro:"worker"`
	Value    float64   `json:"value" avro:"value"`
}

// EventID returns what makes the sample unique.
func (e *MetricEvent) EventID() string {
	return e.Worker + "/" + e.Name + "/" + e.Endpoint + "/" + e.Time.UTC().Format(time.RFC3339Nano)
}

// BudgetEvent is one decision of the owner of a budget.
type BudgetEvent struct {
	ID       string          `json:"id" avro:"id"`     // budget#seq
	Time     time.Time       `json:"time" avro:"time"` // when it was decided
	Budget   string          `json:"budget" avro:"budget"`
	Seq      int64           `json:"seq" avro:"seq"` // of the budget, from 1, without gaps
	Tenant   string          `json:"tenant,omitempty" avro:"tenant"`
	Mode     string          `json:"mode" avro:"mode"`         // hard, soft or shadow
	Decision string          `json:"decision" avro:"decision"` // granted, over, refused, settled or expired
	Request  string          `json:"request" avro:"request"`   // the request record's origin: the id of its CostEvent
	Amount   decimal.Decimal `json:"amount" avro:"amount"`     // set aside, given back, or what the request cost
	Currency string          `json:"currency" avro:"currency"`
	Window   time.Time       `json:"window" avro:"window"`     // start of the window that the amount counts in
	Limit    decimal.Decimal `json:"limit" avro:"limit"`       // of the window
	Spent    decimal.Decimal `json:"spent" avro:"spent"`       // settled in the budget's present window, after the decision
	Reserved decimal.Decimal `json:"reserved" avro:"reserved"` // set aside, after the decision
	// Warning is the highest percentage of the limit that spent and reserved money
	// passed by this decision; 0: none that was not passed before in this window.
	Warning int `json:"warning,omitempty" avro:"warning"`
}

// EventID returns the ID.
func (e *BudgetEvent) EventID() string { return e.ID }
