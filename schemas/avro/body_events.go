package avro

import "github.com/sira-ai/sira/schemas"

func (b *body) attemptEvent(e *schemas.AttemptEvent) {
	text(b, &e.ID)
	text(b, &e.RequestID)
	text(b, &e.Tenant)
	text(b, &e.Op)
	text(b, &e.Model)
	boolean(b, &e.Stream)
	text(b, &e.Worker)
	b.attempt(&e.Attempt)
}

func (b *body) costEvent(e *schemas.CostEvent) {
	text(b, &e.ID)
	text(b, &e.RequestID)
	text(b, &e.Tenant)
	texts(b, &e.Labels)
	moment(b, &e.Time)
	text(b, &e.Op)
	text(b, &e.Model)
	text(b, &e.Outcome)
	text(b, &e.Provider)
	text(b, &e.ProviderModel)
	text(b, &e.Region)
	text(b, &e.State)
	amount(b, &e.Amount)
	text(b, &e.Currency)
	long(b, &e.InputTokens)
	long(b, &e.CacheRead)
	long(b, &e.CacheWrite)
	long(b, &e.OutputTokens)
	long(b, &e.Attempts)
	list(b, &e.Lines, (*body).costLine)
	text(b, &e.ConfigVersion)
}

func (b *body) costLine(l *schemas.CostLine) {
	long(b, &l.Attempt)
	text(b, &l.Kind)
	text(b, &l.Provider)
	text(b, &l.Model)
	text(b, &l.State)
	amount(b, &l.Amount)
	text(b, &l.Currency)
	text(b, &l.PriceVersion)
	long(b, &l.InputTokens)
	long(b, &l.OutputTokens)
	text(b, &l.UsageSource)
	text(b, &l.Usage)
}

func (b *body) auditEvent(e *schemas.AuditEvent) {
	text(b, &e.ID)
	moment(b, &e.Time)
	text(b, &e.Tenant)
	text(b, &e.Actor)
	text(b, &e.Action)
	text(b, &e.Resource)
	text(b, &e.Outcome)
	text(b, &e.Decision)
	text(b, &e.RequestHash)
	text(b, &e.ConfigVersion)
	text(b, &e.Worker)
}

func (b *body) chunk(c *schemas.Chunk) {
	text(b, &c.RequestID)
	text(b, &c.Tenant)
	long(b, &c.Attempt)
	long(b, &c.Seq)
	text(b, &c.Type)
	long(b, &c.Choice)
	long(b, &c.PartIndex)
	text(b, &c.Text)
	text(b, &c.Signature)
	maybe(b, &c.ToolCall, (*body).toolCall)
	maybe(b, &c.Finish, (*body).finish)
	maybe(b, &c.Usage, (*body).usage)
	maybe(b, &c.Failure, (*body).failure)
	text(b, &c.Model)
	text(b, &c.ID)
	maybe(b, &c.Media, (*body).media)
	maybe(b, &c.Citation, (*body).citation)
	raw(b, &c.LogProbs)
}
