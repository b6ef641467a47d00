"""Drawn splits: what belongs together stays together, classes are balanced, and a seed is a seed."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.data.draw_splits import Drawn, draw_held_out


def draw(
    names: list[str],
    groups: dict[str, str] | None = None,
    digests: dict[str, str] | None = None,
    strata: dict[str, str] | None = None,
    seed: int = 0,
    fraction: float = 0.2,
    training: tuple[str, ...] = (),
) -> Drawn:
    own = {name: name for name in (*names, *training)}
    return draw_held_out(
        names, groups or {}, {**own, **(digests or {})}, strata or {}, seed=seed, fraction=fraction, training=training
    )


NAMES = [f"{number}.jpg" for number in range(100)]


def test_seeds() -> None:
    assert draw(NAMES).held_out == draw(NAMES[::-1]).held_out != draw(NAMES, seed=1).held_out
    assert len(draw(NAMES).held_out) == 20
    # A new picture takes at most one place.
    assert len(draw(NAMES).held_out ^ draw([*NAMES, "new.jpg"]).held_out) <= 2


def test_classes_are_balanced() -> None:
    strata = {name: "rare" if number < 5 else "common" for number, name in enumerate(NAMES)}
    for seed in range(20):
        assert Counter(strata[name] for name in draw(NAMES, strata=strata, seed=seed).held_out) == {
            "rare": 1,
            "common": 19,
        }


def test_a_class_of_one_picture_trains() -> None:
    strata = {name: "lone" if name == "7.jpg" else "common" for name in NAMES}
    assert not any("7.jpg" in draw(NAMES, strata=strata, seed=seed).held_out for seed in range(50))


def test_a_large_group_is_passed_over() -> None:
    """Of groups of 60, 25, 10 and 5, a fifth is held out in smaller ones, never as the one of 60."""
    groups = {
        name: "a" if number < 60 else "b" if number < 85 else "c" if number < 95 else "d"
        for number, name in enumerate(NAMES)
    }
    sizes = {len(draw(NAMES, groups, seed=seed).held_out) for seed in range(50)}
    assert sizes <= {15, 25, 30}
    assert len(sizes) > 1


def test_two_large_groups_make_one_each() -> None:
    groups = {name: "a" if number < 45 else "b" for number, name in enumerate(NAMES)}
    assert len(draw(NAMES, groups, fraction=0.01).held_out) == 45


def test_a_group_of_mixed_classes_counts_as_its_most_frequent() -> None:
    groups = {name: f"g{number // 10}" for number, name in enumerate(NAMES)}
    strata = {name: "x" if number % 10 < 6 else "y" for number, name in enumerate(NAMES)}
    assert len(draw(NAMES, groups, strata=strata).held_out) == 20


def test_what_is_with_a_training_picture_trains() -> None:
    digests = {"extra": "same", **dict.fromkeys(NAMES[:50], "same")}
    drawn = draw(NAMES, digests=digests, fraction=0.9, training=("extra",))
    assert not drawn.held_out & {*NAMES[:50], "extra"}
    assert len(drawn.held_out) > 40


def test_names_and_groups_of_one_spelling() -> None:
    """A picture without a group is a group of its own name."""
    drawn = draw(["a", "b", "c", "d"], {"b": "a", "c": "z"})
    assert drawn.cluster_of == {"a": "a", "b": "a", "c": "z", "d": "d"}


@pytest.mark.parametrize("count", [0, 1])
def test_too_few(count: int) -> None:
    assert draw(NAMES[:count]).held_out == frozenset()


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.tuples(st.sampled_from(["", "a", "b", "c", "d"]), st.integers(0, 12), st.sampled_from("xy")), max_size=30
    ),
    st.floats(0.001, 0.999),
    st.integers(0, 2**32 - 1),
)
def test_never_in_two_splits(rows: list[tuple[str, int, str]], fraction: float, seed: int) -> None:
    names = [str(number) for number in range(len(rows))]
    groups = {name: row[0] for name, row in zip(names, rows, strict=True)}
    digests = {name: str(row[1]) for name, row in zip(names, rows, strict=True)}
    strata = {name: row[2] for name, row in zip(names, rows, strict=True)}
    drawn = draw(names, groups, digests, strata, seed, fraction)
    for keys in ({name: group for name, group in groups.items() if group}, digests):
        for key in set(keys.values()):
            inside = {name in drawn.held_out for name in keys if keys[name] == key}
            assert len(inside) == 1
    clusters = {drawn.cluster_of[name] for name in names}
    held = {drawn.cluster_of[name] for name in drawn.held_out}
    assert held < clusters or not clusters
    if len({name for name in names if strata[name] == "x"}) == len(names) and len(clusters) > 1:
        assert held
