-- How long do answers take, by model and day, in the last two weeks?
SELECT day, model, sum(r.requests) AS requests, arrayMap(q -> round(q), quantilesTDigestMerge(0.5, 0.9, 0.99)(e2e)) AS quantiles_ms
FROM models_daily AS r
WHERE day >= toDate(now()) - 14 AND outcome = 'ok'
GROUP BY day, model
ORDER BY day, model

-- raw
SELECT toDate(event_time) AS day, model, count() AS requests, arrayMap(q -> round(q), quantilesTDigest(0.5, 0.9, 0.99)(e2e_ms)) AS quantiles_ms
FROM requests
WHERE event_time >= toDate(now()) - 14 AND outcome = 'ok'
GROUP BY day, model
ORDER BY day, model
