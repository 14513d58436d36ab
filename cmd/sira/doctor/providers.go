package doctor

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/schemas"
)

// place is one endpoint of a provider with the settings that hold for it.
type place struct {
	name, kind, path string // path of its settings in the document
	settings         map[string]any
}

func (p *place) text(key string) string {
	s, _ := p.settings[key].(string)
	return s
}

// places returns the endpoints of all providers.
func places(cfg app.Config) []place {
	var out []place
	for i, p := range cfg.Providers {
		path := fmt.Sprintf("providers[%d]", i)
		if len(p.Endpoints) == 0 {
			out = append(out, place{p.Name, p.Kind, path, p.Settings})
		}
		for j, e := range p.Endpoints {
			all := maps.Clone(map[string]any(p.Settings))
			if all == nil {
				all = map[string]any{}
			}
			maps.Copy(all, e.Settings)
			out = append(out, place{p.Name + "/" + e.ID, p.Kind, fmt.Sprintf("%s.endpoints[%d]", path, j), all})
		}
	}
	return out
}

// keyed are the kinds whose vendors ask for a key, with how their keys begin where
// they all do.
var keyed = map[string]string{
	"ai21": "", "anthropic": "sk-ant-", "cohere": "", "openai": "sk-", "replicate": "r8_", "stability": "sk-", "together": "", "huggingface": "hf_",
}

var madeUp = regexp.MustCompile(`(?i)^(x+|\*+|\.+|change[-_ ]?me|your[-_ ].*|<.*>|none|null|secret|key|api[-_]?key|test|sk-(\.+|x+|\*+))$`)

// keys looks at keys without showing any part of them.
func keys(_ context.Context, p *patient) []Finding {
	var out []Finding
	for _, e := range places(p.cfg) {
		begins, ours := keyed[e.kind]
		own := e.text("base_url") != ""
		key, at := e.text("api_key"), e.path+".api_key"
		switch {
		case !ours:
		case key == "" && own: // servers of one's own often want none
		case key == "":
			out = append(out, fail(at+`: "${NAME}", with the key in that environment variable`, "%s has no key", e.name))
		case strings.TrimSpace(key) != key || strings.IndexFunc(key, unicode.IsSpace) >= 0:
			out = append(out, fail(at+": the key without blanks and line ends around or in it", "%s has a key with blanks in it", e.name))
		case strings.ContainsAny(key, `"'`) || strings.IndexFunc(key, func(r rune) bool { return r < 0x20 || r > 0x7e }) >= 0:
			out = append(out, fail(at+": the key without quotes and other signs", "%s has a key with signs that no key has", e.name))
		case strings.HasPrefix(strings.ToLower(key), "bearer "), strings.HasPrefix(strings.ToLower(key), "bearer:"):
			out = append(out, fail(at+": the key alone; Sira adds the word", "%s has a key that begins with Bearer", e.name))
		case strings.HasPrefix(key, "$"):
			out = append(out, fail(at+`: "${NAME}", in braces`, "%s has a key that is the name of a variable", e.name))
		case !own && madeUp.MatchString(key):
			out = append(out, fail(at+`: "${NAME}", with the vendor's key in that environment variable`, "%s has a word in place of a key", e.name))
		case !own && !strings.HasPrefix(key, begins):
			out = append(out, warn(at+": a key of this vendor", "%s has a key that does not begin with %s, as those of its vendor do", e.name, begins))
		}
	}
	return out
}

// endings are paths that an adapter adds itself.
var endings = regexp.MustCompile(`/(chat/completions|completions|messages|embeddings|chat|complete|responses)/?$`)

func baseURLs(ctx context.Context, p *patient) []Finding {
	var out []Finding
	asked := map[string]bool{}
	for _, e := range places(p.cfg) {
		text, at := e.text("base_url"), e.path+".base_url"
		if text == "" {
			continue
		}
		u, err := url.Parse(text)
		switch {
		case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
			out = append(out, fail(at+": an address such as https://host/v1", "%s has an address that is none", e.name))
			continue
		case endings.MatchString(u.Path):
			out = append(out, fail(at+": "+endings.ReplaceAllString(u.Scheme+"://"+u.Host+u.Path, ""), "%s has an address that ends in what Sira adds itself", e.name))
		case u.Scheme == "http" && !loopback(u.Hostname()) && e.text("api_key") != "":
			out = append(out, warn(at+": https://"+u.Host+u.Path, "%s sends its key to %s without TLS", e.name, u.Host))
		}
		if !asked[u.Host] {
			asked[u.Host] = true
			if err := dial(ctx, u); err != nil {
				out = append(out, fail(at+": the address of a server that runs, as seen from here", "%s: nobody answers at %s: %v", e.name, u.Host, err))
			}
		}
	}
	return out
}

// dial opens a connection and closes it.
func dial(ctx context.Context, u *url.URL) error {
	port := u.Port()
	if port == "" {
		port = u.Scheme // net knows http and https by name
	}
	d := net.Dialer{Timeout: 3 * time.Second}
	c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return err
	}
	return c.Close()
}

func loopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// targets calls do for every target of the document.
func targets(cfg app.Config, do func(path string, t routing.TargetConfig)) {
	for i, m := range cfg.Models {
		for j, t := range m.Targets {
			do(fmt.Sprintf("models[%d].targets[%d]", i, j), t)
		}
	}
	for i, r := range cfg.Routes {
		for j, t := range r.Targets {
			do(fmt.Sprintf("routes[%d].targets[%d]", i, j), t)
		}
	}
}

func prices(_ context.Context, p *patient) []Finding {
	book, err := p.cfg.PriceBook()
	if err != nil {
		return []Finding{fail("prices.file: a price book as docs/costs.md describes it", "%v", err)}
	}
	kinds := map[string]string{}
	for _, v := range p.cfg.Providers {
		kinds[v.Name] = v.Kind
	}
	var out []Finding
	seen := map[string]bool{}
	targets(p.cfg, func(path string, t routing.TargetConfig) {
		name := t.Provider + "/" + t.Model
		if seen[name] {
			return
		}
		seen[name] = true
		if !book.Knows(schemas.Target{Provider: t.Provider, Kind: kinds[t.Provider], Model: t.Model}, time.Now()) {
			out = append(out, warn("a row for "+name+" in the book that prices.file names", "%s: %s has no price: its costs will be unpriced, and no budget counts them", path, name))
		}
	})
	return out
}

func unused(_ context.Context, p *patient) []Finding {
	used := map[string]bool{}
	targets(p.cfg, func(_ string, t routing.TargetConfig) { used[t.Provider] = true })
	var out []Finding
	for i, v := range p.cfg.Providers {
		if !used[v.Name] {
			out = append(out, warn("a target of a model that names it, or no such provider", "providers[%d]: no model and no route has a target at %s", i, v.Name))
		}
	}
	names := make([]string, 0, len(p.cfg.Models))
	for _, m := range p.cfg.Models {
		names = append(names, m.Name)
	}
	for i, r := range p.cfg.Routes {
		for _, m := range r.Models {
			if !slices.Contains(names, m) && len(r.Targets) == 0 {
				out = append(out, fail("one of "+strings.Join(names, ", "), "routes[%d] is for the model %s, which does not exist", i, m))
			}
		}
	}
	return out
}

func timeouts(_ context.Context, p *patient) []Finding {
	var out []Finding
	for i, l := range p.cfg.Kafka.Lanes {
		if l.MaxAge == 0 {
			continue
		}
		at := fmt.Sprintf("kafka.lanes[%d].max_age", i)
		if l.MaxAge < p.cfg.Invoke.AttemptTimeout {
			out = append(out, warn(fmt.Sprintf("%s: %s or more, or a shorter invoke.attempt_timeout", at, p.cfg.Invoke.AttemptTimeout),
				"lane %s: requests expire after %s, but one call may take %s", l.Name, l.MaxAge, p.cfg.Invoke.AttemptTimeout))
		}
		if r := p.cfg.Kafka.Retry; len(r) > 0 && l.MaxAge < slices.Min(r) {
			out = append(out, warn(at+": more than the shortest of kafka.retry", "lane %s: requests expire after %s, before the first retry after %s", l.Name, l.MaxAge, slices.Min(r)))
		}
	}
	return out
}
