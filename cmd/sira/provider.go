package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func (c *cli) providerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "provider", Short: "Make adapters of providers",
		Long:    "Works on a checkout of Sira's source; see docs/adding-a-provider.md.",
		Example: "  sira provider new acme --dialect openai --base-url https://api.acme.example/v1",
	}
	cmd.AddCommand(c.providerNewCommand())
	return cmd
}

// newProvider is what `sira provider new` was told.
type newProvider struct {
	name    string
	dialect string
	baseURL string
	openAPI string
	dir     string
}

func (c *cli) providerNewCommand() *cobra.Command {
	var n newProvider
	cmd := &cobra.Command{
		Use: "new NAME", Short: "Write the adapter of a new provider", Args: cobra.ExactArgs(1),
		Long: `Writes handlers/provider/NAME with an adapter, its contract's test data, its tests
and a fuzz target, and adds its line to cmd/app/catalog.go and to the changelog. It
overwrites nothing.

The API is in a dialect that Sira speaks already: ` + strings.Join(dialectNames(), ", ") + `. From an OpenAPI
document, in YAML or JSON, the dialect, the address, the place of the credential and
the operations are read; what was made of it is told, and what it does not say is
for you to add.`,
		Example: `  sira provider new acme
  sira provider new acme --dialect anthropic --base-url https://api.acme.example
  sira provider new acme --openapi acme.yaml`,
		RunE: func(cmd *cobra.Command, args []string) error {
			n.name = args[0]
			r, err := n.run()
			if err != nil {
				return err
			}
			return c.printMade(cmd.OutOrStdout(), r)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&n.dialect, "dialect", "", "whose API it copies: "+strings.Join(dialectNames(), ", ")+" (default openai)")
	fl.StringVar(&n.baseURL, "base-url", "", "address of the API, as its configuration's base_url")
	fl.StringVar(&n.openAPI, "openapi", "", "OpenAPI document of the API")
	fl.StringVar(&n.dir, "dir", ".", "a folder of the checkout")
	return cmd
}

// made is what `sira provider new` did.
type made struct {
	Folder  string   `json:"folder"`
	Files   []string `json:"files"`  // written
	Edited  []string `json:"edited"` // a line added
	Learned []string `json:"learned,omitempty"`
	Next    []string `json:"next"`
}

func (c *cli) printMade(w io.Writer, m *made) error {
	if c.json {
		return printJSON(w, m)
	}
	var b strings.Builder
	for _, l := range []struct {
		head  string
		lines []string
	}{{"wrote", m.Files}, {"added a line to", m.Edited}, {"the OpenAPI document", m.Learned}, {"next", m.Next}} {
		if len(l.lines) == 0 {
			continue
		}
		fmt.Fprintf(&b, "%s\n", l.head)
		for _, line := range l.lines {
			fmt.Fprintf(&b, "  %s\n", line)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// run does all that can fail without a trace first.
func (n *newProvider) run() (*made, error) {
	t, err := openTree(n.dir)
	if err != nil {
		return nil, usageError{err}
	}
	if err := t.free(n.name); err != nil {
		return nil, usageError{err}
	}
	p, learned, err := n.plan()
	if err != nil {
		return nil, usageError{err}
	}
	files, err := t.render(p)
	if err != nil {
		return nil, err
	}
	edits, err := t.edits(p)
	if err != nil {
		return nil, err
	}
	m := &made{Folder: folderOf(p.Name), Learned: learned, Next: next(p)}
	if err := t.write(m, files, edits); err != nil {
		return nil, err
	}
	return m, nil
}

// next tells what is left to do.
func next(p *plan) []string {
	steps := []string{"go test ./" + folderOf(p.Name)}
	if p.BaseURL == "" {
		steps = append(steps, "name the API's address in Defaults, or under base_url in each configuration")
	}
	return append(steps,
		"write testdata/contract anew from the vendor's own answers, with {{key}} for the key",
		"add prices to handlers/cost/prices.yaml and models to handlers/provider/models/models.yaml",
		"docs/adding-a-provider.md tells the rest")
}

// plan is what an adapter is written from.
type plan struct {
	Name, GoName, Title string
	Dialect             string
	Source              string // of the facts; empty: the command line
	BaseURL, Example    string
	KeyHeader           string // empty: Authorization
	MaxTokens           string
	DeveloperAsSystem   bool
	TopK, NoStreamUsage bool
	Operations          []string // names of constants of schemas
}

// plan decides what to write. The second result tells what was learned from the
// OpenAPI document.
func (n *newProvider) plan() (*plan, []string, error) {
	p := &plan{
		Name: n.name, GoName: strings.ToUpper(n.name[:1]) + n.name[1:], Title: strings.ToUpper(n.name[:1]) + n.name[1:],
		Dialect: n.dialect, BaseURL: n.baseURL, MaxTokens: "max_tokens", DeveloperAsSystem: true,
		Operations: []string{"schemas.OpChat", "schemas.OpModels"},
	}
	var learned []string
	if n.openAPI != "" {
		var err error
		if learned, err = p.learn(n.openAPI); err != nil {
			return nil, nil, err
		}
	}
	if p.Dialect == "" {
		p.Dialect = "openai"
	}
	d, ok := dialectOf(p.Dialect)
	if !ok {
		return nil, nil, fmt.Errorf("--dialect: there is no %q; there are %s", p.Dialect, strings.Join(dialectNames(), ", "))
	}
	p.Example = d.example
	if p.BaseURL != "" {
		if err := checkAddress(p.BaseURL); err != nil {
			return nil, nil, err
		}
		p.Example = p.BaseURL
	}
	if p.KeyHeader != "" && p.Dialect != "openai" {
		learned = append(learned, "the key's header "+p.KeyHeader+" is left out: the dialect of "+p.Dialect+" has its own")
	}
	return p, learned, nil
}

// dialect is an API that others copy.
type dialect struct {
	name     string
	template string
	example  string // of an address
}

func dialects() []dialect {
	return []dialect{
		{"openai", "variant", "https://api.example.com/v1"},
		{"anthropic", "delegate", "https://api.example.com"},
		{"cohere", "delegate", "https://api.example.com"},
		{"gemini", "delegate", "https://api.example.com/v1beta"},
	}
}

func dialectNames() []string {
	var names []string
	for _, d := range dialects() {
		names = append(names, d.name)
	}
	return names
}

func dialectOf(name string) (dialect, bool) {
	all := dialects()
	i := slices.IndexFunc(all, func(d dialect) bool { return d.name == name })
	if i < 0 {
		return dialect{}, false
	}
	return all[i], true
}

// checkAddress finds what could not stand in a string of Go, or is no address.
func checkAddress(text string) error {
	if !strings.HasPrefix(text, "https://") && !strings.HasPrefix(text, "http://") || strings.ContainsAny(text, "\"\\`{}?#@ \n\t") {
		return errors.New("the address of the API is none: write it with --base-url, like https://api.example.com/v1")
	}
	return nil
}
