package embedded

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/ebitengine/purego"
)

// library is libchdb's C interface (programs/local/chdb.h of chDB 26.5). Its functions may be called by several goroutines
// at once, but a connection runs one query at a time.
type library struct {
	setSignalHandlersEnabled func(enabled int32)
	// connect returns a pointer to the connection, or nil: it does not say why.
	connect func(argc int32, argv **byte) *unsafe.Pointer
	close   func(connection *unsafe.Pointer)
	query   func(connection unsafe.Pointer, sql *byte, sqlLen uintptr, format *byte, formatLen uintptr,
		names **byte, nameLens *uintptr, values **byte, valueLens *uintptr, count uintptr) unsafe.Pointer

	destroy      func(result unsafe.Pointer)
	buffer       func(result unsafe.Pointer) *byte
	length       func(result unsafe.Pointer) uintptr
	failure      func(result unsafe.Pointer) string
	resultRows   func(result unsafe.Pointer) uint64
	readRows     func(result unsafe.Pointer) uint64
	readBytes    func(result unsafe.Pointer) uint64
	writtenRows  func(result unsafe.Pointer) uint64
	writtenBytes func(result unsafe.Pointer) uint64
	elapsed      func(result unsafe.Pointer) float64
}

func loadLibrary(path string) (*library, error) {
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("loading libchdb: %w", err)
	}
	l := &library{}
	for _, f := range []struct {
		pointer any
		name    string
	}{
		{&l.setSignalHandlersEnabled, "chdb_set_signal_handlers_enabled"},
		{&l.connect, "chdb_connect"},
		{&l.close, "chdb_close_conn"},
		{&l.query, "chdb_query_with_params_n"},
		{&l.destroy, "chdb_destroy_query_result"},
		{&l.buffer, "chdb_result_buffer"},
		{&l.length, "chdb_result_length"},
		{&l.failure, "chdb_result_error"},
		{&l.resultRows, "chdb_result_rows_read"},
		{&l.readRows, "chdb_result_storage_rows_read"},
		{&l.readBytes, "chdb_result_storage_bytes_read"},
		{&l.writtenRows, "chdb_result_rows_written"},
		{&l.writtenBytes, "chdb_result_bytes_written"},
		{&l.elapsed, "chdb_result_elapsed"},
	} {
		symbol, err := purego.Dlsym(handle, f.name)
		if err != nil {
			return nil, fmt.Errorf("loading libchdb: %s is too old or no libchdb: %w", path, err)
		}
		purego.RegisterFunc(f.pointer, symbol)
	}
	return l, nil
}

// starting guards the signal actions of the process while an engine starts.
var starting sync.Mutex

// start connects for the first time, which starts the engine.
//
// libchdb owns crash signals by default: a nil dereference in Go would end in its handler instead of in a panic. Asking it
// not to has two side effects that its name does not tell: it resets SIGSEGV, SIGBUS, SIGFPE and others to the default action,
// Go's handlers with them, and does so again at every later connection. So the request is made, the engine started, the
// request taken back (which by itself changes no handler: those are installed only when an engine starts), and Go's actions
// are put back. Between the first and the last step, about 150 ms, a nil dereference anywhere kills the process without a
// trace.
func (l *library) start(args []string) (*session, error) {
	starting.Lock()
	defer starting.Unlock()
	saved := saveSignals()
	defer saved.restore()
	l.setSignalHandlersEnabled(0)
	defer l.setSignalHandlersEnabled(1)
	return l.open(args)
}

var errNoConnection = errors.New("libchdb refused the connection without a reason")

// open makes one more connection to the engine that runs, with the arguments that started it.
func (l *library) open(args []string) (*session, error) {
	var pins runtime.Pinner
	defer pins.Unpin()
	argv := make([]*byte, len(args)+1)
	for i, arg := range args {
		argv[i] = unsafe.SliceData(append([]byte(arg), 0))
		pins.Pin(argv[i])
	}
	connection := l.connect(int32(len(args)), &argv[0])
	if connection == nil {
		return nil, errNoConnection
	}
	return &session{library: l, connection: connection}, nil
}

// session is one connection: a ClickHouse session with its own settings, current database and temporary tables.
type session struct {
	library    *library
	connection *unsafe.Pointer
}

// close ends the session. No query may be running on it. Closing the last one stops the engine.
func (s *session) close() { s.library.close(s.connection) }

// query runs one statement, or several separated by semicolons, and returns when the engine is done with it.
func (s *session) query(sql []byte, format string, params map[string]string) (Result, error) {
	l := s.library
	var pins runtime.Pinner
	defer pins.Unpin()
	names, nameLens, values, valueLens := bindParams(params, &pins)
	// An empty Go slice has no address the library would take.
	sql = append(slices.Clip(sql), 0)
	format += "\x00"
	r := l.query(*s.connection, &sql[0], uintptr(len(sql)-1), unsafe.StringData(format), uintptr(len(format)-1),
		names, nameLens, values, valueLens, uintptr(len(params)))
	runtime.KeepAlive(format)
	if r == nil {
		return Result{}, newException(codeUnknownException, "libchdb returned no result")
	}
	defer l.destroy(r)
	if text := l.failure(r); text != "" {
		return Result{}, parseException(text)
	}
	result := Result{
		Rows:         l.resultRows(r),
		ReadRows:     l.readRows(r),
		ReadBytes:    l.readBytes(r),
		WrittenRows:  l.writtenRows(r),
		WrittenBytes: l.writtenBytes(r),
		Elapsed:      time.Duration(l.elapsed(r) * float64(time.Second)),
	}
	if n := l.length(r); n > 0 {
		result.Data = append([]byte(nil), unsafe.Slice(l.buffer(r), n)...)
	}
	return result, nil
}

func bindParams(params map[string]string, pins *runtime.Pinner) (names **byte, nameLens *uintptr, values **byte, valueLens *uintptr) {
	if len(params) == 0 {
		return nil, nil, nil, nil
	}
	text := make([]*byte, 0, 2*len(params))
	lens := make([]uintptr, 0, 2*len(params))
	add := func(s string) {
		p := unsafe.SliceData(append([]byte(s), 0))
		pins.Pin(p)
		text, lens = append(text, p), append(lens, uintptr(len(s)))
	}
	order := make([]string, 0, len(params))
	for name := range params {
		add(name)
		order = append(order, name)
	}
	for _, name := range order {
		add(params[name])
	}
	n := len(params)
	return &text[0], &lens[0], &text[n], &lens[n]
}
