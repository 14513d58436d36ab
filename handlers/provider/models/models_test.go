package models_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/provider/models"
	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

func builtin(t testing.TB) *models.Catalogue {
	t.Helper()
	c, err := models.Default()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestBuiltinCatalogueCoversTheTenProviders(t *testing.T) {
	t.Parallel()
	count := map[string]int{}
	for _, m := range builtin(t).All() {
		count[m.Provider]++
	}
	for _, p := range []string{"openai", "anthropic", "gemini", "cohere", "ai21", "stability", "huggingface", "replicate", "together", "azure"} {
		if count[p] < 2 {
			t.Errorf("%s has %d models", p, count[p])
		}
	}
	if len(count) != 10 {
		t.Errorf("providers %v, want ten", count)
	}
}

func TestModelsAreFoundByEveryNameAndInheritWhatHoldsForTheirProvider(t *testing.T) {
	t.Parallel()
	c := builtin(t)
	m := c.Find("openai", "gpt-4o-mini-2024-07-18")
	if m == nil || m.Model != "gpt-4o-mini" || !m.Does(models.Tools) || !m.Does(models.Stream) || !m.Lacks(models.Documents) {
		t.Errorf("gpt-4o-mini-2024-07-18 is %+v", m)
	}
	if m := c.Find("gemini", "models/gemini-2.5-flash"); m == nil || m.Does(models.Documents) || m.Lacks(models.Documents) {
		t.Errorf("models/gemini-2.5-flash is %+v", m)
	}
	if m := c.Find("anthropic", "gpt-4o-mini"); m != nil {
		t.Errorf("anthropic has %+v", m)
	}
	if n := len(c.Named("gpt-4o-mini")); n != 2 {
		t.Errorf("%d providers have gpt-4o-mini, want openai and azure", n)
	}
	if m := c.Find("anthropic", "claude-opus-4-1-20250805"); !m.Retired("2026-08-05") || m.Retired("2026-08-04") {
		t.Errorf("claude-opus-4-1 retires %s", m.Retires)
	}
}

const head = "checked: 2026-11-23\nsources: {s: somewhere}\nproviders: [{provider: p, source: [s]}]\nmodels:\n"

func TestMistakesOfACatalogueAreTold(t *testing.T) {
	t.Parallel()
	good := "  - {provider: p, model: a, operations: [chat], input: [text], output: [text], source: [s]}\n"
	if _, err := models.Load([]byte(head + good)); err != nil {
		t.Fatal(err)
	}
	with := func(extra string) string { return head + strings.Replace(good, "source:", extra+", source:", 1) }
	for name, tt := range map[string]struct{ text, says string }{
		"empty":          {"", "checked is missing"},
		"no day":         {strings.Replace(head+good, "2026-11-23", "yesterday", 1), "write a day"},
		"no models":      {head + "  []\n", "models is empty"},
		"unknown key":    {with("colour: red"), "colour"},
		"twice":          {head + good + good, "twice"},
		"alias twice":    {with("also: [a]"), "twice"},
		"operation":      {strings.Replace(head+good, "[chat]", "[chatter]", 1), "chatter"},
		"no operation":   {strings.Replace(head+good, "[chat]", "[]", 1), "operations is empty"},
		"input":          {strings.Replace(head+good, "[text]", "[smell]", 1), "smell"},
		"no output":      {strings.Replace(head+good, "output: [text]", "output: []", 1), "output is empty"},
		"limits":         {with("context: 10, max_output: 11"), "max_output"},
		"negative":       {with("context: -1"), "context"},
		"capability":     {with("can: [fly]"), "fly"},
		"contradiction":  {with("can: [tools], cannot: [tools]"), "keep one"},
		"retired before": {with("deprecated: 2026-02-01, retires: 2026-01-01"), "deprecated is after"},
		"replaced":       {with("replaced_by: b"), "replaced_by"},
		"source":         {strings.Replace(head+good, "source: [s]}\n", "source: [z]}\n", 1), `"z"`},
		"provider":       {strings.Replace(head+good, "{provider: p, model", "{provider: q, model", 1), "no row under providers"},
	} {
		_, err := models.Load([]byte(tt.text))
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v does not say %q", name, err, tt.says)
		}
	}
}

func chat(change func(*schemas.Request)) *schemas.Request {
	r := &schemas.Request{ID: "r1", Tenant: "acme", Model: "m", Messages: []schemas.Message{schemas.TextMessage(schemas.RoleUser, "hi")}}
	if change != nil {
		change(r)
	}
	return r
}

func show(kind schemas.PartKind) func(*schemas.Request) {
	return func(r *schemas.Request) {
		r.Messages[0].Parts = append(r.Messages[0].Parts, schemas.Part{Kind: kind, Media: &schemas.Media{URL: "https://example.com/x"}})
	}
}

func TestWhatAModelCantDoIsToldByPartWithTheModelsThatCan(t *testing.T) {
	t.Parallel()
	c, many := builtin(t), int64(1_000_000)
	for _, tt := range []struct {
		name            string
		provider, model string
		req             *schemas.Request
		field, says     string // empty: it can
	}{
		{"text", "ai21", "jamba-large", chat(nil), "", ""},
		{"image", "ai21", "jamba-large", chat(show(schemas.PartImage)), "messages[0].parts[1]", "takes no image"},
		{"image to eyes", "openai", "gpt-4o-mini", chat(show(schemas.PartImage)), "", ""},
		{"video", "openai", "gpt-4o-mini", chat(show(schemas.PartVideo)), "messages[0].parts[1]", "gemini/gemini-2.5-flash"},
		{"image in a tool's result", "openai", "o3-mini", chat(func(r *schemas.Request) {
			r.Messages[0].Parts = []schemas.Part{{Kind: schemas.PartToolResult, ToolResult: &schemas.ToolResult{CallID: "c", Parts: []schemas.Part{{Kind: schemas.PartImage}}}}}
		}), "messages[0].parts[0].tool_result.parts[0]", "takes no image"},
		{"schema", "ai21", "jamba-mini", chat(func(r *schemas.Request) { r.Output = &schemas.OutputSpec{Format: "json_schema"} }), "output.format", "JSON schema"},
		{"tools", "together", "Qwen/Qwen3-235B-A22B-fp8-tput", chat(func(r *schemas.Request) { r.Tools = []schemas.Tool{{Name: "t"}} }), "tools", "together/meta-llama/Llama-3.3-70B-Instruct-Turbo"},
		{"tools and stream, which the adapter makes up for", "ai21", "jamba-mini", chat(func(r *schemas.Request) {
			r.Tools, r.Stream = []schemas.Tool{{Name: "t"}}, true
		}), "", ""},
		{"documents", "openai", "gpt-4o", chat(func(r *schemas.Request) { r.Documents = []schemas.Document{{Text: "d"}} }), "documents", "cohere/"},
		{"speech", "openai", "gpt-4o", chat(func(r *schemas.Request) { r.Output = &schemas.OutputSpec{Modalities: []string{"text", "audio"}} }), "output.modalities", "openai/gpt-audio"},
		{"long answer", "openai", "gpt-4o", chat(func(r *schemas.Request) { r.MaxTokens = &many }), "max_output_tokens", "no model"},
		{"batch", "huggingface", "openai/gpt-oss-20b", chat(func(r *schemas.Request) { r.Mode = schemas.ModeBatch }), "mode", "batch"},
		{"operation", "openai", "gpt-4o", chat(func(r *schemas.Request) { r.Op, r.Embed = schemas.OpEmbed, &schemas.EmbedSpec{} }), "op", "openai/text-embedding-3-small"},
		{"count", "openai", "gpt-4o", chat(func(r *schemas.Request) { r.Op = schemas.OpCountTokens }), "", ""},
		{"list", "openai", "tts-1", chat(func(r *schemas.Request) { r.Op = schemas.OpModels }), "", ""},
		{"unknown model", "openai", "my-own", chat(show(schemas.PartVideo)), "", ""},
	} {
		err := c.Check(schemas.Target{Provider: "any", Kind: tt.provider, Model: tt.model}, tt.req)
		switch f := schemas.AsFailure(err); {
		case tt.field == "" && err != nil:
			t.Errorf("%s: refused: %v", tt.name, f.Message)
		case tt.field == "":
		case err == nil || f.Code != schemas.Unsupported || f.Param != tt.field || !strings.Contains(f.Message, tt.says):
			t.Errorf("%s: %+v, want unsupported at %s that says %q", tt.name, f, tt.field, tt.says)
		}
	}
}

func TestGuardLeavesOutTargetsThatCant(t *testing.T) {
	t.Parallel()
	g := &models.Guard{Catalogue: builtin(t), Kinds: map[string]string{"east": "openai", "texts": "ai21"}}
	small, large := schemas.Target{Provider: "texts", Model: "jamba-mini"}, schemas.Target{Provider: "east", Model: "gpt-4o"}
	job := func(targets ...schemas.Target) *pipeline.Job {
		j := &pipeline.Job{Request: chat(show(schemas.PartImage)), Targets: targets}
		for i := range targets {
			j.Decision = append(j.Decision, pipeline.Candidate{Target: &targets[i], Reason: "listed", Kept: true})
		}
		return j
	}
	j := job(small, large)
	if err := g.Handle(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]schemas.Target{large}, j.Targets); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]pipeline.Candidate{{Target: &small, Reason: "models: messages[0].parts[1]: jamba-mini takes no image"}, {Target: &large, Reason: "listed", Kept: true}}, j.Decision); diff != "" {
		t.Errorf("decision (-want +got):\n%s", diff)
	}
	unknown := schemas.Target{Provider: "unchecked", Model: "jamba-mini"}
	if j := job(unknown); g.Handle(t.Context(), j) != nil || len(j.Targets) != 1 {
		t.Error("a provider of which nothing is known was left out")
	}
	err := g.Handle(t.Context(), job(small, small))
	if f := schemas.AsFailure(err); err == nil || f.Code != schemas.InvalidRequest || f.Param != "messages[0].parts[1]" || !strings.Contains(f.Message, "openai/gpt-4o") && !strings.Contains(f.Message, "more can") {
		t.Errorf("failure %+v, want invalid_request with the part and models that can", f)
	}
	begun := job(small)
	begun.Pending = &pipeline.Pending{}
	if err := g.Handle(t.Context(), begun); err != nil || len(begun.Targets) != 1 {
		t.Errorf("a job that was begun: %v, targets %v", err, begun.Targets)
	}
	if err := g.Handle(t.Context(), job()); err != nil {
		t.Errorf("no targets are for invoke to tell: %v", err)
	}
}

// go test ./handlers/provider/models -run '^$' -bench Check -benchmem.
func BenchmarkCheck(b *testing.B) {
	c := builtin(b)
	req, target := chat(show(schemas.PartImage)), schemas.Target{Provider: "openai", Model: "gpt-4o-mini"}
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Check(target, req); err != nil {
			b.Fatal(err)
		}
	}
}
