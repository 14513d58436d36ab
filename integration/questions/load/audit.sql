INSERT INTO audit
SELECT n % 8 AS chain, intDiv(n, 8) AS seq, event_time, tenant, labels['user'], 'request.done', request_id, outcome,
       concat('{"id":"', request_id, '","time":"', toString(event_time), '","tenant":"', tenant, '","actor":"', labels['user'], '","action":"request.done","resource":"', request_id,
              '","outcome":"', outcome, '","request_hash":"', lower(hex(SHA256(request_id))), '","config_version":"c1","worker":"worker-', toString(n % 4), '"}') AS payload,
       if(seq = 0, toFixedString('', 32), SHA256(toString(n - 8))) AS prev_hash,
       SHA256(concat(prev_hash, reinterpretAsFixedString(byteSwap(toUInt16(chain))), reinterpretAsFixedString(byteSwap(seq)), payload)),
       'sira.events.audit', n % 8, intDiv(n, 8)
FROM ({traffic})
