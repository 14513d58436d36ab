// Package file finds endpoints in a file, which anybody may write: a deployment
// script, an operator, another program's export.
package file

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/handlers/balance/discover"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// Entry offers this source as kind "file".
var Entry discover.Entry = catalog.Define("file", Config{Interval: balance.Duration(2 * time.Second), Seed: 1}, New)

// Config says which file.
type Config struct {
	discover.Common
	Path     string           `json:"path"`               // YAML or JSON: a list of endpoints with id, address, region, zone, key, weight, priority
	Interval balance.Duration `json:"interval,omitempty"` // between looks at its time and size; 2 s
	Seed     uint64           `json:"seed,omitempty"`     // of the jitter
}

// Validate reports everything that is wrong with c.
func (c *Config) Validate() error {
	var faults []error
	if c.Path == "" {
		faults = append(faults, errors.New("path is missing: write the file's path"))
	}
	if c.Interval <= 0 {
		faults = append(faults, fmt.Errorf("interval is %s: write a duration above 0, such as 2s", c.Interval))
	}
	return errors.Join(faults...)
}

// maxSize is far more than a thousand endpoints need.
const maxSize = 1 << 20

// New returns the source.
func New(c Config, env catalog.Env) (discover.Source, error) { return &source{c, env}, nil }

type source struct {
	config Config
	env    catalog.Env
}

// Watch is as [discover.Source] has it. A file that is being written and can't be
// read yet is a mistake like others: what was read before stays.
func (s *source) Watch(ctx context.Context, update func([]balance.EndpointConfig)) error {
	feed := &discover.Feed{Name: "file " + s.config.Path, Update: update, Log: s.env.Log}
	draws := balance.NewDraws(s.config.Seed)
	var seen os.FileInfo
	for {
		if now, err := os.Stat(s.config.Path); err != nil {
			seen = nil
			feed.Fail(err)
		} else if !same(seen, now) {
			seen = now
			if endpoints, err := s.read(); err != nil {
				feed.Fail(err)
			} else {
				feed.Offer(endpoints)
			}
		}
		if !discover.Pause(ctx, time.Duration(s.config.Interval), draws) {
			return nil
		}
	}
}

// same reports whether a file is as it was when it was seen. A file that replaces
// another may have its time and size.
func same(seen, now os.FileInfo) bool {
	return seen != nil && seen.ModTime().Equal(now.ModTime()) && seen.Size() == now.Size() && os.SameFile(seen, now)
}

func (s *source) read() ([]balance.EndpointConfig, error) {
	f, err := os.Open(s.config.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, err
	}
	return s.decode(b)
}

// decode reads a list of endpoints strictly: a misspelt key would otherwise be an
// endpoint at the wrong place.
func (s *source) decode(b []byte) ([]balance.EndpointConfig, error) {
	if len(b) > maxSize {
		return nil, fmt.Errorf("the list is longer than %d bytes", maxSize)
	}
	j, err := yaml.YAMLToJSON(b)
	if err != nil {
		return nil, fmt.Errorf("reading the list: %w", err)
	}
	var endpoints []balance.EndpointConfig
	d := json.NewDecoder(bytes.NewReader(j))
	d.DisallowUnknownFields()
	if err := d.Decode(&endpoints); err != nil {
		return nil, fmt.Errorf("reading the list: %w", err)
	}
	for i := range endpoints {
		if err := s.complete(&endpoints[i]); err != nil {
			return nil, fmt.Errorf("endpoints[%d].%w", i, err)
		}
	}
	return endpoints, nil
}

// complete fills in what the endpoint leaves to the configuration.
func (s *source) complete(e *balance.EndpointConfig) error {
	if e.ID == "" {
		e.ID = e.Address
	}
	switch {
	case e.ID == "":
		return errors.New("id is missing: write an id, an address or both")
	case e.Weight < 0:
		return fmt.Errorf("weight is %d: write 1 or more", e.Weight)
	case e.Priority < 0:
		return fmt.Errorf("priority is %d: write 0 or more", e.Priority)
	}
	c := s.config.Common
	if e.Region == "" {
		e.Region = c.Region
	}
	if e.Zone == "" {
		e.Zone = c.Zone
	}
	if e.Key == "" {
		e.Key = c.Key
	}
	if e.Weight == 0 {
		e.Weight = c.Weight
	}
	if e.Priority == 0 {
		e.Priority = c.Priority
	}
	return nil
}
