package avro

import (
	"encoding/binary"
	"math"
	"reflect"
	"slices"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/schemas"
)

// text is Avro's string.
func text[S ~string](b *body, s *S) {
	if b.reading {
		*s = S(b.getText())
		return
	}
	b.putText(string(*s))
}

func long[N ~int | ~int64](b *body, n *N) {
	if b.reading {
		*n = N(b.getLong())
		return
	}
	b.putLong(int64(*n))
}

func boolean(b *body, v *bool) {
	if b.reading {
		*v = b.getBoolean()
		return
	}
	b.putBoolean(*v)
}

func double(b *body, v *float64) {
	if b.reading {
		*v = b.getDouble()
		return
	}
	b.putDouble(*v)
}

// raw is Avro's bytes, or a string that is kept as bytes.
func raw[B ~[]byte](b *body, v *B) {
	if b.reading {
		*v = b.getRaw()
		return
	}
	b.putRaw(*v)
}

func amount(b *body, d *decimal.Decimal) {
	if b.reading {
		*d = b.getAmount()
		return
	}
	b.putAmount(*d)
}

func moment(b *body, t *time.Time) {
	if b.reading {
		*t = b.getMoment()
		return
	}
	b.putMoment(*t)
}

// maybeMoment is null for the zero time.
func maybeMoment(b *body, t *time.Time) {
	switch {
	case b.reading:
		if b.getBranch() {
			*t = b.getMoment()
		}
	case t.IsZero():
		b.putBranch(false)
	default:
		b.putBranch(true)
		b.putMoment(*t)
	}
}

// maybe is null for nil.
func maybe[T any](b *body, p **T, value func(*body, *T)) {
	if !b.reading {
		b.putBranch(*p != nil)
		if *p != nil {
			value(b, *p)
		}
		return
	}
	if b.getBranch() {
		*p = new(T)
		value(b, *p)
	}
}

func list[T any](b *body, p *[]T, item func(*body, *T)) {
	if b.reading {
		*p = getList(b, item)
		return
	}
	if len(*p) > 0 {
		b.putLong(int64(len(*p)))
		for i := range *p {
			item(b, &(*p)[i])
		}
	}
	b.putLong(0)
}

func getList[T any](b *body, item func(*body, *T)) []T {
	all := []T{}
	for n := b.getCount(); n > 0; n = b.getCount() {
		all = slices.Grow(all, min(n, roomFor[T](b)))
		for range n {
			var zero T
			all = append(all, zero)
			if item(b, &all[len(all)-1]); b.err != nil {
				return nil
			}
		}
	}
	return all
}

// roomFor returns for how many items of T memory is made before they have come:
// memoryPerByte for each byte that is left to hold them, and less the deeper they
// are, where each level may promise as much.
func roomFor[T any](b *body) int {
	const memoryPerByte = 16
	return memoryPerByte*b.left()/int(reflect.TypeFor[T]().Size())>>(4*min(b.nested, 8)) + 1
}

// table is a map from strings. Its keys are written in order, so that equal records
// are equal bytes.
func table[V any](b *body, m *map[string]V, put func(*body, V), get func(*body) V) {
	if b.reading {
		*m = getTable(b, get)
		return
	}
	if len(*m) > 0 {
		b.putLong(int64(len(*m)))
		var few [fewKeys]string
		keys := few[:0]
		for key := range *m {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		for _, key := range keys {
			b.putText(key)
			put(b, (*m)[key])
		}
	}
	b.putLong(0)
}

func getTable[V any](b *body, get func(*body) V) map[string]V {
	var all map[string]V
	for n := b.getCount(); n > 0; n = b.getCount() {
		if all == nil {
			all = make(map[string]V, min(n, schemas.MaxLabels))
		}
		for range n {
			key := b.getText()
			if all[key] = get(b); b.err != nil {
				return nil
			}
		}
	}
	return all
}

// floats is Avro's array of float; there may be thousands.
func floats(b *body, p *[]float32) {
	if b.reading {
		*p = b.getFloats()
		return
	}
	if len(*p) > 0 {
		b.putLong(int64(len(*p)))
		for _, v := range *p {
			b.buf = binary.LittleEndian.AppendUint32(b.buf, math.Float32bits(v))
		}
	}
	b.putLong(0)
}

func (b *body) getFloats() []float32 {
	all := []float32{}
	for n := b.getCount(); n > 0; n = b.getCount() {
		taken := b.take(4 * int64(n))
		all = slices.Grow(all, len(taken)/4)
		for ; len(taken) > 0; taken = taken[4:] {
			all = append(all, math.Float32frombits(binary.LittleEndian.Uint32(taken)))
		}
	}
	return all
}
