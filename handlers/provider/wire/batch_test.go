package wire

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/schemas"
)

// kept is a body that knows whether it was closed.
type kept struct {
	io.Reader

	closed bool
}

// Close implements [io.Closer].
func (k *kept) Close() error {
	k.closed = true
	return nil
}

// saying returns exchanges with a vendor that gives one answer to everything.
func saying(status int, text string) (Exchanges, *kept) {
	body := &kept{Reader: strings.NewReader(text)}
	return Exchanges{
		Send: func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Body: body}, nil
		},
		Refused: func(res *http.Response) *schemas.Failure {
			f := schemas.Fail(schemas.Internal, "no", nil)
			f.HTTPStatus = res.StatusCode
			return f
		},
	}, body
}

func TestAnswersAboutBatchesAreReadOrRefusedAndClosed(t *testing.T) {
	t.Parallel()
	enough := errors.New("enough")
	for name, c := range map[string]struct {
		status int
		text   string
		lines  []string
		ends   error
		ended  bool
	}{
		"lines":           {200, "a\nb\n", []string{"a", "b"}, nil, false},
		"one is enough":   {200, "stop\nb\n", []string{"stop"}, enough, false},
		"another success": {202, "a\n", nil, schemas.Fail(schemas.Internal, "no", nil), false},
		"it is gone":      {404, "a\n", nil, schemas.Fail(schemas.Internal, "no", nil), true},
		"it has ended":    {409, "", nil, schemas.Fail(schemas.Internal, "no", nil), true},
		"no permission":   {403, "", nil, schemas.Fail(schemas.Internal, "no", nil), false},
	} {
		e, body := saying(c.status, c.text)
		var got []string
		err := e.Lines(nil, func(line []byte) error {
			got = append(got, string(line))
			if string(line) == "stop" {
				return enough
			}
			return nil
		})
		if (err == nil) != (c.ends == nil) || errors.Is(err, enough) != errors.Is(c.ends, enough) || HasEnded(err) != c.ended || !body.closed {
			t.Errorf("%s: error %v, ended %v, closed %v", name, err, HasEnded(err), body.closed)
		}
		if diff := cmp.Diff(c.lines, got); diff != "" {
			t.Errorf("%s: lines (-want +got):\n%s", name, diff)
		}
	}
}
