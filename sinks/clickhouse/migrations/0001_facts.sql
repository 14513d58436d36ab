-- Facts: one row for each event, with the place in Kafka that it came from, so that exactly-once can be proven and repaired.
-- Every table and every target of a view needs its own deduplication window: a repeated insert with the same token is dropped
-- only where the window remembers it. No column has a default that depends on the time of the insert.

CREATE TABLE IF NOT EXISTS requests
(
    event_time     DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)) COMMENT 'When the request was completed.',
    request_id     String CODEC(ZSTD(1)) COMMENT 'Chosen by the producer.',
    tenant         LowCardinality(String) COMMENT 'Who was served.',
    labels         Map(LowCardinality(String), String) CODEC(ZSTD(1)) COMMENT 'Team, project, user, key and other labels of the request.',
    op             LowCardinality(String) COMMENT 'Operation, such as chat.',
    lane           LowCardinality(String) COMMENT 'Lane that the request came through.',
    model          LowCardinality(String) COMMENT 'Model as requested.',
    route          LowCardinality(String) COMMENT 'Routing rule that matched.',
    outcome        LowCardinality(String) COMMENT 'ok, or the class of the failure.',
    provider       LowCardinality(String) COMMENT 'Provider that answered; empty when none did.',
    provider_model LowCardinality(String) COMMENT 'Model as the provider names it.',
    endpoint       LowCardinality(String) COMMENT 'Endpoint that answered.',
    region         LowCardinality(String) COMMENT 'Region of the endpoint.',
    stream         Bool COMMENT 'Whether the answer was streamed.',
    attempts       UInt16 CODEC(T64, ZSTD(1)) COMMENT 'Calls to providers.',
    fallbacks      UInt16 CODEC(T64, ZSTD(1)) COMMENT 'Calls that went to another target than the one before.',
    queue_ms       UInt64 CODEC(T64, ZSTD(1)) COMMENT 'From the request record to a worker, milliseconds.',
    e2e_ms         UInt64 CODEC(T64, ZSTD(1)) COMMENT 'From the request record to completion, milliseconds.',
    handling_ms    UInt64 CODEC(T64, ZSTD(1)) COMMENT 'From a worker taking it up to completion, milliseconds.',
    cost_state     LowCardinality(String) COMMENT 'priced, estimated, unpriced or none.',
    config_version LowCardinality(String) COMMENT 'Configuration that was in force.',
    origin         String CODEC(ZSTD(1)) COMMENT 'topic/partition/offset of the request record.',
    src_topic      LowCardinality(String) COMMENT 'Topic of the event.',
    src_partition  UInt32 CODEC(T64, ZSTD(1)) COMMENT 'Partition of the event.',
    src_offset     UInt64 CODEC(Delta(8), ZSTD(1)) COMMENT 'Offset of the event.',
    INDEX ix_request request_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX ix_source src_offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(event_time)
ORDER BY (tenant, toStartOfHour(event_time), event_time)
SETTINGS non_replicated_deduplication_window = 100000;

CREATE TABLE IF NOT EXISTS attempts
(
    event_time     DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)) COMMENT 'When the call ended.',
    request_id     String CODEC(ZSTD(1)) COMMENT 'Request that the call was made for.',
    attempt        UInt16 CODEC(T64, ZSTD(1)) COMMENT 'Number of the call, from 1.',
    round          UInt16 CODEC(T64, ZSTD(1)) COMMENT 'Trip through the retry topics, from 0.',
    reason         LowCardinality(String) COMMENT 'first, retry or fallback.',
    tenant         LowCardinality(String) COMMENT 'Who was served.',
    op             LowCardinality(String) COMMENT 'Operation, such as chat.',
    model          LowCardinality(String) COMMENT 'Model as requested.',
    provider       LowCardinality(String) COMMENT 'Provider that was called.',
    provider_model LowCardinality(String) COMMENT 'Model as the provider names it.',
    endpoint       LowCardinality(String) COMMENT 'Endpoint that was called.',
    region         LowCardinality(String) COMMENT 'Region of the endpoint.',
    stream         Bool COMMENT 'Whether the answer was to be streamed.',
    outcome        LowCardinality(String) COMMENT 'ok, or the class of the failure.',
    phase          LowCardinality(String) COMMENT 'How far a failed call got.',
    http_status    UInt16 CODEC(ZSTD(1)) COMMENT 'Status of the provider; 0: none came.',
    vendor_code    LowCardinality(String) COMMENT 'Error code of the provider.',
    retry_after_ms UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Pause that the provider asked for, milliseconds.',
    latency_ms     UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Length of the call, milliseconds.',
    first_token_ms UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Until the first piece of output, milliseconds; 0: none seen.',
    max_gap_ms     UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Longest pause between pieces of a stream, milliseconds.',
    input_tokens   UInt64 CODEC(T64, ZSTD(1)) COMMENT 'All input tokens, cached ones included.',
    cached_tokens  UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Input tokens read from the cache of the provider.',
    output_tokens  UInt64 CODEC(T64, ZSTD(1)) COMMENT 'All output tokens, reasoning included.',
    worker         LowCardinality(String) COMMENT 'Worker that made the call.',
    src_topic      LowCardinality(String) COMMENT 'Topic of the event.',
    src_partition  UInt32 CODEC(T64, ZSTD(1)) COMMENT 'Partition of the event.',
    src_offset     UInt64 CODEC(Delta(8), ZSTD(1)) COMMENT 'Offset of the event.',
    INDEX ix_request request_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX ix_source src_offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(event_time)
ORDER BY (endpoint, toStartOfHour(event_time), event_time)
SETTINGS non_replicated_deduplication_window = 100000;

CREATE TABLE IF NOT EXISTS costs
(
    event_time     DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)) COMMENT 'When the request was completed; prices of this moment apply.',
    cost_id        String CODEC(ZSTD(1)) COMMENT 'Origin of the request record: one cost for each.',
    request_id     String CODEC(ZSTD(1)) COMMENT 'Request that was billed.',
    tenant         LowCardinality(String) COMMENT 'Who is billed.',
    labels         Map(LowCardinality(String), String) CODEC(ZSTD(1)) COMMENT 'Team, project, user, key and other labels of the request.',
    op             LowCardinality(String) COMMENT 'Operation, such as chat.',
    model          LowCardinality(String) COMMENT 'Model as requested.',
    provider       LowCardinality(String) COMMENT 'Provider that answered; empty when none did.',
    provider_model LowCardinality(String) COMMENT 'Model as the provider names it.',
    region         LowCardinality(String) COMMENT 'Region of the endpoint.',
    outcome        LowCardinality(String) COMMENT 'ok, or the class of the failure.',
    state          LowCardinality(String) COMMENT 'priced, estimated, unpriced or none. Unpriced is not zero: the price is unknown.',
    amount         Decimal(38, 12) CODEC(ZSTD(1)) COMMENT 'Exact amount of all priced lines.',
    currency       LowCardinality(String) COMMENT 'ISO 4217; empty where nothing is priced.',
    input_tokens   UInt64 CODEC(T64, ZSTD(1)) COMMENT 'All input tokens of all attempts.',
    cache_read     UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Of these, read from a cache.',
    cache_write    UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Of these, written to a cache.',
    output_tokens  UInt64 CODEC(T64, ZSTD(1)) COMMENT 'All output tokens of all attempts.',
    attempts       UInt16 CODEC(T64, ZSTD(1)) COMMENT 'Calls to providers.',
    line_kind      Array(LowCardinality(String)) CODEC(ZSTD(1)) COMMENT 'For each billed attempt: usage or failed_attempt.',
    line_attempt   Array(UInt16) CODEC(ZSTD(1)) COMMENT 'For each billed attempt: its number.',
    line_provider  Array(LowCardinality(String)) CODEC(ZSTD(1)) COMMENT 'For each billed attempt: its provider.',
    line_model     Array(LowCardinality(String)) CODEC(ZSTD(1)) COMMENT 'For each billed attempt: its model.',
    line_state     Array(LowCardinality(String)) CODEC(ZSTD(1)) COMMENT 'For each billed attempt: priced, estimated or unpriced.',
    line_amount    Array(Decimal(38, 12)) CODEC(ZSTD(1)) COMMENT 'For each billed attempt: its amount.',
    line_price     Array(LowCardinality(String)) CODEC(ZSTD(1)) COMMENT 'For each billed attempt: row of the price book.',
    config_version LowCardinality(String) COMMENT 'Configuration that was in force.',
    src_topic      LowCardinality(String) COMMENT 'Topic of the event.',
    src_partition  UInt32 CODEC(T64, ZSTD(1)) COMMENT 'Partition of the event.',
    src_offset     UInt64 CODEC(Delta(8), ZSTD(1)) COMMENT 'Offset of the event.',
    INDEX ix_request request_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX ix_source src_offset TYPE minmax GRANULARITY 1,
    CONSTRAINT c_currency CHECK length(currency) IN (0, 3)
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(event_time)
ORDER BY (tenant, toStartOfHour(event_time), event_time)
SETTINGS non_replicated_deduplication_window = 100000;

CREATE TABLE IF NOT EXISTS audit
(
    chain          UInt32 COMMENT 'Hash chain: the partition of the audit topic.',
    seq            UInt64 CODEC(Delta(8), ZSTD(1)) COMMENT 'Place in the chain, from 0, without gaps.',
    event_time     DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)) COMMENT 'When it happened.',
    tenant         LowCardinality(String) COMMENT 'Whose request it was.',
    actor          String CODEC(ZSTD(1)) COMMENT 'Who acted.',
    action         LowCardinality(String) COMMENT 'What was done.',
    resource       String CODEC(ZSTD(1)) COMMENT 'Request id or other subject.',
    outcome        LowCardinality(String) COMMENT 'ok, or the class of the failure.',
    payload        String CODEC(ZSTD(3)) COMMENT 'The exact bytes that were hashed: the event as JSON.',
    prev_hash      FixedString(32) CODEC(NONE) COMMENT 'Hash of the record before.',
    hash           FixedString(32) CODEC(NONE) COMMENT 'SHA-256 of prev_hash, chain (2 bytes), seq (8 bytes) and payload.',
    src_topic      LowCardinality(String) COMMENT 'Topic of the event.',
    src_partition  UInt32 CODEC(T64, ZSTD(1)) COMMENT 'Partition of the event.',
    src_offset     UInt64 CODEC(Delta(8), ZSTD(1)) COMMENT 'Offset of the event.',
    INDEX ix_source src_offset TYPE minmax GRANULARITY 1,
    CONSTRAINT c_chain CHECK hash = SHA256(concat(prev_hash, reinterpretAsFixedString(byteSwap(toUInt16(chain))), reinterpretAsFixedString(byteSwap(seq)), payload))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(event_time)
ORDER BY (chain, seq)
SETTINGS non_replicated_deduplication_window = 100000;

CREATE TABLE IF NOT EXISTS metrics
(
    event_time     DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)) COMMENT 'When the sample was taken.',
    name           LowCardinality(String) COMMENT 'Name of the gauge.',
    endpoint       LowCardinality(String) COMMENT 'Endpoint or other subject.',
    worker         LowCardinality(String) COMMENT 'Process that took the sample.',
    value          Float64 CODEC(ZSTD(1)) COMMENT 'Value of the gauge.',
    src_topic      LowCardinality(String) COMMENT 'Topic of the event.',
    src_partition  UInt32 CODEC(T64, ZSTD(1)) COMMENT 'Partition of the event.',
    src_offset     UInt64 CODEC(Delta(8), ZSTD(1)) COMMENT 'Offset of the event.',
    INDEX ix_source src_offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(event_time)
ORDER BY (name, endpoint, worker, event_time)
SETTINGS non_replicated_deduplication_window = 100000;

CREATE TABLE IF NOT EXISTS dead_letters
(
    event_time     DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)) COMMENT 'When the gateway gave the record up.',
    reason         LowCardinality(String) COMMENT 'Why: a closed set of names.',
    detail         String CODEC(ZSTD(1)) COMMENT 'One line for people, without request content.',
    request_id     String CODEC(ZSTD(1)) COMMENT 'Request id where one was in the headers.',
    tenant         LowCardinality(String) COMMENT 'Tenant where one was in the headers.',
    origin         String CODEC(ZSTD(1)) COMMENT 'topic/partition/offset of the request record.',
    bytes          UInt64 CODEC(T64, ZSTD(1)) COMMENT 'Size of the record value.',
    src_topic      LowCardinality(String) COMMENT 'Topic of the event.',
    src_partition  UInt32 CODEC(T64, ZSTD(1)) COMMENT 'Partition of the event.',
    src_offset     UInt64 CODEC(Delta(8), ZSTD(1)) COMMENT 'Offset of the event.',
    INDEX ix_source src_offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(event_time)
ORDER BY (reason, event_time)
SETTINGS non_replicated_deduplication_window = 100000;
