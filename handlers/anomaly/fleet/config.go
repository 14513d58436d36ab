package fleet

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sira-ai/sira/handlers/anomaly/endpoint"
	"github.com/sira-ai/sira/handlers/anomaly/predict"
)

// The modes of prediction.
const (
	ModeAct     = "act"     // shares follow
	ModeObserve = "observe" // all is computed and published, and no call goes elsewhere
	ModeOff     = "off"
)

// Config is the section prediction of the configuration document.
type Config struct {
	Mode string `json:"mode,omitempty"` // act, observe or off; act
	// Tick is the time between two looks. All memory is counted in looks: half of it
	// forgets twice as fast.
	Tick    time.Duration `json:"tick,omitempty"`    // 5 s
	Publish time.Duration `json:"publish,omitempty"` // how often workers report; 1 s
	Silence time.Duration `json:"silence,omitempty"` // without news from the analyst a worker trusts itself after it; 20 s
	Model   string        `json:"model,omitempty"`   // a file that `sira detect train` wrote; empty: the built-in one

	predict.PolicyConfig `json:",inline" yaml:",inline"`
}

// Defaults returns the configuration of an empty document.
func Defaults() Config {
	return Config{Mode: ModeAct, Tick: endpoint.Tick, Publish: time.Second, Silence: 20 * time.Second, PolicyConfig: predict.DefaultPolicy()}
}

// Validate reports everything that is wrong with c. It opens no file.
func (c *Config) Validate() error {
	var faults []error
	if modes := []string{ModeAct, ModeObserve, ModeOff}; !slices.Contains(modes, c.Mode) {
		faults = append(faults, fmt.Errorf("mode is %q: write %s", c.Mode, strings.Join(modes, ", ")))
	}
	if c.Tick <= 0 || c.Tick > time.Minute {
		faults = append(faults, fmt.Errorf("tick is %s: write a duration up to 1m, such as 5s", c.Tick))
	}
	if c.Publish <= 0 || c.Publish > c.Tick {
		faults = append(faults, fmt.Errorf("publish is %s: write a duration up to tick, such as 1s", c.Publish))
	}
	if c.Silence < 2*c.Tick {
		faults = append(faults, fmt.Errorf("silence is %s: write two ticks or more, such as 20s", c.Silence))
	}
	return errors.Join(append(faults, c.PolicyConfig.Validate())...)
}
