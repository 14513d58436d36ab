-- Rollups that materialized views keep up to date. Sums and histograms merge exactly, so any coarser question can be asked of them.
-- A latency histogram counts calls in buckets floor(8*log2(ms+1)), about 9 % wide, capped at 255.

CREATE TABLE IF NOT EXISTS attempts_1m
(
    minute        DateTime('UTC') COMMENT 'Start of the minute.' CODEC(DoubleDelta, ZSTD(1)),
    endpoint      LowCardinality(String) COMMENT 'Endpoint that was called.',
    provider      LowCardinality(String) COMMENT 'Provider that was called.',
    model         LowCardinality(String) COMMENT 'Model as the provider names it.',
    outcome       LowCardinality(String) COMMENT 'ok, or the class of the failure.',
    n             SimpleAggregateFunction(sum, UInt64) COMMENT 'Calls.',
    latency_sum   SimpleAggregateFunction(sum, UInt64) COMMENT 'Sum of latencies, milliseconds.',
    latency_max   SimpleAggregateFunction(max, UInt64) COMMENT 'Longest call, milliseconds.',
    latency_hist  SimpleAggregateFunction(sumMap, Map(UInt8, UInt64)) COMMENT 'Calls for each latency bucket.',
    input_tokens  SimpleAggregateFunction(sum, UInt64) COMMENT 'Input tokens.',
    output_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Output tokens.'
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (endpoint, provider, model, outcome, minute)
SETTINGS non_replicated_deduplication_window = 100000;

CREATE MATERIALIZED VIEW IF NOT EXISTS attempts_1m_mv TO attempts_1m AS
SELECT toStartOfMinute(event_time) AS minute, endpoint, provider, provider_model AS model, outcome,
       count() AS n, sum(attempts.latency_ms) AS latency_sum, max(attempts.latency_ms) AS latency_max,
       sumMap(map(toUInt8(least(255, floor(8 * log2(attempts.latency_ms + 1)))), toUInt64(1))) AS latency_hist,
       sum(attempts.input_tokens) AS input_tokens, sum(attempts.output_tokens) AS output_tokens
FROM attempts
GROUP BY minute, endpoint, provider, model, outcome;

CREATE TABLE IF NOT EXISTS costs_1h
(
    hour          DateTime('UTC') COMMENT 'Start of the hour.' CODEC(DoubleDelta, ZSTD(1)),
    tenant        LowCardinality(String) COMMENT 'Who is billed.',
    provider      LowCardinality(String) COMMENT 'Provider that answered.',
    model         LowCardinality(String) COMMENT 'Model as requested.',
    currency      LowCardinality(String) COMMENT 'ISO 4217.',
    state         LowCardinality(String) COMMENT 'priced, estimated, unpriced or none.',
    n             SimpleAggregateFunction(sum, UInt64) COMMENT 'Requests.',
    amount        SimpleAggregateFunction(sum, Decimal(38, 12)) COMMENT 'Exact amount.',
    input_tokens  SimpleAggregateFunction(sum, UInt64) COMMENT 'Input tokens.',
    output_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Output tokens.'
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (tenant, provider, model, currency, state, hour)
SETTINGS non_replicated_deduplication_window = 100000;

CREATE MATERIALIZED VIEW IF NOT EXISTS costs_1h_mv TO costs_1h AS
SELECT toStartOfHour(event_time) AS hour, tenant, provider, model, currency, state,
       count() AS n, sum(costs.amount) AS amount, sum(costs.input_tokens) AS input_tokens, sum(costs.output_tokens) AS output_tokens
FROM costs
GROUP BY hour, tenant, provider, model, currency, state;

CREATE TABLE IF NOT EXISTS requests_1h
(
    hour     DateTime('UTC') COMMENT 'Start of the hour.' CODEC(DoubleDelta, ZSTD(1)),
    tenant   LowCardinality(String) COMMENT 'Who was served.',
    model    LowCardinality(String) COMMENT 'Model as requested.',
    outcome  LowCardinality(String) COMMENT 'ok, or the class of the failure.',
    n        SimpleAggregateFunction(sum, UInt64) COMMENT 'Requests.',
    e2e_sum  SimpleAggregateFunction(sum, UInt64) COMMENT 'Sum of end-to-end times, milliseconds.',
    e2e_hist SimpleAggregateFunction(sumMap, Map(UInt8, UInt64)) COMMENT 'Requests for each bucket of end-to-end time.'
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (tenant, model, outcome, hour)
SETTINGS non_replicated_deduplication_window = 100000;

CREATE MATERIALIZED VIEW IF NOT EXISTS requests_1h_mv TO requests_1h AS
SELECT toStartOfHour(event_time) AS hour, tenant, model, outcome, count() AS n, sum(requests.e2e_ms) AS e2e_sum,
       sumMap(map(toUInt8(least(255, floor(8 * log2(requests.e2e_ms + 1)))), toUInt64(1))) AS e2e_hist
FROM requests
GROUP BY hour, tenant, model, outcome;
