-- What the owners of budgets decided.

CREATE TABLE IF NOT EXISTS budget_events
(
    event_time     DateTime64(3, 'UTC') COMMENT 'When it was decided.' CODEC(Delta(8), ZSTD(1)),
    budget         LowCardinality(String) COMMENT 'Id of the budget.',
    seq            UInt64 COMMENT 'Number of the decision about this budget, from 1, without gaps.' CODEC(Delta(8), ZSTD(1)),
    tenant         LowCardinality(String) COMMENT 'Tenant that the budget is for; empty for all together.',
    mode           LowCardinality(String) COMMENT 'hard, soft or shadow.',
    decision       LowCardinality(String) COMMENT 'granted, over (granted beyond the limit), refused, settled or expired.',
    cost_id        String COMMENT 'Request that it was about: its cost in the table costs.' CODEC(ZSTD(1)),
    amount         Decimal(38, 12) COMMENT 'What is set aside, given back, or what the request cost.' CODEC(ZSTD(1)),
    currency       LowCardinality(String) COMMENT 'ISO 4217.',
    window_start   DateTime64(3, 'UTC') COMMENT 'Start of the window that the amount counts in.' CODEC(Delta(8), ZSTD(1)),
    window_limit   Decimal(38, 12) COMMENT 'Limit of the window.' CODEC(ZSTD(1)),
    spent          Decimal(38, 12) COMMENT 'Settled in the present window, after the decision.' CODEC(ZSTD(1)),
    reserved       Decimal(38, 12) COMMENT 'Set aside, after the decision.' CODEC(ZSTD(1)),
    warning        UInt8 COMMENT 'Percentage of the limit that was passed by this decision for the first time in the window; 0: none.' CODEC(T64, ZSTD(1)),
    src_topic      LowCardinality(String) COMMENT 'Topic of the event.',
    src_partition  UInt32 COMMENT 'Partition of the event.' CODEC(T64, ZSTD(1)),
    src_offset     UInt64 COMMENT 'Offset of the event.' CODEC(Delta(8), ZSTD(1)),
    INDEX ix_source src_offset TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(event_time)
ORDER BY (budget, event_time, seq)
SETTINGS non_replicated_deduplication_window = 100000;
