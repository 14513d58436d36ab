package avro

import (
	"encoding/json"
	"fmt"

	"github.com/sira-ai/sira/schemas"
)

func (b *body) request(r *schemas.Request) {
	text(b, &r.ID)
	text(b, &r.Tenant)
	text(b, &r.ConversationID)
	texts(b, &r.Labels)
	text(b, &r.Op)
	text(b, &r.Model)
	list(b, &r.Messages, (*body).message)
	list(b, &r.Tools, (*body).tool)
	maybe(b, &r.ToolChoice, (*body).toolChoice)
	maybe(b, &r.Output, (*body).output)
	maybe(b, &r.Sampling, (*body).sampling)
	maybe(b, &r.MaxTokens, long[int64])
	maybe(b, &r.Thinking, (*body).thinking)
	boolean(b, &r.Stream)
	maybeMoment(b, &r.Deadline)
	maybeMoment(b, &r.CreatedAt)
	text(b, &r.ReplyTo)
	text(b, &r.EndUser)
	texts(b, &r.Metadata)
	raws(b, &r.Ext)
	list(b, &r.Documents, (*body).document)
	maybe(b, &r.Cache, (*body).cache)
	text(b, &r.ServiceTier)
	text(b, &r.Mode)
	maybe(b, &r.Embed, (*body).embed)
	maybe(b, &r.Rerank, (*body).rerank)
	maybe(b, &r.Image, (*body).image)
	maybe(b, &r.Speech, (*body).speech)
	maybe(b, &r.Transcribe, (*body).transcribe)
	maybe(b, &r.Video, (*body).video)
	maybe(b, &r.Moderate, (*body).moderate)
	maybe(b, &r.File, (*body).fileSpec)
}

func (b *body) message(m *schemas.Message) {
	text(b, &m.Role)
	text(b, &m.Name)
	list(b, &m.Parts, (*body).part)
	raws(b, &m.Ext)
}

func (b *body) part(p *schemas.Part) {
	text(b, &p.Kind)
	text(b, &p.Text)
	maybe(b, &p.Media, (*body).media)
	maybe(b, &p.ToolCall, (*body).toolCall)
	maybe(b, &p.ToolResult, (*body).toolResult)
	maybe(b, &p.Reasoning, (*body).reasoning)
	raws(b, &p.Ext)
	list(b, &p.Citations, (*body).citation)
	text(b, &p.CacheBreak)
}

func (b *body) media(m *schemas.Media) {
	text(b, &m.MIME)
	raw(b, &m.Data)
	text(b, &m.URL)
	text(b, &m.FileID)
	text(b, &m.Provider)
	text(b, &m.Name)
	text(b, &m.Detail)
	text(b, &m.Ref)
	text(b, &m.Text)
}

func (b *body) toolCall(c *schemas.ToolCall) {
	text(b, &c.ID)
	text(b, &c.Name)
	text(b, &c.Arguments)
	text(b, &c.Type)
}

var errNested = fmt.Errorf("tool results are in each other more than %d deep", maxNested)

func (b *body) toolResult(r *schemas.ToolResult) {
	if b.nested == maxNested {
		b.fail(errNested)
		return
	}
	b.nested++
	text(b, &r.CallID)
	text(b, &r.Name)
	list(b, &r.Parts, (*body).part)
	boolean(b, &r.IsError)
	b.nested--
}

func (b *body) reasoning(r *schemas.Reasoning) {
	text(b, &r.Text)
	text(b, &r.Signature)
	boolean(b, &r.Redacted)
	text(b, &r.ID)
}

func (b *body) citation(c *schemas.Citation) {
	long(b, &c.Start)
	long(b, &c.End)
	text(b, &c.Text)
	text(b, &c.Title)
	text(b, &c.URL)
	list(b, &c.Sources, text[string])
	raw(b, &c.Raw)
}

func (b *body) tool(t *schemas.Tool) {
	text(b, &t.Name)
	text(b, &t.Description)
	raw(b, &t.Parameters)
	maybe(b, &t.Strict, boolean)
	raws(b, &t.Ext)
}

func (b *body) toolChoice(c *schemas.ToolChoice) {
	text(b, &c.Mode)
	list(b, &c.Names, text[string])
	boolean(b, &c.DisableParallel)
}

func (b *body) output(o *schemas.OutputSpec) {
	text(b, &o.Format)
	raw(b, &o.Schema)
	text(b, &o.Name)
	maybe(b, &o.Strict, boolean)
	list(b, &o.Modalities, text[string])
	text(b, &o.Voice)
	text(b, &o.Audio)
}

func (b *body) sampling(s *schemas.Sampling) {
	maybe(b, &s.Temperature, double)
	maybe(b, &s.TopP, double)
	maybe(b, &s.TopK, long[int64])
	maybe(b, &s.FrequencyPenalty, double)
	maybe(b, &s.PresencePenalty, double)
	maybe(b, &s.Seed, long[int64])
	maybe(b, &s.N, long[int64])
	list(b, &s.Stop, text[string])
	maybe(b, &s.MinP, double)
	maybe(b, &s.RepetitionPenalty, double)
	maybe(b, &s.LogProbs, long[int64])
	table(b, &s.LogitBias, (*body).putDouble, (*body).getDouble)
}

func (b *body) thinking(t *schemas.ThinkingSpec) {
	text(b, &t.Effort)
	maybe(b, &t.BudgetTokens, long[int64])
	maybe(b, &t.Enabled, boolean)
}

func (b *body) document(d *schemas.Document) {
	text(b, &d.ID)
	text(b, &d.Title)
	text(b, &d.Text)
	texts(b, &d.Data)
}

func (b *body) cache(c *schemas.CacheSpec) {
	text(b, &c.Key)
	text(b, &c.TTL)
}

func (b *body) embed(e *schemas.EmbedSpec) {
	list(b, &e.Inputs, (*body).part)
	maybe(b, &e.Dimensions, long[int64])
	text(b, &e.Encoding)
	text(b, &e.Task)
	text(b, &e.Truncate)
}

func (b *body) rerank(r *schemas.RerankSpec) {
	text(b, &r.Query)
	list(b, &r.Documents, (*body).document)
	maybe(b, &r.TopN, long[int64])
	boolean(b, &r.ReturnDocuments)
	maybe(b, &r.MaxTokens, long[int64])
}

func (b *body) image(i *schemas.ImageSpec) {
	text(b, &i.Prompt)
	text(b, &i.Negative)
	maybe(b, &i.N, long[int64])
	maybe(b, &i.Width, long[int64])
	maybe(b, &i.Height, long[int64])
	text(b, &i.Size)
	text(b, &i.AspectRatio)
	text(b, &i.Quality)
	text(b, &i.Style)
	text(b, &i.Format)
	text(b, &i.Background)
	maybe(b, &i.Steps, long[int64])
	maybe(b, &i.Guidance, double)
	maybe(b, &i.Strength, double)
	maybe(b, &i.Seed, long[int64])
	list(b, &i.Inputs, (*body).media)
	maybe(b, &i.Mask, (*body).media)
	text(b, &i.ReturnAs)
}

func (b *body) speech(s *schemas.SpeechSpec) {
	text(b, &s.Text)
	text(b, &s.Voice)
	text(b, &s.Format)
	maybe(b, &s.Speed, double)
	text(b, &s.Instructions)
	text(b, &s.Language)
}

func (b *body) transcribe(t *schemas.TranscribeSpec) {
	b.media(&t.Audio)
	text(b, &t.Language)
	text(b, &t.Prompt)
	boolean(b, &t.Translate)
	text(b, &t.Timestamps)
	maybe(b, &t.Temperature, double)
}

func (b *body) video(v *schemas.VideoSpec) {
	text(b, &v.Prompt)
	text(b, &v.Negative)
	maybe(b, &v.Seconds, double)
	text(b, &v.Size)
	text(b, &v.AspectRatio)
	maybe(b, &v.Seed, long[int64])
	list(b, &v.Inputs, (*body).media)
}

func (b *body) moderate(m *schemas.ModerateSpec) {
	list(b, &m.Inputs, (*body).part)
}

func (b *body) fileSpec(f *schemas.FileSpec) {
	text(b, &f.ID)
	maybe(b, &f.Content, (*body).media)
	text(b, &f.Purpose)
}

func texts(b *body, m *map[string]string) { table(b, m, (*body).putText, (*body).getText) }

// raws are JSON texts.
func raws(b *body, m *map[string]json.RawMessage) { table(b, m, (*body).putJSON, (*body).getJSON) }

func (b *body) putJSON(v json.RawMessage) { b.putRaw(v) }

func (b *body) getJSON() json.RawMessage { return b.getRaw() }
