from __future__ import annotations

from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dqn_cli.loggers.logger import LoggedRun
from dqn_cli.loggers.tensorboard import TensorBoard


def test_each_session_has_its_file_and_hides_the_rows_that_come_again(tmp_path: Path) -> None:
    for step, rows in ((0, (10, 20, 30)), (20, (30, 40))):
        log = TensorBoard().begin(LoggedRun(tmp_path, "", {"seed": 0}, step))
        for row in rows:
            log.row({"loss": 100 * step + row}, row)
        log.close()
    events: Any = EventAccumulator(str(tmp_path)).Reload()
    assert len(list(tmp_path.glob("events.*"))) == 2
    seen = [(event.step, event.value) for event in events.Scalars("loss")]
    assert seen == [(10, 10), (20, 20), (30, 2030), (40, 2040)]
