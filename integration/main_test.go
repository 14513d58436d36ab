package integration

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sira-ai/sira/schemas/avro"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if os.Getenv("SIRA_INTEGRATION") != "" {
		if path, err := program(); err == nil {
			_ = os.RemoveAll(filepath.Dir(path))
		}
	}
	os.Exit(code)
}

func newCodecs(source avro.SchemaSource) *avro.Codecs { return avro.NewCodecs(source) }
