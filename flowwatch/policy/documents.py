"""From texts to rules: which documents are policies, and what the others are.

Only the API groups that Cilium enforces count: Calico has a kind ``NetworkPolicy`` of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from flowwatch.goyaml.nodes import TEMPLATE, DocumentError, Value, read_nodes
from flowwatch.policy.cilium import read_cilium
from flowwatch.policy.foreign import Foreign, read_foreign
from flowwatch.policy.groups import CidrGroups
from flowwatch.policy.kubernetes import read_cluster_network_policy, read_network_policy
from flowwatch.policy.rules import Policy, Rejected, Rule
from flowwatch.policy.schema import check, versions

_NAMESPACED = frozenset({"CiliumNetworkPolicy", "NetworkPolicy"})


@dataclass(slots=True)
class Documents:
    """What a set of files holds."""

    rules: list[Rule] = field(default_factory=list)
    policies: list[Policy] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    """Objects of other kinds, counted by ``kind (group)``."""
    foreign: list[Foreign] = field(default_factory=list)
    """Those of the skipped that are policies too, of other programs."""
    replaced: list[tuple[Policy, Policy]] = field(default_factory=list)
    """Policies that a later document of the same kind and name replaces, with it."""
    groups: int = 0
    """CiliumCIDRGroups among them."""
    cidr_groups: CidrGroups = field(default_factory=CidrGroups)
    """What policies may refer to."""
    missing: list[str] = field(default_factory=list)
    """What is known not to be among them, told by who read them; a safe line each."""

    @property
    def unread(self) -> list[Rejected]:
        """Those of ``rejected`` that Cilium couldn't read: they take no part."""
        return [one for one in self.rejected if not one.by_server]


@dataclass(frozen=True, slots=True)
class _Object:
    """One object of a file, with its fields."""

    file: str
    kind: str
    version: str
    """``apiVersion``: group and version."""
    value: Value
    fields: dict[str, Value]

    @property
    def metadata(self) -> dict[str, Value]:
        found = self.fields["metadata"].fields() if "metadata" in self.fields else {}
        return {key: value for key, value in found.items() if not value.is_null}

    def name(self, key: str = "name") -> str:
        return self.metadata[key].text() if key in self.metadata else ""

    def needed_name(self) -> str:
        name = self.name()
        if not name:
            raise self.value.fault(f"{self.kind} must have name")
        return name


def read_documents(
    texts: Iterable[tuple[str, str]], *, cluster: str = "default", groups: CidrGroups | None = None
) -> Documents:
    """The policies of some files.

    Args:
        texts: name and text of each file; YAML or JSON, several documents, Lists.
        cluster: the name of the cluster the policies are applied in.
        groups: those that are there beside them.

    Returns:
        rules of every document that Cilium would take, the others in ``rejected`` with reason and line
        (where also stand those that only the API server would refuse), and the count of objects that are
        no policies.
    """
    groups = CidrGroups({} if groups is None else dict(groups.by_name))
    documents = Documents(cidr_groups=groups)
    seen: dict[tuple[str, str, str], Policy] = {}
    texts = list(texts)
    # Policies refer to groups, wherever those stand. Without any, no tree outlives its document.
    waiting: list[_Object] | None = (
        [] if any("CiliumCIDRGroup" in text for _, text in texts) else None
    )
    for file, text in texts:
        try:
            for value in read_nodes(text):
                for one in _objects(file, value, documents):
                    if one.kind == "CiliumCIDRGroup":
                        _read_group(documents, one, groups)
                    elif waiting is None:
                        _read(documents, one, cluster, groups, seen)
                    else:
                        waiting.append(one)
        except DocumentError as error:
            documents.rejected.append(_rejected(file, "", "", _template_in(text) or error))
    for one in waiting or ():
        _read(documents, one, cluster, groups, seen)
    gone = {id(old) for old, _ in documents.replaced}
    if gone:
        documents.policies = [one for one in documents.policies if id(one) not in gone]
        documents.rules = [rule for rule in documents.rules if id(rule.policy) not in gone]
    return documents


def _template_in(text: str) -> DocumentError | None:
    """What to say of a text that is no YAML because of Go's templates; None if there are none."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("{{"):
            return DocumentError(TEMPLATE, number, line.index("{{") + 1)
    return None


@contextmanager
def _refusing(documents: Documents, one: _Object) -> Iterator[None]:
    """What is wrong with an object refuses it, and no other."""
    try:
        yield
    except DocumentError as error:
        documents.rejected.append(_refused(one, error))


def _refused(one: _Object, error: DocumentError, *, by_server: bool = False) -> Rejected:
    try:
        name = "/".join(filter(None, (one.name("namespace"), one.name())))
    except DocumentError:
        name = ""
    return _rejected(one.file, one.kind, name, error, by_server=by_server)


def _rejected(
    file: str, kind: str, name: str, error: DocumentError, *, by_server: bool = False
) -> Rejected:
    hint = f" ({TEMPLATE})" if "{{" in error.reason and TEMPLATE not in error.reason else ""
    return Rejected(kind, name, file, error.line, error.column, error.reason + hint, by_server)


def _objects(
    file: str, value: Value, documents: Documents, listed: tuple[str, str] = ("", "")
) -> Iterator[_Object]:
    """The policies of a document, out of a List too; the rest is counted.

    ``listed``: kind and apiVersion of the items of a list of one kind, which may leave them out.
    """
    try:
        if value.is_template:
            raise value.fault(TEMPLATE)
        if not value.is_map:
            raise value.fault("no Kubernetes object: a mapping with apiVersion and kind is wanted")
        written = value.fields()
        fields = {key: one for key, one in written.items() if not one.is_null}
        kind = fields["kind"].text() if "kind" in fields else listed[0]
        version = fields["apiVersion"].text() if "apiVersion" in fields else listed[1]
        if not kind:
            raise value.fault("no Kubernetes object: kind is missing")
        if kind.endswith("List") and "items" in written:
            items = (kind.removesuffix("List"), version) if kind != "List" else ("", "")
            for item in written["items"].items():
                yield from _objects(file, item, documents, items)
            return
        group = version.partition("/")[0] if "/" in version else ""
        wanted = versions().get(kind, ())
        if not wanted or (group != wanted[0].partition("/")[0] and "." in group):
            documents.skipped[f"{kind} ({group})" if group else kind] += 1
            if foreign := read_foreign(file, kind, group, value, fields):
                documents.foreign.append(foreign)
            return
        if version not in wanted:
            raise fields.get("apiVersion", value).fault(
                f'wrong apiVersion "{version}" for {kind}: {wanted[0]}'
            )
        yield _Object(file, kind, version, value, fields)
    except DocumentError as error:
        documents.rejected.append(_rejected(file, "", "", error))


def _read_group(documents: Documents, one: _Object, groups: CidrGroups) -> None:
    documents.groups += 1
    with _refusing(documents, one):
        fault = check(one.version, one.kind, one.value)
        groups.add(one.needed_name(), one.metadata, one.fields)
        if fault is not None:
            documents.rejected.append(_refused(one, fault, by_server=True))


def _read(
    documents: Documents,
    one: _Object,
    cluster: str,
    groups: CidrGroups,
    seen: dict[tuple[str, str, str], Policy],
) -> None:
    with _refusing(documents, one):
        fault = check(one.version, one.kind, one.value)
        policy, rules = _policy(one, cluster, groups)
        if fault is not None:
            documents.rejected.append(_refused(one, fault, by_server=True))
        key = (policy.kind, policy.namespace, policy.name)
        if key in seen:
            # As kubectl apply: the later replaces the earlier.
            documents.replaced.append((seen[key], policy))
        seen[key] = policy
        documents.policies.append(policy)
        documents.rules.extend(rules)


def _policy(one: _Object, cluster: str, groups: CidrGroups) -> tuple[Policy, list[Rule]]:
    name = one.needed_name()
    namespace = (one.name("namespace") or "default") if one.kind in _NAMESPACED else ""
    policy = Policy(one.kind, namespace, name, one.file, one.value.line)
    if one.version.startswith("cilium.io/"):
        rules = read_cilium(policy, one.fields, cluster, groups)
        if not rules:
            raise one.value.fault("empty policy: neither spec nor specs")
    elif one.kind == "NetworkPolicy":
        rules = read_network_policy(policy, one.fields, cluster)
    elif "spec" not in one.fields:
        raise one.value.fault("a ClusterNetworkPolicy needs a spec")
    else:
        rules = read_cluster_network_policy(policy, one.fields, cluster)
    return policy, list(rules)
