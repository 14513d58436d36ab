package together

import (
	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/schemas"
)

// lateFinish holds back the finish of a stream's choices until its usage. Some
// models' streams give a reason to finish behind each of several tool calls, but
// nothing of a choice may follow its finish. A lateFinish is for one answer.
type lateFinish struct {
	emit provider.Emit
	held []schemas.Chunk
}

// Emit takes the place of emit. An answer always tells its usage, so nothing
// stays behind.
func (l *lateFinish) Emit(c schemas.Chunk) error {
	switch c.Type {
	case schemas.ChunkFinish:
		l.held = append(l.held, c)
		return nil
	case schemas.ChunkUsage:
		held := l.held
		l.held = nil
		for i := range held {
			if err := l.emit(held[i]); err != nil {
				return err
			}
		}
	}
	return l.emit(c)
}
