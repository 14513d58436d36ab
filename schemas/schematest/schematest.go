// Package schematest makes records for tests, and compares them.
package schematest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/schemas"
)

// maxFillDepth ends the recursion of parts in tool results in parts.
const maxFillDepth = 9

// fill sets every field below v to something, or with sparse about half of
// them, from a seed.
func fill(v reflect.Value, rnd *rand.Rand, sparse bool, depth int) {
	if sparse && depth > 0 && rnd.IntN(2) == 0 {
		return
	}
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.UnixMicro(rnd.Int64N(4e15) - 1e15).UTC()))
		return
	case decimal.Decimal:
		amount := decimal.New(rnd.Int64()-1<<62, -int32(rnd.IntN(13)))
		v.Set(reflect.ValueOf(amount))
		return
	case json.RawMessage:
		v.SetBytes(fmt.Appendf(nil, `{"n":%d,"s":"é"}`, rnd.IntN(1000)))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), rnd, sparse, depth+1)
			}
		}
	case reflect.Pointer:
		if depth < maxFillDepth {
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), rnd, sparse, depth+1)
		}
	case reflect.Slice:
		fillSlice(v, rnd, sparse, depth)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for i := range 2 {
			elem := reflect.New(v.Type().Elem()).Elem()
			fill(elem, rnd, false, depth+1)
			v.SetMapIndex(reflect.ValueOf(fmt.Sprintf("key%d", i)), elem)
		}
	case reflect.String:
		v.SetString(fmt.Sprintf("text-%d-✓", rnd.IntN(1e6)))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(rnd.Int64() - 1<<62)
	case reflect.Float32:
		v.SetFloat(float64(float32(rnd.NormFloat64())))
	case reflect.Float64:
		v.SetFloat(rnd.NormFloat64())
	default:
		panic("fill does not know " + v.Type().String())
	}
}

func fillSlice(v reflect.Value, rnd *rand.Rand, sparse bool, depth int) {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		v.SetBytes([]byte{0, 0xff, byte(rnd.IntN(256))})
		return
	}
	if depth >= maxFillDepth {
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), 2, 2))
	for i := range v.Len() {
		fill(v.Index(i), rnd, sparse, depth+1)
	}
}

// Filled returns a value of T from a seed; seed 0 sets every field.
func Filled[T any](seed uint64) *T {
	v := new(T)
	fill(reflect.ValueOf(v).Elem(), rand.New(rand.NewPCG(seed, 1)), seed != 0, 0)
	return v
}

// Same compares what a record holds: nil and empty lists are one, and so
// are 1.5 and 1.50.
func Same() cmp.Option {
	return cmp.Options{
		cmpopts.EquateEmpty(),
		cmpopts.IgnoreUnexported(schemas.Failure{}),
		cmp.Comparer(func(a, b decimal.Decimal) bool { return a.Equal(b) }),
		cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) }),
	}
}
