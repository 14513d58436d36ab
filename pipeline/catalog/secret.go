package catalog

import (
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// Secret is a password, key or token from the configuration. It decodes like a string, but fmt (every verb), encoding/json,
// YAML, zap and slog show [redacted] in its place, so that dumping a Config is harmless. An empty Secret shows as nothing:
// that one was not set is worth seeing.
//
// Keep a Secret in an exported field: fmt does not call the methods of unexported fields, and would print the text. Only
// Reveal, or an explicit conversion to string, gives the text back.
type Secret string

// Reveal returns the text, for the one place that sends it.
func (s Secret) Reveal() string { return string(s) }

// String returns [redacted], or nothing for an empty Secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// Format covers all verbs. With String alone, a wrong verb such as %d would print the text inside fmt's complaint.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText makes JSON and YAML encoders write [redacted].
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue makes slog write [redacted].
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
