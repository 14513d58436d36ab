package alert

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sira-ai/sira/schemas"
)

// group is the alerts that a receiver is told of together.
type group struct {
	labels map[string]string
	key    string
	alerts []*schemas.Alert
}

// Due returns what is to be told now. rules say who is told of what; an alert of an
// unknown rule is for everybody.
func (b *Board) Due(receivers []Receiver, rules []Rule, silences []Silence, now time.Time) []schemas.AlertNotice {
	var out []schemas.AlertNotice
	for i := range receivers {
		r := &receivers[i]
		for _, g := range b.groups(r, rules, silences, now) {
			if n, ok := g.notice(r, now); ok {
				out = append(out, n)
			}
		}
	}
	return out
}

// groups sorts the alerts of a receiver, without those that are silenced.
func (b *Board) groups(r *Receiver, rules []Rule, silences []Silence, now time.Time) []*group {
	by := map[string]*group{}
	for _, id := range slices.Sorted(maps.Keys(b.alerts)) {
		a := b.alerts[id]
		if a.State == schemas.AlertPending || !addressed(rules, a.Rule, r.Name) || Silenced(silences, a, now) {
			continue
		}
		labels := map[string]string{}
		for _, name := range r.GroupBy {
			if v := Label(a, name); v != "" {
				labels[name] = v
			}
		}
		key := ID("", labels)
		if by[key] == nil {
			by[key] = &group{labels: labels, key: key}
		}
		by[key].alerts = append(by[key].alerts, a)
	}
	out := make([]*group, 0, len(by))
	for _, key := range slices.Sorted(maps.Keys(by)) {
		slices.SortStableFunc(by[key].alerts, func(a, b *schemas.Alert) int { return a.FiredAt.Compare(b.FiredAt) })
		out = append(out, by[key])
	}
	return out
}

func addressed(rules []Rule, rule, receiver string) bool {
	i := slices.IndexFunc(rules, func(r Rule) bool { return r.Name == rule })
	return i < 0 || len(rules[i].To) == 0 || slices.Contains(rules[i].To, receiver)
}

// Label returns what a matcher or a group calls by name: a label, or rule, kind or
// severity.
func Label(a *schemas.Alert, name string) string {
	switch name {
	case "rule":
		return a.Rule
	case "kind":
		return a.Kind
	case "severity":
		return a.Severity
	}
	return a.Labels[name]
}

// notice returns what a receiver is to be told of a group now, if anything. New
// alerts wait for others of their group; later ones, and the end, keep a distance
// from what was told before; what got worse is told at once; and what goes on
// is told again.
func (g *group) notice(r *Receiver, now time.Time) (schemas.AlertNotice, bool) {
	var last, first time.Time
	var news, worse bool
	n := schemas.AlertNotice{Receiver: r.Name, Group: g.labels, Time: now, Until: now.Add(r.lifetime())}
	for _, a := range g.alerts {
		t := a.Told[r.Name]
		if t.At.After(last) {
			last = t.At
		}
		switch a.State {
		case schemas.AlertFiring:
			n.Firing = append(n.Firing, copied(a))
			if t.State != schemas.AlertFiring {
				news = true
				if first.IsZero() || a.FiredAt.Before(first) {
					first = a.FiredAt
				}
			} else if a.Level > t.Level {
				worse = true
			}
		case schemas.AlertResolved:
			if t.State == schemas.AlertFiring && !r.FiringOnly {
				n.Resolved = append(n.Resolved, copied(a))
				news = true
			}
		}
	}
	due := worse || news && !last.IsZero() && now.Sub(last) >= r.Interval
	due = due || news && last.IsZero() && now.Sub(first) >= r.Wait
	due = due || len(n.Firing) > 0 && !last.IsZero() && now.Sub(last) >= r.Repeat
	if !due || len(n.Firing)+len(n.Resolved) == 0 {
		return n, false
	}
	n.ID = name(g.key, &n, last)
	return n, true
}

// name is the same for the same content after the same notice before.
func name(key string, n *schemas.AlertNotice, last time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %d", n.Receiver, key, last.UnixMilli())
	for _, all := range [][]schemas.Alert{n.Firing, n.Resolved} {
		for i := range all {
			fmt.Fprintf(&b, " %s %d %s %d", all[i].ID, all[i].Since.UnixMilli(), all[i].State, all[i].Level)
		}
	}
	sum := sha256.Sum256([]byte(b.String()))
	return "alert_" + hex.EncodeToString(sum[:12])
}

// Told notes that a receiver knows.
func (b *Board) Told(n *schemas.AlertNotice, now time.Time) {
	for _, all := range [][]schemas.Alert{n.Firing, n.Resolved} {
		for i := range all {
			a := b.alerts[all[i].ID]
			if a == nil {
				continue
			}
			if a.Told == nil {
				a.Told = map[string]schemas.AlertTold{}
			}
			a.Told[n.Receiver] = schemas.AlertTold{State: all[i].State, Level: all[i].Level, At: now}
			b.dirty[a.ID] = true
		}
	}
}
