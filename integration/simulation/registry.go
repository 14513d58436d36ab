package simulation

import (
	"context"
	"sync"

	"github.com/sira-ai/sira/schemas/avro"
)

// memory is a schema registry that keeps schemas in a list.
type memory struct {
	mu    sync.Mutex
	texts []string
}

// Register implements avro.Registrar.
func (m *memory) Register(_ context.Context, _, schema string) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, text := range m.texts {
		if text == schema {
			return i + 1, nil
		}
	}
	m.texts = append(m.texts, schema)
	return len(m.texts), nil
}

// SchemaByID implements avro.SchemaSource.
func (m *memory) SchemaByID(_ context.Context, id int) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if id < 1 || id > len(m.texts) {
		return "", avro.ErrUnknownSchema
	}
	return m.texts[id-1], nil
}
