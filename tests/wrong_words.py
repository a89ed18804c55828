"""Command lines with a wrong word each, for tests of what users are told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Wrong(NamedTuple):
    """A command line, and the text that its error must name."""

    command: str
    words: tuple[str, ...]
    named: str


NUMBERS = {
    "steps": ("0", "-1", "1.5", "many", "nan", "inf", "null", "[1]", "1e400"),
    "seed": ("-1", "x", "null", "0.5"),
    "gamma": ("-0.1", "1.1", "nan", "high"),
    "env.num_envs": ("0", "-2", "1.5", "1e9", "1e15"),
    "optimizer.lr": ("0", "-1", "fast", "nan"),
    "replay.batch_size": ("0", "-1", "1e9", "2.5"),
    "replay.capacity": ("0", "1e15", "full"),
    "replay.n_step": ("0", "1e9", "1.5"),
    "eval.episodes": ("0", "1e12", "few"),
    "eval.every": ("0", "-5", "often"),
    "exploration.start": ("2", "-1", "nan"),
    "train_every": ("0", "never"),
    "threads": ("0", "-1", "all", "1e9", "100000"),
    "device": ("tpu", "gpu", "[cpu]"),
    "dtype": ("float16", "double"),
    "compile": ("maybe", "2"),
    "network.widths": ("8", "[0]", "[a]", "[null]", "[1e9,1e9]", "[1e300]", "{a: 1}"),
    "env.vectorization": ("fork", "threads"),
    "target.unit": ("days", "1"),
    "checkpoint.keep": ("-1", "all"),
    "episodes": ("0", "-1", "some"),
    "learning_starts": ("-1", "later"),
    "log.every": ("0", "rarely"),
    "updates_per_train": ("0", "0.5"),
    "stop.at": ("nan", "high"),
    "reset.every": ("0", "now"),
    "anneal.gamma.start": ("-0.1", "low"),
    "anneal.gamma.duration": ("0", "long"),
    "anneal.n_step.shape": ("round", "1"),
    "reset.shrink": ("1.5", "-0.1"),
    "reset.dormant": ("0", "now"),
    "reset.threshold": ("-1", "low"),
    "env.reward_scale": ("0", "-1", "inf"),
    "env.normalize": ("mean", "1"),
    "env.normalize_reward": ("running", "2"),
}
UNKNOWN = (
    "stepps=1", "foo=1", "+foo=1", "++foo=1", "learning_rate=1e-3", "n_envs=4", "env.num_env=2",
    "evall.every=1", "eval.evry=5", "network.widht=[1]", "+network.depth=3", "head.atom=3",
    "optimizer.momentum=0.9", "env.kwargs.gravity=1", "networks=mlp", "hydra.foo=1",
    "checkpoint=run", "episodes.n=1", "seeds=[1]", "by=seed", "out=plot.png", "x=steps",
)  # fmt: skip
CHOICES = (
    "env=CartPol-v1", "env=Qwfp", "env=cartpole", "env=CartPole-v99", "env=nowhere:Env-v0",
    "env=ALE/Nope-v5", "network=cnn", "network=MLP", "head=c52", "update=sarsa", "target=polyak",
    "exploration=greedy", "replay=per", "optimizer=adma", "agent=d4qn", "protocol=atari",
    "experiment=soft-hubr", "hydra/launcher=foo", "hydra/sweeper=foo", "hydra/launcher=slurm",
)  # fmt: skip
GRAMMAR = (
    "steps", "CartPole-v1", "run", "steps:5", "network.widths=[8", "network.widths=8]",
    "env.kwargs={a:1", "seed='1", 'seed="1', "steps=1)", "steps=(1", "seed=range(1", "=5", "+=5",
    "~=5", "==", "a=", "steps=", "env=", "network=", "resume=", "hydra.run.dir=",
    "hydra.run.dir=''", "hydra.sweep.dir=", "+env.kwargs.a=", "env={a:1}", "env=[a]",
    "network={widths: [1]}",
    "agent=[dqn]", "hydra/launcher=[basic]", "steps=\uff11", "env=Cartp\u00f4le", "st\u00ebps=1",
    "env=\u68cb", "steps=1\n2", "env=Cart\nPole", "steps=1\t2", "seed=\x1b[31m1", "env=a\x00b",
    "steps=1\r", "network.widths=8,[4", "~nothing", "env=CartPole-v1 steps=5", "steps=5;seed=1",
    "{", "[", "*", "?", "'", "\u2014m", "seed=1,2", "network=mlp,dueling", "seed=range(3)",
)  # fmt: skip
FLAGS = (
    ("--fast",), ("-x",), ("-5",), ("--steps", "5"), ("--cfg", "foo"), ("--cfg",), ("--cfg=all_",),
    ("--package", "x"), ("-p", "x"), ("--config-name", "foo"), ("--config-dir", "nowhere"),
    ("--config-dir",), ("-cd", "nowhere"), ("--multi",), ("--config-path", "x"), ("---",), ("--",),
    ("-h5",), ("--multirun=1",), ("--experimental-rerun", "x"),
)  # fmt: skip
SWEEPS = (
    "seed=range(0)", "seed=range(5,5)", "seed=range(1e12)", "seed=range(5,1)", "network=glob(xx*)",
    "env=glob(Nope*)", "seed=choice()", "seed=1,2,", "seed=,1", "seed=1,[2", "seed=range(a)",
    "seed=range(1,2,0)", "seed=sort(", "seed=shuffle(range(0))",
)  # fmt: skip
TOGETHER = (
    (("replay.capacity=9", "replay.batch_size=10"), "replay.batch_size"),
    (("replay.capacity=1e9", "replay.batch_size=1e9"), "replay.batch_size"),
    (("network=gru", "network.units=1e9"), "network.units"),
    (("network=gru", "network.length=1e9"), "network.length"),
    (("head=c51", "head.atoms=1e9"), "head.atoms"),
    (("head=c51", "head.v_min=5", "head.v_max=1"), "v_min"),
    (("head=c51", "head.loss=squared"), "head.loss"),
    (("head=ensemble", "head.prior=-1"), "head.prior"),
    (("head=ensemble", "head.mixture=half"), "head.mixture"),
    (("head=ensemble", "head.heads=1e9"), "head.heads"),
    (("exploration=bootstrapped",), "exploration=bootstrapped"),
    (("env.num_envs=1e6", "replay.n_step=4e4"), "replay.n_step"),
    (("exploration.unit=episodes",), "exploration.duration"),
    (("exploration=noisy",), "exploration=noisy"),
    (("exploration=ladder",), "exploration=ladder"),
    (("eval.every=null", "stop.at=5"), "stop.at"),
    (("resume=a", "resume=b"), "resume"),
    (("resume=nowhere",), "nowhere"),
    (("resume=nowhere", "steps=5"), "nowhere"),
    (("import=nowhere_module",), "nowhere_module"),
    (("import=",), "import="),
    (("",), "empty"),
    ((" ",), "empty"),
)
EVALUATE = (
    "checkpoint=", "checkpoint=[]", "checkpoint=[a,]", "checkpoint=[ ]", "checkpoint=nowhere",
    "checkpoint=no*where", "checkpoint=[nowhere]", "nowhere", "episods=3", "", "checkpoint=a\nb",
    "env=CartPole-v1", "episodes=5", "--fast", "-m", "checkpoint", "=5", "+env.kwargs.a",
)  # fmt: skip
VALUES_OF_EVALUATE = (
    "episodes=0", "episodes=many", "episodes=-1", "episodes=1.5", "episodes=1e12", "episodes=",
    "episodes=inf", "episodes=1e400", "seed=-1", "seed=x", "seed=", "seed=1.5", "video=maybe",
    "video=2", "video=", "episods=3", "+env.kwargs.a=1,2", "+env.kwargs=1", "checkpoint=b",
    "--video",
)  # fmt: skip
PLOT = (
    ("nowhere", "nowhere"), ("x=hours", "x=hours"), ("x=", "x="), ("out=", "out="),
    ("out=/", "out=/"), ("by=", "by="), ("out=plot", "out=plot"), ("out=plot.xyz", "out=plot.xyz"),
    ("out=nowhere/plot.png", "out=nowhere/plot.png"), ("color=red", "color=red"), ("", "empty"),
    ("a\nb", "line break"), ("--out", "--out"), ("out=a.png", "name what to draw"),
)  # fmt: skip
REPORT = (
    ("nowhere", "nowhere"), ("out=", "out="), ("by=", "by="), ("by=update", "name what to report"),
    ("x=steps", "x=steps"), ("--by", "--by"), ("", "empty"), ("out=a", "name what to report"),
)  # fmt: skip
CHECK = (
    ("env=", "env="), ("steps=5", "env=ID"), ("env=Qwfp", "Qwfp"), ("resume=a", "env=ID"),
    ("--cfg", "--cfg"), ("env={a:1}", "env={a:1}"), ("env=[a]", "env=[a]"), ("", "empty"),
    ("env=a\nb", "line break"), ("env=Cartp\u00f4le", "Cartp\u00f4le"),
    ("CartPole-v1", "CartPole-v1"),
)  # fmt: skip
WITH_ENV = (
    "seconds=0", "seconds=-1", "seconds=long", "seconds=inf", "seconds=", "resume=run",
    "checkpoint=run", "env.num_env=2", "steps=0", "network.widths=[8", "env.num_envs=1e9",
)  # fmt: skip
# Where an error names another part of a word than `named_in` says.
NAMED = {
    "evall.every=1": "evall",
    "~nothing": "nothing",
    "episodes=5": "checkpoint",
    "checkpoint=no*where": "no*where",
}


def wrong_lines() -> Iterator[Wrong]:
    """Yields each command line and the word that its error names."""
    for key, values in NUMBERS.items():
        for value in values:
            yield Wrong("train", (f"{key}={value}",), key)
    for word in (*UNKNOWN, *CHOICES, *GRAMMAR):
        yield Wrong("train", (word,), NAMED.get(word) or named_in(word))
    for flags in FLAGS:
        yield Wrong("train", flags, flags[0].partition("=")[0])
    for word in SWEEPS:
        yield Wrong("train", ("-m", word), word.partition("=")[0])
    for words, named in TOGETHER:
        yield Wrong("train", words, named)
    for word in EVALUATE:
        yield Wrong("eval", (word,), NAMED.get(word) or named_in(word))
    for word in VALUES_OF_EVALUATE:
        yield Wrong("eval", ("checkpoint=nowhere", word), word.partition("=")[0].lstrip("+"))
    for word, named in PLOT:
        yield Wrong("plot", (word,), named)
    for word, named in REPORT:
        yield Wrong("report", (word,), named)
    for word, named in CHECK:
        yield Wrong("check", (word,), named)
    for word in WITH_ENV:
        yield Wrong("check", ("env=CartPole-v1", word), word.partition("=")[0])


def named_in(word: str) -> str:
    """The part of a word that its error must show."""
    if not word.strip():
        return "empty"
    if not word.isprintable():
        return "control character"
    key, separator, value = word.partition("=")
    if key in ("env", "network", "head") and value.isprintable():
        return value or word
    return key.lstrip("+~") if separator and key.strip("+~ ") else word
