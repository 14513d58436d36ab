package budget

import (
	"context"
	"errors"
	"fmt"
)

// Log is where changes are kept before anybody acts on them: in Kafka, the transaction
// that publishes changes and commits the offsets of their commands.
type Log interface {
	// Append returns after all changes are kept, or none.
	Append(ctx context.Context, changes []Change) error
}

// ErrClosed means that the owner is gone: nothing was decided, and another owner
// can be asked.
var ErrClosed = errors.New("the owner of the budgets is gone")

// maxTogether bounds the commands that are kept in one step.
const maxTogether = 512

// Desk is where an owner in this process is asked. All who ask at once are served in
// one step of the log. It is safe for concurrent use.
type Desk struct {
	asked chan ask
	gone  chan struct{}
}

type ask struct {
	command Command
	answer  chan []Change
}

// NewDesk returns a desk that answers while it runs.
func NewDesk() *Desk {
	return &Desk{asked: make(chan ask, maxTogether), gone: make(chan struct{})}
}

// Run lets the owner decide until ctx ends, or until the log fails: then what the owner
// believes is no longer what is kept, and a new one has to be made from the
// changelog. It must be called once.
func (d *Desk) Run(ctx context.Context, owner *Owner, log Log) error {
	defer close(d.gone)
	var (
		asks    []ask
		answers [][]Change
		changes []Change
	)
	for {
		asks, answers, changes = asks[:0], answers[:0], changes[:0]
		select {
		case a := <-d.asked:
			asks = append(asks, a)
		case <-ctx.Done():
			return nil
		}
		for more := true; more && len(asks) < maxTogether; {
			select {
			case a := <-d.asked:
				asks = append(asks, a)
			default:
				more = false
			}
		}
		for i := range asks {
			made := owner.Handle(asks[i].command)
			answers = append(answers, made)
			for _, c := range made {
				if c.Seq > 0 {
					changes = append(changes, c)
				}
			}
		}
		if len(changes) > 0 {
			if err := log.Append(ctx, changes); err != nil {
				return fmt.Errorf("keeping changes of budgets: %w", err)
			}
		}
		for i := range asks {
			asks[i].answer <- answers[i]
		}
	}
}

// Ask returns what was decided about a command, after it was kept.
func (d *Desk) Ask(ctx context.Context, c Command) ([]Change, error) {
	a := ask{command: c, answer: make(chan []Change, 1)}
	select {
	case d.asked <- a:
	case <-d.gone:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case changes := <-a.answer:
		return changes, nil
	case <-d.gone:
		select {
		case changes := <-a.answer:
			return changes, nil
		default:
			return nil, ErrClosed
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
