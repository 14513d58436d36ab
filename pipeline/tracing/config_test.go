package tracing

import (
	"encoding/pem"
	"fmt"
	"math"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/pipeline/tracing/tracingtest"
)

func TestSettingsSayWhatToWrite(t *testing.T) {
	t.Parallel()
	good := Defaults()
	if err := good.Validate(); err != nil || good.Enabled {
		t.Fatalf("defaults: enabled %v, %v", good.Enabled, err)
	}
	for name, c := range map[string]struct {
		edit func(*Config)
		says string
	}{
		"no URL":              {func(c *Config) { c.Endpoint = "collector:4318" }, "http://127.0.0.1:4318"},
		"no host":             {func(c *Config) { c.Endpoint = "http://:4318" }, "http://127.0.0.1:4318"},
		"another protocol":    {func(c *Config) { c.Endpoint = "grpc://collector:4317" }, "OTLP over HTTP"},
		"a user":              {func(c *Config) { c.Endpoint = "https://ann:secret-0@collector" }, "headers"},
		"a query":             {func(c *Config) { c.Endpoint = "https://collector/?key=secret-0" }, "leave out"},
		"TLS without https":   {func(c *Config) { c.TLS.CA = "ca.pem" }, "https://"},
		"half a certificate":  {func(c *Config) { c.Endpoint, c.TLS.Cert = "https://c", "c.pem" }, "both or neither"},
		"no header's name":    {func(c *Config) { c.Headers = map[string]catalog.Secret{"x key": "secret-0"} }, "authorization"},
		"an empty header":     {func(c *Config) { c.Headers = map[string]catalog.Secret{"x-key": ""} }, "${OTLP_TOKEN}"},
		"two lines":           {func(c *Config) { c.Headers = map[string]catalog.Secret{"x-key": "secret-0\r\nb: c"} }, "on one line"},
		"a header of its own": {func(c *Config) { c.Headers = map[string]catalog.Secret{"Content-Type": "x"} }, "leave it out"},
		"too many":            {func(c *Config) { c.Sample = 1.5 }, "0 to 1"},
		"no number":           {func(c *Config) { c.Sample = math.NaN() }, "0 to 1"},
		"no name":             {func(c *Config) { c.Service = "" }, "such as sira"},
		"no queue":            {func(c *Config) { c.Queue = 0 }, "1 to"},
		"no time":             {func(c *Config) { c.Timeout = 0 }, "such as 10s"},
		"a long drain":        {func(c *Config) { c.Drain = maxDrain + 1 }, "such as 5s"},
	} {
		cfg := Defaults()
		c.edit(&cfg)
		err := cfg.Validate()
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q in it", name, err, c.says)
		}
		if text := fmt.Sprintf("%v %+v", err, cfg.Headers); strings.Contains(text, "secret-0") {
			t.Errorf("%s: %s shows a secret", name, text)
		}
	}
}

func TestHeadersInClearTextAreKnown(t *testing.T) {
	t.Parallel()
	for endpoint, want := range map[string]bool{"http://127.0.0.1:4318": false, "http://[::1]:4318": false, "http://localhost": false, "https://collector": false, "http://collector:4318": true, "http://10.0.0.7": true} {
		c := Defaults()
		c.Endpoint, c.Headers = endpoint, map[string]catalog.Secret{"x-key": "k"}
		if c.clear() != want {
			t.Errorf("%s: %v, want %v", endpoint, c.clear(), want)
		}
	}
}

func TestCollectorBehindTLSGetsTheHeaders(t *testing.T) {
	t.Parallel()
	c := tracingtest.Start(t)
	s := httptest.NewTLSServer(c)
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := Defaults()
	cfg.Endpoint, cfg.TLS.CA, cfg.Headers = s.URL, ca, map[string]catalog.Secret{"authorization": "Bearer t-1"}
	tracer := newTracer(t, cfg, nil)
	_, sent := tracer.Send(t.Context(), "requests", "r1")
	sent(nil)
	if err := tracer.Close(); err != nil {
		t.Fatal(err)
	}
	if h := c.Headers(); len(h) != 1 || h[0].Get("Authorization") != "Bearer t-1" {
		t.Errorf("headers of the exports: %v", h)
	}
}
