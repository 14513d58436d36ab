package routing_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/pipeline"
)

// some returns jobs of which about half match one of n routes of manyRoutes.
func some(n int) []*pipeline.Job {
	random := rand.New(rand.NewPCG(1, 2))
	jobs := make([]*pipeline.Job, 512)
	for i := range jobs {
		j := job(fmt.Sprint("r", i), []string{"chat", "small"}[random.IntN(2)])
		at := random.IntN(2 * n)
		j.Request.Tenant = fmt.Sprintf("%s%d", []string{"t", "u", "v"}[random.IntN(3)], at)
		j.Request.Labels = map[string]string{"team": fmt.Sprint("team", random.IntN(2*n)), "project": fmt.Sprint("p", at)}
		j.Origin.Lane = []string{"interactive", "bulk"}[random.IntN(2)]
		jobs[i] = j
	}
	return jobs
}

// The index passes over routes that can't match; what is left must decide as
// trying one route after another does.
func TestTheIndexDecidesAsTryingEveryRouteDoes(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	word := func(of string) string { return fmt.Sprintf("%s%d", of, random.IntN(4)) }
	atom := func() string {
		switch random.IntN(8) {
		case 0:
			return fmt.Sprintf(`tenant == "%s"`, word("t"))
		case 1:
			return fmt.Sprintf(`"%s" == labels.team`, word("x"))
		case 2:
			return fmt.Sprintf(`tenant in ["%s", "%s"]`, word("t"), word("t"))
		case 3:
			return fmt.Sprintf(`labels["team"] == "%s"`, word("x"))
		case 4:
			return fmt.Sprintf(`not (lane == "%s")`, word("l"))
		case 5:
			return fmt.Sprintf(`tags.project != "%s"`, word("p"))
		case 6:
			return `messages > 0`
		}
		return fmt.Sprintf(`lane == "%s"`, word("l"))
	}
	var expression func(depth int) string
	expression = func(depth int) string {
		if depth == 0 || random.IntN(3) == 0 {
			return atom()
		}
		return "(" + expression(depth-1) + []string{" and ", " or "}[random.IntN(2)] + expression(depth-1) + ")"
	}
	for range 100 {
		var all []routing.RouteConfig
		for i := range 8 {
			all = append(all, routing.RouteConfig{Name: fmt.Sprint(i), When: expression(3)})
		}
		indexed := build(t, routing.Config{Models: models(), Routes: append(all, routing.RouteConfig{Name: "rest"})})
		single := make([]*routing.Router, len(all))
		for i, r := range all {
			// `or round < 0` keeps an expression out of the index and changes nothing else.
			r.When = "(" + r.When + ") or round < 0"
			single[i] = build(t, routing.Config{Models: models(), Routes: []routing.RouteConfig{r, {Name: "rest"}}})
		}
		for range 20 {
			j := job("r1", "chat")
			j.Request.Tenant, j.Origin.Lane = word("t"), word("l")
			j.Request.Labels = map[string]string{"team": word("x")}
			want := "rest"
			for i := range single {
				if name, _ := route(t, single[i], j); name != "rest" {
					want = name
					break
				}
			}
			if got, _ := route(t, indexed, j); got != want {
				t.Fatalf("tenant %s, lane %s, labels %v: route %s, want %s of %+v", j.Request.Tenant, j.Origin.Lane, j.Request.Labels, got, want, all)
			}
		}
	}
}

func TestManyRoutesAreNotTriedOneByOne(t *testing.T) {
	t.Parallel()
	r := build(t, routing.Config{Models: models(), Routes: manyRoutes(2_000)})
	for _, j := range some(2_000) {
		if tried := r.Explain(j).Routes; len(tried) > 8 {
			t.Fatalf("%d routes were tried for %+v", len(tried), j.Request)
		}
	}
}
