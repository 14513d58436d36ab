package audit

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
)

// Row is a Link as it was found where the records are kept.
type Row = Link

// Verifier checks rows that it is given one by one, those of each chain in the
// order in which they are kept; chains may be mixed. It belongs to one goroutine.
// The zero Verifier expects every chain to begin at seq 0.
//
// Rows alone can't show that the newest records of a chain were removed, nor that
// somebody rewrote a chain from some record to its end with all hashes anew: what
// is left is a chain. Both show against a head that is known from elsewhere. See
// [Verifier.Expect].
type Verifier struct {
	report   Report
	chains   map[uint16]*chain
	expected map[uint16][]Head
}

// chain is how far a chain has been read.
type chain struct {
	head Head  // highest seq so far
	gaps []gap // places below head that no row had yet
}

// gap is a run of missing records, both ends included.
type gap struct {
	from, to uint64
	follower [32]byte // prev of the record behind it
}

// Begin says that the rows of a chain begin after head, as when only the newest
// records are checked. Call it before the first row.
func (v *Verifier) Begin(id uint16, head Head) {
	v.init()
	v.chains[id] = &chain{head: head}
}

// Expect says that a chain holds a record with this seq and hash, such as a head
// that was written down elsewhere. Call it before the first row.
func (v *Verifier) Expect(id uint16, seq uint64, hash [32]byte) {
	v.init()
	v.expected[id] = append(v.expected[id], Head{seq, hash})
}

func (v *Verifier) init() {
	if v.chains == nil {
		v.chains, v.expected = make(map[uint16]*chain), make(map[uint16][]Head)
	}
}

// Add checks the next row. It does not keep it.
func (v *Verifier) Add(row *Row) {
	v.init()
	v.report.Rows++
	if Hash(row.Prev, row.Chain, row.Seq, row.Payload) != row.Hash {
		v.find(Altered, row, "the hash does not fit the record")
	}
	if len(v.expected) > 0 {
		v.compare(row)
	}
	c := v.chains[row.Chain]
	if c == nil {
		c = new(chain)
		v.chains[row.Chain] = c
		v.first(row)
	} else if row.Seq <= c.head.Seq {
		v.late(c, row)
		return
	} else if missing := row.Seq - c.head.Seq - 1; missing > 0 {
		if len(c.gaps) == MaxFindings {
			v.find(Removed, row, fmt.Sprintf("%d records before it are missing", missing))
		} else {
			c.gaps = append(c.gaps, gap{c.head.Seq + 1, row.Seq - 1, row.Prev})
		}
	} else if row.Prev != c.head.Hash {
		v.find(Unlinked, row, fmt.Sprintf("it does not follow the record with seq %d", c.head.Seq))
	}
	c.head = Head{row.Seq, row.Hash}
}

// first checks where a chain begins.
func (v *Verifier) first(row *Row) {
	switch {
	case row.Seq > 0:
		v.find(WrongStart, row, fmt.Sprintf("the %d records before it are missing", row.Seq))
	case row.Prev != [32]byte{}:
		v.find(WrongStart, row, "the first record follows another one")
	}
}

// late takes a row that comes after one with a higher seq. It fills a gap, which
// then was no removal but a change of the order.
func (v *Verifier) late(c *chain, row *Row) {
	i := slices.IndexFunc(c.gaps, func(g gap) bool { return g.from <= row.Seq && row.Seq <= g.to })
	if i < 0 {
		v.find(Repeated, row, "its place is taken or before the chain's start")
		return
	}
	v.find(Reordered, row, fmt.Sprintf("it comes after seq %d", c.head.Seq))
	g := c.gaps[i]
	if row.Seq == g.to && row.Hash != g.follower {
		v.find(Unlinked, row, fmt.Sprintf("the record with seq %d does not follow it", g.to+1))
	}
	var rest []gap
	if row.Seq > g.from {
		rest = append(rest, gap{g.from, row.Seq - 1, row.Prev})
	}
	if row.Seq < g.to {
		rest = append(rest, gap{row.Seq + 1, g.to, g.follower})
	}
	c.gaps = slices.Replace(c.gaps, i, i+1, rest...)
}

// compare checks a row against the heads that are known from elsewhere.
func (v *Verifier) compare(row *Row) {
	for _, want := range v.expected[row.Chain] {
		if want.Seq == row.Seq && want.Hash != row.Hash {
			v.find(Replaced, row, "the hash is not the expected one")
		}
	}
}

func (v *Verifier) find(p Problem, row *Row, detail string) {
	v.report.add(Finding{p, row.Chain, row.Seq, detail})
}

// Report ends the verification. It adds what shows only at the end: gaps that no
// row has filled, and chains that end before an expected head. Call it once.
func (v *Verifier) Report() Report {
	v.init()
	v.report.Chains, v.report.Heads = len(v.chains), make(map[uint16]Head, len(v.chains))
	for _, id := range slices.Sorted(maps.Keys(v.chains)) {
		c := v.chains[id]
		v.report.Heads[id] = c.head
		for _, g := range c.gaps {
			v.report.add(Finding{Removed, id, g.from, fmt.Sprintf("%d records are missing up to seq %d", g.to-g.from+1, g.to)})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(v.expected)) {
		want := slices.MaxFunc(v.expected[id], func(a, b Head) int { return cmp.Compare(a.Seq, b.Seq) })
		switch c := v.chains[id]; {
		case c == nil:
			v.report.add(Finding{Truncated, id, want.Seq, "the chain has no records"})
		case c.head.Seq < want.Seq:
			v.report.add(Finding{Truncated, id, want.Seq, fmt.Sprintf("the chain ends at seq %d", c.head.Seq)})
		}
	}
	slices.SortStableFunc(v.report.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Chain, b.Chain), cmp.Compare(a.Seq, b.Seq))
	})
	return v.report
}

// Verify checks all rows and reports. It stops at the first error of rows and
// returns it with the report so far.
func (v *Verifier) Verify(rows iter.Seq2[Row, error]) (Report, error) {
	for row, err := range rows {
		if err != nil {
			return v.Report(), fmt.Errorf("reading audit records: %w", err)
		}
		v.Add(&row)
	}
	return v.Report(), nil
}

// Verify checks all rows without expected heads. See [Verifier].
func Verify(rows iter.Seq2[Row, error]) (Report, error) { return new(Verifier).Verify(rows) }
