from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from native_envs import MODES, config, random_actions, started
from recorded_vector import ACTIONS, RecordedVector

from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.envs.masks import MaskSource
from dqn_cli.envs.vector_contract import VectorContract
from dqn_cli.envs.vector_masks import VectorMasks

BOX = spaces.Box(0, 1, (4,), np.float32)
ALL = np.ones(3, bool)
MASK = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 1]])
NONE = np.zeros((3, 3), int)
SOME = {"action_mask": np.where([[1], [0], [1]], MASK, 0), "_action_mask": ALL & [1, 0, 1]}


@pytest.mark.parametrize("kind", ["box", "dict"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("final", ["objects", "dense"])
def test_masks_are_those_of_the_observations(mode: str, kind: str, final: str) -> None:
    options = {"mode": mode, "kind": kind, "final": final, "masked": kind == "box"}
    envs = started(config(**options))
    assert envs.masked
    assert envs.spaces.observation_shape == ((4,) if kind == "box" else (5,))

    def expected(obs: Any, ended: Any) -> Any:
        time, copy = (obs[..., -4:][..., column].astype(int) for column in (2, 0))
        mask = np.ones((*time.shape, ACTIONS), bool)
        mask.reshape(-1, ACTIONS)[np.arange(time.size), ((time + copy) % ACTIONS).ravel()] = False
        return mask | ended[..., None]  # no action is legal at an end, so all are

    none = np.zeros((1, 4), bool)
    np.testing.assert_array_equal(envs.mask, expected(envs.obs, none))
    for number in range(30):
        step = envs.step(random_actions(number, 4)[None])
        np.testing.assert_array_equal(step.final_mask, expected(step.final_obs, step.ended))
        waits = step.ended if mode == "NEXT_STEP" else none
        np.testing.assert_array_equal(step.mask, expected(step.obs, waits))


def masks_of(source: MaskSource = MaskSource.auto, space: Any = BOX) -> VectorMasks:
    return VectorMasks(VectorContract(RecordedVector(3), "mine:make"), space, source)


def started_with(info: dict[str, Any], source: MaskSource = MaskSource.auto) -> VectorMasks:
    masks = masks_of(source)
    masks.start(None, info, (3, 3), np.asarray)
    return masks


def test_copies_without_a_mask_may_take_every_action() -> None:
    mask, masked = masks_of().start(None, SOME, (3, 3), np.asarray)
    assert masked
    assert mask.tolist() == [[True, False, False], [True] * 3, [False, False, True]]
    mask, masked = masks_of().start(None, {}, (3, 3), np.asarray)
    assert mask.all()
    assert not masked


def test_a_mask_may_be_absent_or_empty_at_an_end_alone() -> None:
    masks = started_with(SOME)
    ended = np.array([True, False, True])
    assert masks.read(None, {}, ~ended).all()
    with pytest.raises(EnvironmentFailure, match="action_mask is missing in a step"):
        masks.read(None, {}, ALL)
    only_first = {"action_mask": MASK, "_action_mask": np.array([True, False, False])}
    with pytest.raises(EnvironmentFailure, match="action_mask is missing in a step"):
        masks.read(None, only_first, ALL)
    empty = {"action_mask": np.where(ended[:, None], 0, MASK)}
    assert masks.read(None, empty, ~ended).tolist() == [[True] * 3, [False, True, True], [True] * 3]
    with pytest.raises(EnvironmentFailure, match="allows no action in copy 0"):
        masks.read(None, empty, ALL)


def test_final_masks_replace_the_rows_of_ends() -> None:
    masks, ended = started_with({"action_mask": MASK}), np.array([True, False, True])
    final = {"action_mask": np.array([[0, 1, 0], [0, 0, 0], [0, 0, 0]])}
    read = masks.read_final(None, final, ended, MASK.astype(bool))
    assert read.astype(int).tolist() == [[0, 1, 0], [0, 1, 1], [1, 1, 1]]
    for absent in ({}, None):
        read = masks.read_final(None, absent, ended, MASK.astype(bool))
        assert read.sum(1).tolist() == [3, 2, 3]


def test_a_part_of_observations_is_taken_out() -> None:
    space = spaces.Dict(box=BOX, action_mask=spaces.MultiBinary(3))
    masks = masks_of(space=space)
    assert masks.space == spaces.Dict(box=BOX)
    mask, _ = masks.start({"action_mask": MASK}, {"action_mask": NONE}, (3, 3), np.asarray)
    np.testing.assert_array_equal(mask, MASK)
    read = masks.read_final({"action_mask": [[1, 1, 0]]}, {}, np.array([False, True, False]), mask)
    assert read.astype(int).tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    for source in (MaskSource.none, MaskSource.info):
        assert masks_of(source, space).space == space


def test_masks_elsewhere_are_ignored_or_refused() -> None:
    ignoring = started_with({"action_mask": MASK}, MaskSource.none)
    assert ignoring.read(None, {"action_mask": NONE}, ALL).all()
    with pytest.raises(EnvironmentFailure, match="must be there from the first reset on"):
        started_with({}).read(None, {"action_mask": MASK}, ALL)
    with pytest.raises(ValueError, match=r"env\.mask=observation needs a Dict"):
        masks_of(MaskSource.observation)


def test_masks_and_flags_have_a_row_for_each_copy() -> None:
    with pytest.raises(EnvironmentFailure, match=r"\[copies, actions\], \[3, 3\]"):
        started_with({"action_mask": MASK[:2]})
    with pytest.raises(EnvironmentFailure, match=r"_action_mask is .* each of the 3 copies"):
        started_with({"action_mask": MASK, "_action_mask": [True]})


def test_a_mask_inside_a_part_is_refused() -> None:
    nested = spaces.Dict(inner=spaces.Dict(action_mask=spaces.MultiBinary(2)), other=BOX)
    with pytest.raises(ValueError, match="part inner of observations has action_mask inside"):
        masks_of(space=nested)
    masks_of(MaskSource.none, nested)
