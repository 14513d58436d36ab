package simulate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/sira-ai/sira/pipeline/catalog"
)

// Duration is a time.Duration that reads and writes as text: "250ms", "3s".
type Duration time.Duration

// UnmarshalText reads what time.ParseDuration reads, from zero up.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return fmt.Errorf("duration %q: write a number and a unit, such as 250ms or 3s", text)
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// Behaviour is how one instance answers. The zero value answers at once, with 16 to 64 tokens, and never fails.
type Behaviour struct {
	// Down refuses every call with 503, before anything else is looked at.
	Down bool `json:"down,omitempty"`
	// Keys are the credentials that pass; when empty, any credential does, but there has to be one.
	Keys []catalog.Secret `json:"keys,omitempty"`
	// Models are the names that exist; when empty, every name does.
	Models []string `json:"models,omitempty"`
	// Context is the context window in tokens; a longer prompt is refused as the vendor refuses it. 0 is no limit.
	Context int `json:"context,omitempty"`
	// Latency passes before the first byte of an answer or of a fault; a request that is wrong in itself is refused at once.
	Latency Latency `json:"latency,omitzero"`
	// TokensPerSecond is the pace of a stream after its first token; 0 writes the stream at once.
	TokensPerSecond float64 `json:"tokens_per_second,omitempty"`
	// Tokens bounds the length of answers.
	Tokens Tokens `json:"tokens,omitzero"`
	// CachedShare is the share of calls, 0 to 1, that report half of their prompt as read from the vendor's cache.
	CachedShare float64 `json:"cached_share,omitempty"`
	// Faults by name, each for a share of the calls. The shares add up to 1 at most.
	Faults map[string]Fault `json:"faults,omitempty"`
	// RunTime is how long a vendor's long job takes, from the call that begins it. 0 ends it at once.
	RunTime Duration `json:"run_time,omitempty"`
	// MaxSilence is how long a silent or stalled call is held before its connection is closed. Default 5m.
	MaxSilence Duration `json:"max_silence,omitempty"`
}

// Latency is a distribution of waiting times. The zero value is no wait.
type Latency struct {
	// Kind is fixed (Value), uniform (Min to Max) or lognormal (Median, Sigma, at most Max if Max is set).
	Kind   string   `json:"kind,omitempty"`
	Value  Duration `json:"value,omitempty"`
	Min    Duration `json:"min,omitempty"`
	Max    Duration `json:"max,omitempty"`
	Median Duration `json:"median,omitempty"`
	// Sigma is the standard deviation of the logarithm: 0.5 gives a 99th percentile of about 3.2 medians.
	Sigma float64 `json:"sigma,omitempty"`
	// Stragglers take a latency of their own in place of the drawn one.
	Stragglers Stragglers `json:"stragglers,omitzero"`
}

// Stragglers are a share of the calls, 0 to 1, that take Latency.
type Stragglers struct {
	Share   float64  `json:"share,omitempty"`
	Latency Duration `json:"latency,omitempty"`
}

// Tokens bounds the number of output tokens, drawn evenly from Min to Max. The zero value is 16 to 64.
type Tokens struct {
	Min int `json:"min,omitempty"`
	Max int `json:"max,omitempty"`
}

// maxTokens bounds an answer, so that a typing error does not fill the memory.
const maxTokens = 1 << 20

// maxLatency bounds drawn waits: the tail of a lognormal distribution has no end.
const maxLatency = 24 * time.Hour

// Validate says what is wrong and what to write instead, all at once.
func (b Behaviour) Validate() error {
	errs := []error{b.Latency.validate(), b.Tokens.validate(), share("cached_share", b.CachedShare)}
	if b.Context < 0 {
		errs = append(errs, fmt.Errorf("context: %d: write the window in tokens, or 0 for no limit", b.Context))
	}
	if b.MaxSilence < 0 {
		errs = append(errs, errors.New("max_silence: write a duration above zero, or nothing for 5m"))
	}
	if b.RunTime < 0 || time.Duration(b.RunTime) > maxLatency {
		errs = append(errs, fmt.Errorf("run_time: write a duration of up to %s, or nothing for jobs that end at once", maxLatency))
	}
	if !(b.TokensPerSecond >= 0 && b.TokensPerSecond <= 1e6) {
		errs = append(errs, fmt.Errorf("tokens_per_second: %g: write 0 for no pace, or up to 1000000", b.TokensPerSecond))
	}
	for _, k := range b.Keys {
		if k == "" {
			errs = append(errs, errors.New("keys: an empty key never passes: write a key, or no list to accept any"))
		}
	}
	total := 0.0
	for _, name := range slices.Sorted(maps.Keys(b.Faults)) {
		f := b.Faults[name]
		total += f.Share
		errs = append(errs, f.validate(name))
	}
	if total > 1+1e-9 {
		errs = append(errs, fmt.Errorf("faults: shares add up to %g: at most 1", total))
	}
	return errors.Join(errs...)
}

func (l Latency) validate() error {
	errs := []error{share("latency.stragglers.share", l.Stragglers.Share)}
	for _, d := range []Duration{l.Value, l.Min, l.Max, l.Median, l.Stragglers.Latency} {
		if d < 0 || time.Duration(d) > maxLatency {
			errs = append(errs, fmt.Errorf("latency: %s: write 0s to %s", time.Duration(d), maxLatency))
		}
	}
	switch l.Kind {
	case "":
		if l.Value != 0 || l.Min != 0 || l.Max != 0 || l.Median != 0 || l.Sigma != 0 {
			errs = append(errs, errors.New("latency.kind is missing: write fixed, uniform or lognormal"))
		}
	case "fixed":
	case "uniform":
		if l.Max < l.Min {
			errs = append(errs, errors.New("latency: max is below min"))
		}
	case "lognormal":
		if l.Median <= 0 || !(l.Sigma >= 0 && l.Sigma <= 10) {
			errs = append(errs, errors.New("latency: lognormal needs a median above 0s and a sigma from 0 to 10"))
		}
	default:
		errs = append(errs, fmt.Errorf("latency.kind: %q: write fixed, uniform or lognormal", l.Kind))
	}
	return errors.Join(errs...)
}

func (t Tokens) validate() error {
	if t == (Tokens{}) || (t.Min >= 0 && t.Min <= t.Max && t.Max <= maxTokens) {
		return nil
	}
	return fmt.Errorf("tokens: min %d, max %d: write 0 <= min <= max <= %d", t.Min, t.Max, maxTokens)
}

func share(name string, v float64) error {
	if v >= 0 && v <= 1 {
		return nil
	}
	return fmt.Errorf("%s: %g: write a share from 0 to 1", name, v)
}

// draw returns the wait of the call with the given seed.
func (l Latency) draw(seed uint64) time.Duration {
	if s := l.Stragglers; s.Share > 0 && unit(seed, drawStraggler) < s.Share {
		return time.Duration(s.Latency)
	}
	switch l.Kind {
	case "fixed":
		return time.Duration(l.Value)
	case "uniform":
		return time.Duration(float64(l.Min) + unit(seed, drawLatency)*float64(l.Max-l.Min))
	case "lognormal":
		// The quantile function of the normal distribution turns one even draw into one normal draw.
		z := math.Sqrt2 * math.Erfinv(2*unit(seed, drawLatency)-1)
		d := float64(l.Median) * math.Exp(l.Sigma*z)
		limit := maxLatency
		if l.Max > 0 {
			limit = time.Duration(l.Max)
		}
		return time.Duration(min(d, float64(limit)))
	}
	return 0
}

func (t Tokens) draw(seed uint64) int {
	if t == (Tokens{}) {
		t = Tokens{Min: 16, Max: 64}
	}
	return t.Min + int(random(seed, drawTokens)%uint64(t.Max-t.Min+1))
}

func (b *Behaviour) acceptsKey(key string) bool {
	return key != "" && (len(b.Keys) == 0 || slices.Contains(b.Keys, catalog.Secret(key)))
}

func (b *Behaviour) knowsModel(model string) bool {
	return len(b.Models) == 0 || slices.Contains(b.Models, model)
}

func (b *Behaviour) maxSilence() time.Duration {
	if b.MaxSilence == 0 {
		return 5 * time.Minute
	}
	return time.Duration(b.MaxSilence)
}

// interval is the time between two tokens of a stream; 0 when it has no pace.
func (b *Behaviour) interval() time.Duration {
	if b.TokensPerSecond <= 0 {
		return 0
	}
	return time.Duration(min(float64(time.Second)/b.TokensPerSecond, float64(maxLatency)))
}

// instanceName reports whether s can stand in front of a dialect in a path.
func instanceName(s string) bool {
	if s == "" || len(s) > 64 || dialectNamed(s) != nil {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
	}) < 0 && s[0] != '_' && s[0] != '.'
}

// decodeBehaviour reads one JSON object, strictly: what Behaviour does not have is a mistake.
func decodeBehaviour(r io.Reader) (Behaviour, error) {
	var b Behaviour
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(&b); err != nil {
		return b, fmt.Errorf("reading the behaviour: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return b, errors.New("reading the behaviour: something follows the object")
	}
	return b, nil
}
