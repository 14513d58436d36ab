INSERT INTO attempts
SELECT event_time, request_id, attempt, 0, if(attempt = 1, 'first', if(luck % 3 = 0, 'fallback', 'retry')), tenant, 'chat', model, provider, model, endpoint, region, stream,
       if(attempt = attempts, outcome, 'overloaded') AS how, if(how = 'ok', '', 'headers'),
       multiIf(how = 'ok', 200, how = 'rate_limited', 429, how = 'timeout', 0, how = 'overloaded', 529, 400), multiIf(how = 'rate_limited', 'rate_limit_exceeded', how = 'overloaded', 'overloaded_error', ''),
       if(how = 'rate_limited', 1000, 0), if(how = outcome, latency_ms, 40 + luck), if(how = 'ok' AND stream, first_token_ms, 0), if(how = 'ok' AND stream, 20 + luck % 200, 0),
       if(how = 'ok', input_tokens, 0), if(how = 'ok', cached_tokens, 0), output_tokens * (how = 'ok'), concat('worker-', toString(n % 4)),
       'sira.events.attempts', n % 8, intDiv(n, 8) * 3 + attempt - 1
FROM ({traffic})
ARRAY JOIN range(1, attempts + 1) AS attempt
