from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from dqn_cli.agent.exploration import Linear, Piecewise
from dqn_cli.agent.recurrent import Gru, Lstm
from dqn_cli.runs.grouping import (
    BATCHED_PARTS,
    PER_MEMBER_KEYS,
    TYPE_ONLY_PARTS,
    format_ranges,
    group_jobs,
    group_key,
)
from dqn_cli.runs.job import Job
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]
# Together they have every kind of field that a computed part can have.
CHOICES = (
    ("agent=rainbow",),
    ("update=munchausen", "head=iqn", "network=gru", "optimizer=rmsprop"),
    ("agent=pqn", "head=qr", "optimizer=adamw"),
    ("network=table", "network.low=[0]", "optimizer=sgd"),
)


def another(value: Any) -> Any:
    """A value of the same type that is not this one."""
    if isinstance(value, Enum):
        return next(each for each in type(value) if each is not value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, dict):
        return value | {"more": 1}
    if isinstance(value, list):
        return [*value, "package:Part"] if all(isinstance(x, str) for x in value) else [*value, 5]
    return 7 if value is None else f"{value}x"


def changed(part: Any) -> Iterator[tuple[str, Any, Any]]:
    """Each field's name, its value, and the part with another value there."""
    for field in fields(part):
        value = getattr(part, field.name)
        yield field.name, value, replace(part, **{field.name: another(value)})


def with_part(settings: Settings, name: str, part: Any) -> Settings:
    return replace(settings, **{name: part})


@pytest.mark.parametrize("words", CHOICES)
def test_only_floats_of_batched_parts_may_differ(
    settings_of: Compose, words: tuple[str, ...]
) -> None:
    settings = settings_of(*words)
    for name in BATCHED_PARTS:
        for key, value, part in changed(getattr(settings, name)):
            alike = group_key(settings) == group_key(with_part(settings, name, part))
            assert alike == isinstance(value, float), f"{name}.{key}"


def test_the_choices_above_cover_the_numbers_that_people_sweep(settings_of: Compose) -> None:
    floats = {
        f"{name}.{key}"
        for words in CHOICES
        for name in BATCHED_PARTS
        for key, value, _ in changed(getattr(settings_of(*words), name))
        if isinstance(value, float)
    }
    assert floats >= {
        "network.sigma", "head.v_min", "head.v_max", "optimizer.max_grad_norm", "update.alpha",
        "update.temperature", "update.clip", "optimizer.lr", "optimizer.beta1", "optimizer.eps",
        "optimizer.momentum", "optimizer.decay", "optimizer.weight_decay", "replay.alpha",
        "replay.beta", "replay.trace_decay",
    }  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        ("target=hard", "exploration=linear"),
        ("target=soft", "exploration=multiplicative"),
        ("target=none", "exploration=boltzmann"),
        ("target=hard", "exploration=ladder", "env.num_envs=2"),
    ],
)
def test_anything_of_target_and_exploration_may_differ_but_the_type(
    settings_of: Compose, words: tuple[str, ...]
) -> None:
    settings = settings_of(*words)
    for name in TYPE_ONLY_PARTS:
        for key, _, part in changed(getattr(settings, name)):
            alike = group_key(settings) == group_key(with_part(settings, name, part))
            assert alike is (key != "act"), key  # members act by the same network


def test_only_seed_gamma_stop_loggers_and_names_of_files_of_all_other_settings_may_differ(
    settings_of: Compose,
) -> None:
    alone = ("seed", "gamma", "tuned", "logger", "init", "init_optimizer", "video")
    settings = settings_of()
    for name, value, other in changed(
        replace(settings, **dict.fromkeys(BATCHED_PARTS + TYPE_ONLY_PARTS, 1))
    ):
        if name == "auxiliary":  # parts by name, which are compared below
            continue
        if is_dataclass(value):
            for key, _, part in changed(value):
                alike = group_key(settings) == group_key(with_part(settings, name, part))
                assert alike == (name == "stop"), key
        elif name not in BATCHED_PARTS + TYPE_ONLY_PARTS:
            one = with_part(settings, name, getattr(other, name))
            assert (group_key(settings) == group_key(one)) == (name in alone), name
    assert set(PER_MEMBER_KEYS) == {*alone, "stop"}


def test_numbers_of_auxiliary_parts_may_differ_and_their_kinds_may_not(
    settings_of: Compose,
) -> None:
    keys = [
        group_key(settings_of(*words))
        for words in (
            ("auxiliary=cql",),
            ("auxiliary=cql", "auxiliary.cql.weight=3"),
            ("auxiliary=none",),
            ("auxiliary=counts",),
            ("auxiliary=counts", "auxiliary.counts.bits=3"),
        )
    ]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 4


@pytest.mark.parametrize(
    "word",
    [
        "seed=7", "gamma=0.5", "optimizer.lr=1", "optimizer.max_grad_norm=3", "target.every=9",
        "target.unit=episodes", "exploration.duration=500", "exploration.unit=updates",
    ],
)  # fmt: skip
def test_settings_that_are_often_swept_do_not_split_groups(settings_of: Compose, word: str) -> None:
    assert group_key(settings_of("optimizer.lr=0.1")) == group_key(
        settings_of("optimizer.lr=0.1", word)
    )


@pytest.mark.parametrize(
    "words",
    [
        ("network.widths=[5]",),
        ("network.layer_norm=true",),
        ("network=lstm",),
        ("replay.batch_size=9",),
        ("replay.capacity=999",),
        ("replay.n_step=2",),
        ("agent=per",),
        ("head=qr",),
        ("head=qr", "head.atoms=9"),
        ("update=double",),
        ("head.loss=squared",),
        ("optimizer.max_grad_norm=null",),
        ("optimizer=sgd",),
        ("optimizer.schedule=constant",),
        ("target=soft",),
        ("exploration=constant",),
        ("dtype=float64",),
        ("env=Acrobot-v1",),
        ("+env.kwargs.sutton_barto_reward=true",),
        ("env.num_envs=2",),
        ("steps=99",),
        ("episodes=9",),
        ("eval.every=99",),
    ],
)
def test_settings_that_change_shapes_or_types_split_groups(
    settings_of: Compose, words: tuple[str, ...]
) -> None:
    assert group_key(settings_of()) != group_key(settings_of(*words))


def test_parts_of_different_types_with_the_same_fields_split_groups(settings_of: Compose) -> None:
    settings = settings_of("network=gru")
    gru = settings.network
    assert isinstance(gru, Gru)
    lstm = Lstm(**{field.name: getattr(gru, field.name) for field in fields(gru)})
    assert group_key(settings) != group_key(replace(settings, network=lstm))


def jobs_of(settings: Settings, kinds: list[int]) -> list[Job]:
    """Jobs in order; those of one kind have one structure."""
    return [
        Job(replace(settings, steps=1000 + kind, seed=number), Path(str(number)), [], number)
        for number, kind in enumerate(kinds)
    ]


def numbers(groups: list[list[Job]]) -> list[list[int]]:
    return [[job.number for job in group] for group in groups]


def sizes(groups: list[list[Job]]) -> list[int]:
    return [len(group) for group in groups]


@pytest.mark.parametrize(
    ("counts", "processes", "members", "expected"),
    [
        ([], 2, 16, []),
        ([1], 2, 16, [1]),
        ([16], 1, 16, [16]),
        ([16], 2, 16, [8, 8]),
        ([17], 1, 16, [8, 9]),
        ([40], 2, 16, [10, 10, 10, 10]),
        ([7], 3, 16, [2, 2, 3]),
        ([3], 8, 16, [1, 1, 1]),
        ([5], 2, 1, [1, 1, 1, 1, 1]),
        ([4, 4], 1, 16, [4, 4]),
        ([4, 4], 2, 16, [4, 4]),
        ([4, 4], 4, 16, [2, 2, 2, 2]),
        ([5, 5, 5], 2, 16, [2, 3, 5, 5]),
        ([5, 5, 5], 3, 16, [5, 5, 5]),
        ([20, 5, 5], 2, 16, [10, 10, 5, 5]),
    ],
)
def test_group_sizes_are_even_and_respect_members_and_processes(
    settings_of: Compose, counts: list[int], processes: int, members: int, expected: list[int]
) -> None:
    kinds = [kind for kind, count in enumerate(counts) for _ in range(count)]
    assert sizes(group_jobs(jobs_of(settings_of(), kinds), processes, members)) == expected


def test_groups_keep_the_order_of_their_jobs(settings_of: Compose) -> None:
    groups = group_jobs(jobs_of(settings_of(), [0, 1, 0, 0, 1, 2, 0]), 2, 3)
    assert numbers(groups) == [[0, 2], [3, 6], [1, 4], [5]]


class Case(NamedTuple):
    """A sweep and the groups that it becomes."""

    jobs: list[Job]
    processes: int
    members: int
    groups: list[list[Job]]

    def kinds(self) -> list[list[Job]]:
        """The jobs of each structure."""
        kinds = sorted({job.settings.steps for job in self.jobs})
        return [[job for job in self.jobs if job.settings.steps == kind] for kind in kinds]


@pytest.fixture(scope="module")
def cases(settings_of: Compose) -> list[Case]:
    """Many sweeps, of up to four structures."""
    chance, cases = random.Random(7), []
    for _ in range(400):
        kinds = chance.choices(range(chance.randint(1, 4)), k=chance.randint(1, 50))
        jobs = jobs_of(settings_of(), kinds)
        processes, members = chance.randint(1, 9), chance.randint(1, 20)
        cases.append(Case(jobs, processes, members, group_jobs(jobs, processes, members)))
    return cases


def test_every_job_is_in_one_group_of_jobs_with_its_key(cases: list[Case]) -> None:
    for case in cases:
        for alike in case.kinds():
            expected = [job.number for job in alike]
            groups = [group for group in case.groups if group[0].number in expected]
            assert [number for group in numbers(groups) for number in group] == expected
        assert sum(sizes(case.groups)) == len(case.jobs)


def test_no_group_exceeds_the_limit_and_groups_of_one_key_are_even(
    cases: list[Case],
) -> None:
    for case in cases:
        assert all(1 <= size <= case.members for size in sizes(case.groups))
        for alike in case.kinds():
            group_sizes = sizes([group for group in case.groups if group[0] in alike])
            assert max(group_sizes) - min(group_sizes) <= 1


def test_no_process_is_idle_while_there_are_jobs(cases: list[Case]) -> None:
    for case in cases:
        message = f"{[len(kind) for kind in case.kinds()]} became {sizes(case.groups)}"
        enough = len(case.groups) >= min(case.processes, len(case.jobs))
        assert enough, f"{message} on {case.processes} processes"


def test_three_keys_keep_four_processes_busy(settings_of: Compose) -> None:
    jobs = jobs_of(settings_of(), [0, 1, 2] * 16)
    assert len(sizes(group_jobs(jobs, 4, 16))) >= 4


def test_groups_of_one_key_fill_all_processes_and_are_as_large_as_possible(
    cases: list[Case],
) -> None:
    for case in cases:
        jobs, groups = len(case.jobs), len(case.groups)
        if len(case.kinds()) == 1 and groups < jobs:
            assert groups % case.processes == 0
            assert (groups - case.processes) * case.members < jobs


@pytest.mark.parametrize(
    ("job_numbers", "text"),
    [
        ([0], "0"),
        ([3], "3"),
        ([0, 1, 2, 3], "0-3"),
        ([1, 2], "1-2"),
        ([0, 2, 4, 5, 6], "0, 2, 4-6"),
        ([7, 8, 10], "7-8, 10"),
    ],
)
def test_ranges_are_written_as_text(job_numbers: list[int], text: str) -> None:
    assert format_ranges(job_numbers) == text


def test_ranges_name_each_number_once() -> None:
    chance = random.Random(1)
    for _ in range(200):
        job_numbers = sorted(chance.sample(range(30), chance.randint(1, 20)))
        parts = [part.split("-") for part in format_ranges(job_numbers).split(", ")]
        assert [n for part in parts for n in range(int(part[0]), int(part[-1]) + 1)] == job_numbers


def test_schedules_of_one_type_share_a_key_whatever_their_length(settings_of: Compose) -> None:
    piecewise = settings_of("exploration=piecewise")
    exploration = piecewise.exploration
    assert isinstance(exploration, Piecewise)
    shorter = replace(exploration, points=exploration.points[:2])
    assert group_key(piecewise) == group_key(replace(piecewise, exploration=shorter))
    linear = settings_of().exploration
    assert isinstance(linear, Linear)
    assert group_key(piecewise) != group_key(replace(piecewise, exploration=linear))
