-- What has a tenant to charge to its teams and projects this month, and how much of it is not priced yet?
SELECT team, project, model, currency, sum(amount) AS spent, sum(s.requests) AS requests, sumIf(s.requests, state = 'unpriced') AS unpriced
FROM spend_daily AS s
WHERE tenant = 'tenant-7' AND day >= toStartOfMonth(now())
GROUP BY team, project, model, currency
ORDER BY spent DESC, team, project, model

-- raw
SELECT labels['team'] AS team, labels['project'] AS project, model, currency, sum(amount) AS spent,
       countIf(kind = 'usage') AS requests, countIf(kind = 'usage' AND state = 'unpriced') AS unpriced
FROM ledger_entries
WHERE tenant = 'tenant-7' AND event_time >= toStartOfMonth(now())
GROUP BY team, project, model, currency
ORDER BY spent DESC, team, project, model
