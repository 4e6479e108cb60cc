"""A suite learnt anew, and the edits that people made to the old one: a merge of three. Pure.

The suite's meta holds what was generated last (the base). What a person changed since then, field
by field, stays; what nobody touched follows the new reference. Where both moved, the person's value
stays and the conflict is listed, in the result and in the suite's meta, until it is settled.
Sets of values are merged member by member, so that they never conflict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeAlias

import orjson

from consistency.jsontype import Json
from monitors.suites.compiled.conditions import ConditionError, compile_condition
from monitors.suites.naming import columns_of, rule_name

Suite: TypeAlias = Mapping[str, Json]
_Fields: TypeAlias = dict[str, Json]

_DOMAIN: Final = frozenset({"column", "column_A", "column_B", "column_list", "row_condition"})
"""Arguments that say which rule it is; the others are its promises."""
_SETS: Final = frozenset({"kwargs.value_set", "kwargs.type_list"})
_WHOLE: Final = "the rule"


class Prefer(StrEnum):
    """Whose value stays where a person and the new reference both changed one."""

    EDITED = "edited"
    NEW = "new"


@dataclass(frozen=True, slots=True)
class Conflict:
    """A place that both a person and the new reference changed.

    Attributes:
        rule: its name; field: `kwargs.max_value`, or "the rule" for its being there at all.
        base: what was generated before; None when there was nothing. edited, new: likewise.
    """

    rule: str
    field: str
    base: Json
    edited: Json
    new: Json

    def to_json(self) -> dict[str, Json]:
        """Return JSON types."""
        return {
            "rule": self.rule,
            "field": self.field,
            "base": self.base,
            "edited": self.edited,
            "new": self.new,
        }

    def __str__(self) -> str:
        was, edited, new = (_short(v) for v in (self.base, self.edited, self.new))
        return f"{self.rule}: {self.field} was {was}, a person made it {edited}, now it were {new}"


@dataclass(slots=True)
class Merged:
    """What became of two suites.

    Attributes:
        suite: the merged one.
        kept: names of rules with a person's edit, or added or removed by a person.
        updated: that follow the new reference; added: new ones; dropped: that it no longer bears.
        conflicts: where a person's value stands against the new reference.
    """

    suite: dict[str, Json] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)


def with_base(suite: Suite) -> dict[str, Json]:
    """Return a generated suite with its own base in its meta.

    Args:
        suite: as generated; nobody has edited it.
    """
    return _with_facts(suite, {"generated": [_base_entry(k, r) for k, r in _keyed(suite)]})


def merge(edited: Suite, new: Suite, prefer: Prefer = Prefer.EDITED) -> Merged:
    """Merge what was generated anew into a suite that people may have edited.

    Args:
        edited: the suite as it is now; its meta holds the base. One without a base was written by a
            person from end to end.
        new: as generated from the new reference.
        prefer: whose value stays in a conflict.

    Returns:
        The suite, in the edited one's order, and what happened.
    """
    base = {entry["key"]: entry for entry in _facts(edited).get("generated", ())}
    mine, theirs = dict(_keyed(edited)), dict(_keyed(new))
    out = Merged()
    rules = [
        rule
        for key in [*mine, *(k for k in theirs if k not in mine)]
        if (rule := _one(out, base.get(key), mine.get(key), theirs.get(key), prefer)) is not None
    ]
    suite = {**edited, "expectations": rules, "meta": _meta(edited, new)}
    facts = {"generated": [_base_entry(k, r) for k, r in theirs.items()]}
    out.suite = _with_facts(suite, {**facts, "conflicts": _open(out, edited, rules)})
    return out


def _one(
    out: Merged, base: Json, mine: Json, theirs: Json, prefer: Prefer
) -> dict[str, Json] | None:
    """Return one rule of the merged suite, or None; note what happened."""
    was = None if base is None else dict(base["fields"])
    if mine is None:
        return _not_mine(out, was, theirs, prefer)
    if theirs is None:
        return _not_theirs(out, was, mine, prefer)
    ours, new = _fields(mine), _fields(theirs)
    if ours in (was or {}, new):
        (out.updated if ours != new else []).append(_name(mine))
        return _as(mine, new, theirs)
    merged, conflicts = _merge_fields(_name(mine), was, ours, new, prefer)
    if _impossible(merged):
        merged = ours if prefer is Prefer.EDITED else new
        conflicts = [Conflict(_name(mine), _WHOLE, was, ours, new)]
    out.conflicts += conflicts
    (out.updated if merged == new else out.kept).append(_name(mine))
    return _as(mine, merged, theirs)


def _not_mine(
    out: Merged, was: _Fields | None, theirs: Mapping[str, Json], prefer: Prefer
) -> dict[str, Json] | None:
    """Return a rule that the edited suite lacks: new, or removed by a person."""
    name, new = _name(theirs), _fields(theirs)
    if was is None:
        out.added.append(name)
        return dict(theirs)
    if new != was:
        out.conflicts.append(Conflict(name, _WHOLE, was, None, new))
        if prefer is Prefer.NEW:
            out.added.append(name)
            return dict(theirs)
    out.kept.append(name)
    return None


def _not_theirs(
    out: Merged, was: _Fields | None, mine: Mapping[str, Json], prefer: Prefer
) -> dict[str, Json] | None:
    """Return a rule that the new reference does not make: a person's own, or one it drops."""
    name, ours = _name(mine), _fields(mine)
    if was is not None and ours == was:
        out.dropped.append(name)
        return None
    if was is not None:
        out.conflicts.append(Conflict(name, _WHOLE, was, ours, None))
        if prefer is Prefer.NEW:
            out.dropped.append(name)
            return None
    out.kept.append(name)
    return dict(mine)


def _merge_fields(
    name: str, was: _Fields | None, ours: _Fields, new: _Fields, prefer: Prefer
) -> tuple[_Fields, list[Conflict]]:
    merged: _Fields = {}
    conflicts: list[Conflict] = []
    for key in [*ours, *(k for k in new if k not in ours)]:
        base, mine, theirs = (None if f is None else f.get(key) for f in (was, ours, new))
        if theirs in (mine, base):
            chosen = mine
        elif mine == base:
            chosen = theirs
        elif key in _SETS and isinstance(mine, list) and isinstance(theirs, list):
            chosen = _merge_sets(base if isinstance(base, list) else [], mine, theirs)
        else:
            conflicts.append(Conflict(name, key, base, mine, theirs))
            chosen = mine if prefer is Prefer.EDITED else theirs
        if chosen is not None:
            merged[key] = chosen
    return merged, conflicts


def _merge_sets(base: list[Json], mine: list[Json], theirs: list[Json]) -> list[Json]:
    """Return the new set less what a person took out, with what a person put in."""
    kept = [v for v in theirs if v in mine or v not in base]
    return kept + [v for v in mine if v not in base and v not in theirs]


def _impossible(fields: _Fields) -> bool:
    """Tell whether two bounds from two hands contradict each other."""
    low, high = fields.get("kwargs.min_value"), fields.get("kwargs.max_value")
    return isinstance(low, (int, float)) and isinstance(high, (int, float)) and low > high


def _keyed(suite: Suite) -> Iterator[tuple[str, dict[str, Json]]]:
    """Yield each expectation with what tells it apart: type, fields, condition, and which of them.

    Several rules of one kind on one field are told apart by their order, the generated one first:
    there is never more than one of those.
    """
    seen: dict[str, int] = {}
    keys: dict[int, str] = {}
    rules = suite["expectations"]
    for index in sorted(range(len(rules)), key=lambda i: "level" not in _facts(rules[i])):
        held = rules[index]
        domain = {k: v for k, v in held.get("kwargs", {}).items() if k in _DOMAIN and v is not None}
        key = orjson.dumps([held["type"], domain], option=orjson.OPT_SORT_KEYS).decode()
        seen[key] = seen.get(key, 0) + 1
        keys[index] = key if seen[key] == 1 else f"{key}#{seen[key]}"
    for index, held in enumerate(rules):
        yield keys[index], held


def _fields(rule: Mapping[str, Json]) -> _Fields:
    """Return a rule's promises, flat; what says nothing (null, mostly 1) is left out."""
    kwargs = {k: v for k, v in rule.get("kwargs", {}).items() if k not in _DOMAIN}
    out = {f"kwargs.{k}": v for k, v in kwargs.items() if v is not None}
    if out.get("kwargs.mostly") == 1:
        del out["kwargs.mostly"]
    if rule.get("severity") not in (None, "critical"):
        out["severity"] = rule["severity"]
    policy = _facts(rule).get("policy")
    return out if policy is None else {**out, "policy": policy}


def _as(mine: Mapping[str, Json], fields: _Fields, theirs: Mapping[str, Json]) -> dict[str, Json]:
    """Return a person's rule (id, notes, meta and all) with merged promises."""
    domain = {k: v for k, v in mine.get("kwargs", {}).items() if k in _DOMAIN and v is not None}
    promised = {k.removeprefix("kwargs."): v for k, v in fields.items() if k.startswith("kwargs.")}
    facts = {k: v for k, v in {**_facts(mine), **_facts(theirs)}.items() if k != "policy"}
    if "policy" in fields:
        facts["policy"] = fields["policy"]
    out: dict[str, Json] = {**theirs, **mine, "kwargs": {**domain, **promised}}
    out["meta"] = {**(mine.get("meta") or {}), "samescore": facts}
    out["severity"] = fields.get("severity", "critical")
    return out


def _meta(edited: Suite, new: Suite) -> dict[str, Json]:
    facts = {**_facts(edited), **_facts(new)}
    return {**(edited.get("meta") or {}), **(new.get("meta") or {}), "samescore": facts}


def _open(out: Merged, edited: Suite, rules: list[dict[str, Json]]) -> list[dict[str, Json]]:
    """Return the conflicts that nobody has settled: new ones, and old ones that still stand."""
    now = [c.to_json() for c in out.conflicts]
    named = {(c["rule"], c["field"]) for c in now}
    held = {_name(rule): _fields(rule) for rule in rules}
    for old in _facts(edited).get("conflicts", ()):
        fields = held.get(old["rule"])
        value = fields if old["field"] == _WHOLE else (fields or {}).get(old["field"])
        if (old["rule"], old["field"]) not in named and value == old["edited"]:
            now.append(old)
    return now


def _base_entry(key: str, rule: Mapping[str, Json]) -> dict[str, Json]:
    return {"key": key, "fields": _fields(rule)}


def _facts(held: Mapping[str, Any]) -> dict[str, Json]:
    meta = held.get("meta")
    facts = meta.get("samescore") if isinstance(meta, dict) else None
    return facts if isinstance(facts, dict) else {}


def _with_facts(suite: Suite, facts: dict[str, Json]) -> dict[str, Json]:
    merged = {k: v for k, v in {**_facts(suite), **facts}.items() if v != []}
    return {**suite, "meta": {**(suite.get("meta") or {}), "samescore": merged}}


def _name(rule: Mapping[str, Json]) -> str:
    kwargs = rule.get("kwargs", {})
    condition = kwargs.get("row_condition")
    try:
        where = None if condition is None else str(compile_condition(condition))
    except ConditionError:
        where = orjson.dumps(condition).decode()
    return rule_name(rule["type"], columns_of(kwargs), where)


def _short(value: Json) -> str:
    text = "absent" if value is None else orjson.dumps(value).decode()
    return text if len(text) <= 80 else f"{text[:79]}…"
