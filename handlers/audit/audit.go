// Package audit records who asked for what and what was decided, and proves that
// the records were not changed since.
//
// The stage writes the event; whoever keeps the events links them with [Hash] or
// a [Linker]; a [Verifier] checks what is kept.
package audit

import (
	"context"
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// RequestCompleted is the action of the events that the [Stage] writes.
const RequestCompleted = "request.completed"

// The labels of a request that name who is behind it, the first before the second.
const (
	labelUser = "user"
	labelKey  = "key"
)

// Bounds of what an event says about a decision, in bytes of JSON.
const (
	maxDecision = 8 << 10
	maxText     = 200 // of each text in it, before escaping
	// reserve is kept free for closing brackets and the counts of what was left out.
	reserve = 128
)

// Config is what a [Stage] writes on every event.
type Config struct {
	Worker        string // stable name of this process
	ConfigVersion string
}

// Stage is the settle step that writes the audit event of every job.
type Stage struct{ cfg Config }

// New returns the stage.
func New(cfg Config) *Stage { return &Stage{cfg} }

// Handle implements pipeline.Stage. It sets job.Audit and always returns nil.
//
// The event's decision is a JSON object with route, attempts and candidates. It
// has no request or answer content and at most 8 KiB: what does not fit is left
// out from the end and counted in attempts_omitted and candidates_omitted.
func (s *Stage) Handle(_ context.Context, job *pipeline.Job) error {
	var room [1024]byte
	job.Audit = &schemas.AuditEvent{
		ID: job.Origin.First + ":" + RequestCompleted, Time: job.Completed, Tenant: job.Request.Tenant, Actor: actor(job.Request),
		Action: RequestCompleted, Resource: job.Request.ID, Outcome: job.Outcome(), Decision: string(appendDecision(room[:0], job)),
		RequestHash: job.Origin.Hash, ConfigVersion: s.cfg.ConfigVersion, Worker: s.cfg.Worker,
	}
	return nil
}

func actor(r *schemas.Request) string {
	for _, name := range [...]string{labelUser, labelKey} {
		if v := r.Labels[name]; v != "" {
			return v
		}
	}
	return r.Tenant
}

// appendDecision writes what was decided. Attempts come before candidates: of a
// long decision, what was done counts more than what was considered.
func appendDecision(b []byte, job *pipeline.Job) []byte {
	b = append(b, `{"route":`...)
	b = appendString(b, job.Route)
	b = append(b, `,"attempts":[`...)
	b, left := appendList(b, len(job.Attempts), func(b []byte, i int) []byte {
		a := &job.Attempts[i]
		b = append(b, `{"number":`...)
		b = strconv.AppendInt(b, int64(a.Number), 10)
		b = appendTarget(b, &a.Target)
		b = appendField(b, `,"reason":`, a.Reason)
		b = appendField(b, `,"outcome":`, string(a.Outcome))
		return append(b, '}')
	})
	b = appendOmitted(b, `,"attempts_omitted":`, left)
	b = append(b, `,"candidates":[`...)
	b, left = appendList(b, len(job.Decision), func(b []byte, i int) []byte {
		c := &job.Decision[i]
		b = append(b, `{"kept":`...)
		b = strconv.AppendBool(b, c.Kept)
		b = appendTarget(b, c.Target)
		b = appendField(b, `,"reason":`, c.Reason)
		return append(b, '}')
	})
	b = appendOmitted(b, `,"candidates_omitted":`, left)
	return append(b, '}')
}

// appendList writes elements while there is room, and the closing bracket. It
// returns how many were left out.
func appendList(b []byte, n int, element func(b []byte, i int) []byte) ([]byte, int) {
	for i := range n {
		start := len(b)
		if i > 0 {
			b = append(b, ',')
		}
		if b = element(b, i); len(b) > maxDecision-reserve {
			return append(b[:start], ']'), n - i
		}
	}
	return append(b, ']'), 0
}

func appendOmitted(b []byte, name string, n int) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendInt(append(b, name...), int64(n), 10)
}

func appendTarget(b []byte, t *schemas.Target) []byte {
	b = appendField(b, `,"provider":`, t.Provider)
	b = appendField(b, `,"model":`, t.Model)
	b = appendField(b, `,"region":`, t.Region)
	return appendField(b, `,"endpoint":`, t.Endpoint)
}

// appendField writes a name and a text that is not empty.
func appendField(b []byte, name, text string) []byte {
	if text == "" {
		return b
	}
	return appendString(append(b, name...), text)
}

// appendString writes text as a JSON string, cut to maxText bytes.
func appendString(b []byte, text string) []byte {
	text = clip(text)
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(text) // a string can always be written
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, text...)
	return append(b, '"')
}

// clip cuts text to maxText bytes, not within a character.
func clip(text string) string {
	if len(text) <= maxText {
		return text
	}
	n := maxText
	for n > maxText-utf8.UTFMax && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}
