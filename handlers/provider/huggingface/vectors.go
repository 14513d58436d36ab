package huggingface

import (
	"errors"
	"net/http"
	"slices"
	"strconv"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// averaged says what was done with vectors of tokens.
const averaged = "the model gives a vector for each token: the answer has their mean"

// readEmbeddings reads a vector, one for each text, or one for each token of each
// text, whose mean is then the text's.
func (a *Adapter) readEmbeddings(res *http.Response, req *schemas.Request) (*schemas.Response, error) {
	b, err := a.body(res)
	if err != nil {
		return nil, err
	}
	asked := len(req.Embed.Inputs)
	out := a.result(res)
	rows, blocks, err := nested(b)
	switch {
	case err != nil:
		return nil, wire.Malformed("it is no vector, nor a list of them", err)
	case asked == 1 && len(rows) > 1:
		blocks, rows = [][][]float32{rows}, nil
	case len(blocks) > 0 && !slices.ContainsFunc(blocks, func(l [][]float32) bool { return len(l) != 1 }):
		rows, blocks = slices.Concat(blocks...), nil // one row for each text, wrapped once more
	}
	for _, tokens := range blocks {
		rows = append(rows, mean(tokens))
		out.Warnings = []string{averaged}
	}
	if len(rows) != asked || slices.ContainsFunc(rows, func(v []float32) bool { return len(v) == 0 }) {
		return nil, wire.Malformed("it is not one vector for each text", nil)
	}
	for i, v := range rows {
		out.Embeddings = append(out.Embeddings, schemas.Embedding{Index: i, Vector: v})
	}
	return out, nil
}

// nested reads a vector, a list of vectors or a list of such lists, by how many
// brackets it begins with.
func nested(b []byte) (rows [][]float32, blocks [][][]float32, err error) {
	depth := 0
	for _, c := range b {
		if c == '[' {
			depth++
		} else if c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			break
		}
	}
	c := jsontext.NewCursor(b)
	r := vectors{c: &c}
	switch depth {
	case 1:
		rows = [][]float32{r.row()}
	case 2:
		rows = r.rows()
	case 3:
		for c.Array(); c.Item(); {
			blocks = append(blocks, r.rows())
		}
	default:
		return nil, nil, errVector
	}
	if r.bad || c.End() != nil {
		return nil, nil, errVector
	}
	return rows, blocks, nil
}

var errVector = errors.New("it holds something else than numbers")

// vectors reads lists of numbers; a thousand of them each is usual, so it is not
// left to encoding/json.
type vectors struct {
	c    *jsontext.Cursor
	size int // of the vector before
	bad  bool
}

func (r *vectors) rows() [][]float32 {
	var all [][]float32
	r.list()
	for !r.bad && r.c.Item() {
		all = append(all, r.row())
	}
	return all
}

func (r *vectors) row() []float32 {
	v := make([]float32, 0, max(r.size, 384))
	r.list()
	for !r.bad && r.c.Item() {
		f, err := strconv.ParseFloat(string(r.c.Raw()), 32)
		r.bad = err != nil
		v = append(v, float32(f))
	}
	r.size = len(v)
	return v
}

func (r *vectors) list() { r.bad = r.bad || !r.c.Array() }

// mean returns the mean of vectors, nil if they differ in length.
func mean(tokens [][]float32) []float32 {
	if len(tokens) == 0 {
		return nil
	}
	sum := make([]float64, len(tokens[0]))
	for _, t := range tokens {
		if len(t) != len(sum) {
			return nil
		}
		for i, x := range t {
			sum[i] += float64(x)
		}
	}
	v := make([]float32, len(sum))
	for i := range sum {
		v[i] = float32(sum[i] / float64(len(tokens)))
	}
	return v
}
