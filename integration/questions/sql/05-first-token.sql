-- How soon does each endpoint begin to answer, hour by hour, in the last day?
SELECT hour, endpoint, sum(first_n) AS streamed, arrayMap(q -> round(q), quantilesTDigestIfMerge(0.5, 0.9, 0.99)(first_token)) AS quantiles_ms
FROM calls_hourly
WHERE hour >= toStartOfHour(now()) - INTERVAL 1 DAY AND outcome = 'ok'
GROUP BY hour, endpoint
ORDER BY hour, endpoint

-- raw
SELECT toStartOfHour(event_time) AS hour, endpoint, countIf(first_token_ms > 0) AS streamed,
       arrayMap(q -> round(q), quantilesTDigestIf(0.5, 0.9, 0.99)(first_token_ms, first_token_ms > 0)) AS quantiles_ms
FROM attempts
WHERE event_time >= toStartOfHour(now()) - INTERVAL 1 DAY AND outcome = 'ok'
GROUP BY hour, endpoint
ORDER BY hour, endpoint
