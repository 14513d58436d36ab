package schemas

import "time"

// Alert is something that people should know of, from when it was first seen until
// it is over. ID and Since name it.
type Alert struct {
	ID       string            `json:"id"` // of rule and labels: the same for the same trouble
	Rule     string            `json:"rule"`
	Kind     string            `json:"kind"`     // of the rule: burn, anomaly, budget, forecast or self
	Severity string            `json:"severity"` // page or ticket
	Labels   map[string]string `json:"labels"`   // what it is about, such as model
	State    AlertState        `json:"state"`
	// Level is how bad it is, within its rule: people are told again when it rises.
	Level      int       `json:"level"`
	Value      float64   `json:"value"`
	Threshold  float64   `json:"threshold"`
	Summary    string    `json:"summary"` // one sentence
	Runbook    string    `json:"runbook,omitempty"`
	Since      time.Time `json:"since"`
	SeenAt     time.Time `json:"seen_at"` // the last time that it was so
	FiredAt    time.Time `json:"fired_at,omitzero"`
	ResolvedAt time.Time `json:"resolved_at,omitzero"`
	// Told is what each receiver was told last.
	Told map[string]AlertTold `json:"told,omitempty"`
}

// AlertState is how far an alert got.
type AlertState string

// The states of alerts.
const (
	AlertPending  AlertState = "pending"  // not for long enough yet
	AlertFiring   AlertState = "firing"   // people are to know
	AlertResolved AlertState = "resolved" // was firing, and is over
	AlertDropped  AlertState = "dropped"  // was over before it was long enough
)

// AlertTold is what a receiver knows of an alert.
type AlertTold struct {
	State AlertState `json:"state"` // firing or resolved
	Level int        `json:"level"`
	At    time.Time  `json:"at"`
}

// AlertNotice tells a receiver about alerts that belong together.
type AlertNotice struct {
	ID       string            `json:"id"` // the same when the same is told again after a failure
	Receiver string            `json:"receiver"`
	Group    map[string]string `json:"group"` // what the alerts have in common
	Firing   []Alert           `json:"firing"`
	Resolved []Alert           `json:"resolved"`
	Time     time.Time         `json:"time"`
	// Until is when firing alerts count as over if nothing more is heard of them.
	Until time.Time `json:"until"`
}

// AlertSilence keeps people from being told about alerts for a while.
type AlertSilence struct {
	ID       string    `json:"id"`
	Matchers []string  `json:"matchers"` // all of them must match: name=value, name!=value, name=~regexp, name!~regexp
	From     time.Time `json:"from"`
	Until    time.Time `json:"until"`
	Author   string    `json:"author,omitempty"`
	Comment  string    `json:"comment,omitempty"`
}
