"""What becomes of a row that breaks a rule, as the operator chooses and as the metrics say."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class SuitePolicy(StrEnum):
    """What becomes of a request with a row that breaks a rule; every row is counted.

    reject: it is refused as a data error. flag: it is scored, and its reply and its line in the log
    name the rule and the rows. count: it is scored, and only the metric tells.
    """

    REJECT = "reject"
    FLAG = "flag"
    COUNT = "count"


class Action(StrEnum):
    """What became of a row that breaks a rule, as the metric's label."""

    REJECTED = "rejected"
    FLAGGED = "flagged"
    COUNTED = "counted"


ACTIONS: Final = {
    SuitePolicy.REJECT: Action.REJECTED,
    SuitePolicy.FLAG: Action.FLAGGED,
    SuitePolicy.COUNT: Action.COUNTED,
}


def effective(own: SuitePolicy | None, default: SuitePolicy, mostly: float) -> SuitePolicy:
    """Return the policy of a rule.

    A rule whose `mostly` is below 1 tolerates some rows, so one row is no reason to refuse.

    >>> effective(None, SuitePolicy.REJECT, 0.9), effective(SuitePolicy.COUNT, SuitePolicy.FLAG, 1)
    (<SuitePolicy.FLAG: 'flag'>, <SuitePolicy.COUNT: 'count'>)
    """
    chosen = own or default
    return SuitePolicy.FLAG if chosen is SuitePolicy.REJECT and mostly < 1 else chosen
