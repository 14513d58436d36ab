package schemas

import (
	"strconv"
	"time"
)

// EndpointStats is what one worker saw of the endpoints of a fleet since its last
// report. Reports of several workers, and of one, add up.
type EndpointStats struct {
	Time      time.Time      `json:"time" avro:"time"`
	Fleet     string         `json:"fleet" avro:"fleet"` // endpoints that are judged together
	Worker    string         `json:"worker" avro:"worker"`
	Endpoints []EndpointSums `json:"endpoints" avro:"endpoints"`
}

// EndpointSums are sums over the calls to one endpoint.
type EndpointSums struct {
	Provider   string `json:"provider" avro:"provider"`
	Endpoint   string `json:"endpoint" avro:"endpoint"`
	Region     string `json:"region,omitempty" avro:"region"`
	Calls      int64  `json:"calls" avro:"calls"`
	Faults     int64  `json:"faults,omitempty" avro:"faults"`         // no answer
	Limited    int64  `json:"limited,omitempty" avro:"limited"`       // 429
	Overloaded int64  `json:"overloaded,omitempty" avro:"overloaded"` // 529, and 503 that says so
	Truncated  int64  `json:"truncated,omitempty" avro:"truncated"`   // the answer broke off
	FirstToken LogSum `json:"first_token,omitzero" avro:"first_token"`
	Gap        LogSum `json:"gap,omitzero" avro:"gap"` // longest time between two tokens
	Latency    LogSum `json:"latency,omitzero" avro:"latency"`
	Input      LogSum `json:"input,omitzero" avro:"input"`
	Output     LogSum `json:"output,omitzero" avro:"output"`
}

// LogSum is a sum of natural logarithms, of seconds or of tokens.
type LogSum struct {
	N   int64   `json:"n" avro:"n"`
	Log float64 `json:"log" avro:"log"`
}

// EndpointState is what is known of an endpoint's health, and what share of its
// calls it gets.
type EndpointState struct {
	Provider     string    `json:"provider" avro:"provider"`
	Endpoint     string    `json:"endpoint" avro:"endpoint"`
	Region       string    `json:"region,omitempty" avro:"region"`
	Fleet        string    `json:"fleet" avro:"fleet"`
	Time         time.Time `json:"time" avro:"time"`
	Owner        string    `json:"owner" avro:"owner"`               // process that computed it
	Probability  float64   `json:"probability" avro:"probability"`   // of failing within the next five minutes
	Bad          float64   `json:"bad" avro:"bad"`                   // share of calls without a whole answer, now
	Share        int       `json:"share" avro:"share"`               // percent of its calls that it gets
	Low          bool      `json:"low,omitempty" avro:"low"`         // calls are withheld; else they are there, or come back
	CalmMS       int64     `json:"calm_ms,omitempty" avro:"calm_ms"` // how long a low one has been calm
	Since        time.Time `json:"since,omitzero" avro:"since,omitzero"`
	Shifts       int64     `json:"shifts,omitempty" avro:"shifts"`   // so far; the number of the last one
	Reasons      []string  `json:"reasons,omitempty" avro:"reasons"` // of the probability, the weightiest first
	InputDrift   float64   `json:"input_drift,omitempty" avro:"input_drift"`
	OutputDrift  float64   `json:"output_drift,omitempty" avro:"output_drift"`
	ModelVersion string    `json:"model_version,omitempty" avro:"model_version"`
	Memory       string    `json:"memory,omitempty" avro:"memory"` // for the next owner, JSON
}

// The kinds of HealthEvent.
const (
	HealthShare   = "share"   // calls are withheld from an endpoint, or begin to come back
	HealthBreaker = "breaker" // a circuit breaker changed its state
)

// HealthEvent is a change in how an endpoint is used, with its reasons.
type HealthEvent struct {
	ID          string    `json:"id" avro:"id"`
	Time        time.Time `json:"time" avro:"time"`
	Kind        string    `json:"kind" avro:"kind"`
	Provider    string    `json:"provider" avro:"provider"`
	Endpoint    string    `json:"endpoint" avro:"endpoint"`
	Region      string    `json:"region,omitempty" avro:"region"`
	Source      string    `json:"source,omitempty" avro:"source"`           // who decided: analyst, or a worker for itself
	Instance    string    `json:"instance,omitempty" avro:"instance"`       // the process
	Applied     bool      `json:"applied" avro:"applied"`                   // false: prediction.mode is observe
	FromShare   int       `json:"from_share,omitempty" avro:"from_share"`   // percent; of kind share
	ToShare     int       `json:"to_share,omitempty" avro:"to_share"`       // percent that it is heading for
	FromState   string    `json:"from_state,omitempty" avro:"from_state"`   // of kind breaker
	ToState     string    `json:"to_state,omitempty" avro:"to_state"`       // closed, open or half_open
	Probability float64   `json:"probability,omitempty" avro:"probability"` // of failing within the next five minutes
	Bad         float64   `json:"bad,omitempty" avro:"bad"`                 // share of calls without a whole answer, then
	Reasons     []string  `json:"reasons,omitempty" avro:"reasons"`
}

// The sources of HealthEvent.
const (
	SourceAnalyst = "analyst" // for all workers
	SourceWorker  = "worker"  // for itself
)

// EventID returns the ID.
func (e *HealthEvent) EventID() string { return e.ID }

// ShiftID names a shift so that it is the same event whoever reports it again.
func ShiftID(provider, endpoint string, number int64) string {
	return provider + "/" + endpoint + "#" + strconv.FormatInt(number, 10)
}
