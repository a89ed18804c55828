from __future__ import annotations

import pytest
from rich.console import Console

from dqn_cli.agent.spaces import ONE_HOT, PICTURE, VECTOR, Part, Spaces
from dqn_cli.checking.findings import Finding, Level
from dqn_cli.checking.seen import (
    UNKNOWN,
    ActionDescription,
    Answer,
    Description,
    Inspection,
    PartDescription,
    Trial,
)
from dqn_cli.commands.check_report import print_findings, print_inspection

PARTS = (
    PartDescription(Part("camera", PICTURE, (12, 12, 3), (0.0,), (255.0,), True), "uint8", True),
    PartDescription(Part("goal", ONE_HOT, (4,), (0.0,), (1.0,), True), "int64", False),
    PartDescription(
        Part("speed", VECTOR, (2,), (-1.0, -float("inf")), (1.0, float("inf")), False),
        "float64",
        False,
    ),
)
ACTIONS = ActionDescription("Discrete(3, start=2)", 3, "2", "4", ("LEFT", "STAY", "RIGHT"))
DESCRIPTION = Description(PARTS, ("text",), "", ACTIONS, "", 'info["action_mask"]', 200)
TRIAL = Trial(
    steps=2_000,
    spaces=Spaces(tuple(described.part for described in PARTS), 3),
    ranges=((0, 250), (0, 1), (-3.5, 12_000)),
    changing=(True, True, True),
    rewards=(-1, 10, 0.25),
    lengths=(10, 30),
    terminated=1,
    truncated=1,
    masked=True,
    legal=1.5,
    seconds=0.5,
    longest=0.0123,
    transition_bytes=460,
    records=(),
)
YES = Answer(True)
INSPECTION = Inspection(DESCRIPTION, TRIAL, "", (), YES, YES, YES, YES)


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> object:
    def text_of(inspection: Inspection) -> str:
        print_inspection("Mine-v0", inspection)
        return capsys.readouterr().out

    return text_of


def line_of(text: str, name: str) -> str:
    return next(line for line in map(str.strip, text.splitlines()) if line.startswith(name))


def test_declared_and_seen_stand_side_by_side(printed: object) -> None:
    text = printed(INSPECTION)  # type: ignore[operator]
    camera = line_of(text, "camera")
    for word in ("picture", "uint8", "0 to 255", "0 to 250", "bytes"):
        assert word in camera
    speed = line_of(text, "speed")
    for word in ("numbers", "float64", "partly", "-3.5 to", "floats"):
        assert word in speed
    assert "1.2e+04" in text
    assert "one choice" in line_of(text, "goal")
    assert line_of(text, "colors").endswith("their axis was first and is last now: camera")
    assert "not read" in line_of(text, "text")


def test_facts_have_a_line_each(printed: object) -> None:
    text = " ".join(printed(INSPECTION).split())  # type: ignore[operator]
    for words in (
        "env=Mine-v0",
        "3 actions, Discrete(3, start=2): index 0 is 2, index 2 is 4 (LEFT, STAY, RIGHT)",
        'info["action_mask"]; 1.5 of 3 actions are legal on average',
        "-1 to 10, mean 0.25",
        "2 of 10 to 30 steps (mean 20.0), 1 terminated and 1 truncated; the limit is 200",
        "4,000 steps a second in 2,000 steps; the longest step took 12.3 ms",
        "0.46 GB for a million transitions (460 bytes each)",
        "a seed repeats its episode, so resuming is exact",
        "two live side by side",
        "runs in processes of its own",
    ):
        assert words in text


def test_answers_may_be_no_or_unknown(printed: object) -> None:
    no = INSPECTION._replace(
        repeats=Answer(False), independent=Answer(False), in_process=Answer(None, "no time left")
    )
    text = " ".join(printed(no).split())  # type: ignore[operator]
    assert "a seed does not repeat its episode" in text
    assert "but one changes the other" in text
    assert "not known: no time left" in text


def test_little_is_printed_where_little_is_known(printed: object) -> None:
    nothing = Inspection(None, None, "it hangs", (), UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)
    assert printed(nothing).split() == ["env=Mine-v0"]  # type: ignore[operator]
    text = printed(nothing._replace(description=DESCRIPTION))  # type: ignore[operator]
    assert "camera" in text
    assert "rewards" not in text


def test_lines_fit_eighty_columns_without_color_codes(printed: object) -> None:
    assert Console().width == 80
    text = printed(INSPECTION)  # type: ignore[operator]
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text


def test_a_finding_has_its_level_and_below_it_what_to_change(
    capsys: pytest.CaptureFixture[str],
) -> None:
    findings = [
        Finding(Level.warning, "a part [x] is odd", "env.drop=[x]", ("env.drop=[x]",)),
        Finding(Level.note, "fine"),
    ]
    print_findings(findings, "ready to train:")
    assert capsys.readouterr().out.splitlines() == [
        "warning: a part [x] is odd",
        "    -> env.drop=[x]",
        "note: fine",
        "",
        "ready to train:",
    ]
