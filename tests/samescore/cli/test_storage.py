from __future__ import annotations

import pytest

from samescore import all_forms
from tests.fixtures.cli import mistake, samescore
from tests.fixtures.tiny import PACKAGE, Tiny


@pytest.mark.slow
def test_the_table_shows_every_form(tiny: Tiny) -> None:
    ran = samescore("storage", tiny.bundle)
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0].startswith("40 rows of 6 features to 10 decimals; special cells met: ")
    assert [line.split()[0] for line in lines[3:]] == [f.id for f in all_forms()]


def test_a_form_that_is_relied_on_decides_the_exit_code(tiny: Tiny) -> None:
    assert samescore("storage", tiny.bundle, "--form", "parquet").code == 1  # parquet.float32
    ran = samescore("storage", tiny.bundle, "--form", "arrow", "--form", "csv.repr", "--json")
    assert ran.code == 0
    assert {f["form"]: f["keeps_values"] for f in ran.json["forms"]} == {
        "csv.repr": True,
        "arrow": True,
        "arrow.from_pandas": True,
    }


def test_with_the_pipeline_gaps_are_told_apart(tiny: Tiny) -> None:
    without = samescore("storage", tiny.bundle, "--form", "json.python")
    assert "null" not in without.out.splitlines()[0]
    ran = samescore("storage", tiny.bundle, "--form", "csv.repr", "--pipeline", PACKAGE)
    assert ran.code == 0
    assert "14 absent" in ran.out
    assert "score_before: absent → null (14 rows, first 0)" in ran.out


def test_a_typing_error_names_the_forms(tiny: Tiny) -> None:
    said = mistake("storage", tiny.bundle, "--form", "parket")
    assert "storage form 'parket' is unknown; known: json.orjson, json.python" in said


def test_an_untrusted_pipeline_is_not_imported(tiny: Tiny) -> None:
    said = mistake("storage", tiny.bundle, "--pipeline", "another_package")
    assert f"'{PACKAGE}'" in said


def test_a_folder_that_is_no_bundle_is_said(tiny: Tiny) -> None:
    assert "is this a bundle?" in mistake("storage", tiny.base)
