package avro

import "github.com/sira-ai/sira/schemas"

func (b *body) result(r *schemas.Result) {
	text(b, &r.RequestID)
	text(b, &r.Tenant)
	text(b, &r.Status)
	maybe(b, &r.Response, (*body).response)
	maybe(b, &r.Failure, (*body).failure)
	text(b, &r.Op)
	text(b, &r.Model)
	maybe(b, &r.Target, (*body).target)
	list(b, &r.Attempts, (*body).attempt)
	b.cost(&r.Cost)
	boolean(b, &r.Stream)
	text(b, &r.Route)
	text(b, &r.ConfigVersion)
	text(b, &r.Origin)
	text(b, &r.Lane)
	texts(b, &r.Labels)
	texts(b, &r.Metadata)
	maybeMoment(b, &r.CreatedAt)
	maybeMoment(b, &r.StartedAt)
	maybeMoment(b, &r.CompletedAt)
}

func (b *body) response(r *schemas.Response) {
	text(b, &r.UpstreamID)
	text(b, &r.UpstreamReqID)
	text(b, &r.Model)
	list(b, &r.Choices, (*body).choice)
	b.usage(&r.Usage)
	list(b, &r.Warnings, text[string])
	raws(b, &r.Ext)
	list(b, &r.Embeddings, (*body).embedding)
	list(b, &r.Ranks, (*body).rank)
	list(b, &r.Media, (*body).media)
	maybe(b, &r.Transcript, (*body).transcript)
	list(b, &r.Moderations, (*body).moderation)
	list(b, &r.Models, (*body).model)
	list(b, &r.Files, (*body).file)
	maybe(b, &r.Job, (*body).job)
	list(b, &r.Safety, (*body).safety)
}

func (b *body) choice(c *schemas.Choice) {
	long(b, &c.Index)
	b.message(&c.Message)
	b.finish(&c.Finish)
	raw(b, &c.LogProbs)
}

func (b *body) finish(f *schemas.Finish) {
	text(b, &f.Reason)
	text(b, &f.Raw)
	text(b, &f.StopSequence)
	text(b, &f.Detail)
}

func (b *body) embedding(e *schemas.Embedding) {
	long(b, &e.Index)
	floats(b, &e.Vector)
	raw(b, &e.Packed)
	text(b, &e.Encoding)
}

func (b *body) rank(r *schemas.Rank) {
	long(b, &r.Index)
	double(b, &r.Score)
	maybe(b, &r.Document, (*body).document)
}

func (b *body) transcript(t *schemas.Transcript) {
	text(b, &t.Text)
	text(b, &t.Language)
	double(b, &t.Seconds)
	list(b, &t.Segments, (*body).segment)
}

func (b *body) segment(s *schemas.TranscriptSegment) {
	double(b, &s.Start)
	double(b, &s.End)
	text(b, &s.Text)
	text(b, &s.Speaker)
}

func (b *body) moderation(m *schemas.Moderation) {
	long(b, &m.Index)
	boolean(b, &m.Flagged)
	table(b, &m.Categories, (*body).putBoolean, (*body).getBoolean)
	table(b, &m.Scores, (*body).putDouble, (*body).getDouble)
}

func (b *body) model(m *schemas.ModelInfo) {
	text(b, &m.ID)
	text(b, &m.Name)
	text(b, &m.Owner)
	maybeMoment(b, &m.CreatedAt)
	long(b, &m.ContextTokens)
	long(b, &m.OutputTokens)
	list(b, &m.Operations, text[string])
}

func (b *body) file(f *schemas.File) {
	text(b, &f.ID)
	text(b, &f.Name)
	text(b, &f.MIME)
	long(b, &f.Bytes)
	text(b, &f.URL)
	text(b, &f.State)
	maybeMoment(b, &f.CreatedAt)
	maybeMoment(b, &f.ExpiresAt)
	boolean(b, &f.Deleted)
}

func (b *body) job(j *schemas.Job) {
	text(b, &j.ID)
	text(b, &j.State)
	double(b, &j.Progress)
	long(b, &j.PollAfterMS)
	text(b, &j.PollURL)
	text(b, &j.CancelURL)
}

func (b *body) safety(s *schemas.Safety) {
	text(b, &s.Source)
	text(b, &s.Category)
	text(b, &s.Severity)
	boolean(b, &s.Filtered)
}

func (b *body) failure(f *schemas.Failure) {
	text(b, &f.Code)
	text(b, &f.Message)
	text(b, &f.Param)
	text(b, &f.Provider)
	long(b, &f.HTTPStatus)
	text(b, &f.VendorCode)
	text(b, &f.VendorType)
	text(b, &f.UpstreamRequestID)
	text(b, &f.Phase)
	long(b, &f.RetryAfterMS)
	boolean(b, &f.NoRetry)
	maybe(b, &f.Usage, (*body).usage)
}

func (b *body) target(t *schemas.Target) {
	text(b, &t.Provider)
	text(b, &t.Kind)
	text(b, &t.Model)
	text(b, &t.Region)
	text(b, &t.Endpoint)
}

func (b *body) attempt(a *schemas.Attempt) {
	long(b, &a.Number)
	long(b, &a.Round)
	b.target(&a.Target)
	text(b, &a.Reason)
	text(b, &a.Outcome)
	long(b, &a.HTTPStatus)
	text(b, &a.VendorCode)
	text(b, &a.Phase)
	long(b, &a.RetryAfterMS)
	maybeMoment(b, &a.StartedAt)
	long(b, &a.LatencyMS)
	long(b, &a.FirstTokenMS)
	long(b, &a.MaxGapMS)
	b.usage(&a.Usage)
}

func (b *body) usage(u *schemas.Usage) {
	long(b, &u.InputTokens)
	long(b, &u.CacheReadTokens)
	long(b, &u.CacheWriteTokens)
	long(b, &u.CacheWrite1h)
	long(b, &u.OutputTokens)
	long(b, &u.ReasoningTokens)
	text(b, &u.Source)
	text(b, &u.Tier)
	raw(b, &u.Raw)
	table(b, &u.Details, (*body).putLong, (*body).getLong)
	table(b, &u.Units, (*body).putAmount, (*body).getAmount)
}

func (b *body) cost(c *schemas.Cost) {
	text(b, &c.State)
	maybe(b, &c.Money, (*body).money)
}

func (b *body) money(m *schemas.Money) {
	amount(b, &m.Amount)
	text(b, &m.Currency)
}
