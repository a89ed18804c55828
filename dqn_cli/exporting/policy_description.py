"""What an exported policy takes and gives, and what is inside: as data and in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dqn_cli.agent.normalization import LIMIT, Normalization
from dqn_cli.agent.spaces import BYTE, PICTURE
from dqn_cli.exporting.exported_policy import ExportedPolicy
from dqn_cli.exporting.ports import Port
from dqn_cli.runs.exported_files import SCHEMA, architecture
from dqn_cli.training.settings import Settings, plain


def describe(
    policy: ExportedPolicy, settings: Settings, data: Mapping[str, Any], checksum: str
) -> dict[str, Any]:
    """Return plain data for policy.json.

    Args:
        policy: The exported policy.
        settings: Of its run.
        data: Of its checkpoint.
        checksum: SHA-256 of the checkpoint.
    """
    return {
        "schema": SCHEMA,
        "env": settings.env.id,
        "inputs": [port.described() for port in policy.inputs],
        "outputs": [port.described() for port in policy.outputs],
        "inside": inside(policy, settings),
        "outside": outside(policy, settings),
        "checkpoint_sha256": checksum,
        "architecture": architecture(data, policy.model.layout),
    }


def inside(policy: ExportedPolicy, settings: Settings) -> list[str]:
    """Return sentences about what an exported policy does itself."""
    spaces = policy.model.spaces
    said = ["the network, and the greedy choice of an action"]
    if policy.has_mask:
        said[0] += " among the legal ones"
    if len(policy.observations.ports) > 1:
        said.append("parts of observations are encoded and joined")
    normalize = settings.env.normalize
    if normalize is Normalization.running:
        said.append(f"normalization by mean and deviation of training, to at most {LIMIT:g}")
    if normalize is Normalization.bounds:
        said.append("normalization from the declared bounds to -1 and 1")
    if any(part.kind == PICTURE and part.scale != 1 for part in spaces.parts):
        said.append(f"division of pixels by {BYTE}")
    if policy.action_table is not None:
        said.append("actions become the numbers that the environment takes")
    if policy.model.state_size:
        said.append("the recurrent cell; its state goes in and comes out")
    if policy.was_bfloat16:
        said.append("layers of bfloat16 compute in the precision of the weights")
    return said


def outside(policy: ExportedPolicy, settings: Settings) -> list[str]:
    """Return sentences about what stays with the environment or the caller."""
    env, frames = settings.env, policy.model.spaces.frames
    preprocess = plain(env.preprocess)
    rules = ", ".join(
        f"{key}={value}" for key, value in preprocess.items() if key not in ("type", "stack")
    )
    said = []
    if set(preprocess) - {"type", "stack", "clip_rewards", "channels"}:
        said.append(f"the environment's preprocessing ({rules})")
    if env.wrappers:
        said.append(f"the environment's wrappers ({', '.join(map(str, env.wrappers))})")
    if env.drop:
        said.append(f"these parts of observations, which are left out: {', '.join(env.drop)}")
    if frames:
        said.append(f"stacking the latest {frames} observations, with zeros before an episode")
    if policy.model.state_size:
        said.append("zeros as the state where an episode begins")
    return said


def port_line(port: Port) -> str:
    """Return an input or output in one line."""
    described = port.described()
    shape = ", ".join(map(str, described["shape"]))
    line = f"{port.name} {described['dtype']} [{shape}]: {port.meaning}"
    if len(port.low) == len(port.high) == 1:
        return f"{line}, from {port.low[0]:g} to {port.high[0]:g}"
    return f"{line}, bounds in policy.json" if port.low else line
