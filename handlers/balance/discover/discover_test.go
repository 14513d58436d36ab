package discover_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/handlers/balance/discover"
)

func ids(endpoints []balance.EndpointConfig) (out []string) {
	for _, e := range endpoints {
		out = append(out, e.ID)
	}
	return out
}

func TestOnlyChangesArePassedOnAndTroubleIsToldOnce(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.InfoLevel)
	var got [][]string
	f := &discover.Feed{Name: "test", Log: zap.New(core), Update: func(e []balance.EndpointConfig) {
		got = append(got, ids(e))
		e[0].ID = "the slice is ours to spoil"
	}}
	of := func(ids ...string) (out []balance.EndpointConfig) {
		for _, id := range ids {
			out = append(out, balance.EndpointConfig{ID: id})
		}
		return out
	}
	f.Offer(of("b", "a"))
	f.Offer(of("a", "b"))      // the same in another order
	f.Offer(of("a", "b", "a")) // and one of them twice
	f.Offer(nil)               // nothing: what there was stays
	f.Offer(nil)
	f.Fail(errors.New("no route"))
	f.Fail(errors.New("no route"))
	f.Offer(of("a", "b")) // back, as before
	f.Offer(of("c"))
	if diff := cmp.Diff([][]string{{"a", "b"}, {"c"}}, got); diff != "" {
		t.Error(diff)
	}
	if n := logs.Len(); n != 3 {
		t.Errorf("%d lines, want one for no endpoint, one for no route, one for its end: %v", n, logs.All())
	}
}
