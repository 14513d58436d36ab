package cost

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Limits of a row, far from any real price. They keep the arithmetic small.
const (
	maxPlaces = 18
	// maxFactorPlaces are the places of a tier's share of a price.
	maxFactorPlaces = 4
	maxFactor       = 100
	maxPrice        = 1_000_000_000
	maxPer          = 1_000_000_000
	// defaultPer is the number of tokens that vendors quote prices for.
	defaultPer = 1_000_000
)

// Fault is something wrong with a price book, and where.
type Fault struct {
	Line, Column int // from 1
	Path         string
	Message      string // what is wrong and what to write instead
}

// Error writes line:column: path: message.
func (f *Fault) Error() string {
	s := fmt.Sprintf("%d:%d: ", f.Line, f.Column)
	if f.Path != "" {
		s += f.Path + ": "
	}
	return s + f.Message
}

// Faults is everything that is wrong with a price book, in the order of its lines.
type Faults []*Fault

// Error writes a line for each fault.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// Load reads a price book: YAML with a list named prices. A row has the keys
//
//	provider         name of a provider in the configuration, or a kind such as openai
//	model            the vendor's name of the model
//	tier             service tier; without it the vendor's usual one
//	from             day from which the row applies, in UTC, such as 2026-01-01
//	currency         ISO 4217, such as USD
//	per              tokens that the prices are for; 1000000 if not given
//	input, output, cache_read, cache_write, cache_write_1h
//	                 prices; those not given are unknown, not zero
//	parts            prices of parts of the totals, such as {input.audio: 40, input.image: flat};
//	                 flat says that a part costs what its side costs
//	units            prices of one unit each, such as {images: 0.04, seconds: 0.0001}; write 0
//	                 for a unit that is counted and not billed
//	tiers            shares of the prices per token that other service tiers pay, such as
//	                 {batch: 0.5}; units cost the same in every tier
//	max_input_tokens largest input that the row is for; several rows of one day form bands
//	source           where the prices come from
//
// A later day of the same provider, model and tier replaces all its rows. Prices
// are read as they are written, quoted or not, and never become floats.
//
// The error is a Faults with all that is wrong, or why r could not be read. Where
// the text is not YAML, that is the only fault.
func Load(r io.Reader) (*Book, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("reading price book: %w", err)
	}
	l := &loader{periods: make(map[key][]period), places: make(map[place]int)}
	l.document(text)
	if len(l.faults) > 0 {
		slices.SortStableFunc(l.faults, func(a, b *Fault) int {
			return cmp.Or(a.Line-b.Line, a.Column-b.Column)
		})
		return nil, l.faults
	}
	for _, periods := range l.periods {
		slices.SortFunc(periods, func(a, b period) int { return b.from.Compare(a.from) })
		for _, p := range periods {
			slices.SortFunc(p.rows, func(a, b *row) int {
				return cmp.Compare(uint64(a.maxInput-1), uint64(b.maxInput-1)) // 0 comes last
			})
		}
	}
	sum := sha256.Sum256(text)
	return &Book{periods: l.periods, list: l.list, hash: hex.EncodeToString(sum[:6])}, nil
}

// loader is a price book while it is read.
type loader struct {
	faults  Faults
	periods map[key][]period
	places  map[place]int // line of each row
	list    []PriceRow
}

// place is what there is one row for.
type place struct {
	key
	from time.Time
	band int64
}

func (l *loader) fault(n ast.Node, path, message string) {
	f := &Fault{Line: 1, Column: 1, Path: path, Message: message}
	switch m := n.(type) { // the token of a block mapping is its first colon
	case *ast.MappingNode:
		if !m.IsFlowStyle && len(m.Values) > 0 {
			n = m.Values[0].Key
		}
	case *ast.MappingValueNode:
		n = m.Key
	}
	if n != nil && n.GetToken() != nil {
		f.Line, f.Column = n.GetToken().Position.Line, n.GetToken().Position.Column
	}
	l.faults = append(l.faults, f)
}

func (l *loader) document(text []byte) {
	file, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		f := &Fault{Line: 1, Column: 1, Message: err.Error()}
		if at, ok := errors.AsType[yaml.Error](err); ok && at.GetToken() != nil {
			f.Message, f.Line, f.Column = at.GetMessage(), at.GetToken().Position.Line, at.GetToken().Position.Column
		}
		l.faults = append(l.faults, f)
		return
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		l.fault(nil, "", "the price book is empty; write prices: and a list")
		return
	}
	if len(file.Docs) > 1 {
		l.fault(file.Docs[1], "", "a second document: keep one")
	}
	root := file.Docs[0].Body
	values := l.mapping(root, "", []string{"prices"})
	if values == nil {
		return
	}
	list, ok := values["prices"].(*ast.SequenceNode)
	if !ok {
		l.fault(cmp.Or(values["prices"], root), "prices", "write a list of prices")
		return
	}
	for i, item := range list.Values {
		l.row(item, fmt.Sprintf("prices[%d]", i))
	}
}

// mapping returns the values of a mapping and adds a fault for keys that are not
// among names or stand there twice.
func (l *loader) mapping(n ast.Node, path string, names []string) map[string]ast.Node {
	var pairs []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		pairs = m.Values
	case *ast.MappingValueNode:
		pairs = append(pairs, m)
	default:
		l.fault(n, path, "write a mapping with the keys "+strings.Join(names, ", "))
		return nil
	}
	out := make(map[string]ast.Node, len(pairs))
	for _, p := range pairs {
		name := p.Key.GetToken().Value
		_, twice := out[name]
		switch {
		case !slices.Contains(names, name):
			l.fault(p.Key, join(path, name), "unknown key; there are "+strings.Join(names, ", "))
		case twice:
			l.fault(p.Key, join(path, name), "this key is here twice; keep one")
		default:
			out[name] = p.Value
		}
	}
	return out
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

var rowNames = slices.Concat([]string{"provider", "model", "tier", "from", "currency", "per", "max_input_tokens", "source", "parts", "units", "tiers"}, columnNames[:])

// row reads one row into the book.
func (l *loader) row(n ast.Node, path string) {
	before := len(l.faults)
	m := &fields{loader: l, node: n, path: path, values: l.mapping(n, path, rowNames)}
	if m.values == nil {
		return
	}
	p := PriceRow{Provider: m.text("provider", true), Model: m.text("model", true), Tier: usualTier(m.text("tier", false))}
	from := m.date("from")
	p.From, p.Currency, p.Per = from.Format(time.DateOnly), m.currency("currency"), m.integer("per", defaultPer, maxPer)
	p.MaxInput, p.Source = m.integer("max_input_tokens", 0, 1<<53), m.text("source", false)
	prices := m.prices(&p)
	if !m.hasAny(columnNames[:]) && len(p.Parts) == 0 && len(p.Units) == 0 {
		l.fault(n, path, "the row has no price; write input and output, parts or units")
	}
	if len(l.faults) > before {
		return
	}
	k := key{p.Provider, p.Model, p.Tier}
	p.Version = version(k, from, p.MaxInput)
	at := place{k, from, p.MaxInput}
	if line, twice := l.places[at]; twice {
		l.fault(n, path, fmt.Sprintf("%s is in line %d already; keep one", p.Version, line))
		return
	}
	l.places[at] = n.GetToken().Position.Line
	l.insert(k, from, p.row(prices))
	l.list = append(l.list, p)
}

func (l *loader) insert(k key, from time.Time, r *row) {
	periods := l.periods[k]
	i := slices.IndexFunc(periods, func(p period) bool { return p.from.Equal(from) })
	if i < 0 {
		i = len(periods)
		periods = append(periods, period{from: from})
	}
	periods[i].rows = append(periods[i].rows, r)
	l.periods[k] = periods
}

// version names a row. See [Book.Price].
func version(k key, from time.Time, band int64) string {
	v := k.provider + "/" + k.model + "@" + from.Format(time.DateOnly)
	if band > 0 {
		v += "<=" + strconv.FormatInt(band, 10)
	}
	if k.tier != "" {
		v += ":" + k.tier
	}
	return v
}
