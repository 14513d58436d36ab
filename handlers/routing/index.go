package routing

// index finds the rules that may match a request, in their order, without looking
// at the others. Each rule stands under one field that it needs to have one of
// some values (its models, or an equality of its expression), the one that it
// shares with the fewest other rules; a rule without any stands under rest.
type index struct {
	fields []indexed
	rest   []int32
}

type indexed struct {
	of    field
	rules map[string][]int32 // ascending
}

// maxFields bounds the lists that a request is looked up in. Rules of further
// fields are tried one after another.
const maxFields = 16

// need is what a rule can be found by.
type need struct {
	options []equality // each of them necessary
}

func newIndex(needs []need) *index {
	type key struct {
		of    field
		value string
	}
	crowd := make(map[key]int)
	for i := range needs {
		for _, o := range needs[i].options {
			for _, v := range o.values {
				crowd[key{o.of, v}]++
			}
		}
	}
	x := &index{}
	place := make(map[field]int)
	for i := range needs {
		best, fewest := -1, 0
		for j, o := range needs[i].options {
			worst := 0
			for _, v := range o.values {
				worst = max(worst, crowd[key{o.of, v}])
			}
			if _, there := place[o.of]; !there && len(place) == maxFields {
				continue
			}
			if best < 0 || worst < fewest {
				best, fewest = j, worst
			}
		}
		if best < 0 {
			x.rest = append(x.rest, int32(i))
			continue
		}
		o := needs[i].options[best]
		at, there := place[o.of]
		if !there {
			at = len(x.fields)
			place[o.of] = at
			x.fields = append(x.fields, indexed{o.of, make(map[string][]int32)})
		}
		x.add(at, o.values, int32(i))
	}
	return x
}

func (x *index) add(at int, values []string, rule int32) {
	rules := x.fields[at].rules
	for _, v := range values {
		if list := rules[v]; len(list) == 0 || list[len(list)-1] != rule { // a value that is named twice
			rules[v] = append(list, rule)
		}
	}
}

// walk calls visit with the rules that may match, in order, until it returns
// false.
func (x *index) walk(q *Query, visit func(rule int32) bool) {
	var lists [maxFields + 1][]int32
	n := 0
	for i := range x.fields {
		if l := x.fields[i].rules[x.fields[i].of.get(q)]; len(l) > 0 {
			lists[n] = l
			n++
		}
	}
	if len(x.rest) > 0 {
		lists[n] = x.rest
		n++
	}
	for n > 0 {
		first := 0
		for i := 1; i < n; i++ {
			if lists[i][0] < lists[first][0] {
				first = i
			}
		}
		if !visit(lists[first][0]) {
			return
		}
		if lists[first] = lists[first][1:]; len(lists[first]) == 0 {
			n--
			lists[first] = lists[n]
		}
	}
}
