package contextual_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/handlers/routing/contextual"
	rt "github.com/sira-ai/sira/handlers/routing/routingtest"
	"github.com/sira-ai/sira/schemas"
)

func targets() []routing.Candidate {
	no, yes := false, true
	spec := func(text string, can *routing.Capabilities) routing.TargetSpec {
		return routing.TargetSpec{Target: rt.Target(text), Can: can, Weight: 1}
	}
	return routing.Candidates(
		spec("s/small", &routing.Capabilities{Context: 2000, Output: 500, Input: []string{"text"}, Tools: &no, JSON: &no}),
		spec("l/large", &routing.Capabilities{Context: 100_000, Input: []string{"text", "image"}, Tools: &yes, Languages: []string{"ja"}}),
		spec("u/unknown", nil),
	)
}

func TestTargetsThatCantAreLeftOut(t *testing.T) {
	t.Parallel()
	limit := int64(600)
	tests := []struct {
		name string
		ask  func(*schemas.Request)
		want []string
		why  string // of the first that is left out
	}{
		{"nothing special", func(*schemas.Request) {}, []string{"s/small", "l/large", "u/unknown"}, ""},
		{"long", func(r *schemas.Request) {
			r.Messages = append(r.Messages, schemas.TextMessage(schemas.RoleUser, strings.Repeat("word ", 1400)))
		}, []string{"l/large", "u/unknown"}, "its context is too short"},
		{"long answer", func(r *schemas.Request) { r.MaxTokens = &limit }, []string{"l/large", "u/unknown"}, "its answers are too short"},
		{"image", func(r *schemas.Request) {
			r.Messages[0].Parts = append(r.Messages[0].Parts, schemas.Part{Kind: schemas.PartImage})
		}, []string{"l/large", "u/unknown"}, "it takes no images"},
		{"tools", func(r *schemas.Request) { r.Tools = []schemas.Tool{{Name: "x"}} }, []string{"l/large", "u/unknown"}, "it takes no tools"},
		{"schema", func(r *schemas.Request) { r.Output = &schemas.OutputSpec{Format: "json_schema"} }, []string{"l/large", "u/unknown"}, "it answers in no JSON schema"},
		{"language", func(r *schemas.Request) {
			r.Messages[0] = schemas.TextMessage(schemas.RoleUser, "ログとは何ですか。")
		}, []string{"l/large", "s/small", "u/unknown"}, ""},
	}
	for _, tt := range tests {
		j := rt.Job("r1")
		tt.ask(j.Request)
		q, c := routing.NewQuery(j, routing.Sources{}), targets()
		first := c[0]
		got := rt.Build(t, contextual.Entry, "").Rank(q, c)
		if diff := cmp.Diff(tt.want, rt.Order(got)); diff != "" || q.Notes(&first) != tt.why {
			t.Errorf("%s: note %q: %s", tt.name, q.Notes(&first), diff)
		}
	}
}

func TestComplexityChoosesTheTierAndShowsItsFeatures(t *testing.T) {
	t.Parallel()
	s := rt.Build(t, contextual.Entry, `{"tiers": [{"below": 0.3, "prefer": ["s"]}, {"prefer": ["l"]}], "languages": {"de": ["u"]}}`)
	rank := func(text string) ([]string, string) {
		j := rt.Job("r1")
		j.Request.Messages[0] = schemas.TextMessage(schemas.RoleUser, text)
		q := routing.NewQuery(j, routing.Sources{})
		c := s.Rank(q, targets())
		return rt.Order(c), q.Notes(&c[0])
	}
	easy, _ := rank("Hi, what is the capital of France?")
	hard, note := rank("Prove step by step that this algorithm is optimal and compare it with ```func f(a []int) { return a[i] + b[j]; }```")
	german, _ := rank("Was ist eine Stadt und wie ist das Wetter?")
	if easy[0] != "s/small" || hard[0] != "l/large" || german[1] != "u/unknown" {
		t.Errorf("easy %v, hard %v, german %v", easy, hard, german)
	}
	if !strings.Contains(note, "tier 2 of complexity; complexity 0.") || !strings.Contains(note, "reasoning 0.25") || !strings.Contains(note, "code 0.20") {
		t.Errorf("note %q", note)
	}
}

func TestMistakesAreFound(t *testing.T) {
	t.Parallel()
	for settings, says := range map[string]string{
		`{"margin": 0.5}`: "margin", `{"tiers": [{"prefer": ["a"]}, {"prefer": ["b"]}]}`: "tiers[0].below",
		`{"tiers": [{"below": 0.5, "prefer": ["a"]}, {"below": 0.4, "prefer": ["b"]}]}`: "tiers[1].below",
		`{"tiers": [{"below": 0.5}]}`: "tiers[0].prefer", `{"languages": {"german": ["a"]}}`: "ISO 639-1",
	} {
		if got := rt.Check(contextual.Entry, settings); !strings.Contains(got, says) {
			t.Errorf("%s: %q does not say %q", settings, got, says)
		}
	}
}
