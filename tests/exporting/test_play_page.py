"""The page of docs that plays in a browser computes what we compute, and plays the same games."""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from dqn_cli.agent.heads import Loss, Scalar
from dqn_cli.agent.minatar_cnn import MinAtarCnn
from dqn_cli.agent.model import Model
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.spaces import BINARY, VECTOR, Part, Spaces
from dqn_cli.envs.minatar_env import MinAtarEnv

PAGE = Path(__file__).parents[2] / "docs" / "play.html"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
PLAIN = (False, False, False, False, 0.5)
ROWS, STEPS = 20, 150

SCRIPT = """
const given = {given}, found = {{}};
found.cartpole = given.cartpole.map((x) => qValues(players.cartpole.tensors, x, 0));
found.breakout = given.breakout.map((x) => qValues(players.breakout.tensors, x, 10));
const pole = new CartPole();
pole.state = given.start;
found.states = given.pushes.map((action) => {{ pole.step(action); return pole.state; }});
const game = new Breakout(0);
game.reset(given.startsLeft);
found.screens = [], found.rewards = [];
for (const action of given.moves) {{
  const {{ reward, over }} = game.step(action);
  found.rewards.push(reward);
  found.screens.push(game.observation().flatMap((value, place) => value ? [place] : []));
  if (over) break;
}}
found.returns = [players.cartpole.play(5), players.breakout.play(10)];
found.lines = [players.cartpole.line, players.breakout.line];
const text = document.createElement("pre");
text.id = "found";
text.textContent = JSON.stringify(found);
document.body.replaceChildren(text);
"""


def weights() -> dict[str, dict[str, torch.Tensor]]:
    """The weights in the page, read without a library."""
    text = re.search(r'id="weights">(.*?)</script>', PAGE.read_text(), re.DOTALL)
    assert text is not None
    found = {}
    for name, encoded in json.loads(text[1]).items():
        content = base64.b64decode(encoded)
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        header.pop("__metadata__")
        found[name] = {
            key: torch.from_numpy(
                np.frombuffer(content[8 + length :][slice(*entry["data_offsets"])], np.float32)
                .reshape(entry["shape"])
                .copy()
            )
            for key, entry in header.items()
        }
    return found


def model_of(name: str, p: dict[str, torch.Tensor]) -> Model:
    """The model that the weights are of."""
    widths = [
        len(p[f"{layer}.bias"]) for layer in ("torso.0", "advantage.hidden") if f"{layer}.bias" in p
    ]
    head = Scalar(Loss.huber)
    if name == "cartpole":
        part = Part("", VECTOR, (4,), (-9.0,), (9.0,), False)
        return Model(Spaces((part,), 2), Mlp(widths, *PLAIN), head)
    part = Part("", BINARY, (10, 10, 4), (0.0,), (1.0,), True)
    channels = [len(p["convolution.0.bias"])]
    return Model(Spaces((part,), 3), MinAtarCnn(widths, *PLAIN, channels), head)


def test_the_page_loads_nothing_and_has_weights_of_both_games() -> None:
    text = PAGE.read_text()
    assert not re.search(r"https?:|<link|src=|import\(|fetch\(", text.split('id="weights"')[0])
    assert not re.search(r"https?:|src=|import\(|fetch\(", text.split('id="weights"')[1])
    for name, p in weights().items():
        layout = model_of(name, p).layout
        shapes = {key: tuple(value.shape) for key, value in p.items()}
        assert shapes == {key: parameter.shape for key, parameter in layout.items()}


def in_browser(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """What the page finds for inputs, in Chromium without a network."""
    script = f"<script>{SCRIPT.format(given=json.dumps(given))}</script>\n</html>"
    file = folder / "page.html"
    file.write_text(PAGE.read_text().replace("</html>", script))
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--dump-dom")
    profile = f"--user-data-dir={folder / 'profile'}"
    proxy = "--proxy-server=127.0.0.1:9"  # where nothing answers
    assert CHROMIUM is not None
    done = subprocess.run(
        [CHROMIUM, *flags, profile, proxy, file.as_uri()],
        capture_output=True, text=True, timeout=280, check=True,
    )  # fmt: skip
    text = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert text is not None, done.stderr
    found: dict[str, Any] = json.loads(html.unescape(text[1]))
    return found


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_computes_the_same_values_and_plays_the_same_games(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    pole: Any = gymnasium.make("CartPole-v1").unwrapped
    start, _ = pole.reset(seed=0)
    game = MinAtarEnv("breakout", minimal_actions=True, sticky_action_prob=0.0)
    screen, _ = game.reset(seed=1)
    pushes = [step % 2 for step in range(20)]
    states = [pole.step(action)[0].tolist() for action in pushes]
    # The paddle follows the ball, as far as it can.
    moves, screens, rewards = list[int](), list[Any](), list[float]()
    starts_left = bool(screen[3, 0, 1])
    for _ in range(STEPS):
        ball, paddle = (int(np.argwhere(screen[..., plane])[0][1]) for plane in (1, 0))
        moves.append(2 if ball > paddle else 1 if ball < paddle else 0)
        screen, reward, over, _, _ = game.step(np.int64(moves[-1]))
        screens.append(np.flatnonzero(np.moveaxis(screen, -1, 0)).tolist())
        rewards.append(reward)
        if over:
            break
    vectors = random.normal(size=(ROWS, 4)).astype(np.float32)
    pictures = (random.random((ROWS, 4, 10, 10)) < 0.2).astype(np.float32)  # planes first
    given = {
        "cartpole": vectors.tolist(),
        "breakout": pictures.reshape(ROWS, -1).tolist(),
        "start": start.astype(float).tolist(),
        "pushes": pushes,
        "startsLeft": starts_left,
        "moves": moves,
    }
    found = in_browser(tmp_path, given)
    for name, inputs in (("cartpole", vectors), ("breakout", np.moveaxis(pictures, 1, -1))):
        p = weights()[name]
        q, _ = model_of(name, p).values(p, torch.from_numpy(inputs.copy()), torch.zeros(ROWS, 0))
        assert np.allclose(found[name], q.numpy(), rtol=1e-4, atol=1e-4)
    assert np.allclose(found["states"], states, atol=1e-3)
    assert found["rewards"] == rewards
    assert sum(rewards) > 5
    assert found["screens"] == screens
    assert found["returns"][0] > 200
    assert found["returns"][1] > 3
    assert found["lines"][0].startswith("score 0; mean of 5 episodes before:")
