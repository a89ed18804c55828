"""The card of a model hub's folder: README.md with metadata that hubs read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from dqn_cli.exporting.policy_description import port_line
from dqn_cli.exporting.write_export import Export
from dqn_cli.training.settings import Settings, plain

LIBRARY = "dqn-train"
TASK = "reinforcement-learning"

CARD = """\
---
{metadata}---

# {title}

A deep Q-network for `{env}`, trained with dqn-train: {parts}.

| episodes | mean return | deviation | interquartile mean | lowest | highest |
| --- | --- | --- | --- | --- | --- |
{row}

Episodes are new ones, played greedily, of at most {steps:,} steps; the interval is one of 95 %.
{pictures}
## Use

```python
import numpy as np
import onnxruntime

policy = onnxruntime.InferenceSession("model.onnx")
inputs = {{
{inputs}
}}
{outputs} = policy.run(None, inputs)
```

With dqn-train, `dqn-eval checkpoint=FOLDER` plays episodes, and
`dqn_cli.load_policy("FOLDER")(observation)` takes observations as the environment gives them.

{ports}

## Files

{files}
"""
FILES = {
    "model.onnx": "the policy, for ONNX Runtime",
    "model.pt2": "the policy, for `torch.export.load`",
    "model.safetensors": "the weights by name",
    "policy.json": "inputs, outputs and architecture",
    "config.yaml": "every setting of the run",
    "evaluation.json": "every return of the evaluation",
    "result.json": "the outcome of the run",
    "curve.png": "the learning curve",
    "replay.mp4": "a film",
    "replay.gif": "a film",
}


def metadata(settings: Settings, evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of a card, as hubs read them."""
    env = settings.env.id
    protocol = evaluation["protocol"] | {
        "episodes": evaluation["episodes"],
        "seed": evaluation["seed"],
    }
    reward = {
        "type": "mean_reward",
        "name": "mean_reward",
        "value": f"{evaluation['mean']:.2f} +/- {evaluation['std']:.2f}",
        "args": protocol,
        "verified": False,
    }
    result = {
        "task": {"type": TASK, "name": TASK},
        "dataset": {"type": env, "name": env},
        "metrics": [reward],
    }
    return {
        "library_name": LIBRARY,
        "pipeline_tag": TASK,
        "tags": [env, "deep-reinforcement-learning", TASK, "deep-q-network", LIBRARY],
        "model-index": [{"name": _title(settings), "results": [result]}],
    }


def card(export: Export, evaluation: Mapping[str, Any], names: Iterable[str]) -> str:
    """Return the text of a card.

    Args:
        export: What is in the folder.
        evaluation: The content of its evaluation.json.
        names: Files in the folder.
    """
    files = [name for name in FILES if name in names]
    settings, policy = export.settings, export.policy
    dumped = yaml.safe_dump(metadata(settings, evaluation), sort_keys=False, allow_unicode=True)
    return CARD.format(
        metadata=dumped,
        title=_title(settings),
        env=settings.env.id,
        parts=_parts(settings),
        row=_row(evaluation),
        steps=evaluation["protocol"]["max_episode_steps"],
        pictures=_pictures(files),
        inputs="\n".join(map(_input_line, export.description["inputs"])),
        outputs=", ".join(port.name for port in policy.outputs),
        ports=_ports(export),
        files="\n".join(f"- `{name}`: {FILES[name]}" for name in files),
    )


def _title(settings: Settings) -> str:
    return f"Deep Q-network on {settings.env.id}"


def _parts(settings: Settings) -> str:
    parts = ("network", "head", "update", "target", "replay", "optimizer")
    named = [f"{name} {plain(getattr(settings, name))['type']}" for name in parts]
    return ", ".join(named)


def _row(evaluation: Mapping[str, Any]) -> str:
    low, high = evaluation["iqm_ci95"]
    mean, std, iqm, least, most = (
        f"{evaluation[name]:.2f}" for name in ("mean", "std", "iqm", "min", "max")
    )
    cells = (str(evaluation["episodes"]), mean, std, f"{iqm} ({low:.2f} to {high:.2f})")
    return f"| {' | '.join((*cells, least, most))} |"


def _pictures(files: Sequence[str]) -> str:
    films = [name for name in files if name.startswith("replay.")]
    shown = [f"![{FILES[name]}]({name})" for name in files if name.endswith((".png", ".gif"))]
    shown += [f"[{FILES[name]}]({name})" for name in films if name.endswith(".mp4")]
    return "\n" + "\n\n".join(shown) + "\n" if shown else ""


def _input_line(port: Mapping[str, Any]) -> str:
    _, *shape = port["shape"]
    kind = "bool" if port["dtype"] == "bool" else port["dtype"]
    function = "ones" if port["dtype"] == "bool" else "zeros"
    return f'    "{port["name"]}": np.{function}({[1, *shape]}, np.{kind}),'


def _ports(export: Export) -> str:
    lists = (
        ("Inputs", map(port_line, export.policy.inputs)),
        ("Outputs", map(port_line, export.policy.outputs)),
        ("Inside the policy", export.description["inside"]),
        ("Left to the caller", export.description["outside"]),
    )
    texts = []
    for heading, lines in lines_of(lists):
        texts.append(f"{heading}:\n\n" + "\n".join(f"- {line}" for line in lines))
    return "\n\n".join(texts)


def lines_of(
    lists: Iterable[tuple[str, Iterable[str]]],
) -> list[tuple[str, list[str]]]:
    """Return the lists that have lines."""
    found = [(heading, list(lines)) for heading, lines in lists]
    return [(heading, lines) for heading, lines in found if lines]
