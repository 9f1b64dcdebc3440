-- One row per intent. Only rows whose message was read and whose sender is the agent of
-- the intent count: a foreign or damaged message on the same id changes nothing here. Nor
-- does a later message of the agent itself, which is refused: what was asked is what the
-- verdict says was judged, and the agent's own words, the earliest, only while there is none.
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
    max(requester_id) FILTER (WHERE event = 'policy.checked') AS requester_id,
    first_value(requester_id ORDER BY time, seq) FILTER (WHERE event = 'tool.requested') AS asked_requester_id,
    max(CASE WHEN requester_verified THEN 1 ELSE 0 END) FILTER (WHERE event = 'policy.checked') AS proved,
    max(session_id) FILTER (WHERE event = 'policy.checked') AS session_id,
    first_value(session_id ORDER BY time, seq) FILTER (WHERE event = 'tool.requested') AS asked_session_id,
    max(bundle_id) FILTER (WHERE event = 'policy.checked') AS bundle_id,
    first_value(bundle_id ORDER BY time, seq) FILTER (WHERE event = 'tool.requested') AS asked_bundle_id,
    max(trace_id) FILTER (WHERE event = 'policy.checked') AS trace_id,
    first_value(trace_id ORDER BY time, seq) FILTER (WHERE event = 'tool.requested') AS asked_trace_id,
    max(tool_name) FILTER (WHERE event = 'policy.checked') AS tool_name,
    first_value(tool_name ORDER BY time, seq) FILTER (WHERE event = 'tool.requested') AS asked_tool_name,
    max(operation) FILTER (WHERE event = 'policy.checked') AS operation,
    max(purpose) FILTER (WHERE event = 'policy.checked') AS purpose,
    first_value(purpose ORDER BY time, seq) FILTER (WHERE event = 'tool.requested') AS asked_purpose,
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
  CASE WHEN checked_at IS NULL THEN asked_requester_id ELSE requester_id END AS requester_id,
  CASE WHEN proved = 1 THEN 'mandate' ELSE 'claimed' END AS requester_proof,
  agent_id,
  CASE WHEN checked_at IS NULL THEN asked_tool_name ELSE tool_name END AS tool_name,
  operation,
  coalesce(changed_resource, wanted_resource) AS resource,
  CASE WHEN checked_at IS NULL THEN asked_purpose ELSE purpose END AS purpose,
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
  coalesce(
    revoked_codes,
    blocked_codes,
    checked_codes,
    CASE WHEN checked_at IS NULL AND decision IS NULL THEN refused_codes END
  ) AS reason_codes,
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
  CASE WHEN checked_at IS NULL THEN asked_session_id ELSE session_id END AS session_id,
  CASE WHEN checked_at IS NULL THEN asked_bundle_id ELSE bundle_id END AS bundle_id,
  CASE WHEN checked_at IS NULL THEN asked_trace_id ELSE trace_id END AS trace_id,
  checked_at,
  decided_at,
  started_at,
  completed_at,
  revoked_at
FROM folded
WHERE checked_at IS NOT NULL
   OR decision IS NOT NULL
   OR (requested_at IS NOT NULL AND coalesce(refused_codes, '') <> 'intent_conflict')
