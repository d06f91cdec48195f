"""Play every fault and write the table: ``python -m tests.interop.faults --table docs/faults.md``."""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.interop.faults import table
from tests.interop.faults.at_once import AT_ONCE
from tests.interop.faults.following import FOLLOWING, Outcome
from tests.interop.faults.kubernetes import KUBERNETES


def main() -> int:
    """1 when a fault did what it must not; the table is written all the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, default=table.PAGE)
    page: Path = parser.parse_args().table
    outcomes: dict[str, Outcome] = {}
    for case in (*FOLLOWING, *AT_ONCE, *KUBERNETES):
        outcomes[case.name] = outcome = case.run()
        print(f"{case.name}: {'; '.join(outcome.wrong) or 'as it must be'}", flush=True)
    table.write(outcomes, page)
    return 1 if any(outcome.wrong for outcome in outcomes.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
