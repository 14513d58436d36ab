package simulate

import (
	"encoding/json"
	"net/http"
	"time"
	"unicode/utf8"
)

// dialect is the wire format of one vendor. A further one is a file of its own and a line in dialects. Its functions are
// called from many goroutines at once. Those that write append to dst, which they own until they return it.
type dialect struct {
	// segment is the first part of the vendor's paths here, and its name in the statistics.
	segment string
	// route tells what a path, without the segment, is for.
	route func(path string) endpoint
	// credential is what the caller proves itself with, or nothing.
	credential func(h http.Header) string
	// sign sets the headers of an answer that is not a refusal.
	sign func(h http.Header, a *answer)
	// refuse is an answer with an error status: it sets headers and returns the status and the body.
	refuse func(dst []byte, h http.Header, p problem, seed uint64) (int, []byte)
	// models lists the known models; model describes one of them.
	models func(dst []byte, names []string) []byte
	model  func(dst []byte, name string) []byte
}

// dialects are what the simulator speaks. The segments differ.
var dialects = [...]*dialect{
	&openaiDialect,
	&anthropicDialect,
	&geminiDialect,
	&cohereDialect,
	&ai21Dialect,
	&togetherDialect,
	&azureDialect,
	&huggingfaceDialect,
	&replicateDialect,
	&stabilityDialect,
}

func dialectNamed(segment string) *dialect {
	for _, d := range dialects {
		if d.segment == segment {
			return d
		}
	}
	return nil
}

// endpoint is what a path leads to. The zero endpoint is nothing.
type endpoint struct {
	format format // nil for the list of models, or one of them
	list   bool   // of models, or what stands in fixed
	fixed  string // an answer that is always the same, for callers that want to know whether their key is good
	name   string // of the model or the job in the path, if it has one
	stream bool   // the path itself asks for a stream
	job    jobStep
	// deployed says that name is a deployment, whatever model the body names.
	deployed bool
}

// format is how one operation is asked for and answered.
type format interface {
	// parse reads the body of a call. It keeps nothing of body.
	parse(h http.Header, body []byte) (request, *problem)
	// whole is an answer that is not streamed.
	whole(dst []byte, a *answer) []byte
}

// streamFormat is a format that can also be streamed, as whole server-sent events.
type streamFormat interface {
	format
	// piece is the part of a stream that comes next. What a kind of piece does not have in a format is empty.
	piece(dst []byte, a *answer, p piece) []byte
}

// piece is a part of a stream: one opening, a delta for each of the answer's tokens, a finish and an end. An error takes
// the place of all that would follow.
type piece struct {
	kind pieceKind
	i    int // of the token, for a delta
}

type pieceKind int

const (
	pieceOpen pieceKind = iota
	pieceDelta
	pieceFinish
	pieceEnd
	pieceBroken
)

// typed is a format whose whole answer is not JSON.
type typed interface {
	contentType(a *answer) string
}

// request is what the simulator wants to know of a call.
type request struct {
	model     string
	stream    bool
	wantUsage bool // the stream ends with its usage, where a vendor leaves the choice
	maxTokens int  // -1 for no limit
	prompt    int  // tokens
	tool      string
	inputs    int    // texts to embed or judge, documents to rank, pictures to make
	limit     int    // how many of them come back; dimensions of a vector
	encoding  string // the form that the answer's data is to have
	kind      string // what else decides the answer's form
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
	base    string        // address of the dialect, without a slash at the end, for the steps of a job
	job     *jobView      // for the steps of a job
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
	refusedJob
	refusalCount
)

// refusals are the names in the statistics. Those that a fault causes are named after it.
var refusals = [refusalCount]string{
	refusedInvalid: "invalid", refusedAuth: "auth", refusedPath: "path", refusedMethod: "method", refusedModel: "model",
	refusedTooLarge: "too-large", refusedContext: "context", refusedPolicy: "policy", refusedRate: "429",
	refusedQuota: "quota", refusedServer: "500", refusedUnavailable: "503", refusedOverloaded: "529",
	refusedJob: "job",
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
