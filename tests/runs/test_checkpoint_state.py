from __future__ import annotations

import math
import random
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import STREAMING
from mutated import HEADER, attempt, is_same, mutate_bytes, signed, with_mutated_field
from test_checkpoints import advanced, data_of, settings_for, started

from dqn_cli.fields import FieldError
from dqn_cli.runs.checkpoint_state import check_count, check_fits, check_random
from dqn_cli.storage import CheckpointError, load_checkpoint
from dqn_cli.training.loop import Run
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]
Typed = Callable[..., int]
RUNS = {
    "per": ("agent=per", "env.num_envs=2", "env.normalize=running"),
    "pqn": ("agent=pqn", "env.num_envs=4", "train_every=32", "learning_starts=0"),
    "bootstrapped": ("agent=bootstrapped", "head.heads=3"),
    "stream_q": ("agent=stream_q", *STREAMING[1:]),
    "drqn": ("agent=drqn", "network.units=5", "network.length=4", "network.burn_in=2"),
}


def of_run(settings_of: Compose, name: str) -> tuple[Settings, dict[str, Any]]:
    settings = settings_for(settings_of, *RUNS[name])
    return settings, data_of(advanced(settings, 100))


@pytest.mark.parametrize("name", RUNS)
def test_what_was_written_fits(settings_of: Compose, name: str) -> None:
    settings, data = of_run(settings_of, name)
    check_count(data, settings)
    check_random(data, data)
    check_fits(data, started(settings).run, 0)


def filled(value: float, at: int = 0) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(tensor: torch.Tensor) -> torch.Tensor:
        changed = tensor.clone()
        changed.view(-1)[at] = value  # [elements]
        return changed

    return change


def shorter(tensor: torch.Tensor) -> torch.Tensor:
    return tensor[:-1]


BAD = [
    ("per", "learner.parameters", shorter, "learner.parameters has shape"),
    ("per", "learner.target", filled(math.nan), "learner.target has values that are NaN"),
    ("per", "learner.moments", filled(math.nan), "learner.moments has values that are NaN"),
    ("per", "learner.corrections", torch.Tensor.float, "learner.corrections has type"),
    ("per", "normalizer", filled(-1), "normalizer has a negative count"),
    ("per", "normalizer", filled(-1, -1), "normalizer has a negative variance"),
    ("per", "action", filled(2), "action has values that are not from 0 to 1"),
    ("drqn", "state", filled(math.inf), "state has values that are NaN or infinite"),
    ("per", "obs", torch.Tensor.double, "obs has type"),
    ("per", "stream.head", filled(-1), "stream.head has values"),
    ("per", "stream.head", filled(2**40), "has not .* slots|has slots"),
    ("per", "stream.head", lambda _: 0.5, "stream.head must be a tensor"),
    ("per", "stream.head", lambda x: x[:0], "stream.head has shape"),
    ("drqn", "sampler", lambda _: {"type": "Settings"}, "sampler has unknown fields"),
    ("per", "stream.first", filled(-1), "stream.first is out of range"),
    ("per", "stream.count", filled(10**6), "stream.count must be from 0 to"),
    ("per", "stream.queue", filled(10**9), "stream.queue has slots that are not in the ring"),
    ("per", "stream.begins", torch.zeros_like, "stream.queue has slots that begin no"),
    ("per", "stream.action", filled(7), "stream.action must be from 0 to 1"),
    ("per", "stream.reward", filled(math.nan), "stream.reward has values that are NaN"),
    ("per", "stream.obs", torch.Tensor.double, "stream.obs has type"),
    ("per", "stream.numbers", lambda x: x[:1], "stream.numbers has shape"),
    ("per", "stream.appends", filled(-1), "stream.appends is out of range"),
    ("per", "sampler.largest", filled(0), "sampler.largest must be above 0"),
    ("per", "sampler.leaves", filled(-1), "sampler.leaves has priorities of no transition"),
    ("per", "sampler.end", filled(10**6), "sampler.end is not in the stream's queue"),
    ("pqn", "sampler.trained", filled(10**6), "sampler.trained is not in the stream"),
    ("pqn", "sampler.ends", filled(10**6), "sampler.ends is not in the stream's queue"),
    ("stream_q", "sampler.ends", filled(10**6), "sampler.ends is not in the stream's queue"),
    ("stream_q", "reward_normalizer", lambda x: x[:2], "reward_normalizer has shape"),
    ("stream_q", "reward_normalizer", filled(-1), "reward_normalizer has a negative count"),
    ("bootstrapped", "active_heads", filled(3), "active_heads has values that are not from 0 to 2"),
    ("bootstrapped", "active_heads", lambda x: x[:0], "active_heads has shape"),
    ("per", "random.noise.own.state.inc", lambda x: x + 1, "random.noise.own.state.inc must be"),
    ("per", "random.replay.random.rest", lambda x: [2.0], "random.replay.random.rest must be in"),
    ("per", "random.replay.random.rest", lambda x: ["a"], "random.replay.random.rest must be"),
    ("per", "random.resets", lambda x: None, "random.resets must have named fields"),
]


@pytest.mark.parametrize(("name", "path", "change", "told"), BAD, ids=[f"{b[:2]}" for b in BAD])
def test_a_field_that_does_not_fit_is_named(
    settings_of: Compose, name: str, path: str, change: Callable[[Any], Any], told: str
) -> None:
    settings, data = of_run(settings_of, name)
    data = node = deepcopy(data)
    *above, last = path.split(".")
    for key in above:
        node = node[key]
    node[last] = change(node[last])
    run = started(settings).run
    with pytest.raises(FieldError, match=told):
        check_everything(data, run)


def check_everything(data: dict[str, Any], run: Run) -> None:
    check_random(data, data)
    check_fits(data, run, 0)


def test_members_draw_as_many_numbers(settings_of: Compose) -> None:
    settings, data = of_run(settings_of, "per")
    other = deepcopy(data)
    other["random"]["replay"]["random"]["rest"].pop()
    with pytest.raises(FieldError, match=r"random.replay.random has \d+ numbers, not"):
        check_random(other, data)
    with pytest.raises(FieldError, match="snapshots has 1 items, not 2"):
        check_count(data | {"snapshots": data["snapshots"][:1]}, settings)


SMALL = (
    "steps=80", "learning_starts=20", "eval.every=40", "eval.episodes=1", "network.widths=[4]",
    "replay.capacity=90", "replay.batch_size=4", "hydra.run.dir=run",
)  # fmt: skip


def test_two_hundred_mutations_are_refused_in_one_line_or_load_the_true_data(
    type_train: Typed, in_folder: Path
) -> None:
    assert type_train(*SMALL) == 0
    last, rng = in_folder / "run" / "checkpoints" / "last", random.Random(0)
    content = last.read_bytes()
    true, kinds = load_checkpoint(last), [0, 0, 0]
    for number in range(200):
        kind = number % 4
        if kind == 0:
            last.write_bytes(mutate_bytes(content, rng))
        elif kind == 1:
            last.write_bytes(signed(mutate_bytes(content[HEADER:], rng)))
        else:
            last.write_bytes(content)
            with_mutated_field(last, rng)
        try:
            is_true = is_same(load_checkpoint(last), true)
        except CheckpointError:
            is_true = False
        outcome = attempt(lambda: type_train("resume=run", "steps=84"))
        lines = [line for line in outcome.lines if not line.startswith("warning: ")]
        if outcome.code:
            assert len(lines) == 1, lines
            assert lines[0].startswith("error: ")
            assert "HYDRA_FULL_ERROR" not in lines[0]
            assert "weights_only" not in lines[0]
        else:
            assert is_true or kind >= 2
        assert outcome.seconds < 5
        assert outcome.grown < 10 * len(content) + 2**27
        kinds[0 if outcome.code else 1 if is_true else 2] += 1
    assert kinds[0] > 150
