package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// openAPI is what is read of an OpenAPI document, version 3.
type openAPI struct {
	OpenAPI string `yaml:"openapi"`
	Info    struct {
		Title string `yaml:"title"`
	} `yaml:"info"`
	Servers []struct {
		URL string `yaml:"url"`
	} `yaml:"servers"`
	Paths      map[string]map[string]any `yaml:"paths"` // by method, with other keys
	Security   []map[string]any          `yaml:"security"`
	Components struct {
		SecuritySchemes map[string]scheme         `yaml:"securitySchemes"`
		Schemas         map[string]map[string]any `yaml:"schemas"`
	} `yaml:"components"`
}

// scheme is where a credential goes.
type scheme struct {
	Type   string `yaml:"type"`
	Scheme string `yaml:"scheme"`
	In     string `yaml:"in"`
	Name   string `yaml:"name"`
}

// maxOpenAPI bounds the document.
const maxOpenAPI = 64 << 20

// readOpenAPI decodes a document. The decoder gives up on some texts by a panic.
func readOpenAPI(text []byte) (doc *openAPI, err error) {
	defer func() {
		if recover() != nil {
			doc, err = nil, errors.New("it is no YAML or JSON that can be read")
		}
	}()
	doc = new(openAPI)
	if err := yaml.Unmarshal(text, doc); err != nil {
		return nil, fmt.Errorf("decoding it: %w", err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.") {
		return nil, fmt.Errorf("its openapi is %q: only version 3 is read", doc.OpenAPI)
	}
	return doc, nil
}

// endings tell a dialect by how the path of its chats ends, or by what it is where
// the server's address has the version.
var endings = []struct{ suffix, whole, dialect string }{
	{"/chat/completions", "", "openai"},
	{"/v1/messages", "/messages", "anthropic"},
	{"/v2/chat", "", "cohere"},
	{":generateContent", "", "gemini"},
}

// operationPaths are the further operations of OpenAI's dialect by path, in the
// order in which they are written.
var operationPaths = []struct{ path, op string }{
	{"/completions", "schemas.OpComplete"},
	{"/embeddings", "schemas.OpEmbed"},
	{"/moderations", "schemas.OpModerate"},
	{"/images/generations", "schemas.OpImage"},
	{"/audio/speech", "schemas.OpSpeech"},
	{"/audio/transcriptions", "schemas.OpTranscribe"},
	{"/models", "schemas.OpModels"},
}

// learn fills the plan from an OpenAPI document and tells what it took from it. What
// the command line says wins.
func (p *plan) learn(file string) ([]string, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("--openapi: %w", err)
	}
	if info.Size() > maxOpenAPI {
		return nil, fmt.Errorf("--openapi: %s is larger than %d MiB", file, maxOpenAPI>>20)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--openapi: %w", err)
	}
	doc, err := readOpenAPI(text)
	if err != nil {
		return nil, fmt.Errorf("--openapi: %s: %w", file, err)
	}
	told, err := p.read(doc)
	if err != nil {
		return nil, fmt.Errorf("--openapi: %s: %w", file, err)
	}
	p.Source = "the vendor's OpenAPI document " + plainWords(filepath.Base(file))
	return told, nil
}

func (p *plan) read(doc *openAPI) ([]string, error) {
	path, dialect := doc.chat(p.Dialect)
	if path == "" {
		return nil, fmt.Errorf("no path looks like chats (%s); it has %s", strings.Join(suffixes(), ", "), doc.posts())
	}
	told := []string{fmt.Sprintf("chats are at %s: the dialect of %s", path, dialect)}
	p.Dialect = dialect
	if title := plainWords(doc.Info.Title); title != "" {
		p.Title = title
	}
	told = append(told, p.address(doc, path))
	line, err := p.credential(doc)
	if err != nil {
		return nil, err
	}
	told = append(told, line)
	if dialect == "openai" {
		told = append(told, p.operations(doc, path)...)
		told = append(told, p.fields(doc, path)...)
	}
	return told, nil
}

// chat finds the path of chats and its dialect. The shortest path counts: others
// are of projects or regions.
func (d *openAPI) chat(wanted string) (path, dialect string) {
	for _, e := range endings {
		if wanted != "" && wanted != e.dialect {
			continue
		}
		for candidate, methods := range d.Paths {
			if methods["post"] == nil || !strings.HasSuffix(candidate, e.suffix) && candidate != e.whole {
				continue
			}
			if path == "" || len(candidate) < len(path) || len(candidate) == len(path) && candidate < path {
				path, dialect = candidate, e.dialect
			}
		}
		if path != "" {
			return path, dialect
		}
	}
	return "", ""
}

func suffixes() []string {
	var all []string
	for _, e := range endings {
		all = append(all, e.suffix)
	}
	return all
}

// shownPaths bounds the paths of a complaint.
const shownPaths = 8

func (d *openAPI) posts() string {
	var all []string
	for path, methods := range d.Paths {
		if methods["post"] != nil {
			all = append(all, path)
		}
	}
	slices.Sort(all)
	if len(all) == 0 {
		return "no POST at all"
	}
	if len(all) > shownPaths {
		all = append(all[:shownPaths], "…")
	}
	return "POST " + strings.Join(all, ", ")
}

// address takes the first server and what of the path of chats is in front of
// the dialect's own part.
func (p *plan) address(doc *openAPI, path string) string {
	if p.BaseURL != "" {
		return "the address is the command line's: " + p.BaseURL
	}
	if len(doc.Servers) == 0 {
		return "it names no server: the address is for the configuration"
	}
	base := strings.TrimRight(doc.Servers[0].URL, "/")
	switch p.Dialect {
	case "openai":
		base += strings.TrimSuffix(path, "/chat/completions")
	case "gemini":
		if at := strings.Index(path, "/models/"); at > 0 {
			base += path[:at]
		}
	case "anthropic":
		base = strings.TrimSuffix(base, "/v1")
	case "cohere":
		base = strings.TrimSuffix(base, "/v2")
	}
	if u, err := url.Parse(base); err != nil || u.Host == "" || checkAddress(base) != nil {
		return fmt.Sprintf("its server %q is no whole address: it is for the configuration", doc.Servers[0].URL)
	}
	p.BaseURL = base
	return "the address is " + base
}

// credential finds where the key goes.
func (p *plan) credential(doc *openAPI) (string, error) {
	names := make([]string, 0, len(doc.Components.SecuritySchemes))
	for name := range doc.Components.SecuritySchemes {
		names = append(names, name)
	}
	slices.Sort(names)
	if len(doc.Security) > 0 { // what holds for all calls comes first
		slices.SortStableFunc(names, func(a, b string) int { return rank(doc.Security, a) - rank(doc.Security, b) })
	}
	for _, name := range names {
		s := doc.Components.SecuritySchemes[name]
		switch {
		case s.Type == "http" && strings.EqualFold(s.Scheme, "bearer"), s.Type == "oauth2":
			return "the key goes into Authorization, behind Bearer (" + name + ")", nil
		case s.Type == "apiKey" && s.In == "header" && strings.EqualFold(s.Name, "Authorization"):
			return "the key goes into Authorization; Bearer is put in front of it (" + name + ")", nil
		case s.Type == "apiKey" && s.In == "header" && headerName(s.Name):
			p.KeyHeader = s.Name
			return "the key goes into the header " + s.Name + " (" + name + ")", nil
		}
	}
	if len(names) > 0 {
		return "", fmt.Errorf("its security schemes (%s) put the credential neither into Authorization nor into a header: such a provider needs an adapter by hand", strings.Join(names, ", "))
	}
	return "it names no security scheme: the key goes into Authorization, behind Bearer", nil
}

func rank(security []map[string]any, name string) int {
	for i, s := range security {
		if _, ok := s[name]; ok {
			return i
		}
	}
	return len(security)
}

func headerName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

// operations takes those whose paths stand beside that of chats.
func (p *plan) operations(doc *openAPI, chat string) []string {
	prefix := strings.TrimSuffix(chat, "/chat/completions")
	p.Operations = []string{"schemas.OpChat"}
	seen := []string{chat}
	for _, o := range operationPaths {
		if methods := doc.Paths[prefix+o.path]; methods["post"] != nil || methods["get"] != nil {
			p.Operations = append(p.Operations, o.op)
			seen = append(seen, prefix+o.path)
		}
	}
	told := []string{"operations: " + strings.Join(seen, ", ")}
	left := 0
	for path := range doc.Paths {
		if !slices.Contains(seen, path) {
			left++
		}
	}
	if left > 0 {
		told = append(told, fmt.Sprintf("%d other paths are left out", left))
	}
	return told
}

// fields looks which of the settings of chats the API knows.
func (p *plan) fields(doc *openAPI, chat string) []string {
	known := doc.body(chat)
	if len(known) == 0 {
		return []string{"the body of chats is not described: max_tokens, no top_k, usage asked for in streams"}
	}
	if !slices.Contains(known, "max_tokens") && slices.Contains(known, "max_completion_tokens") {
		p.MaxTokens = "max_completion_tokens"
	}
	p.TopK = slices.Contains(known, "top_k")
	p.NoStreamUsage = !slices.Contains(known, "stream_options")
	return []string{fmt.Sprintf("the limit on output is %s; top_k %s; usage in streams %s", p.MaxTokens,
		map[bool]string{true: "is sent", false: "is not known"}[p.TopK],
		map[bool]string{true: "can't be asked for", false: "is asked for"}[p.NoStreamUsage])}
}

// body returns the names of the properties of a path's request.
func (d *openAPI) body(path string) []string {
	at := d.Paths[path]["post"]
	for _, key := range []string{"requestBody", "content", "application/json", "schema"} {
		m, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = m[key]
	}
	var names []string
	d.properties(at, &names, map[string]bool{})
	return names
}

// properties collects those of a schema, of what it refers to and of what it is
// made of. Each schema is looked at once, as some refer to themselves.
func (d *openAPI) properties(schema any, names *[]string, seen map[string]bool) {
	s, ok := schema.(map[string]any)
	if !ok {
		return
	}
	if ref, ok := s["$ref"].(string); ok {
		if name, ok := strings.CutPrefix(ref, "#/components/schemas/"); ok && !seen[name] {
			seen[name] = true
			d.properties(d.Components.Schemas[name], names, seen)
		}
	}
	for _, key := range []string{"allOf", "anyOf", "oneOf"} {
		if list, ok := s[key].([]any); ok {
			for _, one := range list {
				d.properties(one, names, seen)
			}
		}
	}
	if properties, ok := s["properties"].(map[string]any); ok {
		for name := range properties {
			*names = append(*names, name)
		}
	}
}

// plainWords keeps of a text what may stand in a comment.
func plainWords(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune(" .-_", r):
			return r
		}
		return -1
	}, text)
	if len(text) > 60 {
		text = text[:60]
	}
	return strings.TrimSpace(text)
}
