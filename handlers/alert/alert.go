// Package alert decides when people are told of trouble: how long a condition has
// to hold, which alerts are told together, when they are told again, and when they
// are over. What the conditions are is found out elsewhere: a look at a rule comes
// in as findings, notices go out.
//
// Nothing here reads a clock or a table. The Board is a function of what it is
// given, and what it keeps is written down and read again by whoever is next.
package alert

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"time"

	"github.com/sira-ai/sira/schemas"
)

// The severities.
const (
	Page   = "page"   // somebody should act now
	Ticket = "ticket" // somebody should act on the next working day
)

// The kinds of rules.
const (
	KindBurn     = "burn"
	KindAnomaly  = "anomaly"
	KindBudget   = "budget"
	KindForecast = "forecast"
	KindSelf     = "self" // the watch itself is blind
)

// Finding is a condition that holds at a look.
type Finding struct {
	Labels    map[string]string `json:"labels"`
	Severity  string            `json:"severity,omitempty"` // empty: the rule's
	Level     int               `json:"level"`              // how bad; comparable within the rule
	Value     float64           `json:"value"`
	Threshold float64           `json:"threshold"`
	Summary   string            `json:"summary"` // one sentence, without content of requests
}

// Board is all alerts that are not over, and those that were until a moment ago. It
// is not safe for concurrent use.
type Board struct {
	alerts map[string]*schemas.Alert // by ID
	saved  map[string]time.Time
	dirty  map[string]bool
	gone   []schemas.Alert // dropped alerts that are to be written once more
}

const (
	// remembered is how long an alert that is over dampens its return.
	remembered = time.Hour
	// untold is how long it is kept for a receiver that can't be reached.
	untold = 24 * time.Hour
	// refresh is how old the written value of a firing alert may be.
	refresh = time.Minute
)

// NewBoard returns a board that goes on from past, the last known state of each
// alert.
func NewBoard(past []schemas.Alert) *Board {
	b := &Board{alerts: map[string]*schemas.Alert{}, saved: map[string]time.Time{}, dirty: map[string]bool{}}
	for i := range past {
		a := past[i]
		if a.State == schemas.AlertDropped {
			continue
		}
		if old := b.alerts[a.ID]; old == nil || a.Since.After(old.Since) {
			a.Told = maps.Clone(a.Told)
			b.alerts[a.ID] = &a
			b.saved[a.ID] = a.SeenAt
		}
	}
	return b
}

// ID names the trouble of a rule with these labels: 16 hex digits.
func ID(rule string, labels map[string]string) string {
	h := sha256.New()
	h.Write([]byte(rule))
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		h.Write([]byte("\x00" + k + "\x01" + labels[k]))
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Judge takes what a look at a rule found: all conditions of the rule that hold
// now. What was found before and is not any more is over.
func (b *Board) Judge(r *Rule, found []Finding, now time.Time) {
	seen := make(map[string]bool, len(found))
	for i := range found {
		f := &found[i]
		labels := maps.Clone(r.Labels)
		if labels == nil {
			labels = map[string]string{}
		}
		maps.Copy(labels, f.Labels)
		id := ID(r.Name, labels)
		seen[id] = true
		b.holds(r, f, id, labels, now)
	}
	for id, a := range b.alerts {
		if a.Rule == r.Name && !seen[id] {
			b.ends(a, r.Keep, now)
		}
	}
}

// holds notes that a condition is so.
func (b *Board) holds(r *Rule, f *Finding, id string, labels map[string]string, now time.Time) {
	a := b.alerts[id]
	if a == nil || a.State == schemas.AlertResolved {
		fresh := &schemas.Alert{ID: id, Rule: r.Name, Kind: r.Kind, Labels: labels, State: schemas.AlertPending, Since: now}
		if a != nil {
			fresh.Told = a.Told // who was not told that it was over need not hear that it is back
		}
		a = fresh
		b.alerts[id] = a
		b.dirty[id] = true
	}
	if a.Level != f.Level {
		b.dirty[id] = true
	}
	a.Severity, a.Level, a.Value, a.Threshold, a.Summary, a.Runbook, a.SeenAt = f.Severity, f.Level, f.Value, f.Threshold, f.Summary, r.Runbook, now
	if a.Severity == "" {
		a.Severity = r.Severity
	}
	if a.State == schemas.AlertPending && now.Sub(a.Since) >= r.For {
		a.State, a.FiredAt = schemas.AlertFiring, now
		b.dirty[id] = true
	}
}

// ends notes that a condition is not so any more. keep is how long a firing alert
// outlives its condition.
func (b *Board) ends(a *schemas.Alert, keep time.Duration, now time.Time) {
	switch {
	case a.State == schemas.AlertPending:
		a.State, a.ResolvedAt = schemas.AlertDropped, now
		b.gone = append(b.gone, *a)
		b.forget(a.ID)
	case a.State == schemas.AlertFiring && now.Sub(a.SeenAt) >= keep:
		a.State, a.ResolvedAt = schemas.AlertResolved, now
		b.dirty[a.ID] = true
	case a.State == schemas.AlertResolved && now.Sub(a.ResolvedAt) >= remembered && (!owed(a) || now.Sub(a.ResolvedAt) >= untold):
		b.forget(a.ID)
	}
}

// owed reports whether somebody was told that it burns and not that it is over.
func owed(a *schemas.Alert) bool {
	for _, t := range a.Told {
		if t.State == schemas.AlertFiring {
			return true
		}
	}
	return false
}

func (b *Board) forget(id string) {
	delete(b.alerts, id)
	delete(b.saved, id)
	delete(b.dirty, id)
}

// Retire ends the alerts of rules that are not among the known ones any more.
func (b *Board) Retire(known []string, now time.Time) {
	for _, a := range b.alerts {
		if !slices.Contains(known, a.Rule) {
			b.ends(a, 0, now)
		}
	}
}

// Alerts returns all alerts, in the order of their IDs.
func (b *Board) Alerts() []schemas.Alert {
	out := make([]schemas.Alert, 0, len(b.alerts))
	for _, id := range slices.Sorted(maps.Keys(b.alerts)) {
		out = append(out, copied(b.alerts[id]))
	}
	return out
}

func copied(a *schemas.Alert) schemas.Alert {
	c := *a
	c.Labels, c.Told = maps.Clone(a.Labels), maps.Clone(a.Told)
	return c
}

// Unsaved returns the alerts that differ from what was written down, or whose value
// was written a minute ago or more.
func (b *Board) Unsaved(now time.Time) []schemas.Alert {
	out := slices.Clone(b.gone)
	for _, id := range slices.Sorted(maps.Keys(b.alerts)) {
		a := b.alerts[id]
		if b.dirty[id] || a.State == schemas.AlertFiring && now.Sub(b.saved[id]) >= refresh {
			out = append(out, copied(a))
		}
	}
	return out
}

// Saved notes that what Unsaved returned last is written down.
func (b *Board) Saved(all []schemas.Alert, now time.Time) {
	b.gone = nil
	for i := range all {
		if _, there := b.alerts[all[i].ID]; there {
			delete(b.dirty, all[i].ID)
			b.saved[all[i].ID] = now
		}
	}
}
