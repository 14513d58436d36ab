package kafka

import "testing"

func keyed(keys ...string) []*item {
	out := make([]*item, len(keys))
	for i, k := range keys {
		out[i] = &item{offset: int64(i), key: k}
	}
	return out
}

func TestRequestsOfOneKeyRunOneAfterAnother(t *testing.T) {
	t.Parallel()
	tr := reading(t, 0, 0)
	ready := tr.chain(keyed("a", "b", "a", "", "a"))
	if len(ready) != 3 || ready[0].offset != 0 || ready[1].offset != 1 || ready[2].offset != 3 {
		t.Fatalf("ready at first: %d items, want offsets 0, 1 and 3", len(ready))
	}
	first := ready[0]
	second := tr.unchain(first)
	if second == nil || second.offset != 2 {
		t.Fatalf("after the first of a comes %v, want offset 2", second)
	}
	third := tr.unchain(second)
	if third == nil || third.offset != 4 {
		t.Fatalf("after the second of a comes %v, want offset 4", third)
	}
	if it := tr.unchain(third); it != nil {
		t.Errorf("after the last of a comes %v, want nothing", it)
	}
	if it := tr.unchain(ready[2]); it != nil {
		t.Errorf("after a request without key comes %v, want nothing", it)
	}
	tr.unchain(ready[1])
	if len(tr.chains) != 0 {
		t.Errorf("%d keys without requests are remembered", len(tr.chains))
	}
	if again := tr.chain(keyed("a")); len(again) != 1 {
		t.Error("a key that became free is still held")
	}
}

func TestChainOfAPartitionBeingGivenUpStops(t *testing.T) {
	t.Parallel()
	tr := reading(t, 0, 0)
	ready := tr.chain(keyed("a", "a"))
	tr.closing = true
	if it := tr.unchain(ready[0]); it != nil {
		t.Errorf("next is %v, want nothing: the next owner makes the call", it)
	}
}
