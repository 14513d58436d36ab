package schemas

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
)

// Cancel says that nobody waits for a request any more: whoever sent it, or an
// operator.
type Cancel struct {
	RequestID string `json:"request_id" avro:"request_id"`
	Tenant    string `json:"tenant" avro:"tenant"` // of the request: that of another one is left alone
}

// ReadJSON reads a cancellation and nothing else.
func (c *Cancel) ReadJSON(value []byte) error {
	d := json.NewDecoder(bytes.NewReader(value))
	d.DisallowUnknownFields()
	if err := d.Decode(c); err != nil {
		return errors.New("the value is no cancellation in JSON") // not the cause, which may quote it
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value in a record")
	}
	return nil
}

// Validate returns what is wrong with c, saying what to write instead.
func (c *Cancel) Validate() error {
	for _, f := range []struct{ name, value string }{{"request_id", c.RequestID}, {"tenant", c.Tenant}} {
		if f.value == "" || len(f.value) > MaxIDLength {
			return errors.New(f.name + " has " + strconv.Itoa(len(f.value)) + " bytes: write 1 to " + strconv.Itoa(MaxIDLength))
		}
	}
	return nil
}
