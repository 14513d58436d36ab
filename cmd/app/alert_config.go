package app

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sira-ai/sira/handlers/alert"
	"github.com/sira-ai/sira/sinks/webhook/alerts"
)

// AlertsConfig says what people are told of, and how. Without receivers alerts are
// only written down.
type AlertsConfig struct {
	alert.Config `json:",inline" yaml:",inline"`

	Receivers []AlertReceiver `json:"receivers,omitempty"`
}

// AlertReceiver is who is told, when, and how.
type AlertReceiver struct {
	alert.Receiver `json:",inline" yaml:",inline"`
	alerts.Config  `json:",inline" yaml:",inline"`
}

// On reports whether there is anything to look at.
func (c *AlertsConfig) On() bool { return len(c.Rules()) > 0 }

// Tellers returns the receivers' times.
func (c *AlertsConfig) Tellers() []alert.Receiver {
	out := make([]alert.Receiver, len(c.Receivers))
	for i := range c.Receivers {
		out[i] = c.Receivers[i].Receiver
	}
	return out
}

// complete sets what the document left out.
func (c *AlertsConfig) complete() {
	c.Complete()
	for i := range c.Receivers {
		r := &c.Receivers[i]
		r.Relay = r.Relays()
		r.Complete(c.Every)
	}
}

// alerts checks the rules and receivers, and sets what they leave out.
func (d *document) alerts(cfg *Config) {
	c := &cfg.Alerts
	c.complete()
	known := alert.Known{}
	for i := range c.Receivers {
		r, at := &c.Receivers[i], fmt.Sprintf("alerts.receivers[%d]", i)
		for _, f := range r.Faults() {
			d.path(at+"."+f.Path, f.Message)
		}
		if err := r.Validate(); err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				d.path(at, line)
			}
		}
		if slices.Contains(known.Receivers, r.Name) {
			d.path(at+".name", fmt.Sprintf("there are two receivers %q; each needs its own name", r.Name))
		}
		known.Receivers = append(known.Receivers, r.Name)
	}
	for _, m := range cfg.RoutingModels() {
		known.Models = append(known.Models, m.Name)
	}
	for _, r := range cfg.Routes { // they may take models that the document says nothing more about
		known.Models = append(append(known.Models, r.Models...), r.Fallback...)
	}
	for i := range cfg.Budgets {
		known.Budgets = append(known.Budgets, cfg.Budgets[i].ID)
	}
	for _, f := range c.Faults(known) {
		d.path("alerts."+f.Path, f.Message)
	}
}
