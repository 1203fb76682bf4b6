"""Values of other libraries, in JSON, each file beside the script that wrote it. The tests read the JSON alone."""

import json
from pathlib import Path
from typing import Any


def golden(family: str) -> dict[str, Any]:
    return json.loads(Path(__file__).with_name(f"{family}.json").read_text())
