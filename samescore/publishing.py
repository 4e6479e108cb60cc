"""Brings the boards to a Grafana server: writes what differs, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from consistency.errors import SamescoreError
from dashboards.difference import difference, same_content
from dashboards.publish import ROOT_FOLDER, Grafana, GrafanaError, StoredBoard
from dashboards.render import Board, boards


class PublishError(SamescoreError):
    """The boards could not be published; the message says why and what to do."""


class Change(StrEnum):
    """What publishing does to a board."""

    CREATE = "create"
    UPDATE = "update"
    MOVE = "move"
    """Its content is as it should be, its folder is not."""
    NONE = "unchanged"


@dataclass(frozen=True, slots=True)
class Step:
    """One board's part of a publishing.

    Attributes:
        stored: what Grafana holds, None for a new board.
        difference: of the contents, as a unified difference; empty when they show the same.
    """

    board: Board
    change: Change
    stored: StoredBoard | None
    difference: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What publishing will do.

    Attributes:
        folder: the folder's name as it was given.
        folder_uid: None when the folder has to be created first.
    """

    folder: str
    folder_uid: str | None
    steps: tuple[Step, ...]

    @property
    def changes(self) -> tuple[Step, ...]:
        """Return the steps that change something."""
        return tuple(step for step in self.steps if step.change is not Change.NONE)


def connect(url: str, token: str) -> Grafana:
    """Return a Grafana server; nothing is asked of it yet.

    Args:
        url: of Grafana's start page.
        token: of a service account that may write boards.

    Raises:
        PublishError: when the URL is none.
    """
    with _as_ours():
        return Grafana(url, token)


def plan(grafana: Grafana, folder: str, *, create_folder: bool) -> Plan:
    """Compare the boards with those in Grafana; writes nothing.

    Args:
        grafana: where the boards shall be.
        folder: title or uid of the folder for the boards.
        create_folder: it may be created when there is none.

    Raises:
        PublishError: when Grafana cannot be asked, or has no such folder.
    """
    with _as_ours():
        folder_uid = _find_folder(grafana, folder, create_folder=create_folder)
        steps = [_step(board, grafana.board(board.uid), folder_uid) for board in boards()]
    return Plan(folder, folder_uid, tuple(steps))


def carry_out(grafana: Grafana, plan: Plan) -> Iterator[Step]:
    """Write the boards that differ, one after another, and yield each when it is done.

    Raises:
        PublishError: when Grafana refuses; the boards yielded so far are written.
    """
    with _as_ours():
        folder_uid = plan.folder_uid
        if folder_uid is None:
            folder_uid = grafana.create_folder(plan.folder)
        for step in plan.steps:
            if step.change is not Change.NONE:
                grafana.save(step.board.content, folder_uid, step.stored)
            yield step


def _find_folder(grafana: Grafana, folder: str, *, create_folder: bool) -> str | None:
    if folder == ROOT_FOLDER:
        return ""
    known = grafana.folders()
    if folder in known:
        return folder
    uids = [uid for uid, title in known.items() if title == folder]
    if len(uids) == 1:
        return uids[0]
    if uids:
        raise PublishError(
            f"{len(uids)} folders on {grafana.url} have the title {folder!r}: name one by its uid, "
            f"{' or '.join(sorted(uids))}"
        )
    if create_folder:
        return None
    there = ", ".join(sorted(known.values())) or "none that this token may see"
    raise PublishError(
        f"there is no folder {folder!r} on {grafana.url} (there are: {there}); name one of them "
        f"with --folder, or let it be created with --create-folder"
    )


def _step(board: Board, stored: StoredBoard | None, folder_uid: str | None) -> Step:
    if stored is None:
        change = Change.CREATE
    elif not same_content(stored.content, board.content):
        change = Change.UPDATE
    else:
        change = Change.NONE if stored.folder_uid == folder_uid else Change.MOVE
    before = None if stored is None else stored.content
    return Step(board, change, stored, difference(before, board.content, board.uid))


@contextmanager
def _as_ours() -> Iterator[None]:
    try:
        yield
    except GrafanaError as e:
        raise PublishError(str(e)) from e
