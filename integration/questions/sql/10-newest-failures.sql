-- Which are the fifty newest requests that failed, of whichever tenant?
SELECT event_time, request_id, tenant, model, outcome, attempts, e2e_ms
FROM recent_requests
WHERE outcome != 'ok'
ORDER BY event_time DESC
LIMIT 50

-- raw
SELECT event_time, request_id, tenant, model, outcome, attempts, e2e_ms
FROM requests
WHERE outcome != 'ok'
ORDER BY event_time DESC
LIMIT 50
