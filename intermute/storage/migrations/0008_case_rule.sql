-- The cursor of the event that changed last whether case counts; no row when none did.

INSERT INTO meta
SELECT 'case_changed', max(cursor) FROM (
    SELECT cursor, rule, lag(rule, 1, 1) OVER (ORDER BY cursor) AS before
    FROM (
        SELECT cursor, data ->> 'case_sensitive' AS rule FROM events
        WHERE type = 'project.configured'
    )
)
WHERE rule <> before HAVING max(cursor) IS NOT NULL;
