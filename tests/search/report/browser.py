"""Opens a page in headless Chromium, lets a script act on it, and returns the script's result."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium is installed (on Debian: apt-get install chromium)"
)

ACT = """
<script>
window.problems = [];
addEventListener("error", (event) => problems.push(String(event.message)));
addEventListener("unhandledrejection", (event) => problems.push(String(event.reason)));
addEventListener("securitypolicyviolation", (event) => problems.push(event.blockedURI));
</script>
"""
RUN = """
<script>
(async () => {
  while (document.documentElement.dataset.ready !== "true" && problems.length === 0)
    await new Promise((resume) => setTimeout(resume, 50));
  const wait = () => new Promise((resume) => setTimeout(resume, 200));
  let found = null;
  try { found = await (async () => { %s })(); } catch (error) { problems.push(String(error)); }
  const place = document.createElement("pre");
  place.id = "found";
  place.textContent = JSON.stringify({ found, problems });
  document.body.replaceChildren(place);
})();
</script>
"""


def act(page: Path, script: str, *, width: int = 1400, dark: bool = False) -> Any:
    """The result of a script on the page. Fails where the page had an error or made a request."""
    html = page.read_text(encoding="utf-8")
    html = html.replace("<head>", "<head>" + ACT, 1)
    html = html.replace("</body>", RUN % script + "</body>", 1)
    copy = page.with_name("acted.html")
    copy.write_text(html, encoding="utf-8")
    assert CHROMIUM is not None
    command = [
        *(CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu"),
        *("--enable-unsafe-swiftshader", f"--window-size={width},2000"),
        *(["--blink-settings=preferredColorScheme=0"] if dark else []),
        *("--virtual-time-budget=30000", "--dump-dom", copy.as_uri()),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    told = re.search(r'<pre id="found">(.*?)</pre>', ran.stdout, re.DOTALL)
    assert told, ran.stdout[-2000:] + ran.stderr[-2000:]
    answer = json.loads(unescape(told[1]))
    assert answer["problems"] == []
    return answer["found"]
