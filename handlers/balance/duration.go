package balance

import (
	"fmt"
	"time"
)

// Duration is a time.Duration in the settings of a component, which are JSON: it
// reads and writes as text, such as 500ms or 30s.
type Duration time.Duration

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("duration %q: write a number and a unit, such as 500ms or 30s", text)
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String is that of time.Duration.
func (d Duration) String() string { return time.Duration(d).String() }
