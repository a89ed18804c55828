"""Ends of a session other than its last step."""

from __future__ import annotations


class TrainingFailure(Exception):
    """A run that can't go on; the message says at which step and what may help."""


class Interrupted(Exception):
    """A signal ended the session."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("interrupted")
        self.exit_code = exit_code
