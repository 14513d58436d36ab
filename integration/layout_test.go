// Package integration doubts the other rooms: whether imports point one way, and whether the whole keeps the
// promises its parts make.
package integration

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/sira-ai/sira"

// A room says what the packages at and below a folder may import of ours. The most specific room counts.
//
// In a path, "*" stands for one folder. In may, a trailing "/..." means the folder and everything below it, and
// "./..." the room itself.
type room struct {
	path   string
	may    []string
	reason string
}

var rooms = []room{
	{"schemas", []string{"./..."}, "nouns depend on nothing, so that everything may depend on them"},
	{"schemas/avro", []string{"schemas", "schemas/schematest", "./..."}, "the wire format knows the nouns and nothing that moves them"},
	{"pipeline", []string{"schemas"}, "movement knows what it moves, not who acts on it"},
	{"pipeline/catalog", nil, "the catalog serves every kind of component and so knows none"},
	{
		"pipeline/tracing",
		[]string{"schemas", "pipeline", "pipeline/catalog", "./..."},
		"it follows jobs and calls by what they say of themselves; whoever makes them names what it needs",
	},
	{
		"pipeline/kafka",
		[]string{"schemas", "schemas/avro", "pipeline", "pipeline/catalog", "./..."},
		"the engine serves any chain of stages and so knows no handler and no sink",
	},
	{
		"pipeline/pubsub",
		[]string{"pipeline/kafka", "pipeline/catalog", "./..."},
		"it carries bytes; of the engine it borrows only how clients are set up",
	},
	{
		"handlers/*",
		[]string{"schemas", "schemas/jsontext", "pipeline", "pipeline/catalog", "./..."},
		"handlers speak to each other through the job, never directly",
	},
	{
		"handlers/invoke",
		[]string{
			"schemas", "schemas/jsontext", "pipeline", "pipeline/catalog", "handlers/provider", "handlers/provider/wire",
			"handlers/balance", "handlers/balance/limit", "./...",
		},
		"attempts are where a provider and an endpoint meet; nothing else of the handlers does",
	},
	{
		"sinks/*",
		[]string{
			"schemas", "schemas/avro", "pipeline", "pipeline/catalog", "pipeline/kafka", "pipeline/pubsub", "./...",
		},
		"sinks keep what they are given; they know neither handlers nor each other",
	},
	{
		"cmd/app",
		[]string{"schemas/...", "pipeline/...", "handlers/...", "sinks/...", "./..."},
		"cmd/app joins everything and is joined only by programs",
	},
	{
		"cmd/sira",
		[]string{"schemas/...", "pipeline/...", "handlers/...", "sinks/...", "cmd/app/...", "./..."},
		"a program is built from the rooms below it, never from tests",
	},
	{
		"integration",
		[]string{"schemas/...", "pipeline/...", "handlers/...", "sinks/...", "cmd/...", "./..."},
		"doubting is allowed everywhere",
	},
}

// topFolders are the only folders at the top; the rest of the tree hangs below them. bin holds what make builds.
var topFolders = []string{"bin", "cmd", "deploy", "docs", "handlers", "integration", "pipeline", "schemas", "sinks"}

// kept is what `make run` leaves at the top: `make test` must pass after it.
const kept = "sira-data"

// vagueNames say where something was put instead of what it is.
var vagueNames = []string{
	"util", "utils", "common", "helper", "helpers", "base", "manager", "managers", "core", "types",
}

// The files are parsed in this process: what a child process reads is invisible to the test cache, which would then
// report a pass over a violation.
func TestRoomsKeepToTheirDoors(t *testing.T) {
	t.Parallel()
	complaints, err := inspect(os.DirFS(".."))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range complaints {
		t.Error(c)
	}
}

func TestPlantedViolationsAreFound(t *testing.T) {
	t.Parallel()
	doc := func(name, rest string) string {
		return "// Package " + name + " is here.\npackage " + name + "\n" + rest
	}
	imports := func(name, dir string) string { return doc(name, `import _ "`+module+"/"+dir+`"`+"\n") }
	tests := []struct {
		name  string
		files map[string]string
		want  []string // one fragment per complaint, in order
	}{
		{
			name: "a tree as it should be",
			files: map[string]string{
				".github/x.go":                   "not Go at all",
				"bin/sira":                       "\x7fELF",
				"docs/testdata/util.go":          "not Go at all",
				"sira-data/kafka/util.go":        "not Go at all",
				"tools/go.mod":                   "module example.com/elsewhere",
				"handlers/invoke/invoke.go":      imports("invoke", "handlers/balance"),
				"handlers/routing/cheapest/c.go": imports("cheapest", "handlers/routing"),
				"handlers/routing/cheapest/c_test.go": "package cheapest_test\n" +
					`import "` + module + `/handlers/routing/cheapest"` + "\n",
				"sinks/clickhouse/embedded/e.go": imports("embedded", "sinks/clickhouse/wire"),
				"cmd/app/app.go":                 imports("app", "handlers/routing/cheapest"),
				"cmd/sira/main.go":               "// Command sira runs it.\npackage main\n" + `import _ "` + module + `/cmd/app"` + "\n",
				"integration/bench/main.go":      "// Command bench measures.\npackage main\nfunc main() {}\n",
			},
			want: []string{"tools/: "},
		},
		{
			name:  "schemas importing the catalog",
			files: map[string]string{"schemas/request.go": imports("schemas", "pipeline/catalog")},
			want:  []string{"schemas/request.go: imports pipeline/catalog, which schemas may not: nouns depend on nothing"},
		},
		{
			name:  "a strategy importing cost",
			files: map[string]string{"handlers/routing/cheapest/c.go": imports("cheapest", "handlers/cost")},
			want: []string{
				"handlers/routing/cheapest/c.go: imports handlers/cost, which handlers/* may not: handlers speak",
			},
		},
		{
			name:  "invoke importing one vendor",
			files: map[string]string{"handlers/invoke/i.go": imports("invoke", "handlers/provider/openai")},
			want:  []string{"handlers/invoke/i.go: imports handlers/provider/openai, which handlers/invoke may not"},
		},
		{
			name:  "a folder whose name starts like the room's",
			files: map[string]string{"handlers/cost/c.go": imports("cost", "handlers/costs")},
			want:  []string{"handlers/cost/c.go: imports handlers/costs"},
		},
		{
			name:  "the engine importing a sink, in a test",
			files: map[string]string{"pipeline/kafka/k_test.go": imports("kafka", "sinks/kafka")},
			want:  []string{"pipeline/kafka/k_test.go: imports sinks/kafka"},
		},
		{
			name:  "a program importing tests",
			files: map[string]string{"cmd/sira/main.go": imports("main", "integration")},
			want:  []string{"cmd/sira/main.go: imports integration"},
		},
		{
			name:  "a package in no room",
			files: map[string]string{"cmd/tool/main.go": doc("main", "")},
			want:  []string{"cmd/tool/main.go: is in no room"},
		},
		{
			name:  "a new folder at the top",
			files: map[string]string{"internal/README.md": "hello"},
			want:  []string{"internal/: "},
		},
		{
			name:  "vague names",
			files: map[string]string{"schemas/util.go": doc("schemas", ""), "sinks/common/x_test.go": doc("common", "")},
			want:  []string{"schemas/util.go: ", "sinks/common: "},
		},
		{
			name:  "a vague name of a test",
			files: map[string]string{"schemas/helpers_test.go": doc("schemas", "")},
			want:  []string{"schemas/helpers_test.go: "},
		},
		{
			name:  "an init function, but not a method or a call of that name",
			files: map[string]string{"schemas/s.go": doc("schemas", "type t int\nfunc (t) init() {}\nfunc init() {}\n")},
			want:  []string{"schemas/s.go: declares init"},
		},
		{
			name: "a package comment that only a test has",
			files: map[string]string{
				"schemas/s.go":      "package schemas\n",
				"schemas/s_test.go": doc("schemas", ""),
			},
			want: []string{"schemas: has no package comment"},
		},
		{
			name:  "a file that is not Go",
			files: map[string]string{"schemas/s.go": "packige schemas"},
			want:  []string{"schemas/s.go:1:1: "},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tree := fstest.MapFS{}
			for name, text := range tt.files {
				tree[name] = &fstest.MapFile{Data: []byte(text)}
			}
			got, err := inspect(tree)
			if err != nil {
				t.Fatal(err)
			}
			matches := slices.EqualFunc(got, tt.want, strings.Contains)
			if !matches {
				t.Errorf("complaints differ from their expected fragments (-want +got):\n%s", cmp.Diff(tt.want, got))
			}
		})
	}
}

// inspect returns what is wrong with the Go tree at root, folder by folder. The error is that of reading.
func inspect(root fs.FS) ([]string, error) {
	var complaints []string
	err := fs.WalkDir(root, ".", func(dir string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() || dir == "." {
			return err
		}
		if hidden := strings.HasPrefix(entry.Name(), "."); hidden || entry.Name() == "testdata" {
			return fs.SkipDir
		}
		if dir == kept {
			return fs.SkipDir
		}
		if !strings.Contains(dir, "/") && !slices.Contains(topFolders, dir) {
			complaints = append(complaints, fmt.Sprintf(
				"%s/: the top level is fixed (%s); put it into the room it belongs to", dir, strings.Join(topFolders, " ")))
		}
		if _, err := fs.Stat(root, path.Join(dir, "go.mod")); err == nil {
			return fs.SkipDir // another module
		}
		if slices.Contains(vagueNames, entry.Name()) {
			complaints = append(complaints, vague(dir))
		}
		found, err := inspectPackage(root, dir)
		complaints = append(complaints, found...)
		return err
	})
	return complaints, err
}

// inspectPackage returns what is wrong with the Go files of one folder.
func inspectPackage(root fs.FS, dir string) ([]string, error) {
	names, err := fs.Glob(root, path.Join(dir, "*.go"))
	if err != nil || len(names) == 0 {
		return nil, err
	}
	var complaints []string
	// A package that is only tests has its comment in one of them.
	onlyTests := !slices.ContainsFunc(names, func(name string) bool { return !strings.HasSuffix(name, "_test.go") })
	documented := false
	for _, name := range names {
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return nil, err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return append(complaints, err.Error()), nil
		}
		complaints = append(complaints, inspectFile(name, file)...)
		mayDocument := onlyTests || !strings.HasSuffix(name, "_test.go")
		documented = documented || mayDocument && documents(file)
	}
	if !documented {
		complaints = append(complaints, dir+": has no package comment; say what the package is for, in the file named like it")
	}
	return complaints, nil
}

// documents reports whether the file carries a package comment in the usual form.
func documents(file *ast.File) bool {
	text := file.Doc.Text()
	return file.Name.Name == "main" && text != "" || strings.HasPrefix(text, "Package "+file.Name.Name+" ")
}

// inspectFile returns what is wrong with one file, its package comment aside.
func inspectFile(name string, file *ast.File) []string {
	var complaints []string
	complain := func(what string) { complaints = append(complaints, name+": "+what) }
	stem := strings.TrimSuffix(strings.TrimSuffix(path.Base(name), ".go"), "_test")
	if slices.Contains(vagueNames, stem) {
		complaints = append(complaints, vague(name))
	}
	for _, decl := range file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
			complain("declares init; what a program does is listed in cmd/app, not caused by importing")
		}
	}
	dir := path.Dir(name)
	home, ok := roomOf(dir)
	if !ok {
		complain("is in no room of the table in integration/layout_test.go; find its room by name")
		return complaints
	}
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			complain(err.Error())
			continue
		}
		ours, ok := strings.CutPrefix(imported, module+"/")
		if ok && ours != dir && !home.admits(dir, ours) { // a test outside of its package imports it
			complain(fmt.Sprintf("imports %s, which %s may not: %s", ours, home.path, home.reason))
		}
	}
	return complaints
}

func vague(name string) string {
	return name + ": everything fits such a name, so everything ends there; name what it provides"
}

// roomOf returns the most specific room that dir is in.
func roomOf(dir string) (room, bool) {
	best, depth := room{}, -1
	for _, r := range rooms {
		if _, ok := r.root(dir); !ok {
			continue
		}
		// A named folder is more specific than any folder at its place.
		if d := 2*strings.Count(r.path, "/") - strings.Count(r.path, "*"); d > depth {
			best, depth = r, d
		}
	}
	return best, depth >= 0
}

// root returns the folder that the room's path stands for as seen from dir, if dir is in the room.
func (r room) root(dir string) (string, bool) {
	want, have := strings.Split(r.path, "/"), strings.Split(dir, "/")
	if len(have) < len(want) {
		return "", false
	}
	for i, segment := range want {
		if segment != "*" && segment != have[i] {
			return "", false
		}
	}
	return strings.Join(have[:len(want)], "/"), true
}

// admits reports whether a package of the room, which is in dir, may import the package in ours.
func (r room) admits(dir, ours string) bool {
	own, _ := r.root(dir)
	return slices.ContainsFunc(r.may, func(may string) bool {
		folder, tree := strings.CutSuffix(may, "/...")
		if folder == "." {
			folder = own
		}
		return ours == folder || tree && strings.HasPrefix(ours, folder+"/")
	})
}
