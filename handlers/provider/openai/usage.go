package openai

import (
	"bytes"
	"encoding/json"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// parseUsage reads a usage object: the names of chat completions, those of the
// responses, images and sound APIs, and, where they differ, those of Together,
// DeepSeek and SGLang.
func parseUsage(raw json.RawMessage) schemas.Usage {
	u := schemas.Usage{Source: schemas.UsageReported, Raw: bytes.Clone(raw)}
	c := jsontext.NewCursor(raw)
	if !c.Object() {
		return u
	}
	for c.Key() {
		switch string(c.Name()) {
		case "prompt_tokens", "input_tokens":
			u.InputTokens = c.Count()
		case "completion_tokens", "output_tokens":
			u.OutputTokens = c.Count()
		case "prompt_tokens_details", "input_tokens_details", "input_token_details":
			details(&c, &u, "input")
		case "completion_tokens_details", "output_tokens_details", "output_token_details":
			details(&c, &u, "output")
		case "cached_tokens", "prompt_cache_hit_tokens":
			u.CacheReadTokens = max(u.CacheReadTokens, c.Count())
		case "reasoning_tokens":
			u.ReasoningTokens = max(u.ReasoningTokens, c.Count())
		case "seconds": // of sound, in place of tokens
			bill(&u, "seconds", c.Text())
		default:
			c.Skip()
		}
	}
	return u
}

func details(c *jsontext.Cursor, u *schemas.Usage, side string) {
	if !c.Object() {
		return
	}
	for c.Key() {
		switch string(c.Name()) {
		case "cached_tokens":
			u.CacheReadTokens = max(u.CacheReadTokens, c.Count())
		case "cache_write_tokens":
			u.CacheWriteTokens = c.Count()
		case "reasoning_tokens":
			u.ReasoningTokens = max(u.ReasoningTokens, c.Count())
		case "audio_tokens":
			detail(u, side+".audio", c.Count())
		case "image_tokens":
			detail(u, side+".image", c.Count())
		case "accepted_prediction_tokens":
			detail(u, "prediction.accepted", c.Count())
		case "rejected_prediction_tokens":
			detail(u, "prediction.rejected", c.Count())
		case "cached_tokens_details":
			details(c, u, "cache_read")
		default:
			c.Skip()
		}
	}
}

// detail keeps a part of a total that may have its own price.
func detail(u *schemas.Usage, key string, n int64) {
	if n == 0 {
		return
	}
	if u.Details == nil {
		u.Details = make(map[string]int64)
	}
	u.Details[key] = n
}

// bill keeps what is billed by another unit than the token. A number that is none
// is left out.
func bill(u *schemas.Usage, unit, number string) {
	n, err := decimal.NewFromString(number)
	if err != nil || !n.IsPositive() {
		return
	}
	if u.Units == nil {
		u.Units = make(map[string]decimal.Decimal)
	}
	u.Units[unit] = n
}

// use takes a usage object into the answer.
func (a *Adapter) use(answer *wire.Answer, raw json.RawMessage, tier string) {
	u := parseUsage(raw)
	u.Tier = tier
	if a.variant.Usage != nil {
		a.variant.Usage(&u, raw)
	}
	answer.Use(u)
}
