package version

import (
	"fmt"
	"slices"
	"strings"
)

// number is a version: year, month and day, or the parts of a dotted number. Nil:
// none.
type number []int

// dated reports whether v is a date. Dates and numbers do not compare.
func (v number) dated() bool { return len(v) == 3 && v[0] >= 1900 }

// compare orders two versions of one sort; 4 is before 4.1. ok is false where
// they do not compare.
func compare(a, b number) (order int, ok bool) {
	if a == nil || b == nil || a.dated() != b.dated() {
		return 0, false
	}
	return slices.Compare(a, b), true
}

// newer sorts newer versions first, dates before numbers, and models without a
// version last.
func newer(a, b number) int {
	if order, ok := compare(a, b); ok {
		return -order
	}
	kind := func(v number) int {
		switch {
		case v == nil:
			return 2
		case v.dated():
			return 0
		}
		return 1
	}
	return kind(a) - kind(b)
}

// versionOf finds the version in a vendor's name of a model: the last date, as
// 2024-08-06 or 20240806, else the first number, such as 4.1 of gpt-4.1-mini. A
// number that runs into a letter, such as 4o or 8b, counts without it.
func versionOf(model string) number {
	var first, date number
	for i := 0; i < len(model); i++ {
		if !digit(model[i]) || i > 0 && (digit(model[i-1]) || model[i-1] == '.') {
			continue
		}
		v, _ := parseVersion(model[i:])
		switch {
		case v.dated():
			date = v
		case first == nil:
			first = v
		}
	}
	if date != nil {
		return date
	}
	return first
}

// parseVersion reads the version that text begins with and returns the rest. Nil:
// it begins with none.
func parseVersion(text string) (number, string) {
	if v, rest := parseDate(text); v != nil {
		return v, rest
	}
	var v number
	for {
		n, rest, ok := leading(text)
		if !ok {
			return nil, text
		}
		v, text = append(v, n), rest
		if len(text) < 2 || text[0] != '.' || !digit(text[1]) || len(v) == 4 {
			return v, text
		}
		text = text[1:]
	}
}

// parseDate reads YYYY-MM-DD or YYYYMMDD.
func parseDate(text string) (number, string) {
	at := func(from, n int) (int, bool) {
		if len(text) < from+n {
			return 0, false
		}
		v, rest, ok := leading(text[from : from+n])
		return v, ok && rest == ""
	}
	for _, layout := range [...]struct{ month, day, length int }{{5, 8, 10}, {4, 6, 8}} {
		year, okYear := at(0, 4)
		month, okMonth := at(layout.month, 2)
		day, okDay := at(layout.day, 2)
		if layout.length == 10 && okDay && (text[4] != '-' || text[7] != '-') {
			continue
		}
		real := okYear && okMonth && okDay && year >= 1900 && month >= 1 && month <= 12 && day >= 1 && day <= 31
		if real && (len(text) == layout.length || !digit(text[layout.length])) {
			return number{year, month, day}, text[layout.length:]
		}
	}
	return nil, text
}

// leading reads the decimal number that text begins with, of at most 9 digits.
func leading(text string) (n int, rest string, ok bool) {
	i := 0
	for i < len(text) && i < 9 && digit(text[i]) {
		n = n*10 + int(text[i]-'0')
		i++
	}
	if i == 0 || i < len(text) && digit(text[i]) {
		return 0, text, false
	}
	return n, text[i:], true
}

func digit(b byte) bool { return b >= '0' && b <= '9' }

// bound is a comparison with a version.
type bound struct {
	op string // =, <, <=, >, >= or ~ for all that begin so
	v  number
}

// parseRange reads comparisons that must all hold, such as >=2024-05-13
// <2025-01-01, 4.1, or 4.x for all that begin with 4.
func parseRange(text string) ([]bound, error) {
	var out []bound
	for part := range strings.FieldsSeq(text) {
		b := bound{op: "="}
		rest := part
		for _, op := range [...]string{">=", "<=", ">", "<", "="} {
			if after, ok := strings.CutPrefix(part, op); ok {
				b.op, rest = op, after
				break
			}
		}
		if head, any := strings.CutSuffix(rest, ".x"); any && b.op == "=" {
			b.op, rest = "~", head
		}
		v, left := parseVersion(rest)
		if v == nil || left != "" {
			return nil, fmt.Errorf("%q is no version: write a date, a dotted number, 4.x, or a range such as >=2024-05-13 <2025-01-01", part)
		}
		b.v = v
		out = append(out, b)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%q names no version", text)
	}
	return out, nil
}

// within reports whether all comparisons hold. A model without a version is
// within no range.
func within(want []bound, v number) bool {
	for _, b := range want {
		order, ok := compare(v, b.v)
		if !ok {
			return false
		}
		switch b.op {
		case "=":
			ok = order == 0
		case "<":
			ok = order < 0
		case "<=":
			ok = order <= 0
		case ">":
			ok = order > 0
		case ">=":
			ok = order >= 0
		case "~":
			ok = len(v) >= len(b.v) && slices.Equal(v[:len(b.v)], b.v)
		}
		if !ok {
			return false
		}
	}
	return true
}
