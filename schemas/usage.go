package schemas

import (
	"encoding/json"

	"github.com/shopspring/decimal"
)

// UsageSource says where the numbers of a Usage come from.
type UsageSource string

// The sources.
const (
	UsageReported  UsageSource = "reported"  // by the provider, final
	UsagePartial   UsageSource = "partial"   // by the provider, before a stream broke
	UsageEstimated UsageSource = "estimated" // counted by the gateway
	UsageNone      UsageSource = "none"      // nothing was used
)

// Usage is what one call consumed. Token counts are totals in OpenTelemetry's
// sense: InputTokens includes cache reads and writes, OutputTokens includes
// reasoning (CANONICAL.md section 4).
type Usage struct {
	InputTokens      int64           `json:"input_tokens" avro:"input_tokens"`
	CacheReadTokens  int64           `json:"cache_read_tokens,omitempty" avro:"cache_read_tokens"`
	CacheWriteTokens int64           `json:"cache_write_tokens,omitempty" avro:"cache_write_tokens"` // all lifetimes, the one-hour tokens included
	CacheWrite1h     int64           `json:"cache_write_1h_tokens,omitempty" avro:"cache_write_1h_tokens"`
	OutputTokens     int64           `json:"output_tokens" avro:"output_tokens"`
	ReasoningTokens  int64           `json:"reasoning_tokens,omitempty" avro:"reasoning_tokens"`
	Source           UsageSource     `json:"source,omitempty" avro:"source"`
	Tier             string          `json:"tier,omitempty" avro:"tier"` // service tier that was applied
	Raw              json.RawMessage `json:"raw,omitempty" avro:"raw"`   // as the vendor said it
	// Details are parts of the totals that some vendors price apart, by side and
	// kind: input.audio, input.image, cache_read.audio, output.audio, output.image,
	// prediction.accepted, input.tool_prompt, …
	Details map[string]int64 `json:"details,omitempty" avro:"details"`
	// Units are what is billed other than by token: images, seconds, characters,
	// search_units, requests, pages, web_searches, gpu_seconds, credits, ….
	Units map[string]decimal.Decimal `json:"units,omitempty" avro:"units"`
}

// Bounds of what a vendor may say beside the counts: all of it travels in events.
const (
	maxUsageWord    = 100      // bytes of a tier, or of the name of a detail or unit
	maxUsageEntries = 64       // of details and of units
	maxUsageRaw     = 16 << 10 // bytes
)

// Bounded returns u without what is too large for an event, and without counts
// below zero.
func (u Usage) Bounded() Usage {
	for _, n := range []*int64{&u.InputTokens, &u.CacheReadTokens, &u.CacheWriteTokens, &u.CacheWrite1h, &u.OutputTokens, &u.ReasoningTokens} {
		*n = max(*n, 0)
	}
	u.Tier = Clip(u.Tier, maxUsageWord)
	if len(u.Raw) > maxUsageRaw {
		u.Raw = nil
	}
	u.Details, u.Units = boundedNames(u.Details), boundedNames(u.Units)
	return u
}

// boundedNames returns m where its names are such as vendors have, else what is
// left of it.
func boundedNames[V any](m map[string]V) map[string]V {
	fits := len(m) <= maxUsageEntries
	for name := range m {
		fits = fits && len(name) <= maxUsageWord
	}
	if fits {
		return m
	}
	out := make(map[string]V, min(len(m), maxUsageEntries))
	for name, v := range m {
		if len(name) <= maxUsageWord && len(out) < maxUsageEntries {
			out[name] = v
		}
	}
	return out
}
