package app

import (
	"bytes"
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/pipeline/kafka"
)

// Fault is something wrong with a configuration document, and where.
type Fault struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Path    string `json:"path,omitempty"`
	Message string `json:"message"` // what is wrong and what to write instead
}

// Error writes file:line:column: path: message.
func (f *Fault) Error() string {
	s := f.File
	if f.Line > 0 {
		s += fmt.Sprintf(":%d:%d", f.Line, f.Column)
	}
	if f.Path != "" {
		s += ": " + f.Path
	}
	return s + ": " + f.Message
}

// Faults is everything that is wrong with a document, in the order of its lines.
type Faults []*Fault

// Error writes a line for each fault.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// Load reads a configuration document over the defaults. Its error is a Faults
// with all that is wrong, or the reason why the file could not be read.
func Load(path string) (Config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("reading configuration: %w", err)
	}
	return Parse(path, b)
}

// Parse is Load for a document in memory; name stands for the file in faults.
func Parse(name string, b []byte) (Config, error) {
	cfg := Defaults()
	sum := sha256.Sum256(b)
	cfg.Version = hex.EncodeToString(sum[:6])
	d := &document{file: name}
	d.read(b, &cfg)
	if len(d.faults) == 0 {
		d.validate(&cfg)
	}
	if len(d.faults) > 0 {
		slices.SortStableFunc(d.faults, func(a, b *Fault) int {
			if a.Line != b.Line {
				return a.Line - b.Line
			}
			return a.Column - b.Column
		})
		return Config{}, Faults(d.faults)
	}
	return cfg, nil
}

// document is a configuration document while it is read.
type document struct {
	file   string
	root   ast.Node
	faults []*Fault
}

func (d *document) read(b []byte, cfg *Config) {
	var f *ast.File
	err := guard(func() (err error) {
		f, err = parser.ParseBytes(b, 0)
		return err
	})
	if err != nil {
		d.decodeFault(nil, "", err)
		return
	}
	if len(f.Docs) == 0 || f.Docs[0].Body == nil {
		return // an empty document: the defaults
	}
	if len(f.Docs) > 1 {
		d.at(f.Docs[1].Body, "", "a second document: keep one")
	}
	d.root = f.Docs[0].Body
	ast.Walk(&expander{d}, d.root)
	if _, ok := entries(d.root); !ok {
		d.at(d.root, "", "the document must be a mapping, such as kafka: {…}")
		return
	}
	d.unknownKeys(d.root, reflect.TypeFor[Config](), "")
	d.decode(d.root, reflect.ValueOf(cfg).Elem(), "")
}

// decode reads n into v. It goes down to the scalars by itself, so that one wrong
// value does not hide the next and each is reported with its own place.
func (d *document) decode(n ast.Node, v reflect.Value, path string) {
	if _, null := n.(*ast.NullNode); null {
		return
	}
	if v.Kind() == reflect.Pointer && !decodesItself(v.Type()) { // the library leaves one to a scalar nil
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
	if fields, ok := entries(n); ok && v.Kind() == reflect.Struct && !decodesItself(v.Type()) {
		for _, e := range fields {
			d.decodeField(e, v, join(path, e.Key.String()))
		}
		return
	}
	if list, ok := n.(*ast.SequenceNode); ok && v.Kind() == reflect.Slice && !decodesItself(v.Type()) {
		out := reflect.MakeSlice(v.Type(), len(list.Values), len(list.Values))
		for i, item := range list.Values {
			d.decode(item, out.Index(i), fmt.Sprintf("%s[%d]", path, i))
		}
		v.Set(out)
		return
	}
	if err := guard(func() error { return yaml.NodeToValue(n, v.Addr().Interface(), rawSettings) }); err != nil {
		d.decodeFault(n, path, err)
	}
}

// guard runs f and makes an error of its panic: the YAML library panics on some
// tags that do not fit their value.
func guard(f func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("is not readable; write it as plain YAML, without a tag")
		}
	}()
	return f()
}

// decodeField reads one pair of a mapping into the field of that name or, where v
// takes other keys too, into its map of the rest.
func (d *document) decodeField(e *ast.MappingValueNode, v reflect.Value, path string) {
	key := e.Key.String()
	if f, ok := fieldByName(v.Type(), key); ok {
		d.decode(e.Value, v.FieldByIndex(f.Index), path)
		return
	}
	for f := range fieldsOf(v.Type()) {
		if _, inline := keyOf(f); !inline || f.Type.Kind() != reflect.Map {
			continue
		}
		rest := v.FieldByIndex(f.Index)
		if rest.IsNil() {
			rest.Set(reflect.MakeMap(f.Type))
		}
		one := reflect.New(f.Type.Elem()).Elem()
		d.decode(e.Value, one, path)
		rest.SetMapIndex(reflect.ValueOf(key), one)
	}
}

func decodesItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[json.Unmarshaler]()) || p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) || p.Implements(reflect.TypeFor[yaml.BytesUnmarshaler]()) || p.Implements(reflect.TypeFor[yaml.InterfaceUnmarshaler]())
}

// rawSettings keeps a component's settings as JSON for the catalog, which reads
// them strictly.
var rawSettings = yaml.CustomUnmarshaler(func(dst *json.RawMessage, b []byte) error {
	text, err := yaml.YAMLToJSON(b)
	*dst = bytes.TrimSpace(text)
	return err
})

// decodeFault adds the decoder's complaint with its place: the decoder's own, else
// that of n, which may be nil.
func (d *document) decodeFault(n ast.Node, path string, err error) {
	f := &Fault{File: d.file, Path: path, Message: err.Error()}
	if n != nil && n.GetToken() != nil {
		f.Line, f.Column = n.GetToken().Position.Line, n.GetToken().Position.Column
	}
	if at, ok := errors.AsType[yaml.Error](err); ok {
		f.Message = at.GetMessage()
		if wrong, ok := errors.AsType[*yaml.TypeError](err); ok && wrong.DstType == reflect.TypeFor[time.Duration]() {
			f.Message = "no duration; write one with its unit, such as 500ms, 30s or 2h"
		}
		if t := at.GetToken(); t != nil {
			f.Line, f.Column = t.Position.Line, t.Position.Column
		}
	}
	d.faults = append(d.faults, f)
}

func (d *document) at(n ast.Node, path, message string) {
	f := &Fault{File: d.file, Path: path, Message: message}
	if n != nil && n.GetToken() != nil {
		f.Line, f.Column = n.GetToken().Position.Line, n.GetToken().Position.Column
	}
	d.faults = append(d.faults, f)
}

// path adds a fault at a path such as models[2].targets[0].provider, or at the
// nearest part of it that the document has.
func (d *document) path(path, message string) {
	var n ast.Node
	for p := path; d.root != nil && p != ""; {
		if at, err := yaml.PathString("$." + p); err == nil {
			if found, err := at.FilterNode(d.root); err == nil && found != nil {
				n = found
				break
			}
		}
		i := strings.LastIndexAny(p, ".[")
		if i < 0 {
			break
		}
		p = p[:i]
	}
	d.at(n, path, message)
}

// unknownKeys adds a fault for every key that t does not have.
func (d *document) unknownKeys(n ast.Node, t reflect.Type, path string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t.Kind() == reflect.Slice:
		if list, ok := n.(*ast.SequenceNode); ok {
			for i, item := range list.Values {
				d.unknownKeys(item, t.Elem(), fmt.Sprintf("%s[%d]", path, i))
			}
		}
	case t.Kind() == reflect.Map:
		if fields, ok := entries(n); ok {
			for _, e := range fields {
				d.unknownKeys(e.Value, t.Elem(), join(path, e.Key.String()))
			}
		}
	case t.Kind() == reflect.Struct:
		fields, ok := entries(n)
		if !ok {
			return
		}
		names, open := keysOf(t)
		for _, e := range fields {
			key := e.Key.String()
			if f, known := fieldByName(t, key); known {
				d.unknownKeys(e.Value, f.Type, join(path, key))
			} else if !open {
				d.at(e.Key, join(path, key), "unknown key; "+suggest(key, names))
			}
		}
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// entries returns the pairs of a mapping.
func entries(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch m := n.(type) {
	case *ast.MappingNode:
		return m.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{m}, true
	case *ast.AnchorNode:
		return entries(m.Value)
	}
	return nil, false
}

// keysOf returns the names of a struct's keys, and whether it takes others too.
func keysOf(t reflect.Type) (names []string, open bool) {
	for f := range fieldsOf(t) {
		name, inline := keyOf(f)
		switch {
		case inline && f.Type.Kind() == reflect.Map:
			open = true
		case inline:
			more, also := keysOf(f.Type)
			names, open = append(names, more...), open || also
		case name != "-":
			names = append(names, name)
		}
	}
	return names, open || reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]())
}

func fieldsOf(t reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for field := range t.Fields() {
			if !yield(field) {
				return
			}
		}
	}
}

func keyOf(f reflect.StructField) (name string, inline bool) {
	tag := f.Tag.Get("json")
	name, options, _ := strings.Cut(tag, ",")
	return name, strings.Contains(options, "inline") || (f.Anonymous && name == "")
}

func fieldByName(t reflect.Type, key string) (reflect.StructField, bool) {
	for f := range fieldsOf(t) {
		name, inline := keyOf(f)
		if inline && f.Type.Kind() == reflect.Struct {
			if in, ok := fieldByName(f.Type, key); ok {
				in.Index = append(slices.Clone(f.Index), in.Index...)
				return in, true
			}
		}
		if name == key && key != "-" {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

// suggest names the nearest key, or all of them.
func suggest(key string, names []string) string {
	slices.Sort(names)
	best, distance := "", 3
	for _, n := range names {
		if d := editDistance(key, n); d < distance {
			best, distance = n, d
		}
	}
	if best != "" {
		return "did you mean " + best + "?"
	}
	return "there are " + strings.Join(names, ", ")
}

func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

// expander replaces ${NAME} by the environment's and ${file:path} by a file's
// content, in values only, so that what is put in can't change the document.
type expander struct{ d *document }

var reference = regexp.MustCompile(`\$\{([^}]*)\}`)

// Visit implements ast.Visitor.
func (x *expander) Visit(n ast.Node) ast.Visitor {
	s, ok := n.(*ast.StringNode)
	if !ok || !strings.Contains(s.Value, "${") {
		return x
	}
	s.Value = reference.ReplaceAllStringFunc(s.Value, func(m string) string {
		name := m[2 : len(m)-1]
		if path, isFile := strings.CutPrefix(name, "file:"); isFile {
			b, err := os.ReadFile(path)
			if err != nil {
				x.d.at(n, "", fmt.Sprintf("reading %s: %v", m, err))
			}
			return strings.TrimRight(string(b), "\r\n")
		}
		v, set := os.LookupEnv(name)
		if !set {
			x.d.at(n, "", fmt.Sprintf("%s: the environment has no %s; set it", m, name))
		}
		return v
	})
	// The decoder of some types reads the token instead of the value.
	s.Token = &token.Token{Type: token.StringType, Value: s.Value, Origin: s.Value, Position: s.Token.Position, Prev: s.Token.Prev, Next: s.Token.Next}
	return x
}

// validate checks what needs more than one key.
func (d *document) validate(cfg *Config) {
	check := func(path string, err error) {
		if err == nil {
			return
		}
		var many interface{ Unwrap() []error }
		if errors.As(err, &many) {
			for _, e := range many.Unwrap() {
				d.path(path, e.Error())
			}
			return
		}
		d.path(path, err.Error())
	}
	d.notNegative(cfg)
	if !cfg.UsesEmbeddedKafka() {
		check("kafka", cfg.Kafka.Validate())
	}
	check("kafka.embedded", cfg.Kafka.Embedded.Validate())
	for _, t := range cfg.Topics() {
		check("kafka", t.Validate())
	}
	engine := kafka.EngineConfig{Instance: cfg.Instance, Group: "sira", Lanes: cfg.lanes(), Concurrency: cfg.Worker.Concurrency}
	check("kafka.lanes", engine.Validate())
	check("balance", cfg.Balance.Validate())
	check("limits", cfg.Limits.Validate())
	check("prediction", cfg.Prediction.Validate())
	check("invoke", cfg.Invoke.Validate())
	check("batch", cfg.Batch.validate())
	check("blobs", cfg.Blobs.validate())
	ages := cfg.ClickHouse.ages()
	check("clickhouse", ages.Validate())
	check("fetch", cfg.Fetch.Validate())
	check("tracing", cfg.Tracing.Validate())
	check("simulator", cfg.Simulator.Validate())
	rc := routing.Config{Models: cfg.Models, Routes: cfg.Routes}
	for _, f := range rc.Faults(strategies()) {
		d.path(f.Path, f.Message)
	}
	d.providers(cfg)
	d.budgets(cfg)
	d.alerts(cfg)
	for i, w := range cfg.Webhooks {
		check(fmt.Sprintf("webhooks[%d]", i), cfg.webhook(w).Validate())
	}
}

// notNegative checks the numbers that mean an amount.
func (d *document) notNegative(cfg *Config) {
	w := &cfg.Worker
	for _, n := range []struct {
		path  string
		value int64
	}{
		{"worker.concurrency", int64(w.Concurrency)},
		{"worker.window", int64(w.Window)},
		{"worker.max_bytes", w.MaxBytes},
		{"worker.flush_interval", int64(w.FlushInterval)},
		{"worker.max_request_bytes", int64(w.MaxRequestBytes)},
		{"worker.revoke_drain", int64(w.RevokeDrain)},
		{"worker.drain", int64(w.Drain)},
		{"worker.session_timeout", int64(w.SessionTimeout)},
		{"kafka.retention", int64(cfg.Kafka.Retention)},
		{"kafka.min_insync_replicas", int64(cfg.Kafka.MinInsync)},
		{"clickhouse.max_rows", int64(cfg.ClickHouse.MaxRows)},
		{"clickhouse.max_wait", int64(cfg.ClickHouse.MaxWait)},
	} {
		if n.value < 0 {
			d.path(n.path, "can't be negative; leave it out for the default")
		}
	}
	for i, delay := range cfg.Kafka.Retry {
		if delay <= 0 {
			d.path(fmt.Sprintf("kafka.retry[%d]", i), "must be above zero, such as 30s; write retry: [] for no further rounds")
		}
	}
	for i, l := range cfg.Kafka.Lanes {
		if l.MaxAge < 0 {
			d.path(fmt.Sprintf("kafka.lanes[%d].max_age", i), "can't be negative; leave it out for the default")
		}
	}
}

// providers checks the accounts and that every target names one.
func (d *document) providers(cfg *Config) {
	known := map[string]bool{}
	kinds := providers()
	for i, p := range cfg.Providers {
		at := fmt.Sprintf("providers[%d]", i)
		if p.Name == "" || known[p.Name] {
			d.path(at+".name", "the name is missing or used twice")
		}
		known[p.Name] = true
		if p.Balance != "" {
			bs, err := settingsOf(p.BalanceSettings, nil)
			if err == nil {
				err = balancers().Check(p.Balance, bs)
			}
			if err != nil {
				d.path(at+".balance", err.Error())
			}
		}
		if f := p.Discover; f != nil {
			s, err := settingsOf(f.Settings, nil)
			if err == nil {
				err = sources().Check(f.Kind, s)
			}
			if err != nil {
				d.path(at+".discover", err.Error())
			}
		}
		for _, e := range p.endpoints() {
			s, err := settingsOf(p.Settings, e.Settings)
			if err == nil {
				err = kinds.Check(p.Kind, s)
			}
			if err != nil {
				d.path(at+".kind", err.Error())
				break
			}
		}
	}
	names := make([]string, 0, len(known))
	for n := range known {
		names = append(names, n)
	}
	dangling := func(at string, targets []routing.TargetConfig) {
		for j, t := range targets {
			if !known[t.Provider] {
				d.path(fmt.Sprintf("%s.targets[%d].provider", at, j), fmt.Sprintf("no provider is named %q; %s", t.Provider, suggest(t.Provider, names)))
			}
		}
	}
	for i, m := range cfg.Models {
		dangling(fmt.Sprintf("models[%d]", i), m.Targets)
	}
	for i, r := range cfg.Routes {
		dangling(fmt.Sprintf("routes[%d]", i), r.Targets)
	}
}

// endpoints returns the provider's endpoints; without any, the provider itself.
func (p *ProviderConfig) endpoints() []EndpointConfig {
	if len(p.Endpoints) == 0 {
		return []EndpointConfig{{ID: p.Name, Region: p.Region}}
	}
	out := slices.Clone(p.Endpoints)
	for i := range out {
		if out[i].Region == "" {
			out[i].Region = p.Region
		}
		if out[i].ID == "" {
			out[i].ID = fmt.Sprintf("%s-%d", p.Name, i+1)
		}
	}
	return out
}

// settingsOf returns base with over's keys in place of its own, as JSON.
func settingsOf(base, over map[string]any) (json.RawMessage, error) {
	all := make(map[string]any, len(base)+len(over))
	maps.Copy(all, base)
	maps.Copy(all, over)
	b, err := json.Marshal(all)
	if err != nil {
		return nil, fmt.Errorf("reading settings: %w", err)
	}
	return b, nil
}
