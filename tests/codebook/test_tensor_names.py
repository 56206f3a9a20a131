"""Looking names up costs what the names are worth, whatever they are and however often it is done."""

from dataclasses import replace

import pytest

from vqcheck.codebook import tensor_names
from vqcheck.codebook.families import FAMILIES
from vqcheck.codebook.tensor_names import _table, candidates

CODES = "quantizer.vq.layers.0._codebook.embed"


def test_tables_for_rows_of_the_users_are_not_kept_for_ever():
    for number in range(200):
        candidates([CODES], (replace(FAMILIES[0], name=f"own {number}"),))
    assert _table.cache_info().currsize < 50


def test_a_name_of_very_many_parts_is_passed_over():
    assert candidates([CODES])
    assert candidates(["module." * 20 + CODES])
    assert not candidates(["module." * 100_000 + CODES])
    assert not candidates(["a" * 100_000 + "." + CODES])


def test_the_search_ends_when_more_names_fit_than_any_codec_has(monkeypatch):
    monkeypatch.setattr(tensor_names, "MOST_NAMES", 50)
    found = candidates([f"quantizer.layers.{number}.codebook.embed" for number in range(500)])
    assert 50 < sum(map(len, found.values())) < 100


@pytest.mark.parametrize("number", ["00", "01", "0_0", "+0", " 0", "٠", "²", "1" * 9])  # noqa: RUF001
def test_a_number_that_no_module_has_is_none(number):
    """Another spelling of a layer's number is another name: torch fills nothing from it."""
    found = {spelled: candidates([CODES.replace("layers.0", f"layers.{spelled}")]) for spelled in ("10", number)}
    assert {"", "quantizer.vq."} < {prefix for prefix, _ in found["10"]}
    assert {prefix for prefix, _ in found[number]} == {f"quantizer.vq.layers.{number}."}
