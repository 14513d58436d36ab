// Package schemas holds the nouns of Sira: what is asked, what is answered,
// what it cost and what went wrong.
//
// The types are plain values with json and avro field names; the Avro contract
// itself is in schemas/avro. The package knows no transport and no vendor.
// Values are not safe for concurrent change.
package schemas

import "unicode/utf8"

// Names of Kafka record headers. They are part of the public contract.
const (
	HeaderID          = "sira-id"           // request id
	HeaderTenant      = "sira-tenant"       // tenant, read for fairness before the value is decoded
	HeaderLane        = "sira-lane"         // lane that a retried request belongs to
	HeaderDeadline    = "sira-deadline"     // unix milliseconds, decimal
	HeaderReplyTo     = "sira-reply-to"     // result topic, if allowed
	HeaderAttempt     = "sira-attempt"      // rounds already made, decimal
	HeaderNotBefore   = "sira-not-before"   // unix milliseconds, decimal
	HeaderOrigin      = "sira-origin"       // topic/partition/offset of the first record of this request
	HeaderHistory     = "sira-history"      // attempts of earlier rounds, JSON
	HeaderPending     = "sira-pending"      // the vendor's long job that the request waits for, JSON
	HeaderKey         = "sira-key"          // the record's own key, of a request that waits for its batch
	HeaderMembers     = "sira-members"      // claim check of the requests of a batch
	HeaderLooks       = "sira-looks"        // rounds that only waited for one, decimal
	HeaderDataRef     = "sira-dataref"      // claim check: where the value is
	HeaderTraceparent = "traceparent"       // W3C trace context
	HeaderTracestate  = "tracestate"        // what goes with it
	HeaderContentType = "content-type"      // application/json or application/vnd.sira.avro
	HeaderDeadReason  = "sira-dead-reason"  // a DeadReason
	HeaderDeadDetail  = "sira-dead-detail"  // one line for people, without request content
	HeaderDeadOrigin  = "sira-dead-origin"  // topic/partition/offset
	HeaderDeadTime    = "sira-dead-time"    // unix milliseconds, decimal
	HeaderDeadOmitted = "sira-dead-omitted" // what was too large for the letter: key, value, a number of headers
	HeaderDeadAttempt = "sira-dead-attempt" // rounds made before giving up
)

// ContentTypeJSON and ContentTypeAvro are the values of [HeaderContentType].
const (
	ContentTypeJSON = "application/json"
	ContentTypeAvro = "application/vnd.sira.avro"
)

// DeadReason says why a record is on the dead-letter topic. The set is closed:
// add, never rename.
type DeadReason string

// The reasons.
const (
	DeadUndecodable DeadReason = "undecodable"       // the bytes are no request in any known form
	DeadInvalid     DeadReason = "invalid"           // decoded, but not a request that could ever be answered
	DeadTooLarge    DeadReason = "too_large"         // over the size limit of the gateway
	DeadUnroutable  DeadReason = "unroutable"        // no route or model matches; worth a redrive after a change of configuration
	DeadExhausted   DeadReason = "retries_exhausted" // every round failed with something that may pass
	DeadPoison      DeadReason = "poison"            // handling it failed in the gateway itself
)

// Clip cuts s to at most limit bytes without splitting a character.
func Clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// Limits on what the gateway reads. All in bytes but where named.
const (
	MaxIDLength     = 200       // of a request id, tenant, model or label
	MaxLabels       = 32        // labels of one request
	ClaimCheckBytes = 256 << 10 // values above travel by reference
	MaxRequestBytes = 32 << 20  // of one request, also behind a claim check
)
