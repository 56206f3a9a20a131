"""Looking at the first values before all of them changes no answer: what only the last value shows is seen."""

import numpy as np
import pytest

from vqcheck.codebook.diagnosis import edited, projection
from vqcheck.codebook.diagnosis.book import Book, State
from vqcheck.codebook.family import Family
from vqcheck.codebook.tensor_change import measure, ulps_apart

MANY = np.random.default_rng(3).normal(size=(1, 80, 64)).astype(np.float32)


def but_the_last(values, last):
    changed = values.copy()
    changed[-1, -1, -1] = last
    return changed


def test_places_are_counted_to_the_last_value():
    """A value many places off anywhere says that it is more than places."""
    near = np.nextafter(MANY, np.float32(np.inf))
    assert ulps_apart(MANY, near, "float32", 4) == 1
    assert ulps_apart(MANY, but_the_last(near, MANY[-1, -1, -1] * 1.01), "float32", 4) is None
    assert ulps_apart(MANY, but_the_last(near, np.nan), "float32", 4) is None
    assert ulps_apart(MANY, but_the_last(MANY, np.nextafter(MANY[-1, -1, -1], np.float32(9))), "float32", 4) == 1


@pytest.mark.parametrize("zeros", [0, 60 * 64 + 300])
def test_one_factor_holds_for_all_values(zeros):
    """Scaled is what has one factor everywhere, even where the first values are zero."""
    a = MANY.copy()
    a.reshape(-1)[:zeros] = 0
    for b, factor in ((a * 2, 2.0), (but_the_last(a * 2, 0.3), None)):
        found = edited.scaled(Book(0, Family("x", "X", ()), State(a, None, None), State(b, None, None), frozenset()))
        assert (found.evidence.codes if found else None) == (pytest.approx(factor) if factor else None)


@pytest.mark.parametrize(("factor", "how"), [(1 + 2**-23, "rounding"), (1.1, "scaled")])
def test_a_projection_is_judged_to_its_last_value(factor, how):
    """A projection that was rounded or scaled, but for its last value, was neither."""
    moved = MANY[0] * np.float32(factor)
    assert projection.find({"w": (MANY[0], moved)}).evidence.how == how
    moved[-1, -1] += 1
    assert projection.find({"w": (MANY[0], moved)}).evidence.how not in ("rounding", "scaled")


@pytest.mark.parametrize("wide", [np.float32, np.float64])
def test_changes_are_those_of_single_values(wide):
    """Each figure is what comparing value by value gives, also beside zeros, infinity and NaN."""
    a = MANY[0, :6, :5].astype(wide)
    b = a * 1.5
    a[0, :3], b[1, :2] = (0.0, np.inf, np.nan), (0.0, -np.inf)
    found = measure(a, b, 1)
    pairs = [(i, x, y) for i, x in np.ndenumerate(a) if np.isfinite(x) and np.isfinite(y := b[i])]
    apart = {i: abs(float(y) - float(x)) for i, x, y in pairs}
    relative = {i: apart[i] / abs(float(x)) for i, x, _ in pairs if x}
    assert (found.max_abs, found.max_abs_index) == (max(apart.values()), max(apart, key=apart.get))
    assert (found.max_rel, found.max_rel_index) == (max(relative.values()), max(relative, key=relative.get))
    assert (found.rows_changed, found.rows) == (6, 6)


def test_a_scalar_has_a_change():
    """An init flag may be a tensor without axes."""
    found = measure(np.array(0.0, np.float32), np.array(1.0, np.float32), 0)
    assert (found.max_abs, found.max_rel, found.rows_changed) == (1.0, 0.0, 1)
