"""The options in a ConfigMap, read as Cilium's agent reads them."""

import random

from flowwatch.policy import OptionsError, read_agent_options
from tests.interop.compared import config_map
from tests.interop.oracle import Oracle

VALUES = {
    "policy-cidr-match-mode": (
        "", "nodes", "pods", "nodes pods", " pods  nodes ", "nodes,pods", "Nodes", "[nodes]",
    ),
    "enable-policy": ("default", "always", "never", "Always", "NEVER", ""),
    "policy-audit-mode": ("true", "false", "True", "T", "1", "0", "yes", "on", "", "TrUe"),
    "policy-deny-response": ("none", "icmp", "", "ICMP", "tcp"),
    "cluster-name": ("default", "blue", "blue-2", "Blue", "-blue", "", "b" * 32, "b" * 33, "a.b"),
    "enable-ipv4": ("true", "false", "2"),
    "enable-ipv6": ("true", "false", "no"),
}  # fmt: skip
"""Of each entry what agents take and what they don't."""


def test_a_config_map_says_what_an_agent_makes_of_it() -> None:
    chance = random.Random(1)
    sets = [{key: value} for key, values in VALUES.items() for value in values]
    for _ in range(300):
        keys = chance.sample(sorted(VALUES), chance.randint(0, 4))
        sets.append({key: chance.choice(VALUES[key]) for key in keys})
    refused = 0
    with Oracle() as oracle:
        for entries in sets:
            theirs = oracle.settings(entries)
            try:
                ours = read_agent_options(config_map(entries), "x")
            except OptionsError:
                assert theirs["refused"] in entries, entries
                refused += 1
                continue
            assert not theirs["refused"], (entries, theirs)
            assert set(ours.cidr_match_mode) == set(theirs["cidr_match_mode"]), entries
            assert ours.enforcement == (theirs["enable_policy"] or "default"), entries
            assert ours.audit_mode == theirs["audit_mode"], entries
            assert ours.deny_response == (theirs["deny_response"] or "none"), entries
            assert ours.cluster == theirs["cluster_name"], entries
            families = {4: theirs["enable_ipv4"], 6: theirs["enable_ipv6"]}
            # Without any an agent doesn't start either; that is told by another check of it.
            assert set(ours.families) == ({one for one in families if families[one]} or {4, 6})
    assert refused > 50
