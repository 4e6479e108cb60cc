"""Which logged requests are meant: by time, model, version, outcome, key, id, and a sample.

Every reader of the log takes the same selection: replay on one machine or on Spark, `log cat`,
`log tail` and `log export` cannot disagree on what "since" or "a tenth" means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

from consistency.errors import ConfigError
from consistency.jsontype import Json
from consistency.log.lines.entry import LoggedRequest
from consistency.log.sampling import keeps
from consistency.scored import Outcome


@dataclass(frozen=True, slots=True)
class LogSelection:
    """What a request must be to be kept: each field that is set must hold; all, when none is.

    Attributes:
        since_us: received at or after, microseconds since the epoch.
        until_us: received before, so that adjoining spans share no request.
        models: names, any of them.
        versions: any of them.
        outcomes: any of them.
        keys: values of the operator's log key as the log holds them, any of them; a request
            without a key has none of them.
        request_ids: any of them.
        sample_ratio: share of the keys that are kept, 0 < ratio <= 1; a request without a key is
            drawn by its id. The draw depends on the key alone: the same everywhere, every time.

    Raises:
        ConfigError: the span is empty, or the ratio is out of its range.

    >>> LogSelection(sample_ratio=0.1).to_json()
    {'sample_ratio': 0.1}
    """

    since_us: int | None = None
    until_us: int | None = None
    models: frozenset[str] = frozenset()
    versions: frozenset[int] = frozenset()
    outcomes: frozenset[Outcome] = frozenset()
    keys: frozenset[str] = frozenset()
    request_ids: frozenset[str] = frozenset()
    sample_ratio: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.sample_ratio <= 1:
            raise ConfigError(f"sample ratio {self.sample_ratio}: give a share above 0, at most 1")
        since, until = self.since_us, self.until_us
        if since is not None and until is not None and until <= since:
            raise ConfigError(
                f"until ({until} us) is not after since ({since} us): nothing lies between them"
            )

    def keeps(self, request: LoggedRequest) -> bool:
        """Return whether a request is meant."""
        if self == EVERYTHING:
            return True
        name, version = request.model
        return (
            self._in_time(request.ingest_time_us)
            and (not self.models or name in self.models)
            and (not self.versions or version in self.versions)
            and (not self.outcomes or request.outcome in self.outcomes)
            and (not self.request_ids or request.request_id in self.request_ids)
            and (not self.keys or request.key in self.keys)
            and (self.sample_ratio == 1 or keeps(_drawn_by(request), self.sample_ratio))
        )

    def may_keep_between(self, first_us: int, last_us: int) -> bool:
        """Return whether a request received from `first_us` to `last_us` can be meant.

        For leaving out whole segments whose time span is known.
        """
        return (self.until_us is None or first_us < self.until_us) and (
            self.since_us is None or last_us >= self.since_us
        )

    def to_json(self) -> dict[str, Json]:
        """Return what is set, as JSON types, sets in ascending order."""
        shown: dict[str, Json] = {}
        for one in fields(self):
            value = getattr(self, one.name)
            if value != getattr(EVERYTHING, one.name):
                shown[one.name] = sorted(value) if isinstance(value, frozenset) else value
        return shown

    @classmethod
    def from_json(cls, held: Mapping[str, Json]) -> LogSelection:
        """Read `to_json` back."""
        values: dict[str, Json] = {
            name: frozenset(value) if isinstance(value, list) else value
            for name, value in held.items()
        }
        if "outcomes" in values:
            values["outcomes"] = frozenset(Outcome(o) for o in values["outcomes"])
        return cls(**values)

    def _in_time(self, received_us: int) -> bool:
        return (self.since_us is None or received_us >= self.since_us) and (
            self.until_us is None or received_us < self.until_us
        )


EVERYTHING: Final = LogSelection()
"""The selection that keeps every request."""


def _drawn_by(request: LoggedRequest) -> str:
    key = request.key
    return request.request_id if key is None else key
