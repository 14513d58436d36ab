/* The same tokens at the price of each other configured model, cached ones at the full price of input. A model counts
   that answered a hundred calls of the period itself, no more than half a point less often and at most a tenth slower. */
WITH prices AS (SELECT * FROM {prices}),
used AS
(
    SELECT tenant, model, provider, provider_model, currency, sum(s.requests) AS requests, sum(amount) AS spent,
           sum(s.input_tokens) AS input_tokens, sum(s.output_tokens) AS output_tokens
    FROM spend_daily AS s
    WHERE {days} AND state IN ('priced', 'estimated')
    GROUP BY tenant, model, provider, provider_model, currency
    HAVING requests >= 100 AND spent > 0
),
seen AS
(
    SELECT provider, model, sum(c.calls) AS calls, sumIf(c.calls, outcome = 'ok') / calls AS answered,
           quantilesTDigestMergeIf(0.5, 0.9, 0.99)(latency, outcome = 'ok')[2] AS p90
    FROM calls_daily AS c
    WHERE {days_of_calls}
    GROUP BY provider, model
    HAVING calls >= 100
)
SELECT if(u.provider_model = p.model, 'route', 'model') AS kind, u.tenant AS tenant, concat(u.provider, '/', u.provider_model) AS subject,
       concat(p.provider, '/', p.model) AS instead, u.requests AS requests, u.currency AS currency, u.spent AS spent,
       toDecimal128(u.spent - u.input_tokens * p.input - u.output_tokens * p.output, 12) AS saving,
       concat('asked for as ', u.model, ': ', toString(u.input_tokens), ' tokens in, ', toString(u.output_tokens), ' out; answered ',
              toString(round(100 * a.answered, 1)), ' %, there ', toString(round(100 * b.answered, 1)), ' %; p90 ', toString(round(a.p90)), ' ms, there ',
              toString(round(b.p90)), ' ms of ', toString(b.calls), ' calls. Whether its answers are as good is for you to try on a share') AS evidence
FROM used AS u
INNER JOIN seen AS a ON a.provider = u.provider AND a.model = u.provider_model
INNER JOIN prices AS p ON p.currency = u.currency
INNER JOIN seen AS b ON b.provider = p.provider AND b.model = p.model
WHERE (p.provider, p.model) != (u.provider, u.provider_model) AND b.answered >= a.answered - 0.005 AND b.p90 <= 1.1 * a.p90
  AND p.input IS NOT NULL AND p.output IS NOT NULL AND (p.top = 0 OR u.input_tokens <= p.top * u.requests) AND saving * 10 >= u.spent
ORDER BY saving DESC
LIMIT 1 BY tenant, u.model, subject, currency
