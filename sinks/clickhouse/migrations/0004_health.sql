-- Why traffic went elsewhere: every change of an endpoint's share of calls by prediction, and of its circuit breaker.

CREATE TABLE IF NOT EXISTS health
(
    event_time     DateTime64(3, 'UTC') COMMENT 'When it was decided.' CODEC(Delta(8), ZSTD(1)),
    event_id       String COMMENT 'The same for the same change: an analyst that restarts may report its last one again.' CODEC(ZSTD(1)),
    kind           LowCardinality(String) COMMENT 'share (calls are withheld, or begin to come back) or breaker.',
    provider       LowCardinality(String) COMMENT 'Name of the provider in the configuration.',
    endpoint       LowCardinality(String) COMMENT 'Id of the endpoint.',
    region         LowCardinality(String) COMMENT 'Region of the endpoint.',
    source         LowCardinality(String) COMMENT 'Who decided: analyst for all workers, worker for itself.',
    instance       LowCardinality(String) COMMENT 'Process that decided.',
    applied        Bool COMMENT 'Whether calls follow it; false where prediction.mode is observe.',
    from_share     UInt8 COMMENT 'Percent of its calls that it got; of kind share.',
    to_share       UInt8 COMMENT 'Percent that it is heading for; of kind share.',
    from_state     LowCardinality(String) COMMENT 'State of the breaker before; of kind breaker.',
    to_state       LowCardinality(String) COMMENT 'State of the breaker: closed, open or half_open; of kind breaker.',
    probability    Float64 COMMENT 'Probability of failing within the next five minutes, 0 to 1; of kind share.' CODEC(ZSTD(1)),
    bad            Float64 COMMENT 'Share of calls without a whole answer, then; of kind share.' CODEC(ZSTD(1)),
    reasons        Array(String) COMMENT 'What spoke for it, the weightiest first.' CODEC(ZSTD(1)),
    src_topic      LowCardinality(String) COMMENT 'Topic of the event.',
    src_partition  UInt32 COMMENT 'Partition of the event.' CODEC(T64, ZSTD(1)),
    src_offset     UInt64 COMMENT 'Offset of the event.' CODEC(Delta(8), ZSTD(1)),
    INDEX ix_source src_offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(event_time)
ORDER BY (provider, endpoint, event_time)
SETTINGS non_replicated_deduplication_window = 100000;
