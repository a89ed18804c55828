from __future__ import annotations

from collections.abc import Callable

import gymnasium
import numpy as np
from policies_to_export import random_policy, words_of

from dqn_cli.exporting.observations import play
from dqn_cli.training.settings import Settings

SettingsOf = Callable[..., Settings]


def test_observations_go_on_over_episodes_and_repeat(settings_of: SettingsOf) -> None:
    settings = settings_of(*words_of("lstm", "scalar"))
    policy = random_policy(settings)
    seen, has_mask = play(settings, policy, 25)
    assert not has_mask
    assert len(seen.obs) == len(seen.mask) == len(seen.q) == len(seen.state) == 25
    starts = np.flatnonzero((seen.state == 0).all(1))
    assert starts.tolist() == [0, 10, 20]  # episodes have ten steps
    inside = np.setdiff1d(np.arange(1, 25), starts)
    assert np.array_equal(seen.state[inside], seen.next_state[inside - 1])
    assert np.array_equal(seen.action, seen.q.argmax(1))
    again, _ = play(settings, policy, 25)
    assert all(np.array_equal(a, b) for a, b in zip(seen, again, strict=True))


def test_actions_are_the_best_legal_ones(settings_of: SettingsOf) -> None:
    taxi = next(name for name in gymnasium.registry if name.startswith("Taxi-"))
    words = (f"env={taxi}", "agent=dqn", "tuned=none", "network.widths=[8]")
    settings = settings_of(*words)
    seen, has_mask = play(settings, random_policy(settings), 12)
    assert has_mask  # in Taxi's info
    assert not seen.mask.all()
    assert seen.mask[np.arange(12), seen.action].all()
