-- What do a thousand tokens of output cost, by model and day, in the last two weeks?
SELECT day, provider, provider_model, currency, sum(s.output_tokens) AS output_tokens,
       round(toFloat64(sum(amount)) / output_tokens * 1000, 6) AS per_thousand
FROM spend_daily AS s
WHERE day >= toDate(now()) - 14 AND state IN ('priced', 'estimated')
GROUP BY day, provider, provider_model, currency
ORDER BY day, provider, provider_model, currency

-- raw
SELECT toDate(event_time) AS day, provider, provider_model, currency, sum(l.output_tokens) AS output_tokens,
       round(toFloat64(sum(amount)) / output_tokens * 1000, 6) AS per_thousand
FROM ledger_entries AS l
WHERE event_time >= toDate(now()) - 14 AND state IN ('priced', 'estimated')
GROUP BY day, provider, provider_model, currency
ORDER BY day, provider, provider_model, currency
