"""The API server's schemas of policies, as the small table that flowwatch reads them by.

    python -m tests.interop.policy_schema

writes `flowwatch/policy/schema.json` anew. The tests' API server is asked: for Cilium's CRDs and that of
ClusterNetworkPolicy, which are installed there, and for its own OpenAPI of NetworkPolicy and ObjectMeta.
What Kubernetes checks of those two in code is in `OVERLAY`. A test makes the table again and compares. Only
facts are kept: names, types, enums, patterns, bounds; equal parts are written once.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from tests.interop.control_plane import ControlPlane, shared

TABLE = Path(__file__).parents[2] / "flowwatch" / "policy" / "schema.json"

Props: TypeAlias = dict[str, Any]

_KEPT = {
    "pattern": "pattern",
    "enum": "enum",
    "minimum": "min",
    "maximum": "max",
    "minLength": "min_length",
    "maxLength": "max_length",
    "minItems": "min_items",
    "maxItems": "max_items",
    "minProperties": "min_fields",
    "maxProperties": "max_fields",
    "required": "required",
}
"""Keywords that are taken over under another name."""
_FORMATS = {"cidr"}
"""Those that the API server checks: k8s.io/apiextensions-apiserver, pkg/apiserver/validation/formats.go."""
_BITS = {"int32": 31, "int64": 63}
_KNOWN = {*_KEPT, "type", "format", "properties", "items", "additionalProperties", "description", "default",
          "oneOf", "anyOf", "x-kubernetes-int-or-string", "x-kubernetes-validations",
          "x-kubernetes-list-type", "x-kubernetes-map-type", "x-kubernetes-list-map-keys"}  # fmt: skip
_MADE = "made"
"""Instead of a schema: the name of a type that is there already."""
_DEFAULTS = {"IPv4"}
"""Defaults that our reader knows of: the family of ICMP."""

_PEER: dict[str, Props] = {
    "": {"any_of": ["ipBlock", "namespaceSelector", "podSelector"]},
    ".ipBlock": {"rules": ["except"]},
    ".ipBlock.cidr": {"format": "network"},
    ".ipBlock.except[]": {"format": "network"},
}
_PORT: dict[str, Props] = {
    "": {"rules": ["port-range"]},
    ".port": {"format": "port"},
    ".endPort": {"min": 1, "max": 65535},
}
OVERLAY: dict[str, dict[str, Props]] = {
    # kubernetes 1.36.4, pkg/apis/networking/validation/validation.go, with StrictIPCIDRValidation, on since
    # 1.36; without what is asked anyway where the policy is read.
    "networking.k8s.io/v1 NetworkPolicy": {
        **{f".spec.ingress[].ports[]{path}": facts for path, facts in _PORT.items()},
        **{f".spec.egress[].ports[]{path}": facts for path, facts in _PORT.items()},
        **{f".spec.ingress[].from[]{path}": facts for path, facts in _PEER.items()},
        **{f".spec.egress[].to[]{path}": facts for path, facts in _PEER.items()},
        ".spec.policyTypes": {"max_items": 2},
    },
    # apimachinery 0.36.4, pkg/api/validation/objectmeta.go and pkg/apis/meta/v1/validation/validation.go
    "metadata": {
        ".name": {"format": "subdomain"},
        ".generateName": {"format": "prefix"},
        ".generation": {"min": 0},
        ".labels": {"keys": "label-key"},
        ".labels.*": {"format": "label-value"},
        ".annotations": {"keys": "annotation-key", "rules": ["annotations"]},
        ".finalizers": {"rules": ["finalizers"]},
        ".finalizers[]": {"format": "label-key"},
        ".ownerReferences": {"rules": ["owners"]},
        ".ownerReferences[]": {"rules": ["owner"]},
        ".managedFields[]": {"required": ["operation"]},
        ".managedFields[].operation": {"enum": ["Apply", "Update"]},
        ".managedFields[].fieldsType": {"enum": ["", "FieldsV1"]},
        ".managedFields[].manager": {"max_length": 128, "format": "printable"},
        ".managedFields[].subresource": {"max_length": 256},
    },
}  # fmt: skip
"""What Kubernetes checks in code: by path, facts that are added."""
IN_NAMESPACE: dict[str, Props] = {".namespace": {"format": "dns-label"}}
"""What it checks of metadata in a namespace only: elsewhere a namespace is taken away."""


class Unknown(Exception):
    """A schema has a construct that the table can't express."""


class Table:
    """Collects types; equal ones get one name."""

    def __init__(self) -> None:
        """Start empty."""
        self.types: dict[str, Props] = {}
        self._names: dict[str, str] = {}
        self._used: set[str] = set()

    def add(
        self, schema: Props, at: str, path: str = "", overlay: dict[str, Props] | None = None
    ) -> str:
        """Take in a schema and all below it.

        Args:
            schema: OpenAPI, as a CRD has it.
            at: the field's name, after which its type is called.
            path: where it is in the document.
            overlay: facts to add; given for what is decoded into a Go type, where null is the empty value.

        Returns:
            the name that its type has.
        """
        if (name := schema.get(_MADE)) is not None:
            return str(name)
        for keyword in schema.keys() - _KNOWN:
            raise Unknown(f"{path or at}: {keyword}")
        made: Props = {"type": _type(schema)}
        if overlay is not None and made["type"] in ("array", "map"):
            made["nulls"] = True
        if schema.get("default", "IPv4") not in _DEFAULTS:
            raise Unknown(f"{path}: the default {schema['default']}")
        made |= {ours: schema[theirs] for theirs, ours in _KEPT.items() if theirs in schema}
        if (form := schema.get("format")) in _FORMATS:
            made["format"] = form
        elif form in _BITS:
            made = {"min": -(1 << _BITS[form]), "max": (1 << _BITS[form]) - 1} | made
        for keyword, ours in (("oneOf", "one_of"), ("anyOf", "any_of")):
            if keyword in schema and not schema.get("x-kubernetes-int-or-string"):
                made[ours] = sorted(map(_only, schema[keyword]))
        if schema.get("x-kubernetes-list-type") == "set":
            made["unique"] = True
        if rules := schema.get("x-kubernetes-validations"):
            made["rules"] = [each["rule"] for each in rules]
        made |= overlay.get(path, {}) if overlay else {}
        if fields := schema.get("properties"):
            made["fields"] = {
                name: self.add(inner, name, f"{path}.{name}", overlay)
                for name, inner in sorted(fields.items())
            }
        if "items" in schema:
            made["items"] = self.add(schema["items"], f"{at}-item", f"{path}[]", overlay)
        if isinstance(values := schema.get("additionalProperties"), dict):
            made["values"] = self.add(values, f"{at}-item", f"{path}.*", overlay)
        return self._named(made, at)

    def _named(self, made: Props, at: str) -> str:
        if "enum" in made:
            made["enum"] = sorted(made["enum"])
        if "required" in made:
            made["required"] = sorted(made["required"])
        key = json.dumps(made, sort_keys=True)
        if key not in self._names:
            plain = set(made) == {"type"}
            base = made["type"] if plain else at
            name = next(each for each in _numbered(base) if each not in self._used)
            self._used.add(name)
            self._names[key] = name
            self.types[name] = made
        return self._names[key]


def _numbered(base: str) -> Iterator[str]:
    yield base
    number = 2
    while True:
        yield f"{base}-{number}"
        number += 1


def _type(schema: Props) -> str:
    if schema.get("x-kubernetes-int-or-string"):
        return "int-or-string"
    kind: str = schema["type"]
    if schema.get("format") == "date-time":
        return "time"
    if kind == "object" and not schema.get("properties"):
        return "map" if "additionalProperties" in schema else "any-object"
    return kind


def _only(arm: Props) -> str:
    """The one field that an arm of oneOf or anyOf asks for."""
    required: list[str] = arm.get("required", [])
    if (
        len(required) != 1
        or arm.get("properties", {}).keys() != {*required}
        or arm["properties"] != {required[0]: {}}
    ):
        raise Unknown(f"an arm {arm}")
    return required[0]


_NETWORK_POLICY = "networking.k8s.io/v1 NetworkPolicy"
_DROPPED = {"required", "default", "x-kubernetes-list-type", "x-kubernetes-patch-strategy",
            "x-kubernetes-patch-merge-key", "x-kubernetes-list-map-keys",
            "x-kubernetes-group-version-kind"}  # fmt: skip
"""What OpenAPI says of Go types and nobody checks: what is missing is empty."""


def _resolved(schema: Props, others: dict[str, Props]) -> Props:
    """A schema of OpenAPI with what it refers to put in."""
    made = {key: value for key, value in schema.items() if key not in _DROPPED}
    for one in made.pop("allOf", ()):
        made |= _resolved(others[one["$ref"].rpartition("/")[2]], others)
    if made.get("format") == "int-or-string":
        return {"x-kubernetes-int-or-string": True}
    if "properties" in made:
        made["properties"] = {
            name: _resolved(one, others) for name, one in made["properties"].items()
        }
    for inner in ("items", "additionalProperties"):
        if inner in made:
            made[inner] = _resolved(made[inner], others)
    return made


def _served(api: ControlPlane) -> Iterator[tuple[str, bool, Props]]:
    """Each kind in each version, whether it is in a namespace, and its schema."""
    crds = api.call("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions")["items"]
    for crd in crds:
        spec = crd["spec"]
        for version in spec["versions"]:
            name = f"{spec['group']}/{version['name']} {spec['names']['kind']}"
            yield name, spec["scope"] == "Namespaced", version["schema"]["openAPIV3Schema"]
    others = api.call("GET", "/openapi/v3/apis/networking.k8s.io/v1")["components"]["schemas"]
    yield _NETWORK_POLICY, True, _resolved(others["io.k8s.api.networking.v1.NetworkPolicy"], others)


def make(api: ControlPlane) -> str:
    """The table's text."""
    table = Table()
    served = sorted(_served(api))
    metadata = next(schema for name, _, schema in served if name == _NETWORK_POLICY)["properties"][
        "metadata"
    ]
    kinds = {}
    for name, namespaced, schema in served:
        facts = OVERLAY["metadata"] | (IN_NAMESPACE if namespaced else {})
        schema["properties"]["metadata"] = {_MADE: table.add(metadata, "metadata", overlay=facts)}
        kinds[name] = table.add(schema, name.partition(" ")[2], overlay=OVERLAY.get(name))
    top = {
        "": "Made by python -m tests.interop.policy_schema: edit nothing here.",
        "kinds": kinds,
    }
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}," for key, value in top.items()]
    types = [
        f"    {json.dumps(name)}: {json.dumps(made)}" for name, made in sorted(table.types.items())
    ]
    return "\n".join(["{", *lines, '  "types": {', ",\n".join(types), "  }", "}", ""])


if __name__ == "__main__":
    text = make(shared())
    TABLE.write_text(text)
    sys.stdout.write(f"{TABLE.name}: {len(text):,} bytes\n")
