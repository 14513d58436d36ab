package anthropic

import (
	"encoding/json"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// counts are numbers of tokens as the vendor says them.
type counts struct {
	input         int64 // without the cache's
	cacheCreation int64
	cacheRead     int64
	cacheHour     int64
	output        int64
}

func (n *counts) total() int64 { return n.input + n.cacheCreation + n.cacheRead }

func (n *counts) add(m counts) {
	n.input += m.input
	n.cacheCreation += m.cacheCreation
	n.cacheRead += m.cacheRead
	n.cacheHour += m.cacheHour
	n.output += m.output
}

// take reads the value if its name is one of the counts', and reports that.
func (n *counts) take(c *jsontext.Cursor) bool {
	switch string(c.Name()) {
	case "input_tokens":
		count(c, &n.input)
	case "cache_creation_input_tokens":
		count(c, &n.cacheCreation)
	case "cache_read_input_tokens":
		count(c, &n.cacheRead)
	case "output_tokens":
		count(c, &n.output)
	case "cache_creation":
		nested(c, "ephemeral_1h_input_tokens", &n.cacheHour)
	default:
		return false
	}
	return true
}

// usage is what the vendor counts.
type usage struct {
	counts
	thinking             int64
	searches, fetches    int64
	tier, speed          string
	compacting, advisors counts // beside the totals: see step
}

// take reads a usage object over what was said before.
func (u *usage) take(raw json.RawMessage) {
	c := jsontext.NewCursor(raw)
	if !c.Object() {
		return
	}
	for c.Key() {
		if u.counts.take(&c) {
			continue
		}
		switch string(c.Name()) {
		case "output_tokens_details":
			nested(&c, "thinking_tokens", &u.thinking)
		case "server_tool_use":
			u.tools(&c)
		case "iterations":
			u.steps(&c)
		case "service_tier":
			word(&c, &u.tier)
		case "speed":
			word(&c, &u.speed)
		default:
			c.Skip()
		}
	}
}

func (u *usage) tools(c *jsontext.Cursor) {
	if !c.Object() {
		return
	}
	for c.Key() {
		switch string(c.Name()) {
		case "web_search_requests":
			count(c, &u.searches)
		case "web_fetch_requests":
			count(c, &u.fetches)
		default:
			c.Skip()
		}
	}
}

// steps reads what each step of an answer used. The totals have the steps of the
// model itself, but neither what it took to shorten the conversation nor what
// another model was asked for (betamessage.go of the SDK, BetaUsage).
func (u *usage) steps(c *jsontext.Cursor) {
	if !c.Array() {
		return
	}
	u.compacting, u.advisors = counts{}, counts{}
	for c.Item() {
		var n counts
		var kind string
		if !c.Object() {
			continue
		}
		for c.Key() {
			switch {
			case string(c.Name()) == "type":
				kind = c.Text()
			case !n.take(c):
				c.Skip()
			}
		}
		switch kind {
		case "compaction":
			u.compacting.add(n)
		case "advisor_message":
			u.advisors.add(n)
		}
	}
}

// schema returns the usage in our form. What an advisor used is priced by its own
// model and so stands among the units.
func (u *usage) schema(raw json.RawMessage) schemas.Usage {
	n := u.counts
	n.add(u.compacting)
	out := schemas.Usage{
		InputTokens: n.total(), CacheReadTokens: n.cacheRead, CacheWriteTokens: n.cacheCreation, CacheWrite1h: n.cacheHour,
		OutputTokens: n.output, ReasoningTokens: u.thinking,
		Source: schemas.UsageReported, Tier: u.tier, Raw: raw,
	}
	if u.speed == "fast" {
		out.Tier = u.speed // has a price of its own, whatever the tier
	}
	for _, unit := range []struct {
		name string
		n    int64
	}{
		{"web_searches", u.searches},
		{"web_fetches", u.fetches},
		{"advisor_input_tokens", u.advisors.total()},
		{"advisor_output_tokens", u.advisors.output},
	} {
		if unit.n <= 0 {
			continue
		}
		if out.Units == nil {
			out.Units = make(map[string]decimal.Decimal)
		}
		out.Units[unit.name] = decimal.NewFromInt(unit.n)
	}
	return out
}

// word reads a text; null leaves to as it was.
func word(c *jsontext.Cursor, to *string) {
	if s := c.Text(); s != "" {
		*to = s
	}
}

// count reads a number of tokens; null leaves to as it was.
func count(c *jsontext.Cursor, to *int64) {
	if c.Kind() == 'n' {
		c.Skip()
		return
	}
	*to = c.Count()
}

func nested(c *jsontext.Cursor, name string, to *int64) {
	if !c.Object() {
		return
	}
	for c.Key() {
		if string(c.Name()) == name {
			count(c, to)
		} else {
			c.Skip()
		}
	}
}
