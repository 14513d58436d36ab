/* What was paid on lanes on which requests may wait for a day, to vendors that do batches for less, and not streamed. */
WITH prices AS (SELECT * FROM {prices}),
slow AS
(
    SELECT tenant, provider, provider_model, currency, count() AS requests, sum(costs.amount) AS spent
    FROM costs
    WHERE {times} AND amount > 0 AND arrayElement(splitByChar('/', cost_id), 1) IN ({topics})
      AND NOT arrayExists(price -> endsWith(price, ':batch'), line_price)
      AND request_id NOT IN (SELECT request_id FROM requests WHERE {times} AND stream AND lane IN ({lanes}))
    GROUP BY tenant, provider, provider_model, currency
)
SELECT 'batch' AS kind, s.tenant AS tenant, concat(s.provider, '/', s.provider_model) AS subject, 'mode: batch' AS instead, s.requests AS requests,
       s.currency AS currency, s.spent AS spent, toDecimal128(s.spent * (1 - p.batch), 12) AS saving,
       concat(toString(s.requests), ' requests were on a lane that may wait for a day and were not streamed; a batch costs ', toString(p.batch), ' of the price') AS evidence
FROM slow AS s
INNER JOIN prices AS p ON p.provider = s.provider AND p.model = s.provider_model AND p.currency = s.currency
WHERE p.batch < 1
ORDER BY saving DESC
