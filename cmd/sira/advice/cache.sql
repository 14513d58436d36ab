/* Request records of a tenant that are equal byte for byte: each but one of them could be answered from a cache. It is
   the least that can be: requests that differ in an id of their own or in a time are not seen to be equal. */
WITH asked AS
(
    SELECT tenant, resource AS request_id, any(JSONExtractString(payload, 'request_hash')) AS hash
    FROM audit
    WHERE {times} AND outcome = 'ok' AND action = 'request.completed'
    GROUP BY tenant, request_id
    HAVING hash != ''
),
again AS (SELECT tenant, hash FROM asked GROUP BY tenant, hash HAVING count() > 1),
paid AS
(
    SELECT tenant, request_id, model, currency, sum(costs.amount) AS paid
    FROM costs
    WHERE {times} AND amount > 0
    GROUP BY tenant, request_id, model, currency
)
SELECT 'cache' AS kind, tenant, model AS subject, 'a cache of answers' AS instead, sum(n) AS requests, currency, sum(of_hash) AS spent,
       toDecimal128(sum(of_hash - of_hash / n), 12) AS saving,
       concat(toString(sum(n - 1)), ' of ', toString(requests), ' requests repeat one of ', toString(count()), ' byte for byte') AS evidence
FROM
(
    SELECT a.tenant AS tenant, p.model AS model, p.currency AS currency, a.hash AS hash, count() AS n, sum(p.paid) AS of_hash
    FROM (SELECT * FROM asked WHERE (tenant, hash) IN (SELECT tenant, hash FROM again)) AS a
    INNER JOIN paid AS p ON p.tenant = a.tenant AND p.request_id = a.request_id
    GROUP BY tenant, model, currency, hash
    HAVING n > 1
)
GROUP BY tenant, model, currency
ORDER BY saving DESC
