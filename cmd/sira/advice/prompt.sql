/* Keys with long inputs that read little of them from the cache of the provider, next to what the best tenth of keys
   of the same model reads from it. */
WITH prices AS (SELECT * FROM {prices}),
used AS
(
    SELECT tenant, key, provider, provider_model, currency, sum(s.requests) AS requests, sum(amount) AS spent,
           sum(s.input_tokens) AS input_tokens, sum(s.cache_read) / input_tokens AS cached
    FROM spend_daily AS s
    WHERE {days} AND state IN ('priced', 'estimated')
    GROUP BY tenant, key, provider, provider_model, currency
    HAVING requests >= 100 AND input_tokens > 0
),
reached AS (SELECT provider, provider_model, quantileExact(0.9)(cached) AS best, count() AS keys FROM used GROUP BY provider, provider_model)
SELECT 'prompt' AS kind, u.tenant AS tenant, concat('key ', u.key, ' on ', u.provider, '/', u.provider_model) AS subject, 'caching of prompts' AS instead,
       u.requests AS requests, u.currency AS currency, u.spent AS spent,
       toDecimal128(toUInt64(u.input_tokens * (r.best - u.cached)) * (p.input - p.cache_read), 12) AS saving,
       concat(toString(round(100 * u.cached, 1)), ' % of ', toString(u.input_tokens), ' tokens of input (', toString(round(u.input_tokens / u.requests)),
              ' a request) come from the cache; one in ten of the ', toString(r.keys), ' keys of this model reaches ', toString(round(100 * r.best, 1)),
              ' %. Put what is always the same first') AS evidence
FROM used AS u
INNER JOIN reached AS r ON r.provider = u.provider AND r.provider_model = u.provider_model
INNER JOIN prices AS p ON p.provider = u.provider AND p.model = u.provider_model AND p.currency = u.currency
WHERE u.input_tokens >= 1024 * u.requests AND r.best - u.cached >= 0.2 AND p.input > p.cache_read
ORDER BY saving DESC
