"""Replay: the stream of what the environments emitted, and how transitions are drawn from it."""
