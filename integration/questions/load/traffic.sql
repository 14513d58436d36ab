-- One row for each request of a made-up gateway: 200 tenants of very different sizes, 8 keys each, six models at four
-- providers, more traffic by day than at night. Everything follows from the number of the request, so that a load is the
-- same every time. {first}, {count} and {total} are numbers of requests, {end} is the moment of the last.
SELECT number AS n,
       sipHash64(n, 1) / 18446744073709551616. AS u1, sipHash64(n, 2) / 18446744073709551616. AS u2,
       sipHash64(n, 3) / 18446744073709551616. AS u3, sipHash64(n, 4) / 18446744073709551616. AS u4,
       -- Sums of even numbers between 0 and 1 stand for draws from a bell curve.
       (sipHash64(n, 5) % 1000 + sipHash64(n, 6) % 1000 + sipHash64(n, 7) % 1000 + sipHash64(n, 8) % 1000 - 1998) / 577 AS z1,
       (sipHash64(n, 9) % 1000 + sipHash64(n, 10) % 1000 + sipHash64(n, 11) % 1000 + sipHash64(n, 12) % 1000 - 1998) / 577 AS z2,
       14. * n / {total} AS linear,
       -- The hour of the day is bent, so that four times as many come at noon as at midnight.
       addMilliseconds(toDateTime64('{end}', 3, 'UTC'), toInt64((linear + 0.095 * sin(2 * pi() * linear) - 14) * 86400000) - 1) AS event_time,
       toUInt16(200 * pow(u1, 2.5)) AS tenant_n, concat('tenant-', toString(tenant_n)) AS tenant, toUInt8(8 * pow(u2, 1.5)) AS key_n,
       map('team', concat('team-', toString(key_n % 3)), 'project', concat('project-', toString(key_n % 5)),
           'user', concat('user-', toString(sipHash64(n, 13) % 60)), 'key', concat(tenant, '-key-', toString(key_n))) AS labels,
       least(5, toUInt8(6 * pow((u2 * 8 + tenant_n * 0.37) - floor(u2 * 8 + tenant_n * 0.37), 1.4))) AS model_n,
       ['gpt-5-mini', 'claude-haiku-4-5', 'gpt-5', 'gemini-2.5-flash', 'claude-sonnet-4-5', 'gpt-4o'][model_n + 1] AS model,
       ['openai', 'anthropic', 'openai', 'google', 'anthropic', 'azure'][model_n + 1] AS provider,
       ['eu', 'us', 'asia'][1 + toUInt8(3 * pow(u3, 2))] AS region, concat(provider, '-', region) AS endpoint,
       -- Millionths of a dollar for a million tokens are exact in whole numbers.
       [250000, 1000000, 1250000, 300000, 3000000, 2500000][model_n + 1] AS price_in,
       [2000000, 5000000, 10000000, 2500000, 15000000, 10000000][model_n + 1] AS price_out,
       multiIf(u4 < 0.968, 'ok', u4 < 0.980, 'rate_limited', u4 < 0.988, 'timeout', u4 < 0.993, 'overloaded', u4 < 0.997, 'invalid_request', 'content_filtered') AS outcome,
       outcome = 'ok' AS ok, sipHash64(n, 14) % 1000 AS luck,
       toUInt16(multiIf(outcome IN ('invalid_request', 'content_filtered'), 1, NOT ok, 3, luck < 30, 2, luck < 36, 3, 1)) AS attempts,
       sipHash64(n, 15) % 10 < 6 AS stream,
       toUInt64(exp(6.4 + 1.2 * z1)) AS input_tokens, if(ok, toUInt64(exp(5.1 + 0.9 * z2)), 0) AS output_tokens,
       if(ok AND key_n % 3 = 0 AND luck % 2 = 0, intDiv(input_tokens * 7, 10), 0) AS cached_tokens,
       if(ok, toUInt64(exp(5.9 + 0.45 * z1)), 0) AS first_token_ms,
       if(ok, first_token_ms + output_tokens * (6 + model_n * 3), toUInt64(60 + exp(7 + z2))) AS latency_ms,
       toUInt64(3 + exp(2.5 + z2)) AS queue_ms, lower(hex(sipHash128(n, 16))) AS request_id,
       u4 > 0.965 AND ok AS unpriced,
       toDecimal128(if(ok AND NOT unpriced, (input_tokens - cached_tokens) * price_in + intDiv(cached_tokens * price_in, 10) + output_tokens * price_out, 0), 12) / 1000000000000 AS amount
FROM numbers({first}, {count})
