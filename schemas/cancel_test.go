package schemas

import (
	"strings"
	"testing"
)

func TestOnlyACancellationIsReadAsOne(t *testing.T) {
	t.Parallel()
	var c Cancel
	if err := c.ReadJSON([]byte(`{"request_id":"r-1","tenant":"acme"}`)); err != nil || c != (Cancel{"r-1", "acme"}) || c.Validate() != nil {
		t.Errorf("read %+v, %v", c, err)
	}
	long := strings.Repeat("x", MaxIDLength+1)
	for _, text := range []string{
		"", "{}", "null", `{"request_id":"r-1"}`, `{"tenant":"acme"}`, `{"request_id":"r-1","tenant":"acme"} {}`,
		`{"request_id":"r-1","tenant":"acme","all":true}`, `{"request_id":"` + long + `","tenant":"acme"}`, "\x00\x00\x00\x00\x01",
	} {
		var c Cancel
		err := c.ReadJSON([]byte(text))
		if err == nil {
			err = c.Validate()
		}
		if err == nil {
			t.Errorf("%q is read as %+v", text, c)
		} else if strings.Contains(err.Error(), "r-1") {
			t.Errorf("%v quotes the record", err)
		}
	}
}

func FuzzCancel(f *testing.F) {
	f.Add([]byte(`{"request_id":"r-1","tenant":"acme"}`))
	f.Add([]byte(`{"request_id":1}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		var c Cancel
		if c.ReadJSON(value) == nil && c.Validate() == nil && (len(c.RequestID) > MaxIDLength || c.Tenant == "") {
			t.Errorf("%q is valid", value)
		}
	})
}
