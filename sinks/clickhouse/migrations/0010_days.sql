-- Rollups by hour and by day with states of quantiles, a narrow list of requests beside the wide table, and views with
-- names that stay.
--
-- The tables may be full, and recorders may be writing. Inserts are refused while the views are made; recorders try again.
-- Rows from before are told apart by their offsets: the views leave them out, so that a batch which a recorder repeats
-- is not counted again, and the fill below takes them and nothing else. A topic that is made anew counts from 0; its
-- events are younger than starts_at. A fill is one block with a token, so that it may be repeated. Where a table was empty,
-- a row of the topic '' says that its starts are settled: whoever comes later does not take for old what the views counted.

CREATE TABLE IF NOT EXISTS rollup_starts
(
    source        LowCardinality(String) COMMENT 'Table that rollups are made of.',
    src_topic     LowCardinality(String) COMMENT 'Topic of its events.',
    src_partition UInt32 COMMENT 'Partition of its events.',
    src_offset    UInt64 COMMENT 'First offset that the views count. What is below was there before them.',
    starts_at     DateTime64(3, 'UTC') COMMENT 'When the views were made.'
)
ENGINE = MergeTree
ORDER BY (source, src_topic, src_partition)
SETTINGS non_replicated_deduplication_window = 1000;

CREATE TABLE IF NOT EXISTS costs_1d
(
    day            Date COMMENT 'Day, UTC.' CODEC(DoubleDelta, ZSTD(1)),
    tenant         LowCardinality(String) COMMENT 'Who is billed.',
    team           LowCardinality(String) COMMENT 'Label team.',
    project        LowCardinality(String) COMMENT 'Label project.',
    key            LowCardinality(String) COMMENT 'Label key.',
    model          LowCardinality(String) COMMENT 'Model as requested.',
    provider       LowCardinality(String) COMMENT 'Provider that answered.',
    provider_model LowCardinality(String) COMMENT 'Model as the provider names it.',
    currency       LowCardinality(String) COMMENT 'ISO 4217.',
    state          LowCardinality(String) COMMENT 'priced, estimated, unpriced or none.',
    n              SimpleAggregateFunction(sum, UInt64) COMMENT 'Requests.',
    amount         SimpleAggregateFunction(sum, Decimal(38, 12)) COMMENT 'Exact amount.',
    input_tokens   SimpleAggregateFunction(sum, UInt64) COMMENT 'Input tokens.',
    cache_read     SimpleAggregateFunction(sum, UInt64) COMMENT 'Of these, read from a cache.',
    cache_write    SimpleAggregateFunction(sum, UInt64) COMMENT 'Of these, written to a cache.',
    output_tokens  SimpleAggregateFunction(sum, UInt64) COMMENT 'Output tokens.'
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (tenant, day, team, project, key, model, provider, provider_model, currency, state)
SETTINGS non_replicated_deduplication_window = 100000;

CREATE TABLE IF NOT EXISTS attempts_1h
(
    hour          DateTime('UTC') COMMENT 'Start of the hour.' CODEC(DoubleDelta, ZSTD(1)),
    endpoint      LowCardinality(String) COMMENT 'Endpoint that was called.',
    provider      LowCardinality(String) COMMENT 'Provider that was called.',
    model         LowCardinality(String) COMMENT 'Model as the provider names it.',
    outcome       LowCardinality(String) COMMENT 'ok, or the class of the failure.',
    n             SimpleAggregateFunction(sum, UInt64) COMMENT 'Calls.',
    again         SimpleAggregateFunction(sum, UInt64) COMMENT 'Of these, retries and fallbacks.',
    latency_sum   SimpleAggregateFunction(sum, UInt64) COMMENT 'Sum of latencies, milliseconds.',
    latency       AggregateFunction(quantilesTDigest(0.5, 0.9, 0.99), UInt64) COMMENT 'Quantiles of the latency, milliseconds.' CODEC(ZSTD(1)),
    first_n       SimpleAggregateFunction(sum, UInt64) COMMENT 'Calls whose first piece of output was seen.',
    first_token   AggregateFunction(quantilesTDigestIf(0.5, 0.9, 0.99), UInt64, UInt8) COMMENT 'Quantiles of the time until then, milliseconds.' CODEC(ZSTD(1)),
    input_tokens  SimpleAggregateFunction(sum, UInt64) COMMENT 'Input tokens, cached ones included.',
    cached_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Of these, read from the cache of the provider.',
    output_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Output tokens.'
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (endpoint, hour, provider, model, outcome)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 100000;

CREATE TABLE IF NOT EXISTS attempts_1d
(
    day           Date COMMENT 'Day, UTC.' CODEC(DoubleDelta, ZSTD(1)),
    endpoint      LowCardinality(String) COMMENT 'Endpoint that was called.',
    provider      LowCardinality(String) COMMENT 'Provider that was called.',
    model         LowCardinality(String) COMMENT 'Model as the provider names it.',
    outcome       LowCardinality(String) COMMENT 'ok, or the class of the failure.',
    n             SimpleAggregateFunction(sum, UInt64) COMMENT 'Calls.',
    again         SimpleAggregateFunction(sum, UInt64) COMMENT 'Of these, retries and fallbacks.',
    latency_sum   SimpleAggregateFunction(sum, UInt64) COMMENT 'Sum of latencies, milliseconds.',
    latency       AggregateFunction(quantilesTDigest(0.5, 0.9, 0.99), UInt64) COMMENT 'Quantiles of the latency, milliseconds.' CODEC(ZSTD(1)),
    first_n       SimpleAggregateFunction(sum, UInt64) COMMENT 'Calls whose first piece of output was seen.',
    first_token   AggregateFunction(quantilesTDigestIf(0.5, 0.9, 0.99), UInt64, UInt8) COMMENT 'Quantiles of the time until then, milliseconds.' CODEC(ZSTD(1)),
    input_tokens  SimpleAggregateFunction(sum, UInt64) COMMENT 'Input tokens, cached ones included.',
    cached_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Of these, read from the cache of the provider.',
    output_tokens SimpleAggregateFunction(sum, UInt64) COMMENT 'Output tokens.'
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (endpoint, day, provider, model, outcome)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 100000;

CREATE TABLE IF NOT EXISTS requests_1d
(
    day       Date COMMENT 'Day, UTC.' CODEC(DoubleDelta, ZSTD(1)),
    tenant    LowCardinality(String) COMMENT 'Who was served.',
    model     LowCardinality(String) COMMENT 'Model as requested.',
    outcome   LowCardinality(String) COMMENT 'ok, or the class of the failure.',
    n         SimpleAggregateFunction(sum, UInt64) COMMENT 'Requests.',
    streamed  SimpleAggregateFunction(sum, UInt64) COMMENT 'Of these, streamed.',
    again     SimpleAggregateFunction(sum, UInt64) COMMENT 'Of these, answered or given up after more than one call.',
    attempts  SimpleAggregateFunction(sum, UInt64) COMMENT 'Calls to providers.',
    fallbacks SimpleAggregateFunction(sum, UInt64) COMMENT 'Calls that went to another target than the one before.',
    queue_sum SimpleAggregateFunction(sum, UInt64) COMMENT 'Sum of the times from the request record to a worker, milliseconds.',
    e2e_sum   SimpleAggregateFunction(sum, UInt64) COMMENT 'Sum of end-to-end times, milliseconds.',
    e2e       AggregateFunction(quantilesTDigest(0.5, 0.9, 0.99), UInt64) COMMENT 'Quantiles of the end-to-end time, milliseconds.' CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (tenant, day, model, outcome)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 100000;

-- Quantiles of all tenants together: states of thousands of tenants take long to merge.
CREATE TABLE IF NOT EXISTS requests_models_1d
(
    day       Date COMMENT 'Day, UTC.' CODEC(DoubleDelta, ZSTD(1)),
    model     LowCardinality(String) COMMENT 'Model as requested.',
    outcome   LowCardinality(String) COMMENT 'ok, or the class of the failure.',
    n         SimpleAggregateFunction(sum, UInt64) COMMENT 'Requests.',
    e2e_sum   SimpleAggregateFunction(sum, UInt64) COMMENT 'Sum of end-to-end times, milliseconds.',
    e2e       AggregateFunction(quantilesTDigest(0.5, 0.9, 0.99), UInt64) COMMENT 'Quantiles of the end-to-end time, milliseconds.' CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (day, model, outcome)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 100000;

-- Of all tenants, in the order of time: the newest are read without a look at the rest.
CREATE TABLE IF NOT EXISTS requests_list
(
    event_time    DateTime64(3, 'UTC') COMMENT 'When the request was completed.' CODEC(Delta(8), ZSTD(1)),
    request_id    String COMMENT 'Chosen by the producer.' CODEC(ZSTD(1)),
    tenant        LowCardinality(String) COMMENT 'Who was served.',
    model         LowCardinality(String) COMMENT 'Model as requested.',
    outcome       LowCardinality(String) COMMENT 'ok, or the class of the failure.',
    endpoint      LowCardinality(String) COMMENT 'Endpoint that answered.',
    attempts      UInt16 COMMENT 'Calls to providers.' CODEC(T64, ZSTD(1)),
    e2e_ms        UInt64 COMMENT 'From the request record to completion, milliseconds.' CODEC(T64, ZSTD(1)),
    src_topic     LowCardinality(String) COMMENT 'Topic of the event.',
    src_partition UInt32 COMMENT 'Partition of the event.' CODEC(T64, ZSTD(1)),
    src_offset    UInt64 COMMENT 'Offset of the event.' CODEC(Delta(8), ZSTD(1)),
    INDEX ix_outcome outcome TYPE set(32) GRANULARITY 1,
    INDEX ix_tenant tenant TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(event_time)
ORDER BY event_time
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 100000;

CREATE MATERIALIZED VIEW IF NOT EXISTS requests_models_1d_mv TO requests_models_1d AS
SELECT day, model, outcome, sum(requests_1d.n) AS n, sum(requests_1d.e2e_sum) AS e2e_sum, quantilesTDigestMergeState(0.5, 0.9, 0.99)(requests_1d.e2e) AS e2e
FROM requests_1d
GROUP BY day, model, outcome;

CREATE MATERIALIZED VIEW IF NOT EXISTS attempts_1d_mv TO attempts_1d AS
SELECT toDate(hour) AS day, endpoint, provider, model, outcome, sum(attempts_1h.n) AS n, sum(attempts_1h.again) AS again,
       sum(attempts_1h.latency_sum) AS latency_sum, quantilesTDigestMergeState(0.5, 0.9, 0.99)(attempts_1h.latency) AS latency,
       sum(attempts_1h.first_n) AS first_n, quantilesTDigestIfMergeState(0.5, 0.9, 0.99)(attempts_1h.first_token) AS first_token,
       sum(attempts_1h.input_tokens) AS input_tokens, sum(attempts_1h.cached_tokens) AS cached_tokens, sum(attempts_1h.output_tokens) AS output_tokens
FROM attempts_1h
GROUP BY day, endpoint, provider, model, outcome;

ALTER TABLE costs ADD CONSTRAINT IF NOT EXISTS c_paused CHECK src_offset != src_offset;

INSERT INTO rollup_starts
SELECT 'costs', topic, partition, max(next), now64(3)
FROM (SELECT src_topic AS topic, src_partition AS partition, src_offset + 1 AS next FROM costs UNION ALL SELECT '', 0, 0)
WHERE (SELECT count() FROM rollup_starts WHERE source = 'costs') = 0
GROUP BY topic, partition
SETTINGS insert_deduplication_token = 'costs', max_insert_threads = 1, min_insert_block_size_rows = 1000000000, min_insert_block_size_bytes = 0, max_partitions_per_insert_block = 0;

CREATE MATERIALIZED VIEW IF NOT EXISTS costs_1d_mv TO costs_1d AS
WITH (SELECT mapFromArrays(groupArray(concat(src_topic, '/', toString(src_partition))), groupArray(src_offset)) FROM rollup_starts WHERE source = 'costs') AS starts,
     (SELECT max(starts_at) FROM rollup_starts WHERE source = 'costs') AS starting
SELECT toDate(event_time) AS day, tenant, labels['team'] AS team, labels['project'] AS project, labels['key'] AS key, model, provider, provider_model, currency, state,
       count() AS n, sum(costs.amount) AS amount, sum(costs.input_tokens) AS input_tokens, sum(costs.cache_read) AS cache_read,
       sum(costs.cache_write) AS cache_write, sum(costs.output_tokens) AS output_tokens
FROM costs
WHERE NOT (costs.event_time < starting AND costs.src_offset < starts[concat(costs.src_topic, '/', toString(costs.src_partition))])
GROUP BY day, tenant, team, project, key, model, provider, provider_model, currency, state;

ALTER TABLE costs DROP CONSTRAINT IF EXISTS c_paused;

INSERT INTO costs_1d
WITH (SELECT mapFromArrays(groupArray(concat(src_topic, '/', toString(src_partition))), groupArray(src_offset)) FROM rollup_starts WHERE source = 'costs') AS starts,
     (SELECT max(starts_at) FROM rollup_starts WHERE source = 'costs') AS starting
SELECT toDate(event_time) AS day, tenant, labels['team'] AS team, labels['project'] AS project, labels['key'] AS key, model, provider, provider_model, currency, state,
       count() AS n, sum(costs.amount) AS amount, sum(costs.input_tokens) AS input_tokens, sum(costs.cache_read) AS cache_read,
       sum(costs.cache_write) AS cache_write, sum(costs.output_tokens) AS output_tokens
FROM costs
WHERE (costs.event_time < starting AND costs.src_offset < starts[concat(costs.src_topic, '/', toString(costs.src_partition))])
GROUP BY day, tenant, team, project, key, model, provider, provider_model, currency, state
SETTINGS insert_deduplication_token = 'costs_1d', deduplicate_blocks_in_dependent_materialized_views = 1, max_insert_threads = 1, min_insert_block_size_rows = 1000000000, min_insert_block_size_bytes = 0, max_partitions_per_insert_block = 0;

ALTER TABLE attempts ADD CONSTRAINT IF NOT EXISTS c_paused CHECK src_offset != src_offset;

INSERT INTO rollup_starts
SELECT 'attempts', topic, partition, max(next), now64(3)
FROM (SELECT src_topic AS topic, src_partition AS partition, src_offset + 1 AS next FROM attempts UNION ALL SELECT '', 0, 0)
WHERE (SELECT count() FROM rollup_starts WHERE source = 'attempts') = 0
GROUP BY topic, partition
SETTINGS insert_deduplication_token = 'attempts', max_insert_threads = 1, min_insert_block_size_rows = 1000000000, min_insert_block_size_bytes = 0, max_partitions_per_insert_block = 0;

CREATE MATERIALIZED VIEW IF NOT EXISTS attempts_1h_mv TO attempts_1h AS
WITH (SELECT mapFromArrays(groupArray(concat(src_topic, '/', toString(src_partition))), groupArray(src_offset)) FROM rollup_starts WHERE source = 'attempts') AS starts,
     (SELECT max(starts_at) FROM rollup_starts WHERE source = 'attempts') AS starting
SELECT toStartOfHour(event_time) AS hour, endpoint, provider, provider_model AS model, outcome,
       count() AS n, countIf(attempt > 1) AS again, sum(latency_ms) AS latency_sum, quantilesTDigestState(0.5, 0.9, 0.99)(latency_ms) AS latency,
       countIf(first_token_ms > 0) AS first_n, quantilesTDigestIfState(0.5, 0.9, 0.99)(first_token_ms, first_token_ms > 0) AS first_token,
       sum(attempts.input_tokens) AS input_tokens, sum(attempts.cached_tokens) AS cached_tokens, sum(attempts.output_tokens) AS output_tokens
FROM attempts
WHERE NOT (attempts.event_time < starting AND attempts.src_offset < starts[concat(attempts.src_topic, '/', toString(attempts.src_partition))])
GROUP BY hour, endpoint, provider, model, outcome;

ALTER TABLE attempts DROP CONSTRAINT IF EXISTS c_paused;

INSERT INTO attempts_1h
WITH (SELECT mapFromArrays(groupArray(concat(src_topic, '/', toString(src_partition))), groupArray(src_offset)) FROM rollup_starts WHERE source = 'attempts') AS starts,
     (SELECT max(starts_at) FROM rollup_starts WHERE source = 'attempts') AS starting
SELECT toStartOfHour(event_time) AS hour, endpoint, provider, provider_model AS model, outcome,
       count() AS n, countIf(attempt > 1) AS again, sum(latency_ms) AS latency_sum, quantilesTDigestState(0.5, 0.9, 0.99)(latency_ms) AS latency,
       countIf(first_token_ms > 0) AS first_n, quantilesTDigestIfState(0.5, 0.9, 0.99)(first_token_ms, first_token_ms > 0) AS first_token,
       sum(attempts.input_tokens) AS input_tokens, sum(attempts.cached_tokens) AS cached_tokens, sum(attempts.output_tokens) AS output_tokens
FROM attempts
WHERE (attempts.event_time < starting AND attempts.src_offset < starts[concat(attempts.src_topic, '/', toString(attempts.src_partition))])
GROUP BY hour, endpoint, provider, model, outcome
SETTINGS insert_deduplication_token = 'attempts_1h', deduplicate_blocks_in_dependent_materialized_views = 1, max_insert_threads = 1, min_insert_block_size_rows = 1000000000, min_insert_block_size_bytes = 0, max_partitions_per_insert_block = 0;

ALTER TABLE requests ADD CONSTRAINT IF NOT EXISTS c_paused CHECK src_offset != src_offset;

INSERT INTO rollup_starts
SELECT 'requests', topic, partition, max(next), now64(3)
FROM (SELECT src_topic AS topic, src_partition AS partition, src_offset + 1 AS next FROM requests UNION ALL SELECT '', 0, 0)
WHERE (SELECT count() FROM rollup_starts WHERE source = 'requests') = 0
GROUP BY topic, partition
SETTINGS insert_deduplication_token = 'requests', max_insert_threads = 1, min_insert_block_size_rows = 1000000000, min_insert_block_size_bytes = 0, max_partitions_per_insert_block = 0;

CREATE MATERIALIZED VIEW IF NOT EXISTS requests_1d_mv TO requests_1d AS
WITH (SELECT mapFromArrays(groupArray(concat(src_topic, '/', toString(src_partition))), groupArray(src_offset)) FROM rollup_starts WHERE source = 'requests') AS starts,
     (SELECT max(starts_at) FROM rollup_starts WHERE source = 'requests') AS starting
SELECT toDate(event_time) AS day, tenant, model, outcome, count() AS n, countIf(stream) AS streamed, countIf(requests.attempts > 1) AS again,
       sum(requests.attempts) AS attempts, sum(requests.fallbacks) AS fallbacks, sum(queue_ms) AS queue_sum, sum(e2e_ms) AS e2e_sum,
       quantilesTDigestState(0.5, 0.9, 0.99)(e2e_ms) AS e2e
FROM requests
WHERE NOT (requests.event_time < starting AND requests.src_offset < starts[concat(requests.src_topic, '/', toString(requests.src_partition))])
GROUP BY day, tenant, model, outcome;

CREATE MATERIALIZED VIEW IF NOT EXISTS requests_list_mv TO requests_list AS
WITH (SELECT mapFromArrays(groupArray(concat(src_topic, '/', toString(src_partition))), groupArray(src_offset)) FROM rollup_starts WHERE source = 'requests') AS starts,
     (SELECT max(starts_at) FROM rollup_starts WHERE source = 'requests') AS starting
SELECT event_time, request_id, tenant, model, outcome, endpoint, attempts, e2e_ms, src_topic, src_partition, src_offset
FROM requests
WHERE NOT (requests.event_time < starting AND requests.src_offset < starts[concat(requests.src_topic, '/', toString(requests.src_partition))]);

ALTER TABLE requests DROP CONSTRAINT IF EXISTS c_paused;

INSERT INTO requests_1d
WITH (SELECT mapFromArrays(groupArray(concat(src_topic, '/', toString(src_partition))), groupArray(src_offset)) FROM rollup_starts WHERE source = 'requests') AS starts,
     (SELECT max(starts_at) FROM rollup_starts WHERE source = 'requests') AS starting
SELECT toDate(event_time) AS day, tenant, model, outcome, count() AS n, countIf(stream) AS streamed, countIf(requests.attempts > 1) AS again,
       sum(requests.attempts) AS attempts, sum(requests.fallbacks) AS fallbacks, sum(queue_ms) AS queue_sum, sum(e2e_ms) AS e2e_sum,
       quantilesTDigestState(0.5, 0.9, 0.99)(e2e_ms) AS e2e
FROM requests
WHERE (requests.event_time < starting AND requests.src_offset < starts[concat(requests.src_topic, '/', toString(requests.src_partition))])
GROUP BY day, tenant, model, outcome
SETTINGS insert_deduplication_token = 'requests_1d', deduplicate_blocks_in_dependent_materialized_views = 1, max_insert_threads = 1, min_insert_block_size_rows = 1000000000, min_insert_block_size_bytes = 0, max_partitions_per_insert_block = 0;

INSERT INTO requests_list
WITH (SELECT mapFromArrays(groupArray(concat(src_topic, '/', toString(src_partition))), groupArray(src_offset)) FROM rollup_starts WHERE source = 'requests') AS starts,
     (SELECT max(starts_at) FROM rollup_starts WHERE source = 'requests') AS starting
SELECT event_time, request_id, tenant, model, outcome, endpoint, attempts, e2e_ms, src_topic, src_partition, src_offset
FROM requests
WHERE (requests.event_time < starting AND requests.src_offset < starts[concat(requests.src_topic, '/', toString(requests.src_partition))]) AND (src_topic, src_partition, src_offset) NOT IN (SELECT src_topic, src_partition, src_offset FROM requests_list)
SETTINGS insert_deduplicate = 0, max_partitions_per_insert_block = 0;

-- The interface for reports: tables behind it may change, names and columns stay.

CREATE VIEW IF NOT EXISTS spend_daily AS
(
SELECT day, tenant, team, project, key, model, provider, provider_model, currency, state,
       n AS requests, amount, input_tokens, cache_read, cache_write, output_tokens
FROM costs_1d
UNION ALL
SELECT toDate(event_time) AS day, tenant, labels['team'] AS team, labels['project'] AS project, labels['key'] AS key, model, provider, provider_model, currency, state,
       toUInt64(0) AS requests, amount, toUInt64(0) AS input_tokens, toUInt64(0) AS cache_read, toUInt64(0) AS cache_write, toUInt64(0) AS output_tokens
FROM adjustments FINAL
)
COMMENT 'What was spent, by day, with all adjustments: sum(amount), sum(requests) and the tokens.';

CREATE VIEW IF NOT EXISTS calls_hourly AS
(
SELECT hour, endpoint, provider, model, outcome, n AS calls, again, latency_sum, latency, first_n, first_token, input_tokens, cached_tokens, output_tokens
FROM attempts_1h
)
COMMENT 'Calls to providers, by hour: sum(calls), and quantilesTDigestMerge(0.5, 0.9, 0.99)(latency).';

CREATE VIEW IF NOT EXISTS calls_daily AS
(
SELECT day, endpoint, provider, model, outcome, n AS calls, again, latency_sum, latency, first_n, first_token, input_tokens, cached_tokens, output_tokens
FROM attempts_1d
)
COMMENT 'Calls to providers, by day: sum(calls), and quantilesTDigestIfMerge(0.5, 0.9, 0.99)(first_token).';

CREATE VIEW IF NOT EXISTS requests_daily AS
(
SELECT day, tenant, model, outcome, n AS requests, streamed, again, attempts, fallbacks, queue_sum, e2e_sum, e2e
FROM requests_1d
)
COMMENT 'Requests, by day: sum(requests), and quantilesTDigestMerge(0.5, 0.9, 0.99)(e2e).';

CREATE VIEW IF NOT EXISTS models_daily AS
(
SELECT day, model, outcome, n AS requests, e2e_sum, e2e
FROM requests_models_1d
)
COMMENT 'Requests of all tenants, by day: sum(requests), and quantilesTDigestMerge(0.5, 0.9, 0.99)(e2e).';

CREATE VIEW IF NOT EXISTS recent_requests AS
(
SELECT event_time, request_id, tenant, model, outcome, endpoint, attempts, e2e_ms
FROM requests_list
)
COMMENT 'One row for each request, for lists: the newest are found at once.';
