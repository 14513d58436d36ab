package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/sira-ai/sira/schemas"
)

// unequal is a gateway with a model whose primary sees no images, one whose targets
// both don't, and one about which the catalogue may say nothing.
func unequal(t *testing.T) *gateway {
	t.Helper()
	return newGateway(t, []string{"half", "blind", "own"}, func(doc Document) {
		models, _ := doc["models"].([]Document)
		for i, names := range [][2]string{{"o3-mini", "claude-haiku-4-5"}, {"o3-mini", "no-such-model"}, {"o3-mini", "claude-haiku-4-5"}} {
			targets, _ := models[i]["targets"].([]Document)
			targets[0]["model"], targets[1]["model"] = names[0], names[1]
		}
		blind, _ := models[1]["targets"].([]Document)
		models[1]["targets"] = blind[:1]
		providers, _ := doc["providers"].([]Document)
		for _, p := range providers {
			if p["name"] == "own-primary" {
				p["unchecked"] = true
			}
		}
	})
}

func picture(id, model string) *schemas.Request {
	req := question(id, model, false)
	req.Messages[0].Parts = append(req.Messages[0].Parts, schemas.Part{
		Kind: schemas.PartImage, Media: &schemas.Media{MIME: "image/png", Data: []byte("\x89PNG\r\n\x1a\n")},
	})
	return req
}

// A request with an image goes past a primary that sees none, without a call there.
func TestWhatATargetCantDoGoesToOneThatCan(t *testing.T) {
	g := unequal(t)
	g.send(t, picture("half-1", "half"))
	res, chunks := g.answer(t, "half-1", false, 30*time.Second)
	g.outcome(t, &res, chunks, "")
	if story(&res) != "fallback first ok" {
		t.Errorf("attempts: %s", story(&res))
	}
	if n := g.stats(t).Total.Started; n != 1 {
		t.Errorf("%d calls, want one", n)
	}
}

// What no target can do is refused before anything is spent: by part, and with the
// models that can.
func TestWhatNoTargetCanDoIsInvalidBeforeAnythingIsSpent(t *testing.T) {
	g := unequal(t)
	g.send(t, picture("blind-1", "blind"))
	res, chunks := g.answer(t, "blind-1", false, 30*time.Second)
	g.outcome(t, &res, chunks, schemas.InvalidRequest)
	f := res.Failure
	if f.Param != "messages[0].parts[1]" || !strings.Contains(f.Message, "takes no image") || !strings.Contains(f.Message, "openai/gpt-4o") {
		t.Errorf("failure %+v names not the part and models that can", f)
	}
	if n := g.stats(t).Total.Started; n != 0 || len(res.Attempts) != 0 {
		t.Errorf("%d calls, %d attempts", n, len(res.Attempts))
	}
	g.send(t, question("blind-2", "blind", false))
	res, chunks = g.answer(t, "blind-2", false, 30*time.Second)
	g.outcome(t, &res, chunks, "")
}

// A provider that is not to be compared with the catalogue gets what is asked.
func TestAnUncheckedProviderIsAskedAsItIs(t *testing.T) {
	g := unequal(t)
	g.send(t, picture("own-1", "own"))
	res, chunks := g.answer(t, "own-1", false, 30*time.Second)
	g.outcome(t, &res, chunks, "")
	if story(&res) != "primary first ok" {
		t.Errorf("attempts: %s", story(&res))
	}
}
