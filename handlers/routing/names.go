package routing

import (
	"slices"
	"strconv"
	"strings"

	"github.com/sira-ai/sira/schemas"
)

// unknown returns the failure of a request for a model that there is not. It
// does not repeat the name: people paste all sorts of things into fields.
func (r *Router) unknown(asked string) *schemas.Failure {
	f := schemas.Fail(schemas.Unroutable, "there is no model of this name", nil)
	f.Param = "model"
	if near := nearest(asked, r.names); len(near) > 0 {
		for i := range near {
			near[i] = strconv.Quote(near[i])
		}
		f.Message += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return f
}

// nearest returns up to three names that are a few typing errors away from
// asked, nearest first.
func nearest(asked string, names []string) []string {
	type near struct {
		name string
		far  int
	}
	var found []near
	for _, name := range names {
		if d := distance(strings.ToLower(asked), strings.ToLower(name)); d <= max(2, len(name)/3) {
			found = append(found, near{name, d})
		}
	}
	slices.SortStableFunc(found, func(a, b near) int { return a.far - b.far })
	var out []string
	for _, n := range found[:min(len(found), 3)] {
		out = append(out, n.name)
	}
	return out
}

// distance is the edit distance of Levenshtein between two short strings, in
// bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
