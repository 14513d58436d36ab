package embedded

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// Codes of the exceptions that this package raises itself or looks at (src/Common/ErrorCodes.cpp).
const (
	codeBadArguments          = 36
	codeNoDataToInsert        = 108
	codeNotImplemented        = 48
	codeSyntaxError           = 62
	codeUnknownTypeOfQuery    = 78
	codeUnknownCompression    = 89
	codeUnknownSetting        = 115
	codeIncorrectData         = 117
	codeTimeoutExceeded       = 159
	codeReadonly              = 164
	codeUnknownUser           = 192
	codeRequiredPassword      = 194
	codeTooManyQueries        = 202
	codeQueryIsTooLarge       = 229
	codeNotEnoughSpace        = 243
	codeIntoOutfileNotAllowed = 358
	codeQueryWasCancelled     = 394
	codeAuthenticationFailed  = 516
	codeUnknownException      = 1002
)

// Exception is an error of the engine, or one that the server raises in the engine's manner.
type Exception struct {
	// Code is ClickHouse's number, for example 60 for a table that does not exist.
	Code int
	// Name is ClickHouse's name of the code, for example UNKNOWN_TABLE. It is empty if the engine did not say it.
	Name string
	// Message is the text without code and name. It may quote the query.
	Message string
}

// Error returns ClickHouse's own form, which clients take apart: "Code: 60. DB::Exception: message. (UNKNOWN_TABLE)".
func (e *Exception) Error() string {
	s := "Code: " + strconv.Itoa(e.Code) + ". DB::Exception: " + e.Message
	if e.Name != "" {
		s += ". (" + e.Name + ")"
	}
	return s
}

var names = map[int]string{
	codeBadArguments:          "BAD_ARGUMENTS",
	codeNoDataToInsert:        "NO_DATA_TO_INSERT",
	codeNotImplemented:        "NOT_IMPLEMENTED",
	codeSyntaxError:           "SYNTAX_ERROR",
	codeUnknownTypeOfQuery:    "UNKNOWN_TYPE_OF_QUERY",
	codeUnknownCompression:    "UNKNOWN_COMPRESSION_METHOD",
	codeUnknownSetting:        "UNKNOWN_SETTING",
	codeIncorrectData:         "INCORRECT_DATA",
	codeUnknownUser:           "UNKNOWN_USER",
	codeRequiredPassword:      "REQUIRED_PASSWORD",
	codeTooManyQueries:        "TOO_MANY_SIMULTANEOUS_QUERIES",
	codeQueryIsTooLarge:       "QUERY_IS_TOO_LARGE",
	codeNotEnoughSpace:        "NOT_ENOUGH_SPACE",
	codeIntoOutfileNotAllowed: "INTO_OUTFILE_NOT_ALLOWED",
	codeQueryWasCancelled:     "QUERY_WAS_CANCELLED",
	codeAuthenticationFailed:  "AUTHENTICATION_FAILED",
	codeUnknownException:      "UNKNOWN_EXCEPTION",
}

func newException(code int, format string, args ...any) *Exception {
	return &Exception{Code: code, Name: names[code], Message: fmt.Sprintf(format, args...)}
}

var (
	exceptionHead = regexp.MustCompile(`^(?:Error: )?Code: (\d+)\. DB::Exception: `)
	exceptionName = regexp.MustCompile(`\.? \(([A-Z][A-Z0-9_]*)\)\s*$`)
	versionTail   = regexp.MustCompile(` \(version [^()]*\)\s*$`)
)

// parseException reads the engine's text. It is the only thing the C interface says about an error, so its leading code is
// not prose but the protocol. A rethrown exception repeats its head and tail; they are taken off.
func parseException(text string) *Exception {
	e := &Exception{}
	message := strings.TrimSpace(text)
	for {
		head := exceptionHead.FindStringSubmatch(message)
		if head == nil {
			break
		}
		code, err := strconv.Atoi(head[1])
		if err != nil {
			break
		}
		e.Code, message = code, message[len(head[0]):]
	}
	if e.Code == 0 {
		return &Exception{Code: codeUnknownException, Name: names[codeUnknownException], Message: message}
	}
	for {
		message = versionTail.ReplaceAllString(message, "")
		tail := exceptionName.FindStringSubmatchIndex(message)
		if tail == nil || e.Name != "" && message[tail[2]:tail[3]] != e.Name {
			break
		}
		e.Name, message = message[tail[2]:tail[3]], message[:tail[0]]
	}
	e.Message = strings.TrimSuffix(message, ".")
	return e
}

// httpStatus is ClickHouse's own choice of status (src/Server/HTTP/exceptionCodeToHTTPStatus.cpp).
func (e *Exception) httpStatus() int {
	switch e.Code {
	case codeRequiredPassword:
		return http.StatusUnauthorized
	case codeUnknownUser, 193, codeAuthenticationFailed, 497, 512:
		return http.StatusForbidden
	case 6, 8, 15, 25, 26, 27, codeBadArguments, 37, 38, 41, 44, 53, codeSyntaxError, 72, codeIncorrectData, 123, 167, 168, 223,
		321, 376, 427, 441, 675, 676:
		return http.StatusBadRequest
	case 46, 47, 50, 56, 60, 63, 73, codeUnknownTypeOfQuery, 81, codeUnknownSetting, 152, 336, 511:
		return http.StatusNotFound
	case codeTimeoutExceeded:
		return http.StatusRequestTimeout
	case codeQueryIsTooLarge:
		return http.StatusRequestEntityTooLarge
	case codeNotImplemented:
		return http.StatusNotImplemented
	case 76, 209, 439:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
