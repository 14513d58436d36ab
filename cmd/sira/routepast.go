package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/handlers/audit"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/sinks/clickhouse"
)

// past is how a request was routed that has been answered.
type past struct {
	RequestID     string         `json:"request_id"`
	Tenant        string         `json:"tenant"`
	Outcome       schemas.Code   `json:"outcome"`
	At            time.Time      `json:"at"`
	Worker        string         `json:"worker,omitempty"`
	ConfigVersion string         `json:"config_version,omitempty"`
	Route         string         `json:"route"`
	Attempts      []pastAttempt  `json:"attempts"`
	Candidates    []pastDecision `json:"candidates,omitempty"` // those of the last round
	Omitted       int            `json:"candidates_omitted,omitempty"`
	From          string         `json:"from"` // audit, or result: then candidates are not known
}

// pastTarget is a target in an audit event.
type pastTarget struct {
	Provider string `json:"provider"`
	Model    string `json:"model"`
	Region   string `json:"region,omitempty"`
	Endpoint string `json:"endpoint,omitempty"`
}

type pastAttempt struct {
	Number int `json:"number"`
	pastTarget
	Reason       string       `json:"reason"`
	Outcome      schemas.Code `json:"outcome"`
	HTTPStatus   int          `json:"http_status,omitempty"`
	LatencyMS    int64        `json:"latency_ms,omitempty"`
	FirstTokenMS int64        `json:"first_token_ms,omitempty"`
}

type pastDecision struct {
	pastTarget
	Kept   bool   `json:"kept"`
	Reason string `json:"reason"`
}

// isID reports whether an argument names a request rather than a file of one.
func isID(arg string) bool {
	if arg == "-" || strings.HasSuffix(arg, ".json") || strings.ContainsRune(arg, os.PathSeparator) {
		return false
	}
	_, err := os.Stat(arg)
	return err != nil
}

// explainPast tells how a request went that has been answered: from the tables or,
// where it is not there yet or they can't be asked, from its result.
func (c *cli) explainPast(ctx context.Context, w io.Writer, id string) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	p, recorded := recordedPast(ctx, cfg, id)
	if p == nil {
		var failed error
		if p, failed = c.resultOf(ctx, cfg, id); failed != nil {
			return errors.Join(failed, recorded)
		}
	}
	if p == nil {
		return errors.Join(fmt.Errorf("there is neither a file nor an answered request named %s", id), recorded)
	}
	if c.json {
		return printJSON(w, p)
	}
	return p.print(w)
}

// recordedPast reads the audit event and the calls from ClickHouse; nil: there is
// no such request.
func recordedPast(ctx context.Context, cfg app.Config, id string) (*past, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	conn, _, err := clickhouse.Open(cfg.ClickHouseDSN())
	if err != nil {
		return nil, usageError{err}
	}
	defer conn.Close()
	rows, err := conn.Query(ctx, "SELECT payload FROM audit WHERE resource = ? AND action = ? ORDER BY event_time DESC LIMIT 1", id, audit.RequestCompleted)
	if err != nil {
		return nil, fmt.Errorf("asking clickhouse: %w", err)
	}
	defer rows.Close()
	if !rows.Next() {
		return nil, rows.Err()
	}
	var payload string
	if err := rows.Scan(&payload); err != nil {
		return nil, fmt.Errorf("reading the audit event: %w", err)
	}
	p, err := pastOf([]byte(payload))
	if err != nil {
		return nil, err
	}
	return p, p.measure(ctx, conn)
}

// pastOf reads an audit event.
func pastOf(payload []byte) (*past, error) {
	var e schemas.AuditEvent
	if err := json.Unmarshal(payload, &e); err != nil {
		return nil, fmt.Errorf("reading the audit event: %w", err)
	}
	p := new(past)
	if err := json.Unmarshal([]byte(e.Decision), p); err != nil {
		return nil, fmt.Errorf("reading the decision of the audit event: %w", err)
	}
	p.RequestID, p.Tenant, p.Outcome, p.At = e.Resource, e.Tenant, e.Outcome, e.Time
	p.Worker, p.ConfigVersion, p.From = e.Worker, e.ConfigVersion, "audit"
	return p, nil
}

// measure adds how long the calls took. They are recorded apart from the audit
// event, maybe a moment later.
func (p *past) measure(ctx context.Context, conn driver.Conn) error {
	rows, err := conn.Query(ctx, "SELECT attempt, http_status, latency_ms, first_token_ms FROM attempts WHERE request_id = ? AND tenant = ?", p.RequestID, p.Tenant)
	if err != nil {
		return fmt.Errorf("asking clickhouse: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var number, status uint16
		var latency, first uint64
		if err := rows.Scan(&number, &status, &latency, &first); err != nil {
			return fmt.Errorf("reading calls: %w", err)
		}
		for i := range p.Attempts {
			if a := &p.Attempts[i]; a.Number == int(number) {
				a.HTTPStatus, a.LatencyMS, a.FirstTokenMS = int(status), int64(latency), int64(first)
			}
		}
	}
	return rows.Err()
}

// resultOf reads the result topic; nil: the request has no result there.
func (c *cli) resultOf(ctx context.Context, cfg app.Config, id string) (*past, error) {
	f, err := c.follow(ctx, cfg, resultTopic(cfg, ""), false)
	if err != nil {
		return nil, err
	}
	defer f.close()
	f.stopAtEnd = true
	var p *past
	err = f.each(ctx, func(r *received) (bool, error) {
		if r.RequestID == id {
			p = pastResult(&r.Result)
		}
		return true, nil // the newest of that id
	})
	return p, err
}

func pastResult(r *schemas.Result) *past {
	p := &past{RequestID: r.RequestID, Tenant: r.Tenant, Outcome: schemas.OK, At: r.CompletedAt, ConfigVersion: r.ConfigVersion, Route: r.Route, From: "result"}
	if r.Failure != nil {
		p.Outcome = r.Failure.Code
	}
	for _, a := range r.Attempts {
		p.Attempts = append(p.Attempts, pastAttempt{
			Number: a.Number, pastTarget: pastTarget{a.Target.Provider, a.Target.Model, a.Target.Region, a.Target.Endpoint},
			Reason: a.Reason, Outcome: a.Outcome, HTTPStatus: a.HTTPStatus, LatencyMS: a.LatencyMS, FirstTokenMS: a.FirstTokenMS,
		})
	}
	return p
}

func (t pastTarget) String() string {
	return targetText(schemas.Target{Provider: t.Provider, Model: t.Model, Region: t.Region})
}

// print tells people.
func (p *past) print(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "request  %s of %s: %s at %s\n", p.RequestID, p.Tenant, p.Outcome, p.At.UTC().Format(time.RFC3339))
	fmt.Fprintf(&b, "route    %s, configuration %s\n\n", p.Route, p.ConfigVersion)
	if len(p.Attempts) == 0 {
		b.WriteString("no provider was called\n")
	}
	for _, a := range p.Attempts {
		fmt.Fprintf(&b, "call %d   %-9s %-40s %s", a.Number, a.Reason, a.String(), a.Outcome)
		if a.HTTPStatus >= 400 {
			fmt.Fprintf(&b, " (HTTP %d)", a.HTTPStatus)
		}
		fmt.Fprintf(&b, ", %d ms", a.LatencyMS)
		if a.FirstTokenMS > 0 {
			fmt.Fprintf(&b, ", first output after %d ms", a.FirstTokenMS)
		}
		if a.Endpoint != "" {
			b.WriteString(", endpoint " + a.Endpoint)
		}
		b.WriteByte('\n')
	}
	if p.From == "result" {
		b.WriteString("\nThe candidates are in the audit event, which is not recorded, or not yet.\n")
	} else {
		b.WriteByte('\n')
	}
	rank := 0
	for _, d := range p.Candidates {
		place := "   -"
		if d.Kept {
			rank++
			place = fmt.Sprintf("%4d", rank)
		}
		fmt.Fprintf(&b, "%s  %-40s %s\n", place, d.String(), d.Reason)
	}
	if p.Omitted > 0 {
		fmt.Fprintf(&b, "      and %d more that the audit event has no room for\n", p.Omitted)
	}
	_, err := w.Write(b.Bytes())
	return err
}
