-- One row per window that was opened: by whom, how far it went, how it was used and how it
-- ended. Its limits and its last count are JSON in the rows of its events: keys stand there
-- behind `{` or `,`, and a quote inside a text is escaped, so no text can pass for a key.
WITH told AS (
  SELECT *, array_to_string(reason_codes, ',') AS codes
  FROM events
  WHERE window_id IS NOT NULL
    AND agent_id IS NOT NULL
    AND level <> 'metadata'
    AND event IN ('window.opened', 'window.closed', 'tool.approved')
),
folded AS (
  SELECT
    window_id,
    agent_id,
    max(tool_name) FILTER (WHERE event = 'window.opened') AS tools,
    max(requester_id) FILTER (WHERE event = 'window.opened') AS requester_id,
    max(actor_id) FILTER (WHERE event = 'window.opened') AS voters,
    max(approval_id) FILTER (WHERE event = 'window.opened') AS approval_id,
    max(purpose) FILTER (WHERE event = 'window.opened') AS purpose,
    max(output_redacted) FILTER (WHERE event = 'window.opened') AS limits,
    min(time) FILTER (WHERE event = 'window.opened') AS opened_at,
    max(codes) FILTER (WHERE event = 'window.closed') AS ended,
    max(actor_id) FILTER (WHERE event = 'window.closed' AND actor_kind = 'person') AS closed_by,
    max(purpose) FILTER (WHERE event = 'window.closed') AS close_reason,
    max(output_redacted) FILTER (WHERE event = 'window.closed') AS counted,
    count(DISTINCT intent_id) FILTER (WHERE event = 'tool.approved') AS approved
  FROM told
  GROUP BY window_id, agent_id
)
SELECT
  window_id,
  agent_id,
  tools,
  requester_id,
  split_part(voters, ',', 1) AS opened_by,
  voters,
  approval_id,
  purpose,
  CAST(regexp_match(limits, '[{,]"seconds":([0-9]+)')[1] AS BIGINT) AS seconds,
  CAST(regexp_match(limits, '[{,]"max_uses":([0-9]+)')[1] AS BIGINT) AS max_uses,
  regexp_match(limits, '[{,]"max_total":"([^"]*)"')[1] AS max_total,
  limits,
  opened_at,
  to_timestamp_micros(regexp_match(limits, '[{,]"until":"([^"]*)"')[1]) AS until,
  coalesce(ended, 'open') AS state,
  to_timestamp_micros(regexp_match(counted, '[{,]"closed_at":"([^"]*)"')[1]) AS closed_at,
  closed_by,
  close_reason,
  approved,
  CAST(regexp_match(counted, '[{,]"uses":([0-9]+)')[1] AS BIGINT) AS uses,
  regexp_match(counted, '[{,]"total":"([^"]*)"')[1] AS total
FROM folded
WHERE opened_at IS NOT NULL
