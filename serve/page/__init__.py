"""The page to drop a picture on: one document, put together from the files beside it, that loads nothing.

What all tasks share is ``page.js``; how a task's answer is shown is the one file that has the task's name.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources

from toolkit.drawing import PALETTE


@cache
def page_for(task: str, *, keyed: bool = False, root: str = "", metadata: str = "metadata") -> str:
    """The HTML document for bundles of ``task``; the colours of drawn pictures are put in, so that both agree.

    ``keyed`` is whether the service asks for a key, which the commands that the page shows then send. ``root`` is the
    way from the page to the service's root, ``metadata`` the one to what its model is; ``predict`` lies beside it.
    """
    addresses = {"PALETTE": PALETTE, "KEYED": keyed, "ROOT": root, "METADATA": metadata}
    known = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in addresses.items())
    script = '"use strict";\n' + known + _read("page.js") + _read(f"{task}.js") + "start();\n"
    page = _read("page.html").replace("<style></style>", f"<style>\n{_read('style.css')}</style>")
    return page.replace("<script></script>", f"<script>\n{script}</script>")


def _read(name: str) -> str:
    return resources.files("serve.page").joinpath(name).read_text(encoding="utf-8")
