from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from native_envs import MODES, config, random_actions, record_vectors, started
from recorded_vector import RecordedVector

from dqn_cli.envs.episode_seeds import EnvSnapshot, episode_seeds
from dqn_cli.envs.joined_envs import JoinedEnvs
from dqn_cli.envs.native_vector import NativeVector
from dqn_cli.replay.stream import EnvStep

FLOAT = np.dtype(np.float32)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    return record_vectors(monkeypatch)


def test_a_member_has_a_vector_and_seed_of_its_own(made: list[RecordedVector]) -> None:
    together = started(config(), members=3)
    assert [vector.num_envs for vector in made] == [4, 4, 4]
    seeds = [vector.seeds for vector in made]
    assert len({tuple(each) for each in seeds}) == 3
    alone = started(config())
    assert made[3].seeds == seeds[0]
    for number in range(25):
        action = np.stack([random_actions(10 * m + number, 4) for m in range(3)])
        step, own = together.step(action), alone.step(action[:1])
        for name in EnvStep._fields[:8]:
            np.testing.assert_array_equal(getattr(step, name)[:1], getattr(own, name))
        resets = (None if s.is_reset is None else s.is_reset[0].tolist() for s in (step, own))
        of_three, of_one = resets
        assert of_one is None or of_one == of_three
    together.close()
    assert all(vector.closed for vector in made[:3])


def vectors(resumed: int, **options: Any) -> list[NativeVector]:
    """Three vectors of two copies; from number `resumed` on, they go on with a run."""
    snapshots = [EnvSnapshot(obs=np.zeros(4) if i >= resumed else None) for i in range(3)]
    seeds = [episode_seeds(i, "environment", 0) for i in range(3)]
    names = ("time",)
    return [
        NativeVector(config(**options), 2, seed, snapshot, info_names=names)
        for seed, snapshot in zip(seeds, snapshots, strict=True)
    ]


def test_copies_that_were_not_restored_are_counted_through() -> None:
    joined = JoinedEnvs(vectors(resumed=1))
    joined.reset(3, FLOAT)
    assert list(joined.not_restored) == [2, 3, 4, 5]
    assert not joined.is_restorable


@pytest.mark.parametrize("mode", MODES)
def test_a_step_has_the_steps_of_all_vectors_in_order(mode: str) -> None:
    options = {"mode": mode, "masked": True, "lengths": (2, 3)}
    joined, apart = JoinedEnvs(vectors(3, **options)), vectors(3, **options)
    obs, mask, masked = joined.reset(3, FLOAT)
    starts = [vector.reset(3, FLOAT) for vector in apart]
    assert masked
    np.testing.assert_array_equal(obs, np.concatenate([start[0] for start in starts]))
    np.testing.assert_array_equal(mask, np.concatenate([start[1] for start in starts]))
    for number in range(10):
        actions = random_actions(number, 6).tolist()
        step = joined.step(actions)
        steps = [vector.step(actions[2 * i : 2 * i + 2]) for i, vector in enumerate(apart)]
        for name in EnvStep._fields[:8]:
            expected = np.concatenate([getattr(part, name) for part in steps])
            np.testing.assert_array_equal(getattr(step, name), expected)
        times = np.concatenate([part.info["time"] for part in steps])
        np.testing.assert_array_equal(step.info["time"], times)
        resets = [part.is_reset for part in steps if part.is_reset is not None]
        assert (step.is_reset is None) == (not resets)
        if step.is_reset is not None:
            assert step.is_reset.tolist() == np.concatenate(resets).tolist()
        assert not joined.newly_seeded(step.ended).any()
