-- One row per intent. Only rows whose message was read and whose sender is the agent of
-- the intent count: a foreign or damaged message on the same id changes nothing here.
WITH told AS (
  SELECT *,
         array_to_string(reason_codes, ',') AS codes,
         array_to_string(policy_ids, ',') AS policies
  FROM events
  WHERE intent_id IS NOT NULL
    AND agent_id IS NOT NULL
    AND level <> 'metadata'
),
folded AS (
  SELECT
    intent_id,
    agent_id,
    max(requester_id) FILTER (WHERE event IN ('policy.checked', 'tool.requested')) AS requester_id,
    max(CASE WHEN requester_verified THEN 1 ELSE 0 END) FILTER (WHERE event = 'policy.checked') AS proved,
    max(session_id) FILTER (WHERE event IN ('policy.checked', 'tool.requested')) AS session_id,
    max(bundle_id) FILTER (WHERE event IN ('policy.checked', 'tool.requested')) AS bundle_id,
    max(trace_id) FILTER (WHERE event IN ('policy.checked', 'tool.requested')) AS trace_id,
    max(tool_name) FILTER (WHERE event IN ('policy.checked', 'tool.requested')) AS tool_name,
    max(operation) FILTER (WHERE event = 'policy.checked') AS operation,
    max(purpose) FILTER (WHERE event IN ('policy.checked', 'tool.requested')) AS purpose,
    max(output_summary) FILTER (WHERE event = 'policy.checked') AS summary,
    max(input_redacted) FILTER (WHERE event = 'policy.checked') AS input_redacted,
    max(verdict) FILTER (WHERE event = 'policy.checked') AS verdict,
    max(decision) FILTER (WHERE event IN ('tool.approved', 'tool.blocked')) AS decision,
    max(actor_kind) FILTER (WHERE event = 'tool.approved') AS approved_kind,
    max(actor_id) FILTER (WHERE event = 'tool.approved') AS approved_by,
    max(policies) FILTER (WHERE event = 'tool.approved') AS approved_policies,
    max(actor_id) FILTER (WHERE event = 'approval.resolved' AND actor_kind = 'person') AS voted_by,
    max(codes) FILTER (WHERE event = 'tool.blocked') AS blocked_codes,
    max(policies) FILTER (WHERE event IN ('policy.checked', 'tool.blocked')) AS judged_policies,
    max(codes) FILTER (WHERE event = 'tool.revoked') AS revoked_codes,
    max(codes) FILTER (WHERE event = 'tool.refused') AS refused_codes,
    max(codes) FILTER (WHERE event = 'policy.checked') AS checked_codes,
    max(approval_id) AS approval_id,
    max(window_id) FILTER (WHERE event = 'tool.approved') AS window_id,
    max(outcome) FILTER (WHERE event = 'outcome.reconciled') AS found,
    max(outcome) FILTER (WHERE event = 'outcome.late') AS late,
    max(outcome) FILTER (WHERE event = 'tool.completed') AS completed,
    max(error_code) FILTER (WHERE event IN ('tool.completed', 'outcome.late')) AS error_code,
    max(output_summary) FILTER (WHERE event IN ('tool.completed', 'outcome.late')) AS output_summary,
    max(output_redacted) FILTER (WHERE event IN ('tool.completed', 'outcome.late')) AS output_redacted,
    max(resource) FILTER (WHERE event IN ('tool.completed', 'outcome.late')) AS changed_resource,
    max(resource) FILTER (WHERE event = 'policy.checked') AS wanted_resource,
    max(changes) FILTER (WHERE event IN ('tool.completed', 'outcome.late')) AS changes,
    max(duration_ms) FILTER (WHERE event IN ('tool.completed', 'outcome.late')) AS duration_ms,
    max(policy_digest) FILTER (WHERE event = 'policy.checked') AS policy_digest,
    min(time) FILTER (WHERE event = 'tool.requested') AS requested_at,
    min(time) FILTER (WHERE event = 'policy.checked') AS checked_at,
    min(time) FILTER (WHERE event IN ('tool.approved', 'tool.blocked')) AS decided_at,
    min(time) FILTER (WHERE event = 'tool.started') AS started_at,
    min(time) FILTER (WHERE event = 'tool.completed') AS completed_at,
    min(time) FILTER (WHERE event = 'tool.revoked') AS revoked_at
  FROM told
  GROUP BY intent_id, agent_id
)
SELECT
  intent_id,
  requested_at,
  requester_id,
  CASE WHEN proved = 1 THEN 'mandate' ELSE 'claimed' END AS requester_proof,
  agent_id,
  tool_name,
  operation,
  coalesce(changed_resource, wanted_resource) AS resource,
  purpose,
  summary,
  input_redacted,
  verdict,
  decision,
  CASE
    WHEN decision = 'approved' THEN approved_kind
    WHEN decision = 'blocked' AND voted_by IS NOT NULL THEN 'person'
    WHEN decision = 'blocked' THEN 'policy'
  END AS decided_by_kind,
  CASE
    WHEN decision = 'approved' THEN approved_by
    WHEN decision = 'blocked' THEN coalesce(voted_by, judged_policies)
  END AS decided_by,
  coalesce(revoked_codes, blocked_codes, refused_codes, checked_codes) AS reason_codes,
  coalesce(approved_policies, judged_policies) AS policy_ids,
  policy_digest,
  approval_id,
  window_id,
  CASE
    WHEN coalesce(found, late, completed) IS NOT NULL THEN coalesce(found, late, completed)
    WHEN revoked_at IS NOT NULL THEN 'revoked'
    WHEN decision = 'blocked' THEN 'blocked'
    WHEN started_at IS NOT NULL THEN 'running'
    WHEN decision = 'approved' THEN 'approved'
    WHEN verdict = 'ask' THEN 'pending'
    WHEN checked_at IS NOT NULL THEN 'checked'
    WHEN refused_codes IS NOT NULL THEN 'refused'
    ELSE 'requested'
  END AS state,
  coalesce(found, late, completed) AS outcome,
  error_code,
  output_summary,
  output_redacted,
  changes,
  duration_ms,
  session_id,
  bundle_id,
  trace_id,
  checked_at,
  decided_at,
  started_at,
  completed_at,
  revoked_at
FROM folded
WHERE checked_at IS NOT NULL
   OR decision IS NOT NULL
   OR (requested_at IS NOT NULL AND coalesce(refused_codes, '') <> 'intent_conflict')
