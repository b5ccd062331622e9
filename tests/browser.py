"""Pages in a real browser without a screen: what overflows, what cannot be read, and what the console says."""

import html
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

WIDTHS = (320, 400, 1200, 1600, 1920)
LEAST_CONTRAST = 4.5  # of text (WCAG 2, level AA)
# Names what is wider than its box, but for boxes that scroll, and text that can hardly be told from its background.
LOOK = """
const luminance = colour => {
  const linear = part => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
  const [red, green, blue] = colour.map(part => linear(part / 255))
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue
}
const parts = colour => colour.match(/[\\d.]+/g).map(Number)
const behind = box => {
  const colour = parts(getComputedStyle(box).backgroundColor)
  return colour[3] !== 0 || !box.parentElement ? colour : behind(box.parentElement)
}
const contrast = box => {
  const [one, other] = [parts(getComputedStyle(box).color), behind(box)].map(luminance).sort((a, b) => b - a)
  return (one + 0.05) / (other + 0.05)
}
onload = () => {
  const seen = []
  const frames = document.querySelectorAll("iframe")
  for (const { contentWindow: frame } of frames) {
    const scheme = frame.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"
    const where = `${frame.document.title} ${frame.innerWidth} ${scheme}`
    for (const box of frame.document.querySelectorAll("html, body, body *:not(.scroll, .wide, .scroll *, svg *)")) {
      if (getComputedStyle(box).display !== "inline" && box.scrollWidth > box.clientWidth + 1)
        seen.push(`${where}: ${box.tagName} ${box.scrollWidth} > ${box.clientWidth}`)
    }
    for (const box of frame.document.querySelectorAll("main *:not(svg *)")) {
      const text = [...box.childNodes].filter(node => node.nodeType === 3).map(node => node.data.trim()).join("")
      if (text && contrast(box) < LEAST_CONTRAST)
        seen.push(`${where}: contrast ${contrast(box).toFixed(2)} of ${box.tagName} "${text.slice(0, 30)}"`)
    }
  }
  const dark = [...frames].filter(frame => frame.contentWindow.matchMedia("(prefers-color-scheme: dark)").matches)
  seen.push(`looked at ${frames.length}, ${dark.length} of them dark`)
  document.getElementById("seen").textContent = seen.join("\\n")
}
"""


def faults(pages: Sequence[Path], folder: Path, widths: Sequence[int] = WIDTHS) -> list[str]:
    """What is wrong with pages in windows of some widths, light and dark: an empty list if they are well.

    `folder` is where the browser may write. The test is skipped where Chromium is not installed.
    """
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    frames = [
        f'<iframe src="{page.as_uri()}" style="width: {width}px; color-scheme: {scheme}"></iframe>'
        for page in pages
        for width in widths
        for scheme in ("light", "dark")
    ]
    script = LOOK.replace("LEAST_CONTRAST", str(LEAST_CONTRAST))
    look = folder / "look.html"
    look.write_text(f"{''.join(frames)}<pre id=seen></pre><script>{script}</script>", encoding="utf-8")
    flags = [
        *("--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"),
        *("--enable-logging=stderr", f"--user-data-dir={folder / 'browser'}"),
    ]
    command = [chromium, *flags, "--dump-dom", look.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    [seen] = re.findall('<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    *found, last = html.unescape(seen).splitlines()
    assert last == f"looked at {len(frames)}, {len(frames) // 2} of them dark"
    return [*found, *re.findall(r"CONSOLE.*", done.stderr)]
