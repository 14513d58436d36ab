package alerts

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sira-ai/sira/schemas"
)

// Type is the type of every notification by webhook.
const Type = "alerts.changed"

// Notification is the body of a webhook, in the form of Standard Webhooks
// (https://github.com/standard-webhooks/standard-webhooks).
type Notification struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      Data      `json:"data"`
}

// Data is alerts that belong together.
type Data struct {
	Status schemas.AlertState `json:"status"` // firing while one of them is
	Group  map[string]string  `json:"group"`
	Alerts []Item             `json:"alerts"`         // firing ones first
	More   int                `json:"more,omitempty"` // alerts that are left out
}

// Item is an alert as receivers see it.
type Item struct {
	ID         string             `json:"id"`
	Rule       string             `json:"rule"`
	Kind       string             `json:"kind"`
	Severity   string             `json:"severity"`
	Status     schemas.AlertState `json:"status"` // firing or resolved
	Labels     map[string]string  `json:"labels"`
	Summary    string             `json:"summary"`
	Runbook    string             `json:"runbook,omitempty"`
	Value      float64            `json:"value"`
	Threshold  float64            `json:"threshold"`
	Since      time.Time          `json:"since"`
	FiredAt    time.Time          `json:"fired_at"`
	ResolvedAt time.Time          `json:"resolved_at,omitzero"`
}

// maxItems bounds a webhook's body to some 100 KB.
const maxItems = 200

func notification(n *schemas.AlertNotice) Notification {
	d := Data{Status: schemas.AlertResolved, Group: n.Group, Alerts: []Item{}}
	if len(n.Firing) > 0 {
		d.Status = schemas.AlertFiring
	}
	for _, all := range [][]schemas.Alert{n.Firing, n.Resolved} {
		for i := range all {
			if len(d.Alerts) == maxItems {
				d.More++
				continue
			}
			a := &all[i]
			d.Alerts = append(d.Alerts, Item{
				a.ID, a.Rule, a.Kind, a.Severity, a.State, a.Labels, a.Summary, a.Runbook, a.Value, a.Threshold, a.Since, a.FiredAt, a.ResolvedAt,
			})
		}
	}
	return Notification{Type: Type, Timestamp: n.Time, Data: d}
}

// message is what Slack's incoming webhooks take
// (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks).
type message struct {
	Text        string       `json:"text"` // shown in notifications
	Attachments []attachment `json:"attachments"`
}

// attachment has a coloured bar at its left
// (https://docs.slack.dev/legacy/legacy-messaging/legacy-secondary-message-attachments).
type attachment struct {
	Color    string   `json:"color"`
	Fallback string   `json:"fallback"`
	Text     string   `json:"text"`
	Footer   string   `json:"footer,omitempty"`
	At       int64    `json:"ts"` // seconds since 1970
	Markdown []string `json:"mrkdwn_in"`
}

// maxAttachments is where Slack's guidance draws the line for attachments.
const maxAttachments = 20

func slackMessage(n *schemas.AlertNotice) message {
	m := message{Text: headline(n)}
	for _, all := range [][]schemas.Alert{n.Firing, n.Resolved} {
		for i := range all {
			if len(m.Attachments) < maxAttachments {
				m.Attachments = append(m.Attachments, slackAlert(&all[i]))
			}
		}
	}
	if left := len(n.Firing) + len(n.Resolved) - len(m.Attachments); left > 0 {
		m.Text += fmt.Sprintf(" (%d more: sira alerts list)", left)
	}
	return m
}

// headline says in a line how many alerts there are of what.
func headline(n *schemas.AlertNotice) string {
	var parts []string
	if len(n.Firing) > 0 {
		parts = append(parts, strconv.Itoa(len(n.Firing))+" firing")
	}
	if len(n.Resolved) > 0 {
		parts = append(parts, strconv.Itoa(len(n.Resolved))+" resolved")
	}
	what := "Sira alerts"
	if len(n.Group) > 0 {
		what = "Sira: " + strings.Join(pairs(n.Group), ", ")
	}
	return escaped(what + ": " + strings.Join(parts, ", "))
}

func slackAlert(a *schemas.Alert) attachment {
	at, colour, state := a.FiredAt, "#d9480f", a.Severity
	if a.Severity == "page" {
		colour = "#c92a2a"
	}
	if a.State == schemas.AlertResolved {
		at, colour, state = a.ResolvedAt, "#2b8a3e", "resolved after "+a.ResolvedAt.Sub(a.FiredAt).Round(time.Second).String()
	}
	text := "*" + escaped(a.Rule) + "* " + escaped(state) + "\n" + escaped(a.Summary)
	if len(a.Labels) > 0 {
		text += "\n`" + escaped(strings.ReplaceAll(strings.Join(pairs(a.Labels), " "), "`", "'")) + "`"
	}
	if a.Runbook != "" {
		text += "\n<" + escaped(a.Runbook) + "|runbook>"
	}
	return attachment{Color: colour, Fallback: escaped(a.Rule + ": " + a.Summary), Text: text, Footer: "sira " + a.ID, At: at.Unix(), Markdown: []string{"text"}}
}

func pairs(labels map[string]string) []string {
	out := make([]string, 0, len(labels))
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		out = append(out, k+"="+labels[k])
	}
	return out
}

// escaped protects the three characters that mean something to Slack
// (https://docs.slack.dev/messaging/formatting-message-text).
func escaped(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

// postableAlert is an element of what Alertmanager takes
// (https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml,
// postableAlert). Labels identify the alert; one whose endsAt has passed is over.
type postableAlert struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
}

// postable leaves value and level to the annotations: a label that changes would
// make another alert of it. The severity is a label all the same, since routes go by
// it: an alert that becomes a page is a second one there, and the first one ends when
// it is not sent again.
func postable(n *schemas.AlertNotice) []postableAlert {
	out := make([]postableAlert, 0, len(n.Firing)+len(n.Resolved))
	for _, all := range [][]schemas.Alert{n.Firing, n.Resolved} {
		for i := range all {
			a := &all[i]
			p := postableAlert{
				Labels:      map[string]string{},
				Annotations: map[string]string{"summary": a.Summary, "value": strconv.FormatFloat(a.Value, 'g', 6, 64), "threshold": strconv.FormatFloat(a.Threshold, 'g', 6, 64), "id": a.ID},
				StartsAt:    a.FiredAt, EndsAt: n.Until,
			}
			for k, v := range a.Labels {
				if v != "" { // Alertmanager drops labels without a value
					p.Labels[k] = v
				}
			}
			maps.Copy(p.Labels, map[string]string{"alertname": a.Rule, "severity": a.Severity, "kind": a.Kind, "job": "sira"})
			if a.Runbook != "" {
				p.Annotations["runbook_url"] = a.Runbook
			}
			if a.State == schemas.AlertResolved {
				p.EndsAt = a.ResolvedAt
			}
			out = append(out, p)
		}
	}
	return out
}
