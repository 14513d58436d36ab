package openai

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// moderation returns the JSON of a request for a verdict. The API judges several
// texts one by one but takes a list with a picture for one input.
func (a *Adapter) moderation(call provider.Call) ([]byte, error) {
	inputs := call.Request.Moderate.Inputs
	b := append(make([]byte, 0, 256), '{')
	b = jsontext.AppendString(jsontext.AppendField(b, "model"), call.Model)
	b = append(jsontext.AppendField(b, "input"), '[')
	for i := range inputs {
		p, name := &inputs[i], fmt.Sprintf("moderate.inputs[%d]", i)
		switch {
		case p.Kind == schemas.PartText:
			b = jsontext.AppendString(jsontext.AppendItem(b), p.Text)
		case p.Kind != schemas.PartImage:
			return nil, wire.Unsupported(name, "is neither text nor image")
		case len(inputs) > 1:
			return nil, wire.Unsupported(name, "is an image beside other inputs: ask for it alone")
		default:
			var why string
			if b, why = image(b, p.Media); why != "" {
				return nil, wire.Unsupported(name, why)
			}
		}
	}
	return a.closed(append(b, ']'), call, "model", "input")
}

// readModerations reads verdicts. They cost nothing.
func (a *Adapter) readModerations(res *http.Response) (*schemas.Response, error) {
	body, err := a.object(res)
	if err != nil {
		return nil, err
	}
	out := &schemas.Response{Usage: schemas.Usage{Source: schemas.UsageNone}}
	c := jsontext.NewCursor(body)
	if c.Object() {
		for c.Key() {
			switch string(c.Name()) {
			case "id":
				out.UpstreamID = c.Text()
			case "model":
				out.Model = c.Text()
			case "results":
				if c.Array() {
					for c.Item() {
						out.Moderations = append(out.Moderations, verdict(&c, len(out.Moderations)))
					}
				}
			default:
				c.Skip()
			}
		}
	}
	if err := c.End(); err != nil {
		return nil, wire.Malformed("it is not the JSON of a moderation", err)
	}
	if len(out.Moderations) == 0 {
		return nil, wire.Malformed("it has no results", nil)
	}
	return out, nil
}

func verdict(c *jsontext.Cursor, index int) schemas.Moderation {
	m := schemas.Moderation{Index: index, Categories: map[string]bool{}, Scores: map[string]float64{}}
	if !c.Object() {
		return m
	}
	for c.Key() {
		switch string(c.Name()) {
		case "flagged":
			m.Flagged = c.Text() == "true"
		case "categories":
			if c.Object() {
				for c.Key() {
					name := string(c.Name())
					m.Categories[name] = c.Text() == "true"
				}
			}
		case "category_scores":
			if c.Object() {
				for c.Key() {
					name := string(c.Name())
					if score, err := strconv.ParseFloat(c.Text(), 64); err == nil {
						m.Scores[name] = score
					}
				}
			}
		default:
			c.Skip()
		}
	}
	return m
}
