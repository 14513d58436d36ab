package providertest

import (
	"encoding/json"
	"testing"
)

// Object is a JSON object that a test looks into without the adapter's help.
type Object = map[string]any

// Parse reads an object.
func Parse(t *testing.T, s string) Object {
	t.Helper()
	var m Object
	if err := json.Unmarshal([]byte(s), &m); err != nil {
		t.Fatalf("parsing %q: %v", s, err)
	}
	return m
}

// Dig returns what is at a path of keys; nil: nothing.
func Dig(v any, path ...string) any {
	for _, key := range path {
		m, _ := v.(Object)
		v = m[key]
	}
	return v
}

// Text returns the string at a path of keys; of anything else "".
func Text(v any, path ...string) string { s, _ := Dig(v, path...).(string); return s }

// Number returns the whole number at a path of keys; of anything else 0.
func Number(v any, path ...string) int64 { f, _ := Dig(v, path...).(float64); return int64(f) }
