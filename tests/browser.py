"""A headless Chromium that opens a page in a frame and tells what a script finds in it."""

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (path := shutil.which(name))
    ),
    None,
)
with_chromium = pytest.mark.skipif(
    not CHROMIUM, reason="no Chromium on this machine (apt-get install chromium)"
)
SWITCHES = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"),
    *("--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--v=0"),
    *("--virtual-time-budget=8000", "--dump-dom"),
)
THEMES = {
    "light": "--blink-settings=preferredColorScheme=1",
    "dark": "--blink-settings=preferredColorScheme=0",
}
RULES = Path(__file__).with_name("accessible.js")
FRAME = """<!doctype html><title>not loaded</title>
<iframe id="frame" src="URL" style="width:WIDTHpx;height:900px;border:0"></iframe>
<script>
ACCESSIBLE
document.getElementById("frame").addEventListener("load", event => {
  const window = event.target.contentWindow, page = event.target.contentDocument;
  const all = (what, within = page) => [...within.querySelectorAll(what)];
  const choose = (id, value, kind) => {
    const field = page.getElementById(id);
    field.value = value;
    field.dispatchEvent(new window.Event(kind));
  };
  const tell = found => { document.title = JSON.stringify(found); };
  SCRIPT
});
</script>"""


def opened(page: Path, script: str, folder: Path, width: int = 1280, theme: str = "light") -> Any:
    """What `script` hands to `tell`; nothing may be written to the console.

    The script knows `window` and `page` of the frame, `all`, `choose`, and `problems` of
    `accessible.js`.
    """
    frame = folder / "frame.html"
    text = FRAME.replace("URL", page.as_uri()).replace("WIDTH", str(width))
    text = text.replace("ACCESSIBLE", RULES.read_text()).replace("SCRIPT", script)
    frame.write_text(text)
    command = [CHROMIUM, *SWITCHES, THEMES[theme], f"--user-data-dir={folder}/profile"]
    command += [frame.as_uri()]
    environment = os.environ | {"HOME": str(folder)}
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    console = [line for line in run.stderr.splitlines() if "CONSOLE" in line]
    assert not console, (page.name, console)
    return json.loads(html.unescape(re.search(r"<title>(.*?)</title>", run.stdout)[1]))
