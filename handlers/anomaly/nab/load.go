package nab

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Where NAB keeps what is read.
const (
	dataDir      = "data"
	windowsFile  = "labels/combined_windows.json"
	profilesFile = "config/profiles.json"
)

// Load reads the folder: every series below data/, labels/combined_windows.json
// and config/profiles.json. Errors about the folder's content have ErrLayout in
// their chain and name the file.
func Load(dir string) (*Corpus, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening corpus: %w", err)
	}
	defer root.Close()
	return load(root.FS())
}

func load(fsys fs.FS) (*Corpus, error) {
	for _, need := range []string{dataDir, windowsFile, profilesFile} {
		if _, err := fs.Stat(fsys, need); err != nil {
			return nil, fmt.Errorf("%w: there is no %s (a corpus has %s/…/*.csv, %s and %s)", ErrLayout, need, dataDir, windowsFile, profilesFile)
		}
	}
	c := new(Corpus)
	var err error
	if c.Profiles, err = readProfiles(fsys); err != nil {
		return nil, err
	}
	labels, err := readWindows(fsys)
	if err != nil {
		return nil, err
	}
	err = fs.WalkDir(fsys, dataDir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".csv" {
			return err
		}
		s, err := readSeries(fsys, name)
		if err != nil {
			return err
		}
		windows, known := labels[s.Name]
		if !known {
			return fmt.Errorf("%w: %s says nothing of %s: write [] where it has no anomaly", ErrLayout, windowsFile, s.Name)
		}
		delete(labels, s.Name)
		if err := s.label(windows); err != nil {
			return err
		}
		c.Series = append(c.Series, s)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for name := range labels {
		return nil, fmt.Errorf("%w: %s labels %s, which is not below %s/", ErrLayout, windowsFile, name, dataDir)
	}
	if c.Windows() == 0 {
		return nil, fmt.Errorf("%w: %s labels no anomaly at all, so there is nothing to score by", ErrLayout, windowsFile)
	}
	return c, nil
}

// readProfiles returns the profiles in descending order of name, which puts
// NAB's own into the order of its scoreboard.
func readProfiles(fsys fs.FS) ([]Profile, error) {
	var document map[string]struct {
		CostMatrix struct {
			TP float64 `json:"tpWeight"`
			FN float64 `json:"fnWeight"`
			FP float64 `json:"fpWeight"`
		}
	}
	if err := readJSON(fsys, profilesFile, &document); err != nil {
		return nil, err
	}
	var profiles []Profile
	for name, p := range document {
		m := p.CostMatrix
		if m.TP+m.FN <= 0 || m.TP < 0 || m.FN < 0 || m.FP < 0 {
			return nil, fmt.Errorf("%w: %s: profile %s needs a CostMatrix with tpWeight, fnWeight and fpWeight, none negative", ErrLayout, profilesFile, name)
		}
		profiles = append(profiles, Profile{Name: name, TP: m.TP, FN: m.FN, FP: m.FP})
	}
	if len(profiles) == 0 {
		return nil, fmt.Errorf("%w: %s has no profile", ErrLayout, profilesFile)
	}
	slices.SortFunc(profiles, func(a, b Profile) int { return strings.Compare(b.Name, a.Name) })
	return profiles, nil
}

func readWindows(fsys fs.FS) (map[string][][2]time.Time, error) {
	var document map[string][][]string
	if err := readJSON(fsys, windowsFile, &document); err != nil {
		return nil, err
	}
	labels := make(map[string][][2]time.Time, len(document))
	for name, windows := range document {
		labels[name] = nil
		for _, w := range windows {
			if len(w) != 2 {
				return nil, fmt.Errorf("%w: %s: a window of %s has %d times: write its first and its last", ErrLayout, windowsFile, name, len(w))
			}
			var bounds [2]time.Time
			for i, text := range w {
				at, err := parseTime(text)
				if err != nil {
					return nil, fmt.Errorf("%w: %s: %s: %w", ErrLayout, windowsFile, name, err)
				}
				bounds[i] = at
			}
			labels[name] = append(labels[name], bounds)
		}
	}
	return labels, nil
}

func readJSON(fsys fs.FS, name string, v any) error {
	b, err := fs.ReadFile(fsys, name)
	if err != nil {
		return fmt.Errorf("reading corpus: %w", err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrLayout, name, err)
	}
	return nil
}

func readSeries(fsys fs.FS, name string) (Series, error) {
	s := Series{Name: strings.TrimPrefix(name, dataDir+"/")}
	err := readRows(fsys, name, "value", func(at time.Time, v float64) {
		s.At = append(s.At, at)
		s.Values = append(s.Values, v)
	})
	if err == nil && len(s.Values) == 0 {
		err = fmt.Errorf("%w: %s has no rows", ErrLayout, name)
	}
	return s, err
}

// readRows reads the timestamp and one named column of a file.
func readRows(fsys fs.FS, name, column string, row func(time.Time, float64)) error {
	f, err := fsys.Open(name)
	if err != nil {
		return fmt.Errorf("reading corpus: %w", err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.ReuseRecord = true
	header, err := r.Read()
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrLayout, name, err)
	}
	header = slices.Clone(header)
	i, j := slices.Index(header, "timestamp"), slices.Index(header, column)
	if i < 0 || j < 0 {
		return fmt.Errorf("%w: %s: the first line is %q: it must name the columns timestamp and %s", ErrLayout, name, strings.Join(header, ","), column)
	}
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrLayout, name, err)
		}
		line, _ := r.FieldPos(j)
		at, err := parseTime(record[i])
		if err != nil {
			return fmt.Errorf("%w: %s:%d: %w", ErrLayout, name, line, err)
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(record[j]), 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("%w: %s:%d: %s is %q, not a number", ErrLayout, name, line, column, record[j])
		}
		row(at, v)
	}
}

func parseTime(text string) (time.Time, error) {
	// A fraction after the seconds is read without being in the layout.
	at, err := time.Parse(time.DateTime, strings.TrimSpace(text))
	if err != nil {
		return at, fmt.Errorf("%q is no time: write 2014-04-01 00:05:00", text)
	}
	return at, nil
}

// label turns windows of time into windows of rows. NAB looks for the rows with
// the very times of the window, and takes the first where a time stands twice.
func (s *Series) label(windows [][2]time.Time) error {
	last := -1
	for _, w := range windows {
		first := slices.IndexFunc(s.At, w[0].Equal)
		end := slices.IndexFunc(s.At, w[1].Equal)
		switch {
		case first < 0 || end < first:
			return fmt.Errorf("%w: %s: window %s to %s of %s does not begin and end at times of its rows", ErrLayout, windowsFile,
				w[0].Format(time.DateTime), w[1].Format(time.DateTime), s.Name)
		case first <= last:
			return fmt.Errorf("%w: %s: windows of %s overlap or are out of order at %s", ErrLayout, windowsFile, s.Name, w[0].Format(time.DateTime))
		}
		s.Windows = append(s.Windows, Window{First: first, Last: end})
		last = end
	}
	return nil
}
