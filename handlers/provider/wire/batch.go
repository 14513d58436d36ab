package wire

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/sira-ai/sira/schemas"
)

// MaxBatchLine bounds one result in a batch: images come as base64.
const MaxBatchLine = 64 << 20

// CallID is the id of a call of a batch as vendors are told it: at most 64 letters,
// digits and hyphens.
func CallID(batch string, i int) string { return batch + "-" + strconv.Itoa(i) }

// CallPlace returns the place of a call in its batch of n, if the id is one of the
// batch.
func CallPlace(batch, id string, n int) (int, bool) {
	place, ok := strings.CutPrefix(id, batch+"-")
	i, err := strconv.Atoi(place)
	return i, ok && err == nil && i >= 0 && i < n && strconv.Itoa(i) == place
}

// BodyOf returns the body of a request that is not sent itself.
func BodyOf(req *http.Request) ([]byte, error) {
	if req.Body == nil {
		return nil, nil
	}
	defer func() { _ = req.Body.Close() }()
	return io.ReadAll(req.Body)
}

// Embedded is an answer that came inside of another one.
func Embedded(status int, body []byte) *http.Response {
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, ContentLength: int64(len(body)),
		Body: io.NopCloser(bytes.NewReader(body)),
	}
}

// Exchanges asks a vendor about batches.
type Exchanges struct {
	// Send sends a request; its error is a *schemas.Failure.
	Send func(*http.Request) (*http.Response, error)
	// Refused reads an answer with another status than was hoped for.
	Refused func(*http.Response) *schemas.Failure
}

// Ask sends a request and has its answer read, whose status is one of success.
func (e Exchanges) Ask(req *http.Request, read func(*http.Response) error) error {
	res, err := e.Send(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode/100 != 2 {
		return e.Refused(res)
	}
	return read(res)
}

// Lines sends a request and calls each for the lines of its answer, until it returns
// an error.
func (e Exchanges) Lines(req *http.Request, each func(line []byte) error) error {
	return e.Ask(req, func(res *http.Response) error {
		if res.StatusCode != http.StatusOK {
			return e.Refused(res)
		}
		lines := NewLineReader(res.Body, MaxBatchLine)
		for {
			line, err := lines.Next()
			switch {
			case errors.Is(err, io.EOF):
				return nil
			case err != nil:
				return ReadFailure(err)
			}
			if err := each(line); err != nil {
				return err
			}
		}
	})
}

// HasEnded reports whether err says that what was to be ended has ended already, or
// is gone.
func HasEnded(err error) bool {
	f, ok := errors.AsType[*schemas.Failure](err)
	return ok && (f.HTTPStatus == http.StatusConflict || f.HTTPStatus == http.StatusNotFound)
}

// Undone is the failure of a call that its batch ended without.
func Undone(code schemas.Code, vendorCode string) *schemas.Failure {
	message := map[schemas.Code]string{
		schemas.Timeout:   "the provider's batch ended before the request was done",
		schemas.Cancelled: "the provider's batch was cancelled before the request was done",
	}[code]
	if message == "" {
		message = "the provider's batch ended without an answer to the request"
	}
	f := schemas.Fail(code, message, nil)
	f.VendorCode, f.Phase = vendorCode, schemas.PhaseBody
	f.Usage = &schemas.Usage{Source: schemas.UsageNone}
	return f
}
