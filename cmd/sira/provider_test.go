package main

import (
	"encoding/json"
	"go/format"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// checkout makes a folder with what the command needs of Sira's source.
func checkout(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, name := range []string{"go.mod", catalogFile, changelogFile} {
		copyFile(t, filepath.Join("../..", name), filepath.Join(root, name))
	}
	for _, d := range dialects() {
		for _, name := range contractFiles {
			path := filepath.Join(folderOf(d.name), "testdata/contract", name)
			copyFile(t, filepath.Join("../..", path), filepath.Join(root, path))
		}
	}
	return root
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// snapshot returns the files below a folder.
func snapshot(t *testing.T, root string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(root, path))
		files[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// added returns the lines that the second text has more than the first.
func added(before, after string) []string {
	old := strings.Split(before, "\n")
	var more []string
	for l := range strings.SplitSeq(after, "\n") {
		if i := slices.Index(old, l); i >= 0 {
			old = slices.Delete(old, i, i+1)
			continue
		}
		more = append(more, strings.TrimSpace(l))
	}
	return more
}

func TestNewProviderChangesOneFolderOneLineAndTheChangelog(t *testing.T) {
	for _, d := range dialects() {
		root := checkout(t)
		before := snapshot(t, root)
		code, out, errs := sira(t, "provider", "new", "acme", "--dialect", d.name, "--base-url", "https://api.acme.example/v1", "--dir", filepath.Join(root, "handlers"), "--json")
		if code != exitOK {
			t.Fatalf("%s: exit code %d: %s", d.name, code, errs)
		}
		var m made
		if err := json.Unmarshal([]byte(out), &m); err != nil {
			t.Fatal(err)
		}
		after := snapshot(t, root)
		var fresh, changed []string
		for name, text := range after {
			switch old, ok := before[name]; {
			case !ok:
				fresh = append(fresh, name)
			case old != text:
				changed = append(changed, name)
			}
			if strings.HasSuffix(name, ".go") {
				if b, err := format.Source([]byte(text)); err != nil || string(b) != text {
					t.Errorf("%s: %s is not formatted: %v", d.name, name, err)
				}
			}
		}
		slices.Sort(fresh)
		slices.Sort(changed)
		if diff := cmp.Diff(m.Files, fresh); diff != "" || len(fresh) != 3+len(contractFiles) {
			t.Errorf("%s: files (-told +made):\n%s", d.name, diff)
		}
		if diff := cmp.Diff([]string{changelogFile, catalogFile}, changed); diff != "" {
			t.Errorf("%s: edited (-want +got):\n%s", d.name, diff)
		}
		want := []string{`"github.com/sira-ai/sira/handlers/provider/acme"`, "acme.Entry,"}
		if diff := cmp.Diff(want, added(before[catalogFile], after[catalogFile])); diff != "" {
			t.Errorf("%s: lines of the catalogue (-want +got):\n%s", d.name, diff)
		}
		if log := added(before[changelogFile], after[changelogFile]); len(log) != 1 || !strings.Contains(log[0], "`acme`") {
			t.Errorf("%s: lines of the changelog %q", d.name, log)
		}
	}
}

func TestNewProviderOverwritesNothing(t *testing.T) {
	root := checkout(t)
	if code, _, errs := sira(t, "provider", "new", "acme", "--dir", root); code != exitOK {
		t.Fatal(errs)
	}
	before := snapshot(t, root)
	code, _, errs := sira(t, "provider", "new", "acme", "--dir", root)
	if code != exitUsage || !strings.Contains(errs, "nothing is overwritten") || !maps.Equal(before, snapshot(t, root)) {
		t.Errorf("exit code %d: %s", code, errs)
	}
	for args, says := range map[string]string{
		"provider new Acme --dir " + root:                         "small letters",
		"provider new a/b --dir " + root:                          "small letters",
		"provider new func --dir " + root:                         "small letters",
		"provider new openai --dir " + root:                       "overwritten",
		"provider new beta --dialect klingon --dir " + root:       "gemini",
		"provider new beta --base-url acme.example --dir " + root: "--base-url",
		"provider new beta --openapi none.yaml --dir " + root:     "none.yaml",
		"provider new beta --dir " + t.TempDir():                  "checkout",
	} {
		if code, _, errs := sira(t, strings.Fields(args)...); code != exitUsage || !strings.Contains(errs, says) {
			t.Errorf("%s: exit code %d: %s does not say %q", args, code, errs, says)
		}
	}
	if !maps.Equal(before, snapshot(t, root)) {
		t.Error("a refused command left something behind")
	}
}

const acmeAPI = `openapi: 3.1.0
info: {title: "Acme \" Cloud"}
servers: [{url: "https://acme.example/api/"}]
security: [{key: []}]
paths:
  /v1/chat/completions:
    post:
      requestBody: {content: {application/json: {schema: {$ref: "#/components/schemas/Chat"}}}}
  /v1/projects/{id}/chat/completions: {post: {}}
  /v1/embeddings: {post: {}}
  /v1/models: {get: {}}
  /v1/fine-tunes: {post: {}}
components:
  securitySchemes:
    admin: {type: http, scheme: basic}
    key: {type: apiKey, in: header, name: X-Acme-Key}
  schemas:
    Chat: {allOf: [{$ref: "#/components/schemas/Chat"}, {$ref: "#/components/schemas/Base"}, {properties: {top_k: {type: integer}}}]}
    Base: {properties: {model: {}, messages: {}, max_completion_tokens: {}}}
`

func TestOpenAPIDocumentDecidesTheAdapter(t *testing.T) {
	t.Parallel()
	doc, err := readOpenAPI([]byte(acmeAPI))
	if err != nil {
		t.Fatal(err)
	}
	p := &plan{Name: "acme", MaxTokens: "max_tokens"}
	told, err := p.read(doc)
	if err != nil {
		t.Fatal(err)
	}
	want := &plan{
		Name: "acme", Title: "Acme  Cloud", Dialect: "openai", BaseURL: "https://acme.example/api/v1", KeyHeader: "X-Acme-Key",
		MaxTokens: "max_completion_tokens", TopK: true, NoStreamUsage: true, Operations: []string{"schemas.OpChat", "schemas.OpEmbed", "schemas.OpModels"},
	}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	for _, says := range []string{"/v1/chat/completions", "https://acme.example/api/v1", "X-Acme-Key", "/v1/embeddings", "2 other paths", "max_completion_tokens"} {
		if !strings.Contains(strings.Join(told, "\n"), says) {
			t.Errorf("the report does not say %q:\n%s", says, strings.Join(told, "\n"))
		}
	}
}

func TestDialectAndAddressComeFromThePathOfChats(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ server, path, dialect, base string }{
		{"https://a.example/v1", "/messages", "anthropic", "https://a.example"},
		{"https://a.example", "/v1/messages", "anthropic", "https://a.example"},
		{"https://a.example", "/v2/chat", "cohere", "https://a.example"},
		{"https://a.example", "/v1beta/models/{model}:generateContent", "gemini", "https://a.example/v1beta"},
		{"/relative", "/chat/completions", "openai", ""},
		{"https://{region}.a.example", "/chat/completions", "openai", ""},
	} {
		doc := &openAPI{Paths: map[string]map[string]any{tt.path: {"post": map[string]any{}}}}
		doc.Servers = append(doc.Servers, struct {
			URL string `yaml:"url"`
		}{tt.server})
		p := &plan{}
		if _, err := p.read(doc); err != nil || p.Dialect != tt.dialect || p.BaseURL != tt.base {
			t.Errorf("%s%s: %s at %q, %v; want %s at %q", tt.server, tt.path, p.Dialect, p.BaseURL, err, tt.dialect, tt.base)
		}
	}
}

func TestOpenAPIDocumentThatDoesNotHelpIsRefused(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		"":                                       "version 3",
		"swagger: '2.0'":                         "version 3",
		"openapi: [":                             "decoding",
		"openapi: 3.0.0\npaths: {}":              "no POST",
		"openapi: 3.0.0\npaths: {/a: {post: 1}}": "POST /a",
		strings.Replace(acmeAPI, "in: header", "in: query", 1): "by hand",
	} {
		doc, err := readOpenAPI([]byte(text))
		if err == nil {
			_, err = (&plan{}).read(doc)
		}
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v does not say %q", text, err, says)
		}
	}
}

// FuzzOpenAPI reads documents of strangers: they give a plan that can be written
// as Go, or an error.
func FuzzOpenAPI(f *testing.F) {
	f.Add(acmeAPI)
	f.Add("openapi: 3.0.0\npaths: {/v2/chat: {post: {}}}\nservers: [{url: \"http://a\\\"b\"}]\n")
	f.Add(`{"openapi":"3.0.0","info":{"title":"*/ x"},"paths":{"/messages":{"post":null}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		doc, err := readOpenAPI([]byte(text))
		if err != nil {
			return
		}
		n := newProvider{name: "acme"}
		p, _, err := n.plan()
		if err != nil {
			t.Fatal(err)
		}
		p.Source = "it"
		if _, err := p.read(doc); err != nil {
			return
		}
		if _, err := (tree{"../.."}).render(p); err != nil {
			t.Errorf("what was read can't be written: %v", err)
		}
	})
}
