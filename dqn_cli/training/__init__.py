"""The algorithm: the training loop, the learner, populations, randomness and settings."""
