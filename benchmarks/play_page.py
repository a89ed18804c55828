"""Put the weights of two exported policies into docs/play.html.

python benchmarks/play_page.py CARTPOLE_FOLDER BREAKOUT_FOLDER
"""

from __future__ import annotations

import base64
import json
import re
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "play.html"
WEIGHTS = re.compile(r'(<script type="application/json" id="weights">).*?(</script>)', re.DOTALL)


def main() -> None:
    names = ("cartpole", "breakout")
    if len(sys.argv) != 1 + len(names):
        sys.exit(__doc__)
    files = [Path(folder) / "model.safetensors" for folder in sys.argv[1:]]
    encoded = {
        name: base64.b64encode(file.read_bytes()).decode()
        for name, file in zip(names, files, strict=True)
    }
    text, count = WEIGHTS.subn(rf"\g<1>{json.dumps(encoded)}\g<2>", PAGE.read_text())
    assert count == 1
    PAGE.write_text(text)
    print(f"{PAGE}: {len(text) / 1000:,.0f} kB")


if __name__ == "__main__":
    main()
