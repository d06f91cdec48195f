"""The table of the API server's schemas is what the API server has."""

from tests.interop.control_plane import ControlPlane
from tests.interop.policy_schema import TABLE, make


def test_the_table_is_up_to_date(api: ControlPlane) -> None:
    assert make(api) == TABLE.read_text(), "run python -m tests.interop.policy_schema"
