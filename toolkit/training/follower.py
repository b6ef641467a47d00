"""A process that trains beside the first one on a machine: it is told what to train, and writes nothing."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

from toolkit.errors import ToldElsewhere, UserError


def main() -> None:
    """Train as the line on standard input asks; end with the process that holds the other end of it."""
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_first, daemon=True).start()
    from toolkit.config.load import parse_config
    from toolkit.training import train
    from toolkit.training.run_folder import Run

    try:
        if "resume" in request:
            train.resume(Run(Path(request["resume"])), request["overrides"])
        else:
            train.train(parse_config(request["config"]))
    except ToldElsewhere:
        sys.exit(2)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _end_with_the_first() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
