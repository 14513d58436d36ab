-- What share of their input do the twenty largest tenants read from providers' caches, in the last two weeks?
SELECT tenant, sum(s.input_tokens) AS input_tokens, round(sum(cache_read) / input_tokens, 4) AS cached
FROM spend_daily AS s
WHERE day >= toDate(now()) - 14
GROUP BY tenant
ORDER BY input_tokens DESC, tenant
LIMIT 20

-- raw
SELECT tenant, sum(c.input_tokens) AS input_tokens, round(sum(cache_read) / input_tokens, 4) AS cached
FROM costs AS c
WHERE event_time >= toDate(now()) - 14
GROUP BY tenant
ORDER BY input_tokens DESC, tenant
LIMIT 20
