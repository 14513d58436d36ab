-- Facts: one row for each event, with the place in Kafka that it came from, so that exactly-once can be proven and repaired.
-- Every table and every target of a view needs its own deduplication window: a repeated insert with the same token is dropped
-- only where the window remembers it. No column has a default that depends on the time of the insert.

CREATE TABLE IF NOT EXISTS requests
(
    event_time     DateTime64(3, 'UTC') COMMENT 'When the request was completed.' CODEC(Delta(8), ZSTD(1)),
    request_id     String COMMENT 'Chosen by the producer.' CODEC(ZSTD(1)),
    tenant         LowCardinality(String) COMMENT 'Who was served.',
    labels         Map(LowCardinality(String), String) COMMENT 'Team, project, user, key and other labels of the request.' CODEC(ZSTD(1)),
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
    attempts       UInt16 COMMENT 'Calls to providers.' CODEC(T64, ZSTD(1)),
    fallbacks      UInt16 COMMENT 'Calls that went to another target than the one before.' CODEC(T64, ZSTD(1)),
    queue_ms       UInt64 COMMENT 'From the request record to a worker, milliseconds.' CODEC(T64, ZSTD(1)),
    e2e_ms         UInt64 COMMENT 'From the request record to completion, milliseconds.' CODEC(T64, ZSTD(1)),
    handling_ms    UInt64 COMMENT 'From a worker taking it up to completion, milliseconds.' CODEC(T64, ZSTD(1)),
    cost_state     LowCardinality(String) COMMENT 'priced, estimated, unpriced or none.',
    config_version LowCardinality(String) COMMENT 'Configuration that was in force.',
    origin         String COMMENT 'topic/partition/offset of the request record.' CODEC(ZSTD(1)),
    src_topic      LowCardinality(String) COMMENT 'Topic of the event.',
    src_partition  UInt32 COMMENT 'Partition of the event.' CODEC(T64, ZSTD(1)),
    src_offset     UInt64 COMMENT 'Offset of the event.' CODEC(Delta(8), ZSTD(1)),
    INDEX ix_request request_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX ix_source src_offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(event_time)
ORDER BY (tenant, toStartOfHour(event_time), event_time)
SETTINGS non_replicated_deduplication_window = 100000;

CREATE TABLE IF NOT EXISTS attempts
(
    event_time     DateTime64(3, 'UTC') COMMENT 'When the call ended.' CODEC(Delta(8), ZSTD(1)),
    request_id     String COMMENT 'Request that the call was made for.' CODEC(ZSTD(1)),
    attempt        UInt16 COMMENT 'Number of the call, from 1.' CODEC(T64, ZSTD(1)),
    round          UInt16 COMMENT 'Trip through the retry topics, from 0.' CODEC(T64, ZSTD(1)),
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
    http_status    UInt16 COMMENT 'Status of the provider; 0: none came.' CODEC(ZSTD(1)),
    vendor_code    LowCardinality(String) COMMENT 'Error code of the provider.',
    retry_after_ms UInt64 COMMENT 'Pause that the provider asked for, milliseconds.' CODEC(T64, ZSTD(1)),
    latency_ms     UInt64 COMMENT 'Length of the call, milliseconds.' CODEC(T64, ZSTD(1)),
    first_token_ms UInt64 COMMENT 'Until the first piece of output, milliseconds; 0: none seen.' CODEC(T64, ZSTD(1)),
    max_gap_ms     UInt64 COMMENT 'Longest pause between pieces of a stream, milliseconds.' CODEC(T64, ZSTD(1)),
    input_tokens   UInt64 COMMENT 'All input tokens, cached ones included.' CODEC(T64, ZSTD(1)),
    cached_tokens  UInt64 COMMENT 'Input tokens read from the cache of the provider.' CODEC(T64, ZSTD(1)),
    output_tokens  UInt64 COMMENT 'All output tokens, reasoning included.' CODEC(T64, ZSTD(1)),
    worker         LowCardinality(String) COMMENT 'Worker that made the call.',
    src_topic      LowCardinality(String) COMMENT 'Topic of the event.',
    src_partition  UInt32 COMMENT 'Partition of the event.' CODEC(T64, ZSTD(1)),
    src_offset     UInt64 COMMENT 'Offset of the event.' CODEC(Delta(8), ZSTD(1)),
    INDEX ix_request request_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX ix_source src_offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(event_time)
ORDER BY (endpoint, toStartOfHour(event_time), event_time)
SETTINGS non_replicated_deduplication_window = 100000;

CREATE TABLE IF NOT EXISTS costs
(
    event_time     DateTime64(3, 'UTC') COMMENT 'When the request was completed; prices of this moment apply.' CODEC(Delta(8), ZSTD(1)),
    cost_id        String COMMENT 'Origin of the request record: one cost for each.' CODEC(ZSTD(1)),
    request_id     String COMMENT 'Request that was billed.' CODEC(ZSTD(1)),
    tenant         LowCardinality(String) COMMENT 'Who is billed.',
    labels         Map(LowCardinality(String), String) COMMENT 'Team, project, user, key and other labels of the request.' CODEC(ZSTD(1)),
    op             LowCardinality(String) COMMENT 'Operation, such as chat.',
    model          LowCardinality(String) COMMENT 'Model as requested.',
    provider       LowCardinality(String) COMMENT 'Provider that answered; empty when none did.',
    provider_model LowCardinality(String) COMMENT 'Model as the provider names it.',
    region         LowCardinality(String) COMMENT 'Region of the endpoint.',
    outcome        LowCardinality(String) COMMENT 'ok, or the class of the failure.',
    state          LowCardinality(String) COMMENT 'priced, estimated, unpriced or none. Unpriced is not zero: the price is unknown.',
    amount         Decimal(38, 12) COMMENT 'Exact amount; 0 where state is unpriced or none.' CODEC(ZSTD(1)),
    currency       LowCardinality(String) COMMENT 'ISO 4217; empty where nothing is priced.',
    input_tokens   UInt64 COMMENT 'All input tokens of all attempts.' CODEC(T64, ZSTD(1)),
    cache_read     UInt64 COMMENT 'Of these, read from a cache.' CODEC(T64, ZSTD(1)),
    cache_write    UInt64 COMMENT 'Of these, written to a cache.' CODEC(T64, ZSTD(1)),
    output_tokens  UInt64 COMMENT 'All output tokens of all attempts.' CODEC(T64, ZSTD(1)),
    attempts       UInt16 COMMENT 'Calls to providers.' CODEC(T64, ZSTD(1)),
    line_kind      Array(LowCardinality(String)) COMMENT 'For each billed attempt: usage or failed_attempt.' CODEC(ZSTD(1)),
    line_attempt   Array(UInt16) COMMENT 'For each billed attempt: its number.' CODEC(ZSTD(1)),
    line_provider  Array(LowCardinality(String)) COMMENT 'For each billed attempt: its provider.' CODEC(ZSTD(1)),
    line_model     Array(LowCardinality(String)) COMMENT 'For each billed attempt: its model.' CODEC(ZSTD(1)),
    line_state     Array(LowCardinality(String)) COMMENT 'For each billed attempt: priced, estimated or unpriced.' CODEC(ZSTD(1)),
    line_amount    Array(Decimal(38, 12)) COMMENT 'For each billed attempt: its amount.' CODEC(ZSTD(1)),
    line_price     Array(LowCardinality(String)) COMMENT 'For each billed attempt: row of the price book.' CODEC(ZSTD(1)),
    config_version LowCardinality(String) COMMENT 'Configuration that was in force.',
    src_topic      LowCardinality(String) COMMENT 'Topic of the event.',
    src_partition  UInt32 COMMENT 'Partition of the event.' CODEC(T64, ZSTD(1)),
    src_offset     UInt64 COMMENT 'Offset of the event.' CODEC(Delta(8), ZSTD(1)),
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
    seq            UInt64 COMMENT 'Place in the chain, from 0, without gaps.' CODEC(Delta(8), ZSTD(1)),
    event_time     DateTime64(6, 'UTC') COMMENT 'When it happened.' CODEC(Delta(8), ZSTD(1)),
    tenant         LowCardinality(String) COMMENT 'Whose request it was.',
    actor          String COMMENT 'Who acted.' CODEC(ZSTD(1)),
    action         LowCardinality(String) COMMENT 'What was done.',
    resource       String COMMENT 'Request id or other subject.' CODEC(ZSTD(1)),
    outcome        LowCardinality(String) COMMENT 'ok, or the class of the failure.',
    payload        String COMMENT 'The exact bytes that were hashed: the event as JSON.' CODEC(ZSTD(3)),
    prev_hash      FixedString(32) COMMENT 'Hash of the record before.' CODEC(NONE),
    hash           FixedString(32) COMMENT 'SHA-256 of prev_hash, chain (2 bytes), seq (8 bytes) and payload.' CODEC(NONE),
    src_topic      LowCardinality(String) COMMENT 'Topic of the event.',
    src_partition  UInt32 COMMENT 'Partition of the event.' CODEC(T64, ZSTD(1)),
    src_offset     UInt64 COMMENT 'Offset of the event.' CODEC(Delta(8), ZSTD(1)),
    INDEX ix_source src_offset TYPE minmax GRANULARITY 1,
    CONSTRAINT c_chain CHECK hash = SHA256(concat(prev_hash, reinterpretAsFixedString(byteSwap(toUInt16(chain))), reinterpretAsFixedString(byteSwap(seq)), payload))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(event_time)
ORDER BY (chain, seq)
SETTINGS non_replicated_deduplication_window = 100000;

CREATE TABLE IF NOT EXISTS metrics
(
    event_time     DateTime64(3, 'UTC') COMMENT 'When the sample was taken.' CODEC(Delta(8), ZSTD(1)),
    name           LowCardinality(String) COMMENT 'Name of the gauge.',
    endpoint       LowCardinality(String) COMMENT 'Endpoint or other subject.',
    worker         LowCardinality(String) COMMENT 'Process that took the sample.',
    value          Float64 COMMENT 'Value of the gauge.' CODEC(ZSTD(1)),
    src_topic      LowCardinality(String) COMMENT 'Topic of the event.',
    src_partition  UInt32 COMMENT 'Partition of the event.' CODEC(T64, ZSTD(1)),
    src_offset     UInt64 COMMENT 'Offset of the event.' CODEC(Delta(8), ZSTD(1)),
    INDEX ix_source src_offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(event_time)
ORDER BY (name, endpoint, worker, event_time)
SETTINGS non_replicated_deduplication_window = 100000;

CREATE TABLE IF NOT EXISTS dead_letters
(
    event_time     DateTime64(3, 'UTC') COMMENT 'When the gateway gave the record up.' CODEC(Delta(8), ZSTD(1)),
    reason         LowCardinality(String) COMMENT 'Why: a closed set of names.',
    detail         String COMMENT 'One line for people, without request content.' CODEC(ZSTD(1)),
    request_id     String COMMENT 'Request id where one was in the headers.' CODEC(ZSTD(1)),
    tenant         LowCardinality(String) COMMENT 'Tenant where one was in the headers.',
    origin         String COMMENT 'topic/partition/offset of the request record.' CODEC(ZSTD(1)),
    bytes          UInt64 COMMENT 'Size of the record value.' CODEC(T64, ZSTD(1)),
    src_topic      LowCardinality(String) COMMENT 'Topic of the event.',
    src_partition  UInt32 COMMENT 'Partition of the event.' CODEC(T64, ZSTD(1)),
    src_offset     UInt64 COMMENT 'Offset of the event.' CODEC(Delta(8), ZSTD(1)),
    INDEX ix_source src_offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(event_time)
ORDER BY (reason, event_time)
SETTINGS non_replicated_deduplication_window = 100000;
