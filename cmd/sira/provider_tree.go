package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"go/format"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"
)

//go:embed providernew/*.tmpl
var providerTemplates embed.FS

// The files that a new provider adds a line to.
const (
	catalogFile   = "cmd/app/catalog.go"
	changelogFile = "CHANGELOG.md"
	modulePath    = "github.com/sira-ai/sira"
)

func folderOf(name string) string { return "handlers/provider/" + name }

// tree is a checkout of Sira's source.
type tree struct{ root string }

// openTree finds the checkout that a folder is in.
func openTree(dir string) (tree, error) {
	at, err := filepath.Abs(dir)
	if err != nil {
		return tree{}, fmt.Errorf("--dir: %w", err)
	}
	for {
		b, err := os.ReadFile(filepath.Join(at, "go.mod"))
		if err == nil && bytes.HasPrefix(b, []byte("module "+modulePath+"\n")) {
			return tree{at}, nil
		}
		up := filepath.Dir(at)
		if up == at {
			return tree{}, errors.New("--dir: " + dir + " is in no checkout of Sira's source; clone it and run this there")
		}
		at = up
	}
}

// providerName is what is a folder, a package and a kind at once.
var providerName = regexp.MustCompile(`^[a-z][a-z0-9]{1,30}$`)

// free reports why a provider can't have a name.
func (t tree) free(name string) error {
	switch {
	case !providerName.MatchString(name) || token.IsKeyword(name):
		return fmt.Errorf("%q can't be the name of a folder, a package and a kind: write 2 to 31 small letters and digits, a letter first", name)
	case slices.Contains([]string{"provider", "errors", "json", "http", "schemas", "catalog", "testing", "os", "seed"}, name):
		return fmt.Errorf("%q is a name that adapters use for something else", name)
	}
	switch _, err := os.Stat(filepath.Join(t.root, folderOf(name))); {
	case err == nil:
		return fmt.Errorf("%s is there already, and nothing is overwritten", folderOf(name))
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("looking at %s: %w", folderOf(name), err)
	}
	return nil
}

// contractFiles are what providertest.Run reads of a dialect.
var contractFiles = []string{
	"answer.json", "answer.sse", "want.json", "error.sse", "error_auth.json", "error_context_length.json",
	"error_internal.json", "error_overloaded.json", "error_rate_limited.json",
}

// render returns the files of the new folder by their path below it. The contract's
// data are those of the dialect.
func (t tree) render(p *plan) (map[string][]byte, error) {
	d, _ := dialectOf(p.Dialect)
	all, err := template.New("").Funcs(template.FuncMap{
		"join": func(s []string) string { return strings.Join(s, ", ") },
	}).ParseFS(providerTemplates, "providernew/*.tmpl")
	if err != nil {
		return nil, fmt.Errorf("reading templates: %w", err)
	}
	files := map[string][]byte{}
	for name, from := range map[string]string{
		p.Name + ".go": d.template + ".go.tmpl", p.Name + "_test.go": "contract_test.go.tmpl", "fuzz_test.go": "fuzz_test.go.tmpl",
	} {
		var b bytes.Buffer
		if err := all.ExecuteTemplate(&b, from, p); err != nil {
			return nil, fmt.Errorf("writing %s: %w", name, err)
		}
		if files[name], err = format.Source(b.Bytes()); err != nil {
			return nil, fmt.Errorf("writing %s: %w", name, err)
		}
	}
	for _, name := range contractFiles {
		b, err := os.ReadFile(filepath.Join(t.root, folderOf(p.Dialect), "testdata/contract", name))
		if err != nil {
			return nil, fmt.Errorf("reading the dialect's contract: %w", err)
		}
		files["testdata/contract/"+name] = b
	}
	return files, nil
}

// edits returns the new text of the files that get a line.
func (t tree) edits(p *plan) (map[string][]byte, error) {
	list, err := os.ReadFile(filepath.Join(t.root, catalogFile))
	if err != nil {
		return nil, fmt.Errorf("reading the catalogue: %w", err)
	}
	if list, err = listed(list, p.Name); err != nil {
		return nil, err
	}
	log, err := os.ReadFile(filepath.Join(t.root, changelogFile))
	if err != nil {
		return nil, fmt.Errorf("reading the changelog: %w", err)
	}
	if log, err = logged(log, p); err != nil {
		return nil, err
	}
	return map[string][]byte{catalogFile: list, changelogFile: log}, nil
}

// listed adds a provider to the text of the catalogue: its import and its entry,
// each where the alphabet has it.
func listed(text []byte, name string) ([]byte, error) {
	lines := strings.SplitAfter(string(text), "\n")
	lines, ok := inserted(lines, "\t\""+modulePath+"/handlers/provider/"+name+"\"\n",
		func(l string) bool { return strings.HasPrefix(l, "\t\""+modulePath+"/handlers/provider/") })
	if !ok {
		return nil, errors.New(catalogFile + " imports no providers: it is not as this command knows it")
	}
	within := false
	lines, ok = inserted(lines, "\t\t"+name+".Entry,\n", func(l string) bool {
		if strings.HasPrefix(l, "func ") {
			within = strings.HasPrefix(l, "func providers()")
		}
		return within && strings.HasSuffix(l, ".Entry,\n")
	})
	if !ok {
		return nil, errors.New(catalogFile + " lists no providers: it is not as this command knows it")
	}
	out, err := format.Source([]byte(strings.Join(lines, "")))
	if err != nil {
		return nil, fmt.Errorf("adding to %s: %w", catalogFile, err)
	}
	return out, nil
}

// inserted adds a line among those of its sort, which are in order.
func inserted(lines []string, line string, same func(string) bool) ([]string, bool) {
	at := -1
	for i, l := range lines {
		if !same(l) {
			continue
		}
		if l > line {
			if at < 0 {
				at = i
			}
			break
		}
		at = i + 1
	}
	if at < 0 {
		return nil, false
	}
	return slices.Insert(lines, at, line), true
}

// logged adds a line to the changelog's newest section.
func logged(text []byte, p *plan) ([]byte, error) {
	const head = "## Unreleased\n\n"
	before, after, ok := strings.Cut(string(text), head)
	if !ok {
		return nil, errors.New(changelogFile + ` has no section "## Unreleased" with an empty line below`)
	}
	line := fmt.Sprintf("- [FEATURE] Provider `%s`: chat, whole or streamed, in the dialect of `%s`. For producers.\n", p.Name, p.Dialect)
	return []byte(before + head + line + after), nil
}

// write makes the folder, then adds the lines. What it made goes away again if
// something fails before the first line is added.
func (t tree) write(m *made, files, edits map[string][]byte) (err error) {
	folder := filepath.Join(t.root, m.Folder)
	if err := os.Mkdir(folder, 0o755); err != nil {
		return fmt.Errorf("making %s: %w", m.Folder, err)
	}
	defer func() {
		if err != nil && len(m.Edited) == 0 {
			err = errors.Join(err, os.RemoveAll(folder))
		}
	}()
	if err := os.MkdirAll(filepath.Join(folder, "testdata/contract"), 0o755); err != nil {
		return fmt.Errorf("making %s: %w", m.Folder, err)
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(folder, name), b, 0o644); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
		m.Files = append(m.Files, m.Folder+"/"+name)
	}
	for _, name := range []string{catalogFile, changelogFile} {
		if err := os.WriteFile(filepath.Join(t.root, name), edits[name], 0o644); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
		m.Edited = append(m.Edited, name)
	}
	slices.Sort(m.Files)
	return nil
}
