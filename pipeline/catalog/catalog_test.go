package catalog

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

type settings struct {
	URL string `json:"url"`
	Key Secret `json:"key"`
	Max int    `json:"max"`
}

func (s *settings) Validate() error {
	if s.Max < 0 {
		return errors.New("max: can't be negative; write 0 for no bound")
	}
	return nil
}

func sample() *Catalog[string] {
	return New("provider",
		Define("zeta", settings{URL: "https://zeta.example"}, func(s settings, _ Env) (string, error) {
			return fmt.Sprintf("%s %d", s.URL, s.Max), nil
		}),
		Define("alpha", struct{}{}, func(struct{}, Env) (string, error) { return "", errors.New("no alpha today") }),
	)
}

func TestSettingsAreReadOverDefaults(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"":                           "https://zeta.example 0",
		" \n":                        "https://zeta.example 0",
		`{"max":3}`:                  "https://zeta.example 3",
		`{"url":"http://x","max":1}`: "http://x 1",
	} {
		got, err := sample().Build("zeta", Settings(given), Env{})
		if err != nil || got != want {
			t.Errorf("settings %q built %q, %v; want %q", given, got, err, want)
		}
	}
	if got, _ := sample().Build("zeta", nil, Env{}); got != "https://zeta.example 0" {
		t.Errorf("an earlier Build changed the defaults: %q", got)
	}
}

func TestCheckAndBuildRejectTheSame(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ settings, says string }{
		"unknown key": {`{"maxx":3}`, "maxx"},
		"wrong type":  {`{"max":"three"}`, "max"},
		"not JSON":    {`{`, "settings"},
		"not valid":   {`{"max":-1}`, "write 0"},
	} {
		checked := sample().Check("zeta", Settings(c.settings))
		_, built := sample().Build("zeta", Settings(c.settings), Env{})
		for _, err := range []error{checked, built} {
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "zeta: ") {
				t.Errorf("%s: error %v, want one that begins with the kind and says %q", name, err, c.says)
			}
		}
	}
}

func TestUnknownKindNamesTheKnownOnes(t *testing.T) {
	t.Parallel()
	err := sample().Check("zetta", nil)
	if !errors.Is(err, ErrUnknownKind) || !strings.Contains(err.Error(), "alpha, zeta") {
		t.Errorf("error %v, want ErrUnknownKind with alpha, zeta", err)
	}
	if _, err := sample().Build("zetta", nil, Env{}); !errors.Is(err, ErrUnknownKind) {
		t.Errorf("error %v, want ErrUnknownKind", err)
	}
}

func TestErrorOfAComponentNamesItsKind(t *testing.T) {
	t.Parallel()
	if _, err := sample().Build("alpha", nil, Env{}); err == nil || err.Error() != "alpha: no alpha today" {
		t.Errorf("error %v", err)
	}
}

func TestTwoEntriesOfOneKindPanic(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	e := Define("twin", struct{}{}, func(struct{}, Env) (int, error) { return 0, nil })
	New("provider", e, e)
}

func TestSecretShowsNowhere(t *testing.T) {
	t.Parallel()
	const key = "sk-12345"
	s := settings{Key: key}
	j, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("start", "key", s.Key)
	shown := []string{fmt.Sprint(s), string(j), log.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%d", "%x", "%q", "%s"} {
		shown = append(shown, fmt.Sprintf(verb, s))
	}
	for _, text := range shown {
		if strings.Contains(text, key) || strings.Contains(text, fmt.Sprintf("%x", key)) || !strings.Contains(text, "[redacted]") {
			t.Errorf("%s shows the secret", text)
		}
	}
	if s.Key.Reveal() != key {
		t.Error("Reveal does not give the text back")
	}
	if got := fmt.Sprint(Secret("")); got != "" {
		t.Errorf("an unset secret shows as %q", got)
	}
	var read settings
	if err := json.Unmarshal([]byte(`{"key":"`+key+`"}`), &read); err != nil || read.Key != key {
		t.Errorf("read %q, %v", read.Key.Reveal(), err)
	}
}
