from __future__ import annotations

from collections.abc import Callable

import pytest

from dqn_cli.config.errors import explain
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]

KEYS = "a run has env, network, head, update, target, exploration"
WHOLE = "a whole number of at least 1"
NATURAL = "a whole number of at least 0"


UNKNOWN = [
    ("stepps=1", ["unknown key stepps:", "did you mean steps"]),
    ("foo=1", ["unknown key foo:", KEYS]),
    ("+foo=1", ["unknown key foo:", KEYS]),
    ("++foo=1", ["unknown key foo:", KEYS]),
    ("+stepps=1", ["unknown key stepps:", "did you mean steps"]),
    ("evall.every=1", ["unknown key evall:", "did you mean eval"]),
    ("lr=0.1", ["unknown key lr;", "did you mean optimizer.lr?"]),
    ("+total_timesteps=9", ["unknown key total_timesteps;", "did you mean steps"]),
    ("eval.evry=1", ["unknown key eval.evry:", "did you mean every"]),
    ("env.num_env=2", ["unknown key env.num_env:", "did you mean num_envs?"]),
    ("network.widht=[1]", ["unknown key network.widht:", "Multi", "did you mean widths?"]),
    (
        "+network.depth=3",
        ["unknown key network.depth:", "Multi", "widths, layer_norm, spectral_norm"],
    ),
    ("optimizer.momentum=0.5", ["unknown key optimizer.momentum:", "Adam", "beta1"]),
    ("env.kwargs.gravity=1", ["env.kwargs.gravity", "+env.kwargs.gravity"]),
    ("env=CartPol-v1", ["unknown environment CartPol-v1", "did you mean CartPole-v1"]),
    ("env=Qwfp", ["unknown environment Qwfp", "not registered with Gymnasium"]),
    (
        "network=cnn",
        [
            "network=cnn",
            "network is one of dueling, gru, hadamax, hadamax_small, impala, lstm, minatar, mlp,",
        ],
    ),
    ("auxiliary.weight=2", ["unknown key auxiliary.weight", "auxiliary.CHOICE.weight"]),
    ("optimizer=adma", ["optimizer=adma", "did you mean adam"]),
    ("agent=d4qn", ["agent=d4qn", "did you mean", "d3qn"]),
    ("networks=mlp", ["unknown key networks:", "did you mean network?"]),
    ("agent.lr=1", ["unknown key agent.lr: agent= only chooses a file", "mean optimizer.lr?"]),
    ("seed=range(3)", ["seed=range(3) has several values: add -m to sweep over them"]),
    ("update.loss=squared", ["unknown key update.loss;", "did you mean head.loss?"]),
    (
        "+update.max_grad_norm=1",
        ["unknown key update.max_grad_norm;", "did you mean optimizer.max_grad_norm?"],
    ),
    ("head=c51 head.loss=squared", ["unknown key head.loss:", "C51", "atoms, v_min, v_max"]),
    ("replay=rollout replay.device=cuda", ["unknown key replay.device:", "Rollout"]),
    (
        "experiment=soft-hubr",
        ["unknown choice experiment=soft-hubr:", "clip-one, data_", "did you mean soft-huber?"],
    ),
    (
        "+experiment=zzz",
        ["unknown choice experiment=zzz: experiment is one of bbf, btr, clip-one,"],
    ),
]

VALUES = [
    ("steps=many", ["steps=many", NATURAL]),
    ("steps=1.5", ["steps=1.5", NATURAL]),
    ("steps=0", ["steps=0", WHOLE]),
    ("steps=-3", ["steps=-3", NATURAL]),
    ("steps=nan", ["steps=nan", NATURAL]),
    ("steps=inf", ["steps=inf", NATURAL]),
    ("steps=true", ["steps=True", NATURAL]),
    ("steps=", ["steps=", NATURAL]),
    ("steps={a: 1}", ["steps=", NATURAL]),
    ("steps=???", ["steps is not set", "steps=..."]),
    ("episodes=0", ["episodes=0", WHOLE]),
    ("seed=null", ["seed=null", "a whole number of at least 0"]),
    ("seed=-1", ["seed=-1", "a whole number of at least 0"]),
    ("gamma=1.1", ["gamma=1.1", "at least 0 and at most 1"]),
    ("gamma=nan", ["gamma=nan", "at least 0 and at most 1"]),
    ("env.num_envs=0", ["env.num_envs=0", WHOLE]),
    ("replay.capacity=0", ["replay.capacity=0", WHOLE]),
    ("replay.batch_size=-1", ["replay.batch_size=-1", WHOLE]),
    ("replay.n_step=0", ["replay.n_step=0", WHOLE]),
    ("eval.every=0", ["eval.every=0", WHOLE]),
    ("checkpoint.keep=-1", ["checkpoint.keep=-1", "at least 0"]),
    ("optimizer.lr=0", ["optimizer.lr=0", "above 0"]),
    ("optimizer.lr=fast", ["optimizer.lr=fast", "above 0"]),
    ("optimizer.max_grad_norm=0", ["optimizer.max_grad_norm=0", "above 0"]),
    ("exploration.start=2", ["exploration.start=2", "at most 1"]),
    ("network.widths=[0]", ["network.widths[0]=0", WHOLE]),
    ("network.widths=[8,a]", ["network.widths[1]=a", WHOLE]),
    ("network.widths=[null]", ["network.widths[0]=null", WHOLE]),
    ("network.widths=8", ["network.widths=8: it must be a list, as in [1,2]"]),
    ("network.dueling=maybe", ["network.dueling", "maybe", "true or false"]),
    ("dtype=float16", ["dtype", "float16", "must be one of float32, float64"]),
    ("device=tpu", ["device", "tpu", "must be one of auto, cpu, cuda, mps"]),
    ("target.unit=days", ["target.unit", "days", "must be one of steps, updates, episodes"]),
    ("env.vectorization=fork", ["env.vectorization", "fork", "must be one of sync, async, native"]),
    ("threads=0", ["threads=0", "auto or a number of at least 1"]),
    ("threads=all", ["threads=all", "auto or a number of at least 1"]),
    ("compile=maybe", ["compile=maybe", "auto, true or false"]),
    ("compile=", ["compile=", "auto, true or false"]),
    ("compile=1", ["compile=1: it must be true, false or text"]),
    ("compile=null", ["compile=null"]),
    ("eval=off", ["it has keys of its own: every, episodes"]),
    ("env.kwargs=3", ["env.kwargs=3: it must be a mapping, as in {a:1}"]),
    ("env.kwargs=[3]", ["env.kwargs=[3]: it must be a mapping"]),
    ("network.widths={a:1}", ["network.widths={a:1}: it must be a list"]),
    ("env.id=[1]", ["env.id=[1]: it must be text"]),
    ("head.loss=[1]", ["head.loss=[1]: it must be a single word"]),
    ("anneal.n_step=4", ["it has keys of its own: start, duration, shape"]),
    ("anneal.n_step=null", ["anneal.n_step=null: it can't be null"]),
    ("steps=${nowhere}", ["steps", "nowhere"]),
]

TOGETHER = [
    (
        "replay.batch_size=10 replay.capacity=9",
        ["replay.batch_size=10", "replay.capacity=9", "must fit"],
    ),
    ("exploration.unit=episodes", ["exploration.duration", "episodes=N", "above 1"]),
    (
        "exploration=piecewise exploration.points=[]",
        ["exploration.points", "[when, epsilon] pairs"],
    ),
    (
        "exploration=piecewise exploration.points=[[0,1,2]]",
        ["exploration.points", "[when, epsilon] pairs"],
    ),
    (
        "exploration=piecewise exploration.points=[[0,2]]",
        ["exploration.points", "at least 0 and at most 1"],
    ),
    (
        "exploration=piecewise exploration.points=[[5,1],[5,0]]",
        ["exploration.points", "order of time"],
    ),
    ("exploration=piecewise exploration.points=[1,2]", ["exploration.points", "list"]),
]

GRAMMAR = [
    ("steps", ["'steps'", "key=value"]),
    ("CartPole-v1", ["'CartPole-v1'", "key=value", "did you mean env=CartPole-v1?"]),
    ("steps=[1", ["steps=[1", "key=value"]),
    ("steps=1,2", ["steps", "1,2"]),
    ("network=null", ["network"]),
    ("~network", ["network is not set", "network=..."]),
    ("~steps", ["steps"]),
]


@pytest.mark.parametrize(("overrides", "words"), UNKNOWN + VALUES + TOGETHER + GRAMMAR)
def test_an_error_is_one_line_with_cause_and_remedy(
    settings_of: Compose, overrides: str, words: list[str]
) -> None:
    split = [overrides] if "{" in overrides else overrides.split()
    with pytest.raises(Exception) as caught:  # noqa: PT011
        settings_of(*split)
    line = explain(caught.value)
    assert [word for word in words if word not in line] == []
    assert "\n" not in line
    assert "full_key" not in line
    assert "object_type" not in line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("first\n  second\tthird"), "first second third"),
        (ValueError(), "ValueError: (HYDRA_FULL_ERROR=1 shows where)"),
        (KeyError("a"), "KeyError: 'a' (HYDRA_FULL_ERROR=1 shows where)"),
    ],
)
def test_any_other_error_is_one_line_too(error: BaseException, line: str) -> None:
    assert explain(error) == line
