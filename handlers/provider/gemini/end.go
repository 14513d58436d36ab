package gemini

import (
	"errors"
	"strings"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
)

var errNoFinish = errors.New("the answer ended without a finish reason")

// reasonsToFinish is what the vendor's words mean. A call makes a stop
// tool_calls. The numbers are in old SDKs' recordings.
var reasonsToFinish = map[string]schemas.FinishReason{
	"STOP": schemas.FinishStop, "1": schemas.FinishStop,
	"MAX_TOKENS": schemas.FinishLength, "2": schemas.FinishLength,
	"SAFETY": schemas.FinishContentFilter, "3": schemas.FinishContentFilter,
	"RECITATION": schemas.FinishContentFilter, "4": schemas.FinishContentFilter,
	"BLOCKLIST": schemas.FinishContentFilter, "7": schemas.FinishContentFilter,
	"PROHIBITED_CONTENT": schemas.FinishContentFilter, "8": schemas.FinishContentFilter,
	"SPII": schemas.FinishContentFilter, "9": schemas.FinishContentFilter,
	"IMAGE_SAFETY": schemas.FinishContentFilter, "11": schemas.FinishContentFilter,
	"IMAGE_PROHIBITED_CONTENT": schemas.FinishContentFilter,
	"IMAGE_RECITATION":         schemas.FinishContentFilter,
	"MODEL_ARMOR":              schemas.FinishContentFilter,
	"OTHER":                    schemas.FinishError, "5": schemas.FinishError,
	"MALFORMED_FUNCTION_CALL": schemas.FinishError, "10": schemas.FinishError,
	"UNEXPECTED_TOOL_CALL": schemas.FinishError, "12": schemas.FinishError,
	"TOO_MANY_TOOL_CALLS": schemas.FinishError, "13": schemas.FinishError,
	"MISSING_THOUGHT_SIGNATURE": schemas.FinishError,
	"MALFORMED_RESPONSE":        schemas.FinishError,
	"NO_IMAGE":                  schemas.FinishError,
	"IMAGE_OTHER":               schemas.FinishError,
	"CONTINUATION":              schemas.FinishPause,
}

func finishOf(word, message string) schemas.Finish {
	reason, known := reasonsToFinish[strings.ToUpper(word)]
	if !known {
		reason = schemas.FinishUnknown
	}
	return schemas.Finish{Reason: reason, Raw: word, Detail: message}
}

// end returns the answer, in which every candidate must have ended.
func (r *reader) end(whole bool) (*schemas.Response, error) {
	switch {
	case r.blocked != "" && len(r.candidates) == 0:
		return nil, r.refusal()
	case len(r.candidates) == 0 && whole:
		return nil, r.answer.Broken(r.req, wire.Malformed("it has no candidates", nil))
	}
	for _, c := range r.candidates {
		if c.finish.Reason == "" && r.blocked != "" { // the filter looked again, at the answer
			c.finish = schemas.Finish{Reason: schemas.FinishContentFilter, Raw: r.blocked, Detail: r.why}
		}
		if c.finish.Reason == "" {
			return nil, r.interrupted(errNoFinish)
		}
	}
	r.rate("prompt", r.ratings)
	for _, c := range r.candidates {
		r.finish(c)
	}
	if len(r.candidates) == 0 {
		return nil, r.interrupted(errNoFinish)
	}
	r.use()
	res := r.answer.Response(r.req)
	if r.answer.Err() != nil {
		return nil, r.answer.Unheard(r.req)
	}
	return res, nil
}

// finish completes a candidate with what is known at its end only.
func (r *reader) finish(c *candidate) {
	r.close(c)
	r.rate("completion", c.ratings)
	r.cite(c)
	r.sign(c)
	r.keep(c)
	if c.finish.Reason == schemas.FinishError && c.called {
		c.finish.Reason = schemas.FinishToolCalls // CANONICAL.md section 6: calls come first
	}
	r.answer.Finish(c.index, c.finish)
}

// interrupted is the failure of an answer that is not whole.
func (r *reader) interrupted(err error) error {
	r.use()
	return r.answer.Interrupted(r.req, err)
}

// refusal is the failure of a prompt that the vendor's filter did not let through.
func (r *reader) refusal() *schemas.Failure {
	f := schemas.Fail(schemas.ContentFiltered, "the provider's filter blocked the prompt", nil)
	f.VendorCode = r.blocked
	if r.why != "" {
		f.Message += ": " + r.why
	}
	r.use()
	f = r.answer.Broken(r.req, f)
	if f.Usage != nil {
		f.Usage.Source = schemas.UsageReported
	}
	return f
}

// use passes on what was used, with the searches that are billed apart.
func (r *reader) use() {
	r.settle()
	var u usage
	u.parse(r.usage)
	if !u.counted {
		return // it is then estimated
	}
	s := u.schema(r.usage)
	var searches int64
	for _, c := range r.candidates {
		searches += c.searches
	}
	if searches > 0 {
		s.Units = units("web_searches", searches)
	}
	r.answer.Use(s)
}
