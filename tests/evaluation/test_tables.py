from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest

from dqn_cli.evaluation.comparison import compare
from dqn_cli.evaluation.play import Episodes
from dqn_cli.evaluation.tables import comparison_line, print_table, summarize_episodes


def report(*returns: float) -> dict[str, Any]:
    lengths = np.arange(1, len(returns) + 1)
    return summarize_episodes(Episodes(np.array(returns, float), lengths)) | {
        "checkpoint": "outputs/run [old]/checkpoints/best",
        "env": "LineWorld-v0",
    }


def test_a_report_holds_every_episode_and_their_summary() -> None:
    data = report(4, 1, 2, 9)
    assert data["episodes"] == 4
    assert data["returns"] == [4, 1, 2, 9]
    assert data["lengths"] == [1, 2, 3, 4]
    assert (data["mean"], data["iqm"], data["min"], data["max"]) == (4, 3, 1, 9)
    assert data["std"] == pytest.approx(np.sqrt((0 + 9 + 4 + 25) / 4))
    low, high = data["iqm_ci95"]
    assert 1 <= low < 3 < high <= 9


def test_a_report_is_plain_data() -> None:
    data = report(1.5, 2.5)
    assert json.loads(json.dumps(data, allow_nan=False)) == data


def test_the_table_has_a_row_for_each_report(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([report(4, 1, 2, 9), report(7, 7)], ["", ""])
    printed = capsys.readouterr().out
    assert "1: outputs/run [old]/checkpoints/best (LineWorld-v0)" in printed.splitlines()
    assert "2: outputs/run [old]/checkpoints/best (LineWorld-v0)" in printed.splitlines()
    rows = [re.findall(r"[\[\]\d.,-]+", line) for line in printed.splitlines() if "│" in line]
    assert rows[-1] == ["2", "7.00", "0.00", "7.00", "[7.00,", "7.00]", "7.00", "7.00", "1.5", "2"]
    assert rows[-2][:4] == ["1", "4.00", "3.08", "3.00"]
    assert rows[-2][-4:] == ["1.00", "9.00", "2.5", "4"]


def test_reports_of_one_environment_are_summarized(capsys: pytest.CaptureFixture[str]) -> None:
    several = [report(mean, mean) for mean in (1, 2, 3, 50)]
    print_table(several, [""] * 4)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("together: iqm of 4 means 2.50 (too few seeds to tell)")
    assert last.endswith(", worst 1.00")
    for alone in (several[:1], [several[0], several[1] | {"env": "CartPole-v1"}]):
        print_table(alone, [""] * len(alone))
        assert "together" not in capsys.readouterr().out


def test_each_label_is_summarized_separately(capsys: pytest.CaptureFixture[str]) -> None:
    labels = ["update=dqn", "update=double", "update=dqn", "update=munchausen"]
    print_table([report(mean, mean) for mean in (1, 5, 3, 7)], labels)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if " means " in line]
    assert line == "update=dqn: iqm of 2 means 2.00 (too few seeds to tell), worst 1.00"


def test_five_seeds_have_an_interval(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([report(mean, mean) for mean in (1, 2, 3, 4, 50)], [""] * 5)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "together: iqm of 5 means 3.00 [1.00, 50.0], worst 1.00"


def compared(first: list[float], second: list[float]) -> str:
    comparison = compare([np.array(first)], [np.array(second)])
    return comparison_line("double", "dqn", comparison)


def test_a_comparison_says_what_was_shown() -> None:
    scores = [1.0, 2.0, 3.0, 4.0, 5.0]
    assert compared([s + 9 for s in scores], scores) == (
        "double is better than dqn by 9.00 in the mean (95 %: 6.69 to 11.3; p 1.9e-05)"
    )
    assert compared([s + 1 for s in scores], scores) == (
        "double is not shown to be better than dqn: 1.00 in the mean (95 %: -1.31 to 3.31; p 0.35);"
        " about 41 seeds of each would show one as large"
    )
    assert compared(scores, scores).endswith("0.00 in the mean (95 %: -2.31 to 2.31; p 1)")


@pytest.mark.parametrize("worst", [-9.0, -200.0, -1234.5, -98765.4])
def test_no_number_is_truncated_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], worst: float
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    print_table([report(*np.linspace(worst, worst / 2, 20))], [""])
    printed = capsys.readouterr().out
    assert "…" not in printed
    assert f"{worst:.1f}" in printed
    assert f"{worst / 2:.1f}" in printed


def with_info(info: dict[str, Any]) -> dict[str, Any]:
    return report(1, 2) | {"info": info}


def test_scalars_in_info_are_columns(capsys: pytest.CaptureFixture[str]) -> None:
    first = with_info({"wins [%]": {"mean": 9.0, "at_end": 12.34}, "lives": {"at_end": None}})
    second = with_info({"kills": {"mean": 1.0, "at_end": 0.5}})
    print_table([first, second, with_info({})], [""] * 3)
    lines = capsys.readouterr().out.splitlines()
    (heading,) = [line for line in lines if "┃" in line]
    assert heading.replace("┃", "").split()[-4:] == ["wins", "[%]", "lives", "kills"]
    rows = [re.findall(r"[\[\]\w.,-]+", line)[-4:] for line in lines if "│" in line]
    assert rows == [["2", "12.3", "-", "-"], ["2", "-", "-", "0.50"], ["2", "-", "-", "-"]]


def test_a_report_has_the_means_of_scalars_in_info() -> None:
    info = {"lives": {"mean": 1.0, "at_end": None}}
    episodes = Episodes(np.ones(2), np.ones(2), info)
    assert summarize_episodes(episodes)["info"] == info
    assert report(1)["info"] == {}
