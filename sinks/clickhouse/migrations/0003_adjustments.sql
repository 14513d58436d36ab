-- The ledger after corrections. What was booked is never edited: a price that was fixed, or that came late, adds entries.

CREATE TABLE IF NOT EXISTS adjustments
(
    event_time     DateTime64(3, 'UTC') COMMENT 'When the adjusted request was completed: the adjustment belongs to that period.' CODEC(Delta(8), ZSTD(1)),
    cost_id        String COMMENT 'Cost that is adjusted.' CODEC(ZSTD(1)),
    seq            UInt32 COMMENT 'Number of the adjustment of this cost, from 1. With cost_id and currency it is the key: the same adjustment written twice is one.' CODEC(T64, ZSTD(1)),
    request_id     String COMMENT 'Request that was billed.' CODEC(ZSTD(1)),
    tenant         LowCardinality(String) COMMENT 'Who is billed.',
    labels         Map(LowCardinality(String), String) COMMENT 'Labels of the request.' CODEC(ZSTD(1)),
    model          LowCardinality(String) COMMENT 'Model as requested.',
    provider       LowCardinality(String) COMMENT 'Provider that answered.',
    provider_model LowCardinality(String) COMMENT 'Model as the provider names it.',
    kind           LowCardinality(String) COMMENT 'price (a price was fixed), priced (a price arrived) or settled (an estimate became final).',
    state_before   LowCardinality(String) COMMENT 'State until now.',
    state          LowCardinality(String) COMMENT 'State from now on: priced, estimated, unpriced or none.',
    amount         Decimal(38, 12) COMMENT 'What is added to the ledger in this currency; may be negative.' CODEC(ZSTD(1)),
    currency       LowCardinality(String) COMMENT 'ISO 4217; empty where only the state changes.',
    currency_after LowCardinality(String) COMMENT 'Currency of the cost from now on.',
    line_price     Array(LowCardinality(String)) COMMENT 'For each billed attempt: row of the price book that applies now.' CODEC(ZSTD(1)),
    book           LowCardinality(String) COMMENT 'First 12 hex digits of the SHA-256 of the price book that was used.',
    reason         LowCardinality(String) COMMENT 'Why, in the words of who did it.',
    booked_at      DateTime64(3, 'UTC') COMMENT 'When the adjustment was made.' CODEC(Delta(8), ZSTD(1)),
    CONSTRAINT c_currency CHECK length(currency) IN (0, 3)
)
ENGINE = ReplacingMergeTree(booked_at)
PARTITION BY toYYYYMM(event_time)
ORDER BY (tenant, event_time, cost_id, seq, currency)
SETTINGS non_replicated_deduplication_window = 100000;

-- Lines of providers' invoices, as they were imported.
CREATE TABLE IF NOT EXISTS invoices
(
    provider      LowCardinality(String) COMMENT 'Who sent the invoice.',
    invoice       String COMMENT 'Number of the invoice.' CODEC(ZSTD(1)),
    line          UInt32 COMMENT 'Line of the invoice, from 1. An invoice imported twice is one.' CODEC(T64, ZSTD(1)),
    period_from   Date COMMENT 'First day that the invoice is for.',
    period_to     Date COMMENT 'Day after the last that the invoice is for.',
    model         LowCardinality(String) COMMENT 'Model as the provider names it.',
    currency      LowCardinality(String) COMMENT 'ISO 4217.',
    amount        Decimal(38, 12) COMMENT 'What the provider asks for.' CODEC(ZSTD(1)),
    input_tokens  UInt64 COMMENT 'Input tokens that the provider counted; 0: not said.' CODEC(T64, ZSTD(1)),
    output_tokens UInt64 COMMENT 'Output tokens that the provider counted; 0: not said.' CODEC(T64, ZSTD(1)),
    file_hash     String COMMENT 'SHA-256 of the imported file, hex.' CODEC(ZSTD(1)),
    imported_at   DateTime64(3, 'UTC') COMMENT 'When it was imported.' CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(imported_at)
ORDER BY (provider, invoice, line)
SETTINGS non_replicated_deduplication_window = 100000;

-- Every entry: what was booked and what was added later. Sums over it are the adjusted ledger. Tokens are those of the first entry.
CREATE VIEW IF NOT EXISTS ledger_entries AS
SELECT event_time, cost_id, request_id, tenant, labels, model, provider, provider_model, 'usage' AS kind, toUInt32(0) AS seq, state, amount, currency,
       input_tokens, output_tokens, event_time AS booked_at, src_topic, src_partition, src_offset
FROM costs
UNION ALL
SELECT event_time, cost_id, request_id, tenant, labels, model, provider, provider_model, kind, seq, state, amount, currency,
       toUInt64(0) AS input_tokens, toUInt64(0) AS output_tokens, booked_at, '' AS src_topic, toUInt32(0) AS src_partition, toUInt64(0) AS src_offset
FROM adjustments FINAL;

-- One row for each request: its cost as it stands now, beside what was booked first.
CREATE VIEW IF NOT EXISTS ledger AS
SELECT c.event_time AS event_time, c.cost_id AS cost_id, c.request_id AS request_id, c.tenant AS tenant, c.labels AS labels, c.op AS op,
       c.model AS model, c.provider AS provider, c.provider_model AS provider_model, c.region AS region, c.outcome AS outcome,
       if(a.n = 0, c.state, a.state) AS state,
       if(a.n = 0, c.currency, a.currency) AS currency,
       if(a.n = 0, c.amount, if(c.currency = a.currency, c.amount, toDecimal128(0, 12)) + a.amounts[a.currency]) AS amount,
       toUInt32(a.n) AS adjustments, c.state AS booked_state, c.amount AS booked_amount, c.currency AS booked_currency,
       c.input_tokens AS input_tokens, c.cache_read AS cache_read, c.cache_write AS cache_write, c.output_tokens AS output_tokens,
       c.line_kind AS line_kind, c.line_attempt AS line_attempt, c.line_provider AS line_provider, c.line_model AS line_model,
       c.line_state AS line_state, c.line_amount AS line_amount, c.line_price AS line_price, CAST([], 'Array(String)') AS line_usage
FROM costs AS c
LEFT JOIN
(
    SELECT cost_id, max(adjustments.seq) AS n, argMax(adjustments.state, adjustments.seq) AS state,
           argMax(adjustments.currency_after, adjustments.seq) AS currency,
           sumMap(map(toString(adjustments.currency), adjustments.amount)) AS amounts
    FROM adjustments FINAL
    GROUP BY cost_id
) AS a ON c.cost_id = a.cost_id;
