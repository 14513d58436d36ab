package blob

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sira-ai/sira/schemas"
)

// A web server over the folder shows a medium with its type until it is withdrawn. The
// same medium has two names, so that nobody takes back what another one needs.
func TestPublishedMediaAreThereUntilTheyAreWithdrawn(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "public")
	web := httptest.NewServer(http.StripPrefix("/media/", http.FileServer(http.Dir(dir))))
	t.Cleanup(web.Close)
	p := NewPublic(dir, web.URL+"/media/")
	m := &schemas.Media{MIME: "image/jpeg", Data: []byte("\xff\xd8\xff\xe0 a picture")}
	first, firstURL, err := p.Publish(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	second, secondURL, err := p.Publish(t.Context(), m)
	if err != nil || first == second {
		t.Fatalf("names %s and %s, %v", first, second, err)
	}
	get := func(url string) (status int, kind, body string) {
		res, err := web.Client().Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, res.Header.Get("Content-Type"), string(b)
	}
	for range 2 {
		if err := p.Withdraw(t.Context(), first); err != nil {
			t.Fatal(err)
		}
	}
	if status, _, _ := get(firstURL); status != http.StatusNotFound {
		t.Errorf("what was withdrawn is answered with %d", status)
	}
	if status, kind, body := get(secondURL); status != http.StatusOK || kind != "image/jpeg" || body != string(m.Data) {
		t.Errorf("%d, %s, %q", status, kind, body)
	}
}

// Names to withdraw come back from Kafka.
func TestOnlyPublicFilesAreWithdrawn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := NewPublic(filepath.Join(dir, "public"), "https://media.example")
	precious := filepath.Join(dir, "precious")
	if err := os.WriteFile(precious, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "..", "../precious", strings.Repeat("a", 32) + "./../precious", "/etc/passwd"} {
		if err := p.Withdraw(t.Context(), name); !errors.Is(err, ErrBadReference) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}
