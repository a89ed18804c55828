"""Replay: the stream of all that environments emit, and samplers that make batches of it."""
