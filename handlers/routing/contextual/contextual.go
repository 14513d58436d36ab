// Package contextual chooses targets by the content of a request: what they must
// be able to do, its language, and how hard it looks.
package contextual

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

// Entry offers this strategy as kind "context".
var Entry routing.Entry = catalog.Define("context", Config{Margin: 1.1, Output: 512}, New)

// Config says what is looked at. What a target can do stands in the capabilities
// of models and targets.
type Config struct {
	Margin    float64             `json:"margin,omitempty"`    // the context must hold the estimated input times this; 1.1
	Output    int                 `json:"output,omitempty"`    // tokens of the answer to leave room for where the request sets no limit; 512
	Languages map[string][]string `json:"languages,omitempty"` // selectors of targets that come first, by ISO 639-1 code
	Tiers     []Tier              `json:"tiers,omitempty"`     // by rising complexity; the first that fits counts
}

// Tier is the targets for requests up to a complexity.
type Tier struct {
	Below  float64  `json:"below,omitempty"` // from 0 to 1; 0: any
	Prefer []string `json:"prefer"`          // selectors of targets that come first
}

// Validate reports what is wrong with c.
func (c *Config) Validate() error {
	if !(c.Margin >= 1 && c.Margin <= 10) {
		return fmt.Errorf("margin: %v is not from 1 to 10, such as 1.1", c.Margin)
	}
	if c.Output < 0 {
		return errors.New("output: can't be negative; write the tokens of a usual answer, such as 512")
	}
	before := 0.0
	for i, t := range c.Tiers {
		at := fmt.Sprintf("tiers[%d]", i)
		switch {
		case t.Below == 0 && i < len(c.Tiers)-1:
			return fmt.Errorf("%s.below: is missing; only the last tier is for any complexity", at)
		case t.Below != 0 && !(t.Below > before && t.Below <= 1):
			return fmt.Errorf("%s.below: %v is not above that of the tier before and at most 1", at, t.Below)
		case len(t.Prefer) == 0:
			return fmt.Errorf("%s.prefer: is empty: name the tier's targets", at)
		}
		if _, err := routing.ParseSelectors(at+".prefer", t.Prefer); err != nil {
			return err
		}
		before = t.Below
	}
	for code, targets := range c.Languages {
		if len(code) != 2 {
			return fmt.Errorf("languages: %q is no ISO 639-1 code, such as zh", code)
		}
		if _, err := routing.ParseSelectors("languages."+code, targets); err != nil {
			return err
		}
	}
	return nil
}

// New returns the strategy. It leaves out targets whose capabilities say that they
// can't: a context or an answer too short, a kind of input, tools or JSON that
// they do not take. Then the complexity's tier comes first, and within it the
// language's targets and those that name the language among their capabilities.
func New(c Config, _ catalog.Env) (routing.Strategy, error) {
	s := &strategy{config: c, languages: make(map[string][]routing.Selector)}
	for i, t := range c.Tiers {
		prefer, err := routing.ParseSelectors("prefer", t.Prefer)
		if err != nil {
			return nil, fmt.Errorf("tiers[%d]: %w", i, err)
		}
		s.tiers = append(s.tiers, tier{t.Below, prefer, fmt.Sprintf("tier %d of complexity", i+1)})
	}
	for code, targets := range c.Languages {
		prefer, err := routing.ParseSelectors("languages", targets)
		if err != nil {
			return nil, fmt.Errorf("languages.%s: %w", code, err)
		}
		s.languages[code] = prefer
	}
	return s, nil
}

type strategy struct {
	config    Config
	tiers     []tier
	languages map[string][]routing.Selector
}

type tier struct {
	below  float64
	prefer []routing.Selector
	note   string
}

// Rank implements routing.Strategy.
func (s *strategy) Rank(q *routing.Query, c []routing.Candidate) []routing.Candidate {
	f := q.Features()
	usage := q.Usage(s.config.Output)
	room := int(float64(usage.InputTokens)*s.config.Margin) + int(usage.OutputTokens)
	c = routing.Keep(q, c, func(c *routing.Candidate) string { return lacks(q.Request, f, c.Can, room) })
	t := s.tier(f.Complexity.Score)
	for i := range c {
		c[i].Score = 0
		if t != nil && routing.MatchAny(t.prefer, &c[i].Target) >= 0 {
			c[i].Score = 2
			q.Note(&c[i], t.note)
		}
		if s.speaks(f.Language, &c[i]) {
			c[i].Score++
			q.Note(&c[i], "speaks the language")
		}
	}
	routing.ByScore(c)
	if len(c) > 0 && (t != nil || q.Explain) {
		q.Note(&c[0], describe(f))
	}
	return c
}

func (s *strategy) tier(score float64) *tier {
	for i := range s.tiers {
		if t := &s.tiers[i]; t.below == 0 || score < t.below {
			return t
		}
	}
	return nil
}

func (s *strategy) speaks(code string, c *routing.Candidate) bool {
	if code == "" {
		return false
	}
	return routing.MatchAny(s.languages[code], &c.Target) >= 0 || c.Can != nil && slices.Contains(c.Can.Languages, code)
}

// lacks says what a target can't do that the request needs, or "".
func lacks(req *schemas.Request, f *routing.Features, can *routing.Capabilities, room int) string {
	if can == nil {
		return ""
	}
	input := func(there bool, kind string) bool {
		return there && len(can.Input) > 0 && !slices.Contains(can.Input, kind)
	}
	switch {
	case can.Context > 0 && room > can.Context:
		return "its context is too short"
	case can.Output > 0 && req.MaxTokens != nil && int(*req.MaxTokens) > can.Output:
		return "its answers are too short"
	case input(f.Image, "image"):
		return "it takes no images"
	case input(f.Audio, "audio"):
		return "it takes no audio"
	case input(f.Video, "video"):
		return "it takes no video"
	case input(f.File, "file"):
		return "it takes no files"
	case len(req.Tools) > 0 && can.Tools != nil && !*can.Tools:
		return "it takes no tools"
	case req.Output != nil && req.Output.Format == "json_schema" && can.JSON != nil && !*can.JSON:
		return "it answers in no JSON schema"
	}
	return ""
}

// describe shows the score with the features that it is made of.
func describe(f *routing.Features) string {
	x := f.Complexity
	var b strings.Builder
	fmt.Fprintf(&b, "complexity %.2f", x.Score)
	show := func(name string, value float64) {
		if value >= 0.005 {
			fmt.Fprintf(&b, ", %s %.2f", name, value)
		}
	}
	show("length", x.Length)
	show("code", x.Code)
	show("reasoning", x.Reason)
	show("maths", x.Math)
	show("turns", x.Turns)
	show("tools", x.Tools)
	show("form", x.Form)
	show("effort", x.Effort)
	return b.String()
}
