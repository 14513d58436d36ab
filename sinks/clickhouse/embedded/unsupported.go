//go:build !linux

package embedded

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

var errUnsupported = fmt.Errorf("the embedded ClickHouse engine runs on Linux only, and this is %s: "+
	"use a ClickHouse server instead: %w", runtime.GOOS, errors.ErrUnsupported)

type library struct{}

func loadLibrary(string) (*library, error)        { return nil, errUnsupported }
func (*library) start([]string) (*session, error) { return nil, errUnsupported }
func (*library) open([]string) (*session, error)  { return nil, errUnsupported }
func lockDir(string) (*os.File, error)            { return nil, errUnsupported }
func dataPath(f *os.File) string                  { return f.Name() }

type session struct{}

func (*session) close() {}

func (*session) query([]byte, string, map[string]string) (Result, error) {
	return Result{}, errUnsupported
}
