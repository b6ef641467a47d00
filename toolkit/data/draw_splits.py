"""Draws which pictures are held out: by seed and name, whole groups at a time, balanced by class where that is told."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Drawn:
    """``held_out`` pictures; ``cluster_of`` each picture, by the name of one group or picture in it."""

    held_out: frozenset[str]
    cluster_of: Mapping[str, str]


def draw_held_out(
    names: Sequence[str],
    groups: Mapping[str, str],
    digests: Mapping[str, str],
    strata: Mapping[str, str],
    *,
    seed: int,
    fraction: float,
    training: Sequence[str] = (),
) -> Drawn:
    """Hold out about ``fraction`` of each stratum of ``names``, and at least one cluster of two or more.

    A cluster is what must stay together: pictures of one group ("" is none) and identical files (``digests``), also
    by way of each other. One that has a picture of ``training`` is never held out. A cluster's place depends on the
    seed and its own name alone, so that a new picture moves hardly any other; a large cluster is passed over where
    the share would be missed further with it than without.
    """
    fixed = set(training)
    clusters = _clusters([*names, *training], groups, digests)
    by_stratum: dict[str, list[str]] = defaultdict(list)
    for lead, members in clusters.items():
        if fixed.isdisjoint(members):
            counts = Counter(strata.get(name, "") for name in members)
            by_stratum[min(counts, key=lambda stratum: (-counts[stratum], stratum))].append(lead)
    held_out: list[str] = []
    for leads in by_stratum.values():
        for lead in _draw(leads, {lead: len(clusters[lead]) for lead in leads}, seed, fraction):
            held_out += clusters[lead]
    cluster_of = {name: lead for lead, members in clusters.items() for name in members}
    return Drawn(frozenset(held_out), cluster_of)


def _draw(leads: Sequence[str], sizes: Mapping[str, int], seed: int, fraction: float) -> list[str]:
    """The clusters of one stratum that are held out; one of them always trains."""
    order = sorted(leads, key=lambda lead: hashlib.sha256(f"{seed}:{lead}".encode()).digest())
    wanted = max(1, round(fraction * sum(sizes.values())))
    held: list[str] = []
    missing = wanted
    for lead in order:
        if len(held) == len(order) - 1:
            break
        if missing > 0 and abs(missing - sizes[lead]) <= missing:
            held.append(lead)
            missing -= sizes[lead]
    if not held and len(order) > 1:
        held = [min(order, key=lambda lead: sizes[lead])]
    return held


def _clusters(names: Sequence[str], groups: Mapping[str, str], digests: Mapping[str, str]) -> dict[str, list[str]]:
    """Members of each cluster under the least of its groups' names; a picture without a group is a group itself."""
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def root(node: tuple[str, str]) -> tuple[str, str]:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    group_of = {name: groups.get(name) or name for name in names}
    for name in names:
        parent[root(("file", digests[name]))] = root(("group", group_of[name]))
    members: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in names:
        members[root(("group", group_of[name]))].append(name)
    return {min(group_of[name] for name in cluster): cluster for cluster in members.values()}
