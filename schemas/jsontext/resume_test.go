package jsontext

import "testing"

func TestACursorGoesOnWhereAnotherStopped(t *testing.T) {
	t.Parallel()
	const text = `{"a":"known","b":[1,{"c":2}],"d":"e"}`
	first := NewCursor([]byte(text))
	if !first.Object() || !first.Key() || first.Text() != "known" {
		t.Fatal("the head was not read")
	}
	c := Resume([]byte(text), first.Offset())
	var names string
	for c.Key() {
		names += string(c.Name())
		c.Skip()
	}
	if err := c.End(); err != nil || names != "bd" || len(c.Rest()) != 0 {
		t.Errorf("read %q with %d bytes left, %v", names, len(c.Rest()), err)
	}
	c = Resume([]byte(text), 1)
	if !c.Key() || string(c.Name()) != "a" {
		t.Error("the first name behind the brace was not read")
	}
	c = Resume([]byte(`{"a":12,"b":3}`), len(`{"a":1`))
	if c.Key() || c.End() == nil {
		t.Error("a number that was cut in two is taken for whole")
	}
}
