INSERT INTO requests
SELECT event_time, request_id, tenant, labels, 'chat', 'standard', model, 'default', outcome, if(ok, provider, ''), if(ok, model, ''), if(ok, endpoint, ''), if(ok, region, ''),
       stream, attempts, if(attempts > 1 AND luck % 3 = 0, 1, 0), queue_ms, queue_ms + latency_ms * attempts, latency_ms * attempts,
       multiIf(NOT ok, 'none', unpriced, 'unpriced', 'priced'), 'c1', concat('sira.requests.standard/', toString(n % 8), '/', toString(intDiv(n, 8))),
       'sira.results', n % 8, intDiv(n, 8)
FROM ({traffic})
