from __future__ import annotations

import numpy as np
from scripted import Scripted, made

from dqn_cli.envs.sync_envs import SyncEnvs


def test_every_environment_that_ended_is_newly_seeded_by_default() -> None:
    envs = SyncEnvs("Name-v0", [lambda: made(Scripted(length=1)), lambda: made(Scripted(length=2))])
    envs.reset(3, np.dtype(np.float32))
    assert envs.newly_seeded(envs.step([0, 0]).ended).tolist() == [True, False]
