package simulate

import (
	"encoding/json"
	"net/http"
	"time"
	"unicode/utf8"
)

// dialect is the wire format of one vendor. A further one is a file of its own and a line in dialects. Methods are called
// from many goroutines at once. Those that write append to dst, which they own until they return it.
type dialect interface {
	// segment is the first part of the vendor's paths here, and its name in the statistics.
	segment() string
	// route tells what a path, without the segment, asks for; model is set for operationModel.
	route(path string) (op operation, model string)
	// credential is what the caller proves itself with, or nothing.
	credential(h http.Header) string
	// parse reads the body of a chat call. It keeps nothing of body.
	parse(h http.Header, body []byte) (request, *problem)
	// sign sets the headers of an answer that is not a refusal.
	sign(h http.Header, a *answer)

	// whole is an answer that is not streamed.
	whole(dst []byte, a *answer) []byte
	// open, delta for each of the answer's tokens, finish and end are a stream, as whole server-sent events.
	open(dst []byte, a *answer) []byte
	delta(dst []byte, a *answer, i int) []byte
	finish(dst []byte, a *answer) []byte
	end(dst []byte) []byte
	// broken is an error that comes in the midst of a stream.
	broken(dst []byte, a *answer) []byte

	// refuse is an answer with an error status: it sets headers and returns the status and the body.
	refuse(dst []byte, h http.Header, p problem, seed uint64) (int, []byte)
	// models lists the known models; model describes one of them.
	models(dst []byte, names []string) []byte
	model(dst []byte, name string) []byte
}

// dialects are what the simulator speaks. The segments differ.
var dialects = [...]dialect{
	openai{},
	anthropic{},
}

func dialectNamed(segment string) dialect {
	for _, d := range dialects {
		if d.segment() == segment {
			return d
		}
	}
	return nil
}

type operation int

const (
	operationNone operation = iota
	operationChat
	operationModels
	operationModel
)

// request is what the simulator wants to know of a chat call.
type request struct {
	model     string
	stream    bool
	wantUsage bool // the stream ends with its usage, where a vendor leaves the choice
	maxTokens int  // -1 for no limit
	prompt    int  // tokens
	tool      string
}

// promptTokens estimates tokens from the bytes of a prompt: about four each in English.
func promptTokens(bytes int) int { return max(1, bytes/4) }

// ending is why an answer ends.
type ending int

const (
	endingStop ending = iota
	endingLength
	endingTool
	endingFilter
)

// answer is one answer with status 200, before it takes a dialect's form.
type answer struct {
	request
	seed    uint64 // of identifiers
	text    uint64 // seed of the words
	tokens  int
	cached  int // part of prompt
	ending  ending
	created time.Time
	took    time.Duration // from the request's arrival to the first byte
}

// refusal is why a call gets an error status.
type refusal int

const (
	refusedInvalid refusal = iota
	refusedAuth
	refusedPath
	refusedMethod
	refusedModel
	refusedTooLarge
	refusedContext
	refusedPolicy
	refusedRate
	refusedQuota
	refusedServer
	refusedUnavailable
	refusedOverloaded
	refusalCount
)

// refusals are the names in the statistics. Those that a fault causes are named after it.
var refusals = [refusalCount]string{
	refusedInvalid: "invalid", refusedAuth: "auth", refusedPath: "path", refusedMethod: "method", refusedModel: "model",
	refusedTooLarge: "too-large", refusedContext: "context", refusedPolicy: "policy", refusedRate: "429",
	refusedQuota: "quota", refusedServer: "500", refusedUnavailable: "503", refusedOverloaded: "529",
}

func (r refusal) String() string { return refusals[r] }

// problem is a refusal with its particulars. An empty message leaves the words to the dialect.
type problem struct {
	refusal    refusal
	message    string
	param      string
	code       string
	model      string
	tokens     int // of the prompt
	limit      int // context window
	retryAfter time.Duration
}

func invalid(param, message string) *problem {
	return &problem{refusal: refusedInvalid, param: param, message: message}
}

func invalidCode(param, code, message string) *problem {
	return &problem{refusal: refusedInvalid, param: param, code: code, message: message}
}

// appendString appends s as a JSON string.
func appendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			quoted, err := json.Marshal(s)
			if err != nil {
				return append(dst, `""`...) // Marshal does not fail for a string
			}
			return append(dst, quoted...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

// seconds is a Retry-After in whole seconds, rounded up.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
