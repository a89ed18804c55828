"""Mathematics of deep Q-learning: networks, heads, TD targets, loss, optimizers, exploration."""
