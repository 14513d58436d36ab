//go:build !linux

package doctor

import "errors"

var errElsewhere = errors.New("this is looked at on Linux only")

func diskSpace(string) (free, size uint64, err error) { return 0, 0, errElsewhere }

func fileLimit() (uint64, error) { return 0, errElsewhere }
