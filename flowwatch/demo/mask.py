"""Field masks: the parts of a flow that a client asks for (pkg/hubble/parser/fieldmask)."""

from __future__ import annotations

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from flowwatch.hubble.wire.pb.flow.flow_pb2 import Flow

Tree = dict[str, "Tree"]


class BadMask(ValueError):
    """A path that Flow doesn't have; the text is the server's."""


def tree(mask: FieldMask) -> Tree:
    """The paths of ``mask`` as a tree; empty for no mask. Raises BadMask."""
    if not mask.IsValidForDescriptor(Flow.DESCRIPTOR):
        raise BadMask("invalid fieldmask")
    canonical = FieldMask()
    canonical.CanonicalFormFromMask(mask)
    root: Tree = {}
    for path in canonical.paths:
        branch = root
        for name in path.split("."):
            branch = branch.setdefault(name, {})
    return root


def copy(source: Message, target: Message, branch: Tree) -> None:
    """Copy the parts of ``source`` that ``branch`` names.

    A parent of masked parts is present even when empty, as the real server has it, unless it is one
    of several alternatives: there only the one in use is.
    """
    for name, below in branch.items():
        field = source.DESCRIPTOR.fields_by_name[name]
        if field.is_repeated:
            getattr(target, name).extend(getattr(source, name))
        elif field.message_type is None:
            setattr(target, name, getattr(source, name))
        elif below:
            there = source.HasField(name)
            if there or field.containing_oneof is None:
                child = getattr(target, name)
                child.SetInParent()
                if there:
                    copy(getattr(source, name), child, below)
        elif source.HasField(name):
            getattr(target, name).CopyFrom(getattr(source, name))
