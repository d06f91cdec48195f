"""The order in which Hubble prints the keys of a message, where our wire contract has another.

Go prints fields in the order of Hubble's own proto file (Cilium 1.20, api/v1/flow/flow.proto); ours
groups them by meaning. Nothing depends on the order but lines being equal to hubble's to the byte.
"""

from __future__ import annotations

from google.protobuf.descriptor import Descriptor

_ORDER = {
    "flow.Flow": """
        time uuid emitter verdict drop_reason auth_type ethernet IP l4 tunnel source destination
        Type node_name node_labels source_names destination_names l7 reply event_type
        source_service destination_service traffic_direction policy_match_type
        trace_observation_point trace_reason file ip_trace_id drop_reason_desc is_reply
        debug_capture_point interface proxy_port trace_context sock_xlate_point socket_cookie
        cgroup_id Summary extensions egress_allowed_by ingress_allowed_by egress_denied_by
        ingress_denied_by policy_log aggregate""",
    "flow.Endpoint": "ID identity cluster_name namespace labels pod_name workloads",
    "flow.IP": "source source_xlated destination ipVersion encrypted",
    "flow.FlowFilter": """
        uuid source_ip source_ip_xlated source_pod source_fqdn source_label source_service
        source_workload source_cluster_name destination_ip destination_pod destination_fqdn
        destination_label destination_service destination_workload destination_cluster_name
        traffic_direction verdict drop_reason_desc interface event_type http_status_code protocol
        source_port destination_port reply dns_query source_identity destination_identity
        http_method http_path http_url http_header tcp_flags node_name node_labels ip_version
        trace_id ip_trace_id encrypted experimental""",
}


def places(message: Descriptor) -> dict[int, int]:
    """Field number → place among the printed keys of ``message``."""
    order = _ORDER.get(message.full_name)
    names = order.split() if order else [field.name for field in message.fields]
    place = {name: index for index, name in enumerate(names)}
    return {field.number: place.get(field.name, len(names)) for field in message.fields}
