package routing

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sira-ai/sira/schemas"
)

// Features are what the content of a request is like, as far as it can be told
// without a model. Nothing of the content itself is kept.
type Features struct {
	Bytes    int    // of text in all messages
	Tokens   int    // of all input together, estimated; see Look
	Language string // ISO 639-1 of the last user message, or "" where it can't be told
	Text     bool   // parts of each kind that there are
	Image    bool
	Audio    bool
	Video    bool
	File     bool
	Media    int // parts that are not text
	Turns    int // messages of the user

	Complexity Complexity
}

// Complexity is how hard a request looks, as a sum of its features, each from 0
// to the weight that its comment gives. It is a heuristic: it tells a greeting
// from a task, not a right answer from a wrong one.
type Complexity struct {
	Score  float64 // 0 to 1: the sum of the rest, at most 1
	Length float64 // 0.25: tokens of the last user message, full at 2,000
	Code   float64 // 0.20: code fences and the punctuation of programs
	Reason float64 // 0.25: words that ask for reasoning, such as prove or compare
	Math   float64 // 0.10: digits and operators
	Turns  float64 // 0.10: turns of the conversation, full at 10
	Tools  float64 // 0.10: tools on offer, full at 5
	Form   float64 // 0.10: a JSON schema to keep to
	Effort float64 // 0.30: the requester asked for thinking
}

// Estimates of tokens for what is not text.
const (
	tokensPerMedia = 800 // an image in low detail to a page of a document
	tokensPerTurn  = 4   // role and separators
)

// maxSample bounds the text that language and complexity are judged by, in bytes.
const maxSample = 4 << 10

// Look returns the features of a request. Four bytes of ASCII count as a token,
// and so do a character of Chinese, Japanese or Korean and one and a half of
// other scripts: within a fifth for prose of the usual tokenizers, less exact for
// code.
func Look(req *schemas.Request) Features {
	var f Features
	last := ""
	for i := range req.Messages {
		m := &req.Messages[i]
		f.Tokens += tokensPerTurn
		if m.Role == schemas.RoleUser {
			f.Turns++
		}
		for j := range m.Parts {
			p := &m.Parts[j]
			f.part(p)
			if p.Kind == schemas.PartText && m.Role == schemas.RoleUser {
				last = p.Text
			}
		}
	}
	for i := range req.Tools {
		t := &req.Tools[i]
		f.Tokens += (len(t.Name) + len(t.Description) + len(t.Parameters)) / 4
	}
	sample := last[:min(len(last), maxSample)]
	f.Language = language(sample)
	f.Complexity = judge(req, &f, sample, len(last))
	return f
}

func (f *Features) part(p *schemas.Part) {
	switch p.Kind {
	case schemas.PartText, schemas.PartReasoning, schemas.PartRefusal:
		f.Text = true
		f.Bytes += len(p.Text)
		f.Tokens += tokens(p.Text)
		return
	case schemas.PartImage:
		f.Image = true
	case schemas.PartAudio:
		f.Audio = true
	case schemas.PartVideo:
		f.Video = true
	case schemas.PartFile:
		f.File = true
	case schemas.PartToolCall:
		if p.ToolCall != nil {
			f.Tokens += tokens(p.ToolCall.Arguments)
		}
		return
	case schemas.PartToolResult:
		if p.ToolResult != nil {
			for i := range p.ToolResult.Parts {
				f.part(&p.ToolResult.Parts[i])
			}
		}
		return
	}
	f.Media++
	f.Tokens += tokensPerMedia
}

// tokens estimates the tokens of a text.
func tokens(s string) int {
	ascii := 0
	for i := range len(s) {
		if s[i] < utf8.RuneSelf {
			ascii++
		}
	}
	n := (ascii + 3) / 4
	if ascii == len(s) {
		return n
	}
	wide, other := 0, 0
	for _, r := range s {
		switch {
		case r < utf8.RuneSelf:
		case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul):
			wide++
		default:
			other++
		}
	}
	return n + wide + other*2/3
}

// script is the language that letters stand for.
type script struct {
	letters *unicode.RangeTable
	code    string
}

// scripts tell a language by its letters alone. Those that several languages
// share stand for the one with the most speakers.
var scripts = []script{
	{unicode.Hiragana, "ja"},
	{unicode.Katakana, "ja"},
	{unicode.Hangul, "ko"},
	{unicode.Han, "zh"},
	{unicode.Cyrillic, "ru"},
	{unicode.Arabic, "ar"},
	{unicode.Hebrew, "he"},
	{unicode.Greek, "el"},
	{unicode.Devanagari, "hi"},
	{unicode.Thai, "th"},
}

// words that are frequent in one language written in Latin letters and rare in
// the others.
var words = map[string]string{
	"the": "en", "and": "en", "is": "en", "of": "en", "what": "en", "how": "en", "you": "en", "with": "en", "this": "en", "please": "en",
	"der": "de", "und": "de", "ist": "de", "nicht": "de", "wie": "de", "ich": "de", "ein": "de", "eine": "de", "das": "de", "mit": "de",
	"le": "fr", "les": "fr", "est": "fr", "et": "fr", "une": "fr", "dans": "fr", "pour": "fr", "vous": "fr", "qui": "fr", "comment": "fr",
	"el": "es", "los": "es", "las": "es", "es": "es", "y": "es", "por": "es", "como": "es", "cómo": "es", "qué": "es", "una": "es",
	"il": "it", "che": "it", "di": "it", "è": "it", "per": "it", "non": "it", "sono": "it", "gli": "it", "della": "it", "perché": "it",
	"não": "pt", "uma": "pt", "é": "pt", "você": "pt", "os": "pt", "em": "pt", "são": "pt", "para": "pt", "isso": "pt", "mais": "pt",
	"het": "nl", "een": "nl", "niet": "nl", "van": "nl", "dat": "nl", "hoe": "nl", "ik": "nl", "voor": "nl", "zijn": "nl", "met": "nl",
}

// language tells the language of a text by its script or, where that is Latin, by
// its frequent words.
func language(text string) string {
	letters, foreign := 0, map[string]int{}
	for _, r := range text {
		if r < utf8.RuneSelf {
			if r|0x20 >= 'a' && r|0x20 <= 'z' {
				letters++
			}
			continue
		}
		for i := range scripts {
			if unicode.Is(scripts[i].letters, r) {
				foreign[scripts[i].code]++
				break
			}
		}
	}
	if foreign["ja"] > 0 && foreign["ja"]*10 >= foreign["zh"] {
		foreign["ja"] += foreign["zh"] // Japanese is written in both
	}
	if code, n := most(foreign); n > 0 && n*3 >= letters {
		return code
	}
	found := map[string]int{}
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return !unicode.IsLetter(r) }) {
		if code, ok := words[strings.ToLower(word)]; ok {
			found[code]++
		}
	}
	code, n := most(found)
	if n == 0 {
		return ""
	}
	return code
}

// most returns the key with the highest count, the first of equals by name.
func most(counts map[string]int) (string, int) {
	best, n := "", 0
	for code, c := range counts {
		if c > n || c == n && c > 0 && code < best {
			best, n = code, c
		}
	}
	return best, n
}

// reasoning are words that ask for more than an answer from memory.
var reasoning = []string{
	"prove", "proof", "derive", "step by step", "explain why", "compare", "trade-off", "tradeoff", "analyse", "analyze", "design", "optimi",
	"debug", "refactor", "algorithm", "complexity", "evaluate", "strategy", "plan ", "root cause", "formal", "theorem",
	"beweise", "vergleiche", "analysiere", "démontre", "comparez", "demuestra", "compara",
}

func judge(req *schemas.Request, f *Features, sample string, length int) Complexity {
	var c Complexity
	c.Length = 0.25 * min(float64(length)/4/2000, 1)
	code, maths := 0, 0
	for i := range len(sample) {
		switch b := sample[i]; {
		case strings.IndexByte("{}();[]<>=_`", b) >= 0:
			code++
		case b >= '0' && b <= '9' || strings.IndexByte("+*/^%", b) >= 0:
			maths++
		}
	}
	n := float64(max(len(sample), 40))
	c.Code = 0.20 * min(float64(code)/n/0.06, 1)
	if strings.Contains(sample, "```") {
		c.Code = 0.20
	}
	c.Math = 0.10 * min(float64(maths)/n/0.10, 1)
	lower, hits := strings.ToLower(sample), 0
	for _, w := range reasoning {
		if strings.Contains(lower, w) {
			hits++
		}
	}
	c.Reason = 0.25 * min(float64(hits)/2, 1)
	c.Turns = 0.10 * min(float64(max(f.Turns-1, 0))/9, 1)
	c.Tools = 0.10 * min(float64(len(req.Tools))/5, 1)
	if req.Output != nil && req.Output.Format == "json_schema" {
		c.Form = 0.10
	}
	if t := req.Thinking; t != nil && (t.Effort == "high" || t.Enabled != nil && *t.Enabled || t.BudgetTokens != nil && *t.BudgetTokens > 0) {
		c.Effort = 0.30
	}
	c.Score = min(c.Length+c.Code+c.Reason+c.Math+c.Turns+c.Tools+c.Form+c.Effort, 1)
	return c
}
