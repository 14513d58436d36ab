-- What each billed attempt used, so that a cost can be priced again to the last digit. Rows from before have none.

ALTER TABLE costs
    ADD COLUMN IF NOT EXISTS line_usage Array(String) COMMENT 'For each billed attempt: all that was used, as JSON; empty where the totals of the row are all. No entries: not recorded.' CODEC(ZSTD(1)) AFTER line_price;

CREATE OR REPLACE VIEW ledger AS
SELECT c.event_time AS event_time, c.cost_id AS cost_id, c.request_id AS request_id, c.tenant AS tenant, c.labels AS labels, c.op AS op,
       c.model AS model, c.provider AS provider, c.provider_model AS provider_model, c.region AS region, c.outcome AS outcome,
       if(a.n = 0, c.state, a.state) AS state,
       if(a.n = 0, c.currency, a.currency) AS currency,
       if(a.n = 0, c.amount, if(c.currency = a.currency, c.amount, toDecimal128(0, 12)) + a.amounts[a.currency]) AS amount,
       toUInt32(a.n) AS adjustments, c.state AS booked_state, c.amount AS booked_amount, c.currency AS booked_currency,
       c.input_tokens AS input_tokens, c.cache_read AS cache_read, c.cache_write AS cache_write, c.output_tokens AS output_tokens,
       c.line_kind AS line_kind, c.line_attempt AS line_attempt, c.line_provider AS line_provider, c.line_model AS line_model,
       c.line_state AS line_state, c.line_amount AS line_amount, c.line_price AS line_price, c.line_usage AS line_usage
FROM costs AS c
LEFT JOIN
(
    SELECT cost_id, max(adjustments.seq) AS n, argMax(adjustments.state, adjustments.seq) AS state,
           argMax(adjustments.currency_after, adjustments.seq) AS currency,
           sumMap(map(toString(adjustments.currency), adjustments.amount)) AS amounts
    FROM adjustments FINAL
    GROUP BY cost_id
) AS a ON c.cost_id = a.cost_id;
