package openai

import (
	"strconv"

	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// transcript is what the API says of a recording.
type transcript struct {
	schemas.Transcript
	told         bool // there is a text, perhaps an empty one
	words        []schemas.TranscriptSegment
	usage        []byte
	event, delta string
	alone        schemas.TranscriptSegment // of an event
}

func (t *transcript) parse(body []byte) error {
	c := jsontext.NewCursor(body)
	if c.Object() {
		for c.Key() {
			switch string(c.Name()) {
			case "type":
				t.event = c.Text()
			case "delta":
				t.delta = c.Text()
			case "text":
				t.told = true
				t.Text = c.Text()
				t.alone.Text = t.Text
			case "language":
				t.Language = c.Text()
			case "duration":
				t.Seconds = seconds(&c)
			case "segments":
				t.Segments = segments(&c)
			case "words":
				t.words = segments(&c)
			case "usage":
				t.usage = c.Raw()
			default:
				segmentField(&c, &t.alone)
			}
		}
	}
	return c.End()
}

func segments(c *jsontext.Cursor) []schemas.TranscriptSegment {
	var all []schemas.TranscriptSegment
	if !c.Array() {
		return nil
	}
	for c.Item() {
		var s schemas.TranscriptSegment
		if c.Object() {
			for c.Key() {
				segmentField(c, &s)
			}
		}
		all = append(all, s)
	}
	return all
}

func segmentField(c *jsontext.Cursor, s *schemas.TranscriptSegment) {
	switch string(c.Name()) {
	case "start":
		s.Start = seconds(c)
	case "end":
		s.End = seconds(c)
	case "text", "word":
		s.Text = c.Text()
	case "speaker":
		s.Speaker = c.Text()
	default:
		c.Skip()
	}
}

// seconds reads a number, which some models put into a string.
func seconds(c *jsontext.Cursor) float64 {
	f, _ := strconv.ParseFloat(c.Text(), 64) // what is none is 0: not said
	return f
}
