"""The targets by name, in the order in which a campaign takes turns."""

from __future__ import annotations

from collections.abc import Callable

from tests.fuzz.inputs import Target
from tests.fuzz.targets.answers import Answers
from tests.fuzz.targets.captures import Captures
from tests.fuzz.targets.clusters import Clusters
from tests.fuzz.targets.configs import Configs
from tests.fuzz.targets.flags import Flags
from tests.fuzz.targets.follows import Follows
from tests.fuzz.targets.frames import Frames
from tests.fuzz.targets.kubeconfigs import Kubeconfigs
from tests.fuzz.targets.policies import Policies
from tests.fuzz.targets.rules import RuleFiles
from tests.fuzz.targets.screens import Screens
from tests.fuzz.targets.wire import Wire

TARGETS: dict[str, Callable[[], Target]] = {
    "wire": Wire,
    "captures": Captures,
    "policies": Policies,
    "rules": RuleFiles,
    "kubeconfigs": Kubeconfigs,
    "frames": Frames,
    "configs": Configs,
    "flags": Flags,
    "answers": Answers,
    "clusters": Clusters,
    "follows": Follows,
    "screens": Screens,
}
