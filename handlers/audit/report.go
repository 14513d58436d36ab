package audit

import "fmt"

// Problem says what is wrong with a chain.
type Problem string

// The problems.
const (
	Altered    Problem = "altered"     // the hash does not fit the record: it was changed after it was linked
	Removed    Problem = "removed"     // records are missing from this seq on
	Reordered  Problem = "reordered"   // the record stands behind one with a higher seq
	Repeated   Problem = "repeated"    // the record's place is taken by another, or by a copy of it
	Unlinked   Problem = "unlinked"    // two whole neighbours are not linked: one of them was replaced
	WrongStart Problem = "wrong_start" // the chain does not begin where it should
	Truncated  Problem = "truncated"   // the chain ends before an expected head
	Replaced   Problem = "replaced"    // the record at an expected head is another one
)

// Finding is a problem and where it is.
type Finding struct {
	Problem Problem `json:"problem"`
	Chain   uint16  `json:"chain"`
	Seq     uint64  `json:"seq"`    // of the record that shows it, or of the first one missing
	Detail  string  `json:"detail"` // without any content of the record
}

// String tells the finding to people.
func (f Finding) String() string {
	return fmt.Sprintf("chain %d, seq %d: %s: %s", f.Chain, f.Seq, f.Problem, f.Detail)
}

// Report is the outcome of a verification.
type Report struct {
	Rows     int64           `json:"rows"`   // that were read
	Chains   int             `json:"chains"` // that they belong to
	Heads    map[uint16]Head `json:"heads"`  // the newest record of each chain; to be kept elsewhere
	Findings []Finding       `json:"findings"`
	Omitted  int64           `json:"omitted,omitempty"` // findings beyond MaxFindings
}

// MaxFindings bounds the findings of a report: a log that was replaced as a whole
// is wrong in every row.
const MaxFindings = 1000

// Intact reports whether nothing was found.
func (r *Report) Intact() bool { return len(r.Findings) == 0 }

func (r *Report) add(f Finding) {
	if len(r.Findings) == MaxFindings {
		r.Omitted++
		return
	}
	r.Findings = append(r.Findings, f)
}
