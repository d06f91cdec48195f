"""What a cluster's agents decide by beside the policies: some options of the ConfigMap ``cilium-config``.

From Cilium 1.20: pkg/option/config.go (what an agent reads, and refuses), pkg/policy/repository.go
(computePolicyEnforcementAndRules), pkg/policy/types/selector.go (CIDRSelector).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from flowwatch.goyaml.nodes import DocumentError, Value, read_nodes
from flowwatch.policy.reach import BY_LABELS, Reach

NAME = "cilium-config"
"""The ConfigMap, in the namespace of the agents."""
CIDR_MODE, ENFORCEMENT, AUDIT_MODE = "policy-cidr-match-mode", "enable-policy", "policy-audit-mode"
DENY_RESPONSE, CLUSTER_NAME = "policy-deny-response", "cluster-name"
VERDICT_RECORDS = "bpf-events-policy-verdict-enabled"
_IPV4, _IPV6 = "enable-ipv4", "enable-ipv6"

Enforcement = Literal["default", "always", "never"]
DenyResponse = Literal["none", "icmp"]
_MODES = ("nodes", "pods")
_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")
_CLUSTER = re.compile(r"(?=.{1,32}\Z)([a-z0-9][-a-z0-9]*)?[a-z0-9]\Z")


class OptionsError(ValueError):
    """What is wrong with a ConfigMap, and the line it stands in."""

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason)
        self.line = line


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """The options that decisions depend on, and those that say what records of them mean."""

    cidr_match_mode: tuple[str, ...] = ()
    """``nodes``, ``pods``: whom blocks of addresses mean beside addresses outside."""
    enforcement: Enforcement = "default"
    audit_mode: bool = False
    deny_response: DenyResponse = "none"
    cluster: str = ""
    """The cluster's name; "" when nobody said it."""
    families: tuple[int, ...] = (4, 6)
    verdict_records: bool = True
    """Whether agents write policy-verdict records: the only ones of audit mode."""
    origin: str = ""
    """Where they were read; "" for Cilium's defaults, as nobody said which they are."""

    @property
    def known(self) -> bool:
        """Whether they are the cluster's, and not only what clusters mostly have."""
        return bool(self.origin)

    @property
    def reach(self) -> Reach:
        """What blocks may mean."""
        if not self.known:
            return BY_LABELS
        mode = self.cidr_match_mode
        return Reach("nodes" in mode, "pods" in mode, self.families if mode else (4, 6))

    @property
    def words(self) -> str:
        """Each that isn't Cilium's default; that all are, where it is so."""
        told = [f"{CIDR_MODE}: {' '.join(self.cidr_match_mode)}"] * bool(self.cidr_match_mode)
        told += [f"{ENFORCEMENT}: {self.enforcement}"] * (self.enforcement != "default")
        told += [f"{AUDIT_MODE}: true"] * self.audit_mode
        told += [f"{DENY_RESPONSE}: {self.deny_response}"] * (self.deny_response != "none")
        told += [f"{CLUSTER_NAME}: {self.cluster}"] * (self.cluster not in ("", "default"))
        return ", ".join(told) or "all that decide at Cilium's defaults"

    @property
    def judged_by(self) -> str:
        """Which options count, and where they are from, for reports."""
        if self.known:
            return f"judged by {self.origin}: {self.words}"
        return (
            "judged by Cilium's defaults, as nobody said this cluster's options "
            "(--cilium-config FILE does)"
        )


UNKNOWN = AgentOptions()
"""Nobody said: Cilium's defaults, which most clusters have."""


def read_agent_options(text: str, origin: str) -> AgentOptions:
    """The options of a ConfigMap, as ``kubectl get configmap cilium-config -o yaml`` (or json) prints it.

    ``origin``: where it comes from, for reports. Raises OptionsError: it is none, or an agent would
    refuse a value.
    """
    try:
        documents = list(read_nodes(text))
    except DocumentError as error:
        raise OptionsError(error.reason, error.line) from None
    try:
        return _options(_data(documents), origin)
    except DocumentError as error:
        raise OptionsError(error.reason, error.line) from None


def _data(documents: list[Value]) -> dict[str, Value]:
    """The entries of the one ConfigMap. Raises DocumentError, OptionsError."""
    found: list[dict[str, Value]] = []
    for document in documents:
        fields = document.fields() if document.is_map else {}
        listed = fields["items"].items() if "items" in fields else [document]
        for one in listed:
            inner = one.given() if one.is_map else {}
            if "kind" in inner and inner["kind"].text() == "ConfigMap":
                found.append(inner)
    if len(found) > 1:
        found = [one for one in found if _name(one) == NAME] or found
    if len(found) != 1:
        what = "several ConfigMaps" if found else "no ConfigMap"
        raise OptionsError(
            f"{what}: kubectl -n kube-system get configmap {NAME} -o yaml prints the one wanted"
        )
    if "data" not in found[0]:
        raise OptionsError("the ConfigMap has no data")
    return found[0]["data"].fields()


def _name(fields: dict[str, Value]) -> str:
    metadata = fields["metadata"].given() if "metadata" in fields else {}
    return metadata["name"].text() if "name" in metadata else ""


def _options(data: dict[str, Value], origin: str) -> AgentOptions:
    taken: dict[str, object] = {}
    for key, reader in _READERS.items():
        if key in data:
            written = data[key].text().strip()
            try:
                taken[key] = reader(written)
            except ValueError as error:
                raise data[key].fault(f'{key}: "{written}": {error}') from None
    families = tuple(version for version, key in ((4, _IPV4), (6, _IPV6)) if taken.get(key, True))
    return AgentOptions(
        cidr_match_mode=taken.get(CIDR_MODE, ()),  # type: ignore[arg-type]
        enforcement=taken.get(ENFORCEMENT, "default"),  # type: ignore[arg-type]
        audit_mode=bool(taken.get(AUDIT_MODE, False)),
        deny_response=taken.get(DENY_RESPONSE, "none"),  # type: ignore[arg-type]
        cluster=str(taken.get(CLUSTER_NAME, "default")),
        families=families or (4, 6),
        verdict_records=bool(taken.get(VERDICT_RECORDS, True)),
        origin=origin,
    )  # fmt: skip


def _modes(text: str) -> tuple[str, ...]:
    # An agent splits it at spaces alone, and doesn't start with "nodes,pods".
    words = text.split()
    if set(words) - set(_MODES):
        raise ValueError("nodes, pods, or both with a space between them")
    return tuple(mode for mode in _MODES if mode in words)


def _switch(text: str) -> bool:
    if text not in (*_TRUE, *_FALSE):
        raise ValueError("true or false")
    return text in _TRUE


def _cluster(text: str) -> str:
    if not _CLUSTER.match(text):
        raise ValueError("a cluster's name is up to 32 of a-z, 0-9 and -")
    return text


def _enforcement(text: str) -> str:
    return _one_of(text.lower() or "default", get_args(Enforcement))


def _response(text: str) -> str:
    return _one_of(text or "none", get_args(DenyResponse))


def _one_of(text: str, words: tuple[str, ...]) -> str:
    if text not in words:
        raise ValueError(f"one of {', '.join(words)}")
    return text


_READERS: dict[str, Callable[[str], object]] = {
    CIDR_MODE: _modes,
    ENFORCEMENT: _enforcement,
    AUDIT_MODE: _switch,
    DENY_RESPONSE: _response,
    CLUSTER_NAME: _cluster,
    VERDICT_RECORDS: _switch,
    _IPV4: _switch,
    _IPV6: _switch,
}
