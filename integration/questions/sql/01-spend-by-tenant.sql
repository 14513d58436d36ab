-- What did each tenant spend, day by day, in the last two weeks?
SELECT day, tenant, currency, sum(amount) AS spent, sum(s.requests) AS requests
FROM spend_daily AS s
WHERE day >= toDate(now()) - 14
GROUP BY day, tenant, currency
ORDER BY day, tenant, currency

-- raw
SELECT toDate(event_time) AS day, tenant, currency, sum(amount) AS spent, countIf(kind = 'usage') AS requests
FROM ledger_entries
WHERE event_time >= toDate(now()) - 14
GROUP BY day, tenant, currency
ORDER BY day, tenant, currency
