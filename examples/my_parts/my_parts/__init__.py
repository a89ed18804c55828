"""Parts of one's own for dqn-train: `import=[my_parts]` registers them."""

from gymnasium.envs.registration import register

import dqn_cli
from my_parts.bounded import Bounded
from my_parts.forward_model import ForwardModel
from my_parts.json_lines import JsonLines
from my_parts.truncated_qr import TruncatedQr

register("DeepSea-v0", "my_parts.deep_sea:DeepSea", max_episode_steps=100)
dqn_cli.register("head", "truncated_qr", TruncatedQr, like="qr")
dqn_cli.register("auxiliary", "forward_model", ForwardModel)
dqn_cli.register("auxiliary", "bounded", Bounded)
dqn_cli.register("logger", "json_lines", JsonLines)
