package openai

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// readImages reads pictures, whole or as the events of a stream.
func (a *Adapter) readImages(res *http.Response, req *schemas.Request) (*schemas.Response, error) {
	if form, body := wire.Open(res, req.Stream); form == wire.Events {
		return a.imageStream(body, req)
	}
	body, err := a.object(res)
	if err != nil {
		return nil, err
	}
	var p pictures
	if err := p.parse(body); err != nil {
		return nil, wire.Malformed("it is not the JSON of images", err)
	}
	return a.painted(&p, req)
}

// imageStream reads the events of a stream. Sketches on the way are passed over;
// each picture has an event of its own when it is complete.
func (a *Adapter) imageStream(from io.Reader, req *schemas.Request) (*schemas.Response, error) {
	events := wire.NewEventReader(from, 0)
	var all pictures
	for {
		ev, err := events.Next()
		switch {
		case errors.Is(err, io.EOF) && len(all.list) > 0 && int64(len(all.list)) >= wanted(req):
			return a.painted(&all, req)
		case err != nil:
			return nil, wire.NewAnswer(nil).Interrupted(req, err)
		case string(ev.Data) == "[DONE]":
			continue
		}
		if err := a.refused(ev.Data); err != nil {
			return nil, err
		}
		var p pictures
		if err := p.parse(ev.Data); err != nil {
			return nil, wire.Malformed("an event of it is not JSON as agreed", err)
		}
		if strings.HasSuffix(p.event, ".completed") {
			all.list = append(all.list, p.list...)
			all.usage, all.format = append(all.usage[:0], p.usage...), p.format
		}
	}
}

// wanted is how many pictures req asks for.
func wanted(req *schemas.Request) int64 {
	if req.Image == nil || req.Image.N == nil {
		return 1
	}
	return *req.Image.N
}

// pictures is an answer with pictures, or an event that completes one.
type pictures struct {
	event, format string
	list          []schemas.Media
	usage         []byte
}

func (p *pictures) parse(body []byte) error {
	c := jsontext.NewCursor(body)
	var alone schemas.Media
	var err error
	if c.Object() {
		for c.Key() {
			switch string(c.Name()) {
			case "type":
				p.event = c.Text()
			case "output_format":
				p.format = c.Text()
			case "usage":
				p.usage = c.Raw()
			case "data":
				if !c.Array() {
					continue
				}
				for c.Item() {
					var m schemas.Media
					if c.Object() {
						for c.Key() {
							err = errors.Join(err, pictureField(&c, &m))
						}
					}
					p.list = append(p.list, m)
				}
			default:
				err = errors.Join(err, pictureField(&c, &alone))
			}
		}
	}
	if len(alone.Data) > 0 {
		p.list = append(p.list, alone)
	}
	return errors.Join(err, c.End())
}

func pictureField(c *jsontext.Cursor, m *schemas.Media) error {
	switch string(c.Name()) {
	case "b64_json":
		b, err := base64.StdEncoding.DecodeString(c.Text())
		if err != nil {
			return fmt.Errorf("reading an image: %w", err)
		}
		m.Data = b
	case "url":
		m.URL = c.Text()
	case "revised_prompt":
		m.Text = c.Text()
	default:
		c.Skip()
	}
	return nil
}

// painted returns the answer that p is.
func (a *Adapter) painted(p *pictures, req *schemas.Request) (*schemas.Response, error) {
	out := &schemas.Response{Usage: schemas.Usage{Source: schemas.UsageReported}}
	for _, m := range p.list {
		switch {
		case len(m.Data) > 0 && p.format != "":
			m.MIME = "image/" + p.format
		case len(m.Data) > 0:
			m.MIME = sniff(m.Data)
		case m.URL == "":
			continue
		}
		out.Media = append(out.Media, m)
	}
	if len(out.Media) == 0 {
		return nil, wire.Malformed("it has no image", nil)
	}
	if said(p.usage) {
		out.Usage = a.used(p.usage)
	}
	if out.Usage.Units == nil {
		out.Usage.Units = make(map[string]decimal.Decimal, 1)
	}
	out.Usage.Units["images"] = decimal.NewFromInt(int64(len(out.Media)))
	s := req.Image
	out.Warnings = lacking(out.Warnings, "image.guidance", s.Guidance != nil)
	out.Warnings = lacking(out.Warnings, "image.seed", s.Seed != nil)
	out.Warnings = lacking(out.Warnings, "image.steps", s.Steps != nil)
	out.Warnings = lacking(out.Warnings, "image.strength", s.Strength != nil)
	return out, nil
}
