package wire

import "github.com/sira-ai/sira/schemas"

// ServerCall adds a call of a tool that the vendor ran itself. arguments is all
// of it, as the vendor said it.
func (a *Answer) ServerCall(index int, id, name, arguments string) {
	c := a.choice(index)
	c.parts = append(c.parts, piece{
		kind: schemas.PartToolCall, id: id, name: name, typ: toolServer, text: []byte(arguments),
	})
	if a.emit != nil {
		a.send(schemas.Chunk{
			Type: schemas.ChunkToolCallStart, Choice: index, PartIndex: len(c.parts) - 1,
			ToolCall: &schemas.ToolCall{ID: id, Name: name, Arguments: arguments, Type: toolServer},
		})
	}
}

// FinishAs says why the choice ended, as Finish does, but leaves the reason as it
// is: for vendors that run tools themselves, whose calls ask nothing of the
// requester.
func (a *Answer) FinishAs(index int, f schemas.Finish) {
	c := a.choice(index)
	if c.finished {
		return
	}
	c.finished, c.finish = true, f
	if a.emit != nil {
		a.send(schemas.Chunk{Type: schemas.ChunkFinish, Choice: index, Finish: &f})
	}
}

// toolServer is the Type of a ToolCall that asks nothing.
const toolServer = "server"
