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

// Lines calls each for the lines of a body, until it returns an error, and closes the
// body.
func Lines(body io.ReadCloser, each func(line []byte) error) error {
	defer func() { _ = body.Close() }()
	lines := NewLineReader(body, MaxBatchLine)
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
