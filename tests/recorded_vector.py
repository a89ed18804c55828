"""A vector environment, all of whose observations and rewards are known, in each autoreset mode."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

ACTIONS = 3


class RecordedVector(VectorEnv[Any, Any, Any]):
    """Observes [copy, episode, time, last action]; the reward is the time.

    Args:
        num_envs: Number of copies.
        mode: Name of the autoreset mode.
        lengths: Lengths of episodes; episode e of copy c has lengths[(c + e) % len(lengths)].
        truncates: True if episodes are truncated at their end.
        kind: box, dict (with a byte and a mask), or discrete (the time, from 5 on).
        masked: True if info has masks: the action (time + copy) % 3 is illegal, and all at an end.
        final: How SAME_STEP gives final observations: objects, or a dense batch.
        wrong: What is wrong in the third step, for tests of errors.
    """

    def __init__(
        self,
        num_envs: int,
        mode: str = "NEXT_STEP",
        lengths: tuple[int, ...] = (3, 1, 5),
        truncates: bool = False,
        kind: str = "box",
        masked: bool = False,
        final: str = "objects",
        wrong: str = "",
    ) -> None:
        self.num_envs, self.mode = num_envs, AutoresetMode[mode]
        self.metadata = {"autoreset_mode": self.mode}
        self.lengths, self.truncates, self.kind = lengths, truncates, kind
        self.masked, self.final, self.wrong = masked, final, wrong
        self.single_observation_space = self._space()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        start = 4 if kind == "discrete" else 0
        self.single_action_space = spaces.Discrete(ACTIONS, start=start)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.over = np.ones(num_envs, bool)
        self.episode = np.full(num_envs, -1)
        self.time, self.last = np.zeros(num_envs, int), np.zeros(num_envs, int)
        self.seeds: list[Any] = []
        self.transitions = 0  # of all copies
        self.steps = 0
        # Overwritten in each reset and step.
        self.box, self.clock = np.zeros((num_envs, 4), np.float32), np.zeros(num_envs, int)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        self.seeds.append(seed)
        rows = (options or {}).get("reset_mask", np.ones(self.num_envs, bool))
        self._begin(rows)
        obs = self._observe()
        if options and self.kind == "box":
            obs = np.where(rows[:, None], obs, np.nan)  # nobody may read the other rows
        return obs, self._info()

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        assert self.action_space.contains(actions), actions
        self.steps += 1
        resets = self.over.copy()
        if self.mode is AutoresetMode.NEXT_STEP:
            self._begin(resets)
        else:
            assert not resets.any(), "stepped past the end of an episode"
            resets[:] = False
        self.time += ~resets
        self.last = np.where(resets, 0, actions - self.single_action_space.start)
        self.transitions += int((~resets).sum())
        ended = (self.time == self._length()) & ~resets
        reward = np.where(resets, 99, self.time).astype(float)
        info = self._info()
        if self.mode is AutoresetMode.SAME_STEP and ended.any():
            info = self._restart(ended, info)
        else:
            self.over = ended
        none = np.zeros(self.num_envs, bool)
        ends = (none, ended) if self.truncates else (ended, none)
        result = (self._observe(), reward, *ends, info)
        return self._spoiled(result) if self.wrong and self.steps == 3 else result

    def _restart(self, ended: Any, info: dict[str, Any]) -> dict[str, Any]:
        final = self._observe()
        if self.final == "objects":
            objects = np.full(self.num_envs, None, object)
            for row in np.flatnonzero(ended):
                objects[row] = _row(final, row)
            final = objects
        elif isinstance(final, np.ndarray):
            final = final.copy()
        final_info = {key: value.copy() for key, value in info.items()}
        self._begin(ended)
        return self._info() | {"final_obs": final, "final_info": final_info, "_final_obs": ended}

    def _begin(self, rows: Any) -> None:
        self.episode = self.episode + rows
        self.time, self.last = np.where(rows, 0, self.time), np.where(rows, 0, self.last)
        self.over = self.over & ~rows

    def _length(self) -> Any:
        copies = np.arange(self.num_envs)
        return np.array(self.lengths)[(copies + self.episode) % len(self.lengths)]

    def _space(self) -> gymnasium.Space[Any]:
        box = spaces.Box(-1, 1e6, (4,), np.float32)
        if self.kind == "discrete":
            return spaces.Discrete(9, start=5)
        if self.kind == "dict":
            mask = spaces.Box(0, 1, (ACTIONS,), np.int8)
            byte = spaces.Box(0, 255, (1,), np.uint8)
            return spaces.Dict({"box": box, "byte": byte, "action_mask": mask})
        return box

    def _observe(self) -> Any:
        columns = (np.arange(self.num_envs), self.episode, self.time, self.last)
        self.box[:] = np.stack(columns, 1)
        if self.kind == "discrete":
            return 5 + self.time
        if self.kind == "dict":
            byte = self.time[:, None].astype(np.uint8)
            return {"box": self.box, "byte": byte, "action_mask": self._mask().astype(np.int8)}
        return self.box

    def _mask(self) -> Any:
        copies = np.arange(self.num_envs)
        mask = np.ones((self.num_envs, ACTIONS), bool)
        mask[copies, (self.time + copies) % ACTIONS] = False
        mask[self.time == self._length()] = False
        return mask

    def _info(self) -> dict[str, Any]:
        self.clock[:] = self.time
        info = {"time": self.clock}
        return info | ({"action_mask": self._mask()} if self.masked else {})

    def _spoiled(self, result: Any) -> Any:
        obs, reward, terminated, truncated, info = result
        if self.wrong == "raises":
            raise RuntimeError("no licence")
        if self.wrong == "four":
            return obs, reward, terminated, info
        if self.wrong == "late":
            info = info | {"action_mask": self._mask()}
        wrong: dict[str, Any] = {
            "shape": (obs[:, :2], reward, terminated, truncated, info),
            "few": (obs[:1], reward, terminated, truncated, info),
            "nan": (obs * np.nan, reward, terminated, truncated, info),
            "rewards": (obs, reward[:1], terminated, truncated, info),
            "reward": (obs, 1.0, terminated, truncated, info),
            "nan reward": (obs, reward * np.nan, terminated, truncated, info),
            "ends": (obs, reward, terminated[:, None], truncated, info),
            "info": (obs, reward, terminated, truncated, None),
            "late": (obs, reward, terminated, truncated, info),
            "mask": (obs, reward, terminated, truncated, info | {"action_mask": np.ones((2, 2))}),
            "no mask": (obs, reward, terminated, truncated, {}),
            "illegal": (
                obs, reward, terminated, truncated,
                info | {"action_mask": np.zeros((self.num_envs, ACTIONS))},
            ),
            "no final": (obs, reward, ~terminated, truncated, {}),
        }  # fmt: skip
        return wrong[self.wrong]


def _row(batch: Any, row: int) -> Any:
    if isinstance(batch, dict):
        return {key: part[row].copy() for key, part in batch.items()}
    return batch[row].copy() if isinstance(batch[row], np.ndarray) else batch[row]


def make(num_envs: int, **options: Any) -> RecordedVector:
    return RecordedVector(num_envs, **options)


def limited(num_envs: int, max_episode_steps: int, **options: Any) -> RecordedVector:
    """Truncates itself at the given length."""
    return RecordedVector(num_envs, lengths=(max_episode_steps,), truncates=True, **options)


def refuses(num_envs: int) -> RecordedVector:
    raise MemoryError(f"{num_envs} are too many")


def one_too_few(num_envs: int) -> RecordedVector:
    return RecordedVector(num_envs - 1)


def single(num_envs: int) -> gymnasium.Env[Any, Any]:
    return gymnasium.make("CartPole-v1")


def silent(num_envs: int) -> RecordedVector:
    """Does not say when it resets."""
    vector = RecordedVector(num_envs)
    vector.metadata = {}
    return vector


def unlimited(num_envs: int, mode: str = "SAME_STEP") -> RecordedVector:
    """Takes no limit of steps."""
    return RecordedVector(num_envs, mode)


def ignoring(num_envs: int, max_episode_steps: int = 0) -> RecordedVector:
    """Takes a limit of steps, and ignores it."""
    return RecordedVector(num_envs, lengths=(50,))
