INSERT INTO costs
SELECT event_time, concat('sira.requests.standard/', toString(n % 8), '/', toString(intDiv(n, 8))), request_id, tenant, labels, 'chat', model, if(ok, provider, ''), if(ok, model, ''), if(ok, region, ''),
       outcome, multiIf(NOT ok, 'none', unpriced, 'unpriced', 'priced') AS state, amount, if(state = 'priced', 'USD', ''),
       if(ok, input_tokens, 0), cached_tokens, 0, output_tokens, attempts,
       if(ok, ['usage'], []), if(ok, [attempts], []), if(ok, [provider], []), if(ok, [model], []), if(ok, [state], []), if(ok, [amount], []),
       if(state = 'priced', [concat(provider, '/', model, '@2026-07-24')], if(ok, [''], [])), if(ok, [''], []), 'c1', 'sira.events.costs', n % 8, intDiv(n, 8)
FROM ({traffic})
