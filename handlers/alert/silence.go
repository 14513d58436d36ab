package alert

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/sira-ai/sira/schemas"
)

// Silence is a schemas.AlertSilence that is ready for use.
type Silence struct {
	schemas.AlertSilence

	matchers []matcher
}

// matcher compares a label. A label that an alert does not have is empty.
type matcher struct {
	name, value string
	pattern     *regexp.Regexp // nil: equality
	not         bool
}

const maxMatchers, maxMatcher = 20, 1000

// ParseSilence reads the matchers of a silence. Patterns are those of RE2 and match
// the whole value.
func ParseSilence(s schemas.AlertSilence) (Silence, error) {
	out := Silence{AlertSilence: s}
	if len(s.Matchers) == 0 || len(s.Matchers) > maxMatchers {
		return out, fmt.Errorf("write 1 to %d matchers, such as rule=answers and model=gpt-4o", maxMatchers)
	}
	for _, text := range s.Matchers {
		m, err := parseMatcher(text)
		if err != nil {
			return out, err
		}
		out.matchers = append(out.matchers, m)
	}
	return out, nil
}

func parseMatcher(text string) (matcher, error) {
	at := strings.IndexAny(text, "=!")
	if at < 1 || len(text) > maxMatcher {
		return matcher{}, fmt.Errorf("%.40q is no matcher: write name=value, name!=value, name=~regexp or name!~regexp", text)
	}
	m := matcher{name: strings.TrimSpace(text[:at])}
	rest, pattern := text[at:], false
	for _, op := range []string{"=~", "!~", "!=", "="} {
		if value, ok := strings.CutPrefix(rest, op); ok {
			m.not, pattern, m.value = op[0] == '!', op[1:] == "~", value
			if !labelName.MatchString(m.name) {
				return m, fmt.Errorf("%.40q: the name of a label is letters, digits and _", text)
			}
			if !pattern {
				return m, nil
			}
			var err error
			if m.pattern, err = regexp.Compile("^(?:" + value + ")$"); err != nil {
				return m, fmt.Errorf("%.40q: %w", text, errNoPattern)
			}
			return m, nil
		}
	}
	return m, fmt.Errorf("%.40q is no matcher: write name=value, name!=value, name=~regexp or name!~regexp", text)
}

var errNoPattern = errors.New("write a regular expression of RE2, such as gpt-.*")

func (m *matcher) matches(a *schemas.Alert) bool {
	v := Label(a, m.name)
	if m.pattern != nil {
		return m.pattern.MatchString(v) != m.not
	}
	return (v == m.value) != m.not
}

// Mutes reports whether people are not to be told of an alert now.
func (s *Silence) Mutes(a *schemas.Alert, now time.Time) bool {
	if now.Before(s.From) || !now.Before(s.Until) || len(s.matchers) == 0 {
		return false
	}
	for i := range s.matchers {
		if !s.matchers[i].matches(a) {
			return false
		}
	}
	return true
}

// Silenced reports whether any of the silences mutes an alert.
func Silenced(all []Silence, a *schemas.Alert, now time.Time) bool {
	for i := range all {
		if all[i].Mutes(a, now) {
			return true
		}
	}
	return false
}
