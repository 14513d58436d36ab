package cohere

import (
	"bytes"
	"encoding/json"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// usage reads what the vendor counts, in either version. It reports false where
// that is nothing.
//
// What counts is billed_units: tokens has the hidden prompt as well, which is not
// billed. cached_tokens is of the latter and gives no discount, so that it stays
// in Raw alone.
func usage(raw []byte) (schemas.Usage, bool) {
	var billed, tokens counts
	u := schemas.Usage{Source: schemas.UsageReported, Raw: bytes.Clone(raw)}
	c := jsontext.NewCursor(u.Raw)
	if !c.Object() {
		return u, false
	}
	for c.Key() {
		switch string(c.Name()) {
		case "billed_units":
			billed.parse(&c)
		case "tokens":
			tokens.parse(&c)
		default:
			c.Skip()
		}
	}
	from := &billed
	if !from.said {
		from = &tokens
	}
	u.InputTokens = from.input + billed.image // of embeddings: beside the text's, not among them
	u.OutputTokens = from.output
	u.ReasoningTokens = min(tokens.reasoning, u.OutputTokens)
	if n := min(max(billed.image, tokens.image), u.InputTokens); n > 0 {
		u.Details = map[string]int64{"input.image": n}
	}
	u.Units = billed.units
	return u, from.said
}

type counts struct {
	said                            bool
	input, output, image, reasoning int64
	units                           map[string]decimal.Decimal
}

func (n *counts) parse(c *jsontext.Cursor) {
	if !c.Object() {
		return
	}
	for c.Key() {
		n.said = true
		switch name := string(c.Name()); name {
		case "input_tokens":
			n.input = tally(c)
		case "output_tokens":
			n.output = tally(c)
		case "image_tokens":
			n.image = tally(c)
		case "reasoning_tokens":
			n.reasoning = tally(c)
		case "search_units", "classifications", "images":
			d, err := decimal.NewFromString(string(bytes.Trim(c.Raw(), `"`)))
			if err != nil || !d.IsPositive() || d.Exponent() > 18 || d.Exponent() < -18 {
				continue
			}
			if n.units == nil {
				n.units = make(map[string]decimal.Decimal, 1)
			}
			n.units[name] = d
		default:
			c.Skip()
		}
	}
}

// tally reads a count that can be added to another.
func tally(c *jsontext.Cursor) int64 { return min(c.Count(), 1<<53) }

// logProbs puts log probabilities into OpenAI's form. The API gives a text and
// the numbers of its tokens: their sum is the text's.
func logProbs(raw []byte) json.RawMessage {
	b := []byte(`{"content":[`)
	c := jsontext.NewCursor(raw)
	each(&c, func(c *jsontext.Cursor) {
		var text string
		var sum float64
		if !c.Object() {
			return
		}
		for c.Key() {
			switch string(c.Name()) {
			case "text", "token":
				text = c.Text()
			case "logprobs":
				each(c, func(c *jsontext.Cursor) { sum += number(c.Raw()) })
			case "likelihood":
				sum = number(c.Raw())
			default:
				c.Skip()
			}
		}
		b = append(jsontext.AppendItem(b), '{')
		b = jsontext.AppendString(jsontext.AppendField(b, "token"), text)
		b = jsontext.AppendFloatField(b, "logprob", &sum)
		b = append(b, `,"top_logprobs":[]}`...)
	})
	if c.End() != nil || len(b) == len(`{"content":[`) {
		return nil
	}
	return append(b, "]}"...)
}

func number(raw []byte) float64 {
	var f float64
	if json.Unmarshal(raw, &f) != nil {
		return 0
	}
	return f
}

// finish translates a reason to finish of either version. It reports false for a
// reason that is none: there is no answer.
func finish(raw string) (schemas.Finish, bool) {
	f := schemas.Finish{Raw: raw}
	switch raw {
	case "COMPLETE":
		f.Reason = schemas.FinishStop
	case "STOP_SEQUENCE":
		f.Reason = schemas.FinishStopSequence
	case "MAX_TOKENS":
		f.Reason = schemas.FinishLength
	case "TOOL_CALL":
		f.Reason = schemas.FinishToolCalls
	case "ERROR_LIMIT": // the end of the context, in version 1
		f.Reason = schemas.FinishContextWindow
	case "ERROR_TOXIC":
		f.Reason = schemas.FinishContentFilter
	case "USER_CANCEL":
		f.Reason = schemas.FinishCancelled
	case "ERROR", "TIMEOUT":
		f.Reason = schemas.FinishError
		return f, false
	default:
		f.Reason = schemas.FinishUnknown
	}
	return f, true
}
