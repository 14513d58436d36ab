package routing

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// facts are what a `when` expression can ask about a request. The names are part
// of the configuration's contract: add, never rename.
type facts struct {
	Model       string            `expr:"model"`
	Tenant      string            `expr:"tenant"`
	Op          string            `expr:"op"`
	Lane        string            `expr:"lane"`
	Labels      map[string]string `expr:"labels"` // a missing label is ""
	Stream      bool              `expr:"stream"`
	InputBytes  int               `expr:"input_bytes"`       // of text in all messages
	Messages    int               `expr:"messages"`          // how many
	Tools       int               `expr:"tools"`             // how many are offered
	MaxTokens   int               `expr:"max_output_tokens"` // 0: not limited
	Hour        int               `expr:"hour"`              // 0 to 23, UTC, when a worker took the request up
	Weekday     int               `expr:"weekday"`           // 1 Monday to 7 Sunday, UTC
	Round       int               `expr:"round"`             // 0 at first, more after a retry topic
	Attachments int               `expr:"attachments"`       // parts that are images, audio, video or files
}

// maxNodes and maxExpression bound an expression, and with it its evaluation:
// there are no loops, see functions.
const (
	maxNodes      = 256
	maxExpression = 4096
)

// functions are the only ones that an expression may call. None takes a
// predicate, so the work is linear in the expression and the request.
func functions() []string {
	return []string{"len", "lower", "upper", "trim", "trimPrefix", "trimSuffix", "abs", "min", "max", "int", "float", "string"}
}

// condition is a compiled expression.
type condition struct {
	program *vm.Program
	content bool // needs a look at the messages
	failed  func(error)
	state   sync.Pool // of *evaluation
}

type evaluation struct {
	vm    vm.VM
	facts facts
}

// compile checks and compiles an expression, which must be of type bool. failed
// is told when evaluating it goes wrong, which for a checked expression takes
// something like a division by zero.
func compile(when string, failed func(error)) (*condition, error) {
	if len(when) > maxExpression {
		return nil, fmt.Errorf("the expression is longer than %d bytes: split the route", maxExpression)
	}
	seen := identifiers{}
	options := []expr.Option{
		expr.Env(&facts{}), expr.AsBool(), expr.MaxNodes(maxNodes), expr.DisableAllBuiltins(), expr.Patch(seen),
	}
	for _, name := range functions() {
		options = append(options, expr.EnableBuiltin(name))
	}
	program, err := expr.Compile(when, options...)
	if err != nil {
		return nil, explain(err)
	}
	if seen[".."] {
		return nil, errors.New(`ranges such as 1..9 are not offered: write hour >= 1 and hour <= 9`)
	}
	c := &condition{program: program, failed: failed, content: seen["input_bytes"] || seen["attachments"]}
	c.state.New = func() any { return new(evaluation) }
	return c, nil
}

// explain turns the compiler's message of several lines into one.
func explain(err error) error {
	if at, ok := errors.AsType[*file.Error](err); ok {
		return fmt.Errorf("%s (column %d); known are model, tenant, op, lane, labels, stream, input_bytes, messages, "+
			"attachments, tools, max_output_tokens, hour, weekday, round", at.Message, at.Column+1)
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return errors.New(first)
}

// match reports whether the expression is true of the job. One that can't be
// evaluated does not match.
func (c *condition) match(job *pipeline.Job) bool {
	e, _ := c.state.Get().(*evaluation)
	defer c.state.Put(e)
	e.facts.read(job, c.content)
	out, err := e.vm.Run(c.program, &e.facts)
	e.facts.Labels = nil
	if err != nil {
		c.failed(err)
		return false
	}
	yes, _ := out.(bool)
	return yes
}

// read fills in f from the job.
func (f *facts) read(job *pipeline.Job, content bool) {
	req := job.Request
	at := job.Started
	if at.IsZero() {
		at = time.Now()
	}
	at = at.UTC()
	*f = facts{
		Model: req.Model, Tenant: req.Tenant, Op: string(req.Operation()), Lane: job.Origin.Lane, Labels: req.Labels,
		Stream: req.Stream, Messages: len(req.Messages), Tools: len(req.Tools),
		Hour: at.Hour(), Weekday: (int(at.Weekday())+6)%7 + 1, Round: job.Origin.Round,
	}
	if req.MaxTokens != nil {
		f.MaxTokens = int(*req.MaxTokens)
	}
	if !content {
		return
	}
	for i := range req.Messages {
		for j := range req.Messages[i].Parts {
			switch p := &req.Messages[i].Parts[j]; p.Kind {
			case schemas.PartText:
				f.InputBytes += len(p.Text)
			case schemas.PartImage, schemas.PartAudio, schemas.PartVideo, schemas.PartFile:
				f.Attachments++
			}
		}
	}
}

// identifiers collects the names that an expression uses, and its ranges.
type identifiers map[string]bool

// Visit implements ast.Visitor.
func (s identifiers) Visit(n *ast.Node) {
	switch n := (*n).(type) {
	case *ast.IdentifierNode:
		s[n.Value] = true
	case *ast.BinaryNode:
		if n.Operator == ".." {
			s[n.Operator] = true
		}
	}
}
