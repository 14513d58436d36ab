package avro

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/avro"
)

// Level says which schemas of a subject must understand each other's records.
// Names and meaning are Confluent's.
type Level string

// The levels. Without TRANSITIVE only the latest version counts, with it all.
const (
	LevelNone               Level = "NONE"
	LevelBackward           Level = "BACKWARD" // new readers read old records
	LevelBackwardTransitive Level = "BACKWARD_TRANSITIVE"
	LevelForward            Level = "FORWARD" // old readers read new records
	LevelForwardTransitive  Level = "FORWARD_TRANSITIVE"
	LevelFull               Level = "FULL" // both
	LevelFullTransitive     Level = "FULL_TRANSITIVE"
)

func levels() []Level {
	return []Level{
		LevelNone, LevelBackward, LevelBackwardTransitive, LevelForward,
		LevelForwardTransitive, LevelFull, LevelFullTransitive,
	}
}

func (l Level) valid() bool { return slices.Contains(levels(), l) }

func (l Level) backward() bool {
	return strings.HasPrefix(string(l), "BACKWARD") || strings.HasPrefix(string(l), "FULL")
}

func (l Level) forward() bool {
	return strings.HasPrefix(string(l), "FORWARD") || strings.HasPrefix(string(l), "FULL")
}

func (l Level) transitive() bool { return strings.HasSuffix(string(l), "_TRANSITIVE") }

// conflicts says why a schema can't become the next version of a subject, and
// nothing if it can.
func (s *registryState) conflicts(subject string, candidate *avro.Schema) []string {
	live := s.versions(subject, false)
	level := s.level(subject)
	if !level.transitive() && len(live) > 1 {
		live = live[len(live)-1:]
	}
	return s.conflictsWith(level, live, candidate)
}

func (s *registryState) conflictsWith(level Level, versions []subjectVersion, candidate *avro.Schema) []string {
	var reasons []string
	for _, v := range slices.Backward(versions) {
		earlier := s.schemas[v.id].parsed
		if level.backward() {
			if err := avro.CheckCompatibility(earlier, candidate); err != nil {
				reasons = append(reasons, fmt.Sprintf("the new schema can't read records of version %d: %v", v.number, err))
			}
		}
		if level.forward() {
			if err := avro.CheckCompatibility(candidate, earlier); err != nil {
				reasons = append(reasons, fmt.Sprintf("version %d can't read records of the new schema: %v", v.number, err))
			}
		}
	}
	return reasons
}
