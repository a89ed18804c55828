from pathlib import Path

import yaml

from dqn_cli import __version__

CITATION = Path(__file__).parents[1] / "CITATION.cff"


def test_the_citation_names_this_version() -> None:
    cited = yaml.safe_load(CITATION.read_text())
    assert (cited["title"].split(":")[0], str(cited["version"])) == ("dqn-train", __version__)
