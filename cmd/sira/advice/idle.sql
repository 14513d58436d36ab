/* Keys that were in use in the half year before and are not any more. They cost nothing; whoever finds one can spend with it. */
SELECT 'idle' AS kind, tenant, concat('key ', key) AS subject, 'withdraw it' AS instead, sum(s.requests) AS requests, max(currency) AS currency,
       sum(amount) AS spent, toDecimal128(0, 12) AS saving,
       concat('last used on ', toString(max(day)), ', ', toString(dateDiff('day', max(day), {today})), ' days ago') AS evidence
FROM spend_daily AS s
WHERE day >= {today} - 183 AND key != '' AND {tenant}
GROUP BY tenant, key
HAVING max(day) < {today} - {idle}
ORDER BY max(day), tenant, subject
