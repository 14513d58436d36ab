-- What share of the calls to each provider fails, and why, hour by hour, in the last three days?
SELECT hour, provider, sum(c.calls) AS calls, round(sumIf(c.calls, outcome != 'ok') / calls, 4) AS failing,
       sumIf(c.calls, outcome = 'rate_limited') AS rate_limited, sumIf(c.calls, outcome = 'timeout') AS timeouts
FROM calls_hourly AS c
WHERE hour >= toStartOfHour(now()) - INTERVAL 3 DAY
GROUP BY hour, provider
ORDER BY hour, provider

-- raw
SELECT toStartOfHour(event_time) AS hour, provider, count() AS calls, round(countIf(outcome != 'ok') / calls, 4) AS failing,
       countIf(outcome = 'rate_limited') AS rate_limited, countIf(outcome = 'timeout') AS timeouts
FROM attempts
WHERE event_time >= toStartOfHour(now()) - INTERVAL 3 DAY
GROUP BY hour, provider
ORDER BY hour, provider
