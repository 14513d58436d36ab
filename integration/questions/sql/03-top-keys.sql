-- Which twenty keys spent most in the last seven days?
SELECT tenant, key, currency, sum(amount) AS spent, sum(s.output_tokens) AS output_tokens
FROM spend_daily AS s
WHERE day >= toDate(now()) - 7
GROUP BY tenant, key, currency
ORDER BY spent DESC, key
LIMIT 20

-- raw
SELECT tenant, labels['key'] AS key, currency, sum(amount) AS spent, sum(l.output_tokens) AS output_tokens
FROM ledger_entries AS l
WHERE event_time >= toDate(now()) - 7
GROUP BY tenant, key, currency
ORDER BY spent DESC, key
LIMIT 20
