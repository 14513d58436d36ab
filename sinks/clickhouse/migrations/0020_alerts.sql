-- Alerts: what people were told of, and what they wanted to hear nothing of.

CREATE TABLE IF NOT EXISTS alerts
(
    since        DateTime64(3, 'UTC') COMMENT 'When the condition was first seen. With rule and alert_id it names the alert; the newest row of it counts (FINAL).' CODEC(Delta(8), ZSTD(1)),
    rule         LowCardinality(String) COMMENT 'Name of the rule in the configuration.',
    alert_id     String COMMENT 'Of rule and labels: the same for the same trouble.' CODEC(ZSTD(1)),
    kind         LowCardinality(String) COMMENT 'Kind of the rule: burn, anomaly, budget, forecast or self.',
    severity     LowCardinality(String) COMMENT 'page or ticket.',
    labels       Map(LowCardinality(String), String) COMMENT 'What it is about, such as model, tenant or budget.' CODEC(ZSTD(1)),
    state        LowCardinality(String) COMMENT 'pending, firing, resolved, or dropped (over before it had lasted long enough to tell).',
    level        Int32 COMMENT 'How bad it is, within its rule; receivers are told again when it rises.' CODEC(ZSTD(1)),
    value        Float64 COMMENT 'What was measured last.' CODEC(ZSTD(1)),
    threshold    Float64 COMMENT 'What it is compared with.' CODEC(ZSTD(1)),
    summary      String COMMENT 'What people are told, one sentence.' CODEC(ZSTD(1)),
    runbook      String COMMENT 'Address with what to do.' CODEC(ZSTD(1)),
    seen_at      DateTime64(3, 'UTC') COMMENT 'When the condition was seen last; a minute old at most while it fires.' CODEC(Delta(8), ZSTD(1)),
    fired_at     DateTime64(3, 'UTC') COMMENT 'When it had lasted long enough; 1970: not yet.' CODEC(Delta(8), ZSTD(1)),
    resolved_at  DateTime64(3, 'UTC') COMMENT 'When it was over; 1970: not yet.' CODEC(Delta(8), ZSTD(1)),
    told_state   Map(String, String) COMMENT 'For each receiver: what it was told last, firing or resolved.' CODEC(ZSTD(1)),
    told_level   Map(String, Int32) COMMENT 'For each receiver: the level that it was told.' CODEC(ZSTD(1)),
    told_at      Map(String, DateTime64(3, 'UTC')) COMMENT 'For each receiver: when it was told.' CODEC(ZSTD(1)),
    written_at   DateTime64(6, 'UTC') COMMENT 'When this row was written.' CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(written_at)
PARTITION BY toYYYYMM(since)
ORDER BY (rule, alert_id, since);

CREATE TABLE IF NOT EXISTS alert_silences
(
    silence_id  String COMMENT 'Name of the silence; the newest row of it counts (FINAL).' CODEC(ZSTD(1)),
    matchers    Array(String) COMMENT 'All of them must match: name=value, name!=value, name=~regexp or name!~regexp.' CODEC(ZSTD(1)),
    from_time   DateTime64(3, 'UTC') COMMENT 'When it begins.' CODEC(Delta(8), ZSTD(1)),
    until_time  DateTime64(3, 'UTC') COMMENT 'When it ends.' CODEC(Delta(8), ZSTD(1)),
    author      String COMMENT 'Who asked for it.' CODEC(ZSTD(1)),
    comment     String COMMENT 'Why, in the words of who did it.' CODEC(ZSTD(1)),
    written_at  DateTime64(6, 'UTC') COMMENT 'When this row was written.' CODEC(Delta(8), ZSTD(1))
)
ENGINE = ReplacingMergeTree(written_at)
ORDER BY silence_id;
