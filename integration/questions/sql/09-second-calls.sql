-- How many requests need more than one call, by model and day, in the last two weeks, and are they answered then?
SELECT day, model, sum(r.requests) AS requests, round(sum(again) / requests, 4) AS again_share,
       round(sumIf(again, outcome = 'ok') / sum(again), 4) AS rescued, round(sum(r.fallbacks) / requests, 4) AS fallbacks_each
FROM requests_daily AS r
WHERE day >= toDate(now()) - 14
GROUP BY day, model
ORDER BY day, model

-- raw
SELECT toDate(event_time) AS day, model, count() AS requests, round(countIf(attempts > 1) / requests, 4) AS again_share,
       round(countIf(attempts > 1 AND outcome = 'ok') / countIf(attempts > 1), 4) AS rescued, round(sum(fallbacks) / requests, 4) AS fallbacks_each
FROM requests
WHERE event_time >= toDate(now()) - 14
GROUP BY day, model
ORDER BY day, model
