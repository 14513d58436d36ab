package integration

import (
	"context"
	"crypto/sha256"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// zenith is the document that docs/adding-a-provider.md speaks of.
const zenith = `openapi: 3.0.3
info: {title: Zenith}
servers: [{url: "https://api.zenith.example"}]
paths:
  /v1/chat/completions:
    post: {requestBody: {content: {application/json: {schema: {properties: {max_tokens: {}, top_k: {}, stream_options: {}}}}}}}
  /v1/embeddings: {post: {}}
  /v1/models: {get: {}}
components: {securitySchemes: {key: {type: apiKey, in: header, name: X-Zenith-Key}}}
`

// manual returns the commands of docs/adding-a-provider.md.
func manual(t *testing.T) [][]string {
	t.Helper()
	text, err := os.ReadFile("../docs/adding-a-provider.md")
	if err != nil {
		t.Fatal(err)
	}
	var all [][]string
	for part := range strings.SplitSeq(string(text), "```sh\n") {
		block, _, ok := strings.Cut(part, "```")
		if !ok || block == part {
			continue
		}
		for line := range strings.Lines(block) {
			if f := strings.Fields(line); len(f) > 0 && (f[0] == "sira" || f[0] == "go") {
				all = append(all, f)
			}
		}
	}
	return all
}

func TestManualOfProvidersHasItsCommands(t *testing.T) {
	t.Parallel()
	var got []string
	for _, c := range manual(t) {
		got = append(got, strings.Join(c[:3], " "))
	}
	want := []string{"sira provider new", "sira provider new", "go test ./handlers/provider/acme"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/adding-a-provider.md (-want +got):\n%s", diff)
	}
}

// TestManualOfProvidersWorks follows docs/adding-a-provider.md in a copy of the
// source, and then builds what was made into the gateway.
func TestManualOfProvidersWorks(t *testing.T) {
	heavy(t)
	binary, err := program()
	if err != nil {
		t.Fatal(err)
	}
	root := copyTree(t)
	before := sums(t, root)
	run := func(name string, args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir = root
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	file := filepath.Join(t.TempDir(), "zenith.yaml")
	if err := os.WriteFile(file, []byte(zenith), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range manual(t) {
		for i := range c {
			if c[i] == "zenith.yaml" {
				c[i] = file
			}
		}
		if c[0] == "sira" {
			c[0] = binary
		}
		run(c[0], c[1:]...)
	}
	// The others that the page names: each dialect keeps the contract, too.
	for _, dialect := range []string{"anthropic", "cohere", "gemini"} {
		run(binary, "provider", "new", "like"+dialect, "--dialect", dialect)
	}
	folders := []string{"acme", "zenith", "likeanthropic", "likecohere", "likegemini"}
	test := []string{"test", "-count=1"}
	for _, f := range folders {
		test = append(test, "./handlers/provider/"+f)
	}
	run("go", test...)
	run("go", append([]string{"vet"}, test[2:]...)...)
	if out := run("go", "run", "./cmd/sira", "check", "--kinds", "--json"); !strings.Contains(out, `"acme"`) || !strings.Contains(out, `"zenith"`) {
		t.Errorf("the gateway does not know the new kinds:\n%s", out)
	}
	if diff := cmp.Diff([]string{"CHANGELOG.md", "cmd/app/catalog.go"}, changes(before, sums(t, root), folders)); diff != "" {
		t.Errorf("changed beside the new folders (-want +got):\n%s", diff)
	}
}

// copyTree copies the source of the module, without what is built or fetched.
func copyTree(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, top := range []string{"go.mod", "go.sum", "CHANGELOG.md", "cmd", "handlers", "pipeline", "schemas", "sinks"} {
		info, err := os.Stat(filepath.Join("..", top))
		if err != nil {
			t.Fatal(err)
		}
		if info.IsDir() {
			err = os.CopyFS(filepath.Join(root, top), os.DirFS(filepath.Join("..", top)))
		} else {
			err = copyOne(filepath.Join("..", top), filepath.Join(root, top))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func copyOne(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

// sums returns a hash of each file below a folder.
func sums(t *testing.T, root string) map[string][32]byte {
	t.Helper()
	all := map[string][32]byte{}
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(root, path))
		all[path] = sha256.Sum256(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// changes lists the files that are new or other, but for those of new providers.
func changes(before, after map[string][32]byte, folders []string) []string {
	var all []string
	for path, sum := range after {
		inside := slices.ContainsFunc(folders, func(f string) bool { return strings.HasPrefix(path, "handlers/provider/"+f+"/") })
		if !inside && before[path] != sum {
			all = append(all, path)
		}
	}
	slices.Sort(all)
	return all
}
