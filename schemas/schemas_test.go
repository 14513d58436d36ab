package schemas

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"
)

func good() *Request {
	return &Request{ID: "r1", Tenant: "acme", Model: "m", Messages: []Message{TextMessage(RoleUser, "hi")}}
}

func part(p Part) func(*Request) {
	return func(r *Request) { r.Messages[0].Parts = []Part{p} }
}

func TestValidateNamesTheFieldAtFault(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", MaxIDLength+1)
	labels := map[string]string{}
	for i := range MaxLabels + 1 {
		labels[strconv.Itoa(i)] = ""
	}
	minus := int64(-1)
	for name, c := range map[string]struct {
		edit  func(*Request)
		param string
		code  Code
	}{
		"no id":              {func(r *Request) { r.ID = "" }, "id", InvalidRequest},
		"long id":            {func(r *Request) { r.ID = long }, "id", InvalidRequest},
		"no tenant":          {func(r *Request) { r.Tenant = "" }, "tenant", InvalidRequest},
		"long tenant":        {func(r *Request) { r.Tenant = long }, "tenant", InvalidRequest},
		"no model":           {func(r *Request) { r.Model = "" }, "model", InvalidRequest},
		"long model":         {func(r *Request) { r.Model = long }, "model", InvalidRequest},
		"many labels":        {func(r *Request) { r.Labels = labels }, "labels", InvalidRequest},
		"long label":         {func(r *Request) { r.Labels = map[string]string{"team": long} }, "labels", InvalidRequest},
		"other operation":    {func(r *Request) { r.Op = "paint" }, "op", Unsupported},
		"no messages":        {func(r *Request) { r.Messages = nil }, "messages", InvalidRequest},
		"unknown role":       {func(r *Request) { r.Messages[0].Role = "boss" }, "messages[0].role", InvalidRequest},
		"unknown kind":       {part(Part{Kind: "smell"}), "messages[0].parts[0]", InvalidRequest},
		"image without data": {part(Part{Kind: PartImage, Media: &Media{MIME: "image/png"}}), "messages[0].parts[0]", InvalidRequest},
		"file without media": {part(Part{Kind: PartFile}), "messages[0].parts[0]", InvalidRequest},
		"nameless call":      {part(Part{Kind: PartToolCall, ToolCall: &ToolCall{ID: "1"}}), "messages[0].parts[0]", InvalidRequest},
		"result of no call":  {part(Part{Kind: PartToolResult}), "messages[0].parts[0]", InvalidRequest},
		"nested results":     {part(Part{Kind: PartToolResult, ToolResult: &ToolResult{CallID: "1", Parts: []Part{{Kind: PartToolResult}}}}), "messages[0].parts[0]", InvalidRequest},
		"bad part in result": {part(Part{Kind: PartToolResult, ToolResult: &ToolResult{CallID: "1", Parts: []Part{{Kind: PartAudio}}}}), "messages[0].parts[0]", InvalidRequest},
		"empty reasoning":    {part(Part{Kind: PartReasoning}), "messages[0].parts[0]", InvalidRequest},
		"nameless tool":      {func(r *Request) { r.Tools = []Tool{{}} }, "tools[0].name", InvalidRequest},
		"tool schema":        {func(r *Request) { r.Tools = []Tool{{Name: "t", Parameters: json.RawMessage("{")}} }, "tools[0].parameters", InvalidRequest},
		"output schema":      {func(r *Request) { r.Output = &OutputSpec{Schema: json.RawMessage("{")} }, "output.schema", InvalidRequest},
		"negative limit":     {func(r *Request) { r.MaxTokens = &minus }, "max_output_tokens", InvalidRequest},
		"ext":                {func(r *Request) { r.Ext = map[string]json.RawMessage{"openai": json.RawMessage("{")} }, "ext.openai", InvalidRequest},
	} {
		r := good()
		c.edit(r)
		f, ok := errors.AsType[*Failure](r.Validate())
		if !ok {
			t.Errorf("%s: no failure", name)
			continue
		}
		if f.Code != c.code || !strings.HasPrefix(f.Param, c.param) || !strings.HasPrefix(f.Message, f.Param) {
			t.Errorf("%s: %s of %q (%q), want %s of %q", name, f.Code, f.Param, f.Message, c.code, c.param)
		}
	}
}

func TestWellFormedRequestsAreValid(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*Request){
		"text":      func(*Request) {},
		"chat":      func(r *Request) { r.Op = OpChat },
		"image":     part(Part{Kind: PartImage, Media: &Media{URL: "https://x"}}),
		"tool call": part(Part{Kind: PartToolCall, ToolCall: &ToolCall{Name: "f", Arguments: "{ not JSON"}}),
		"result":    part(Part{Kind: PartToolResult, ToolResult: &ToolResult{CallID: "1", Parts: []Part{{Kind: PartText}}}}),
		"refusal":   part(Part{Kind: PartRefusal}),
		"reasoning": part(Part{Kind: PartReasoning, Reasoning: &Reasoning{}}),
		"no parts":  func(r *Request) { r.Messages[0].Parts = nil },
	} {
		r := good()
		edit(r)
		if err := r.Validate(); err != nil {
			t.Errorf("%s: %v: %s", name, err, AsFailure(err).Message)
		}
	}
}

// declaredCodes reads the constants of type Code from the source, so that a new
// one without a policy is found.
func declaredCodes(t *testing.T) []Code {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "failure.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var codes []Code
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			if id, ok := v.Type.(*ast.Ident); !ok || id.Name != "Code" {
				continue
			}
			text, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			if c := Code(text); c != OK {
				codes = append(codes, c)
			}
		}
	}
	return codes
}

func TestEveryCodeHasAPolicy(t *testing.T) {
	t.Parallel()
	codes := declaredCodes(t)
	if len(codes) != len(policies) {
		t.Errorf("%d codes and %d policies", len(codes), len(policies))
	}
	for _, c := range codes {
		p := c.Policy()
		if !c.Known() || p.Scope == "" || p.HTTPStatus < 400 || p.HTTPStatus > 599 {
			t.Errorf("%s: policy %+v is not complete", c, p)
		}
		if p.Scope == ScopeRequest && p.Breaker {
			t.Errorf("%s: the request's own fault counts against an endpoint", c)
		}
		if p.Breaker && !p.Fallback {
			t.Errorf("%s: an endpoint's fault keeps the request from others", c)
		}
	}
}

func TestUnknownCodeIsTreatedAsInternal(t *testing.T) {
	t.Parallel()
	if c := Code("from_the_future"); c.Known() || c.Policy() != Internal.Policy() {
		t.Errorf("policy %+v", c.Policy())
	}
	if OK.Known() {
		t.Error("ok is no failure")
	}
}

func TestFailureIsFoundInAnErrorChain(t *testing.T) {
	t.Parallel()
	if AsFailure(nil) != nil {
		t.Error("no error became a failure")
	}
	f := Fail(RateLimited, "slow down", context.DeadlineExceeded)
	if got := AsFailure(fmt.Errorf("asking: %w", f)); got != f {
		t.Errorf("got %v, want the failure itself", got)
	}
	if !errors.Is(f, context.DeadlineExceeded) {
		t.Error("the cause is lost")
	}
	cause := errors.New("secret detail")
	other := AsFailure(cause)
	if other.Code != Internal || !errors.Is(other, cause) || strings.Contains(other.Message, "secret") {
		t.Errorf("got %v with message %q, want internal with the cause kept inside", other, other.Message)
	}
}

func TestErrorTextNeverShowsTheMessage(t *testing.T) {
	t.Parallel()
	f := Fail(ContentFiltered, "your prompt 'secret' was blocked", errors.New("secret"))
	f.VendorCode = "blocked"
	if got := f.Error(); got != "content_filtered (blocked)" {
		t.Errorf("text %q", got)
	}
	if got := fmt.Sprintf("%v", fmt.Errorf("asking: %w", f)); strings.Contains(got, "secret") {
		t.Errorf("text %q shows content", got)
	}
}

func roundTrip[T any](t *testing.T, in T) T {
	t.Helper()
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out T
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatalf("reading %s: %v", b, err)
	}
	return out
}

func TestRequestAndResultSurviveJSON(t *testing.T) {
	t.Parallel()
	yes, n, x := true, int64(5), 0.5
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	r := good()
	r.Labels, r.Metadata = map[string]string{"team": "a"}, map[string]string{"k": "v"}
	r.Tools = []Tool{{Name: "f", Parameters: json.RawMessage(`{"type":"object"}`), Strict: &yes}}
	r.ToolChoice, r.Output = &ToolChoice{Mode: "named", Names: []string{"f"}}, &OutputSpec{Format: "json"}
	r.Sampling, r.MaxTokens, r.Thinking = &Sampling{Temperature: &x, Seed: &n, Stop: []string{"."}}, &n, &ThinkingSpec{Effort: "low"}
	r.Stream, r.Deadline, r.CreatedAt, r.ReplyTo, r.EndUser = true, at, at, "answers", "u"
	r.Ext = map[string]json.RawMessage{"openai": json.RawMessage(`{"store":true}`)}
	r.Messages = append(r.Messages, Message{Role: RoleAssistant, Parts: []Part{
		{Kind: PartImage, Media: &Media{MIME: "image/png", Data: []byte{1, 2, 255}}},
		{Kind: PartReasoning, Reasoning: &Reasoning{Signature: "s", Redacted: true}},
		{Kind: PartToolCall, ToolCall: &ToolCall{ID: "1", Name: "f", Arguments: "{"}},
	}})
	if diff := cmp.Diff(r, roundTrip(t, r)); diff != "" {
		t.Errorf("request changed (-want +got):\n%s", diff)
	}
	res := &Result{
		RequestID: "r1", Tenant: "acme", Status: Succeeded, Op: OpChat, Model: "m", Origin: "requests/0/1", CreatedAt: at, CompletedAt: at,
		Response: &Response{Model: "m1", Choices: []Choice{{Message: TextMessage(RoleAssistant, "hello"), Finish: Finish{Reason: FinishStop}}}, Usage: Usage{InputTokens: 3, Source: UsageReported}},
		Cost:     Cost{State: CostPriced, Money: &Money{Amount: decimal.RequireFromString("0.000000000001"), Currency: "USD"}},
		Attempts: []Attempt{{Number: 1, Target: Target{Provider: "p", Model: "m1"}, Reason: "first", Outcome: OK, StartedAt: at}},
	}
	if diff := cmp.Diff(res, roundTrip(t, res), cmp.Comparer(decimal.Decimal.Equal)); diff != "" {
		t.Errorf("result changed (-want +got):\n%s", diff)
	}
	if res.Response.Text() != "hello" || (*Response)(nil).Text() != "" {
		t.Error("Text is not the text of the first choice")
	}
}

func TestFailureSurvivesJSONWithoutItsCause(t *testing.T) {
	t.Parallel()
	f := &Failure{Code: RateLimited, Message: "slow down", Provider: "p", HTTPStatus: 429, Phase: PhaseHeaders, RetryAfterMS: 1500, Usage: &Usage{InputTokens: 1}, cause: errors.New("secret")}
	got := roundTrip(t, f)
	if got.Unwrap() != nil {
		t.Error("the cause travelled")
	}
	f.cause = nil
	if diff := cmp.Diff(f, got, cmp.AllowUnexported(Failure{})); diff != "" {
		t.Errorf("failure changed (-want +got):\n%s", diff)
	}
	if got.RetryAfter() != 1500*time.Millisecond {
		t.Errorf("retry after %s", got.RetryAfter())
	}
}

func TestTextJoinsTextPartsOnly(t *testing.T) {
	t.Parallel()
	m := Message{Parts: []Part{{Kind: PartText, Text: "a"}, {Kind: PartReasoning, Text: "x"}, {Kind: PartText, Text: "b"}}}
	if got := m.Text(); got != "ab" {
		t.Errorf("text %q, want ab", got)
	}
	if got := (Message{}).Text(); got != "" {
		t.Errorf("text of no parts is %q", got)
	}
}

func TestUsageIsBoundedForEvents(t *testing.T) {
	t.Parallel()
	details := map[string]int64{strings.Repeat("d", 200): 1}
	for i := range 100 {
		details[fmt.Sprint("detail ", i)] = 1
	}
	got := Usage{InputTokens: -5, OutputTokens: 7, Tier: strings.Repeat("t", 1<<20), Raw: make([]byte, 1<<20), Details: details}.Bounded()
	if got.InputTokens != 0 || got.OutputTokens != 7 || len(got.Tier) != 100 || got.Raw != nil || len(got.Details) != 64 {
		t.Errorf("%d, %d tokens, tier of %d, raw of %d, %d details", got.InputTokens, got.OutputTokens, len(got.Tier), len(got.Raw), len(got.Details))
	}
	if got := Clip("häuser", 2); got != "h" {
		t.Errorf("cut to %q, within a character", got)
	}
}
