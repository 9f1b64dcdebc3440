-- One row per approval: what was asked of people, and how it ended.
SELECT
  approval_id,
  max(approval_kind) AS approval_kind,
  max(intent_id) AS intent_id,
  max(agent_id) FILTER (WHERE event IN ('approval.requested', 'approval.resolved')) AS agent_id,
  max(requester_id) FILTER (WHERE event = 'approval.requested') AS requester_id,
  max(tool_name) FILTER (WHERE event = 'approval.requested') AS tool_name,
  max(operation) FILTER (WHERE event = 'approval.requested') AS operation,
  max(purpose) FILTER (WHERE event = 'approval.requested') AS purpose,
  max(output_summary) FILTER (WHERE event = 'approval.requested') AS asked,
  coalesce(max(decision) FILTER (WHERE event = 'approval.resolved'), 'pending') AS state,
  max(actor_id) FILTER (WHERE event = 'approval.resolved' AND actor_kind = 'person') AS decided_by,
  count(*) FILTER (WHERE event = 'approval.voted') AS votes,
  max(output_summary) FILTER (WHERE event = 'approval.resolved') AS message,
  min(time) FILTER (WHERE event = 'approval.requested') AS requested_at,
  min(time) FILTER (WHERE event = 'approval.resolved') AS resolved_at
FROM events
WHERE approval_id IS NOT NULL
  AND level <> 'metadata'
  AND event IN ('approval.requested', 'approval.voted', 'approval.resolved')
GROUP BY approval_id
