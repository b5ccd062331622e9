"""Make the pictures of docs/pictures/: `make pictures`, or `python docs/pictures.py pipeline` for the drawing alone.

The drawing of the pipeline comes from `dvc.yaml`. The others come from an example project that is generated for them: a
recording of its first minutes, and pages as Chromium shows them. So what they show has happened.
"""

import codecs
import itertools
import math
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

TEMPLATE = Path(__file__).resolve().parents[1]
PIPELINE = TEMPLATE / "{{cookiecutter.project}}" / "dvc.yaml"
PICTURES = TEMPLATE / "docs" / "pictures"
MOST_BYTES = 150_000  # of a picture
MONOSPACE = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"


# ---- The pipeline, from dvc.yaml

Stages = Mapping[str, Mapping[str, Any]]
WIDTH, GAP, LINE, MARGIN, HEAD = 152, 24, 16, 16, 28
MACHINERY = re.compile(r"stages/|mlops/|requirements\.txt")  # what each stage has
STYLE = """
.page{fill:#fff;stroke:#d0d7de}.box{fill:#f6f8fa;stroke:#afb8c1}.head{fill:#0969da}.rule{stroke:#d0d7de}
text{font:12px -apple-system,'Segoe UI',Helvetica,Arial,sans-serif;fill:#1f2328}
.name{fill:#fff;font-weight:600;font-size:13px}
.words{font-size:11px;font-style:italic}.in{fill:#656d76}.arrow{fill:none;stroke:#656d76;stroke-width:1.5}.tip,.dvc{fill:#656d76}
.git{fill:none;stroke:#1a7f37;stroke-width:1.5}
@media(prefers-color-scheme:dark){.page{fill:#0d1117;stroke:#30363d}
.box{fill:#161b22;stroke:#484f58}.head{fill:#1f6feb}
.rule{stroke:#30363d}text{fill:#e6edf3}.in{fill:#8d96a0}.arrow{stroke:#8d96a0}.tip,.dvc{fill:#8d96a0}.git{stroke:#3fb950}}
"""


def written(stage: Mapping[str, Any]) -> dict[str, bool]:
    """The files that a stage writes, and whether each is in Git instead of DVC's cache."""
    entries = [*stage.get("outs", []), *stage.get("metrics", [])]
    pairs = [(entry, {}) if isinstance(entry, str) else next(iter(entry.items())) for entry in entries]
    return {path: options.get("cache") is False for path, options in pairs}


def arrows(stages: Stages) -> dict[str, set[str]]:
    """The stages that come directly before each one: those that no other way leads from as well."""
    writer = {path: name for name, stage in stages.items() for path in written(stage)}
    before = {name: {writer[path] for path in stage["deps"] if path in writer} for name, stage in stages.items()}

    def ahead(name: str) -> set[str]:
        return before[name].union(*map(ahead, before[name]))

    return {name: direct - set().union(*map(ahead, direct)) for name, direct in before.items()}


def box(name: str, stage: Mapping[str, Any], outside: Sequence[str]) -> tuple[str, int]:
    """A stage with what it reads from outside and what it writes, at the origin, and its height in pixels."""
    lines: list[str] = []
    y = HEAD + 18
    for words in textwrap.wrap(stage["desc"], 23):
        lines.append(f'<text class="words" x="12" y="{y}">{escape(words)}</text>')
        y += LINE - 2
    y += 10
    lines.append(f'<path class="rule" d="M0 {y - 17}h{WIDTH}"/>')
    for path in outside:
        lines.append(f'<text class="in" x="12" y="{y}">{path}</text>')
        y += LINE
    y += 6
    lines.append(f'<path class="rule" d="M0 {y - 16}h{WIDTH}"/>')
    for path, in_git in written(stage).items():
        dot = f'<circle class="{"git" if in_git else "dvc"}" cx="15" cy="{y - 4}" r="3.5"/>'
        lines.append(f'{dot}<text x="25" y="{y}">{path.rpartition("/")[2]}</text>')
        y += LINE
    height = y - LINE + 12
    shape = f'<rect class="box" width="{WIDTH}" height="{height}" rx="6"/>'
    head = f'<path class="head" d="M0 {HEAD}V6a6 6 0 0 1 6-6H{WIDTH - 6}a6 6 0 0 1 6 6V{HEAD}z"/>'
    title = f'<text class="name" x="12" y="19">{name}</text>'
    return "\n".join([shape, head, title, *lines]), height


def pipeline(text: str) -> str:
    """Draw the stages of a `dvc.yaml` as SVG: a column for each step, an arrow where no longer way leads."""
    stages: Stages = YAML(typ="safe").load(text)["stages"]
    before = arrows(stages)
    made = set().union(*(written(stage) for stage in stages.values()))
    column: dict[str, int] = {}
    while len(column) < len(stages):
        ready = [name for name in stages if name not in column and before[name] <= column.keys()]
        column |= {name: max((column[one] + 1 for one in before[name]), default=0) for name in ready}

    parts: list[str] = []
    place: dict[str, tuple[int, int]] = {}
    bottom = dict.fromkeys(column.values(), MARGIN)
    for name, stage in stages.items():
        files = [path for path in stage["deps"] if path not in made and not MACHINERY.match(path)]
        outside = list(dict.fromkeys(re.sub(r"^project/.*", "project/", path) for path in files))
        shape, height = box(name, stage, outside)
        place[name] = x, y = MARGIN + column[name] * (WIDTH + GAP), bottom[column[name]]
        bottom[column[name]] = y + height + MARGIN
        parts.append(f'<g transform="translate({x} {y})">\n{shape}\n</g>')
    for name, direct in before.items():
        for one in direct:
            (left, top), (x, y) = place[one], place[name]
            start, end = left + WIDTH, x - 5
            way = f"M{start} {top + HEAD // 2}H{start + GAP // 2 - 2}V{y + HEAD // 2}H{end}"
            parts.append(f'<path class="arrow" d="{way}"/>')
            parts.append(f'<path class="tip" d="M{x} {y + HEAD // 2}l-8-4v8z"/>')

    high = max(bottom.values())
    wide = 2 * MARGIN + len(bottom) * (WIDTH + GAP) - GAP
    left, right = f'x="{MARGIN}"', f'x="{MARGIN + 14}"'
    parts += [
        f'<text class="in" {left} y="{high - 56}">in grey: files of yours that it reads, besides params.yaml</text>',
        f'<circle class="dvc" cx="{MARGIN + 4}" cy="{high - 40}" r="3.5"/>',
        f'<text {right} y="{high - 36}">written, and kept by DVC</text>',
        f'<circle class="git" cx="{MARGIN + 4}" cy="{high - 20}" r="3.5"/>',
        f'<text {right} y="{high - 16}">written, and kept in Git: a change of it is reviewed</text>',
    ]
    size = f'width="{wide}" height="{high}" viewBox="0 0 {wide} {high}"'
    top = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
    title = f"<title>The stages of dvc.yaml: {', '.join(stages)}</title>\n<style>{STYLE}</style>"
    page = f'<rect class="page" x=".5" y=".5" width="{wide - 1}" height="{high - 1}" rx="8"/>'
    return "\n".join([top, title, page, *parts, "</svg>\n"])


# ---- A recording of a terminal, as an animation that needs no script

COLUMNS, ROWS, ADVANCE, HEIGHT = 104, 28, 8.4, 18  # characters, and pixels of one
LONGEST = 60  # seconds of the whole: the commands run as many times as fast as that wants
TYPING, PAUSE = 0.035, 0.4  # seconds for a character, and before the command runs
ESCAPE = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|\x1b[()][A-Z0-9]|\x1b[=>]|[\x07\x08]|([\r\n])|([^\x1b\r\n\x07\x08]+)")
UNFINISHED = re.compile(r"\x1b[\[?\d;]*$")
COLOURS = ("#6e7681", "#ff7b72", "#7ee787", "#e3b341", "#79c0ff", "#d2a8ff", "#76e3ea", "#c9d1d9")


@dataclass
class Row:
    """A line of a terminal that never wraps: its characters, their classes, and when how many of them were there."""

    cells: list[tuple[str, str]] = field(default_factory=list)
    grown: list[tuple[float, int]] = field(default_factory=list)


def terminal(chunks: Sequence[tuple[float, str]]) -> list[Row]:
    """What a terminal shows in the end of a program's output, which comes in pieces, each with its time in seconds."""
    rows = [Row()]
    at, x, style = 0, 0, ""
    for moment, chunk in chunks:
        for numbers, letter, control, text in ESCAPE.findall(chunk):
            row = rows[at]
            if control == "\r":
                x = 0
            elif control == "\n":
                at, x = at + 1, 0
                if at == len(rows):
                    rows.append(Row())
            elif letter == "K":
                kept = {"": x, "0": x}.get(numbers, 0)
                row.cells, row.grown = row.cells[:kept], row.grown if kept else []
            elif letter == "A":
                at = max(0, at - int(numbers or 1))
            elif letter == "m":
                style = sgr(numbers, style)
            elif text:
                row.cells += [(" ", "")] * (x - len(row.cells))
                row.cells[x : x + len(text)] = [(character, style) for character in text]
                x += len(text)
                row.grown.append((moment, x))
    return rows


def sgr(numbers: str, style: str) -> str:
    """The class of text after a sequence that sets its colour."""
    for number in map(int, filter(None, (numbers or "0").split(";"))):
        if number in (0, 39):
            style = ""
        elif number % 60 in range(30, 38):
            style = f"c{number % 10}"
    return style


def run(command: str, folder: Path, env: Mapping[str, str]) -> list[tuple[float, str]]:
    """Run a command in a terminal of its own, and return what it printed, with seconds since its start."""
    import fcntl
    import pty
    import termios  # Windows has none of them

    screen, inside = pty.openpty()
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    program = subprocess.Popen(
        ["bash", "-c", command],
        cwd=folder,
        env={**env, "TERM": "xterm"},
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
    )
    os.close(inside)
    decode = codecs.getincrementaldecoder("utf-8")().decode
    start, chunks, rest = time.monotonic(), [], ""
    while True:
        try:
            printed = os.read(screen, 65536)
        except OSError:  # how Linux says that the command has ended
            break
        if not printed:
            break
        rest += decode(printed)
        whole = UNFINISHED.sub("", rest)
        chunks.append((time.monotonic() - start, whole))
        rest = rest[len(whole) :]
    os.close(screen)
    if program.wait():
        raise SystemExit(f"Error: {command!r} failed:\n{''.join(text for _, text in chunks)}")
    return chunks


def typed(command: str, ready: float, start: float) -> Row:
    """The prompt, which is there from a time on, with a command that is typed from another time on."""
    letters = [(letter, "b") for letter in command]
    moments = [(start + TYPING * number, number + 2) for number in range(1, len(letters) + 1)]
    return Row([("$", "c2"), (" ", ""), *letters], [(ready, 2), *moments])


def recording(session: Sequence[tuple[str, float, Sequence[Row], float]]) -> str:
    """An animated SVG of commands, each with the seconds it took, its rows, and the seconds to read them for."""
    slow = sum(TYPING * len(command) + PAUSE + reading for command, _, _, reading in session)
    speed = max(1, math.ceil(sum(took for _, took, _, _ in session) / (LONGEST - slow)))
    ready, now = 0.0, 0.0
    rows: list[Row] = []
    for command, took, shown, reading in session:
        rows.append(typed(command, ready, now))
        now += TYPING * len(command) + PAUSE
        rows += [Row(row.cells, [(now + moment / speed, width) for moment, width in row.grown]) for row in shown]
        ready = now + took / speed
        now = ready + reading
    rows.append(typed("", ready, now))

    lines: list[str] = []  # of the SVG
    scrolls: list[tuple[float, float]] = [(0, 0)]
    cursors: list[tuple[float, float, float]] = [(0, 0, 0)]
    number, latest = 0, 0.0
    for row in rows:
        pieces = [row.cells[start : start + COLUMNS] for start in range(0, max(len(row.cells), 1), COLUMNS)]
        for moment, width in row.grown or [(latest, 0)]:
            latest = max(latest, moment)
            line = number + max(0, width - 1) // COLUMNS
            top = max(0, line + 1 - ROWS)
            scrolls.append((latest, -top * HEIGHT))
            cursors.append((latest, (width - (line - number) * COLUMNS) * ADVANCE, (line - top) * HEIGHT))
        for piece in pieces:
            lines += drawn(piece, number * HEIGHT + 13)
            number += 1
    return ANIMATION.format(
        width=f"{COLUMNS * ADVANCE + 24:g}",
        height=ROWS * HEIGHT + 50,
        inner=f"{COLUMNS * ADVANCE:g}",
        below=ROWS * HEIGHT,
        line=HEIGHT,
        font=MONOSPACE,
        colours="".join(f".c{index}{{fill:{colour}}}" for index, colour in enumerate(COLOURS)),
        seconds=f"{now:.1f}",
        scroll=keyframes(scrolls, now, "translateY({:g}px)"),
        cursor=keyframes(cursors, now, "translate({:g}px,{:g}px)"),
        last_scroll=f"{scrolls[-1][1]:g}",
        last_cursor=",".join(f"{one:g}px" for one in cursors[-1][1:]),
        lines="\n".join(lines),
        speed=speed,
    )


def drawn(cells: Sequence[tuple[str, str]], y: float) -> Iterator[str]:
    """The text of a line, with its exact width, whatever the font."""
    text = "".join(letter for letter, _ in cells)
    start, end = len(text) - len(text.lstrip()), len(text.rstrip())
    if start >= end:
        return
    runs = [
        (style, escape("".join(letter for letter, _ in run), quote=False))
        for style, run in itertools.groupby(cells[start:end], key=lambda cell: cell[1])
    ]
    inside = "".join(f'<tspan class="{style}">{part}</tspan>' if style else part for style, part in runs)
    where = f'x="{start * ADVANCE:g}" y="{y:g}" textLength="{(end - start) * ADVANCE:g}"'
    yield f"<text {where}>{inside}</text>"


def keyframes(moments: Sequence[tuple[float, ...]], seconds: float, transform: str) -> str:
    """The steps of an animation: the last of those at one time, and none that changes nothing."""
    last = {f"{100 * moment / seconds:.2f}": values for moment, *values in moments}
    changed = [next(group) for _, group in itertools.groupby(last.items(), key=lambda item: item[1])]
    return "".join(f"{at}%{{transform:{transform.format(*values)}}}" for at, values in changed)


# What stands without an animation is its last picture. A cover hides what is right of the cursor and below it.
ANIMATION = """<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" \
viewBox="0 0 {width} {height}" role="img" xml:space="preserve">\
<title>A recording of a terminal, the commands {speed} times as fast as they ran</title>
<style>text{{font:14px {font};fill:#c9d1d9;white-space:pre}}{colours}.b{{fill:#f0f6fc;font-weight:600}}
#s{{transform:translateY({last_scroll}px)}}#c{{transform:translate({last_cursor})}}
@media(prefers-reduced-motion:no-preference){{#s{{animation:s {seconds}s step-end infinite}}\
#c{{animation:c {seconds}s step-end infinite}}}}
@keyframes s{{{scroll}}}
@keyframes c{{{cursor}}}
</style><rect width="100%" height="100%" rx="8" fill="#0d1117"/>
<circle cx="20" cy="18" r="6" fill="#ff5f57"/><circle cx="40" cy="18" r="6" fill="#febc2e"/>\
<circle cx="60" cy="18" r="6" fill="#28c840"/>
<svg x="12" y="38" width="{inner}" height="{below}"><g id="s">
{lines}
</g><g id="c"><path fill="#0d1117" d="M0 0h{inner}v{below}h-{inner}h-{inner}V{line}H0z"/>\
<rect width="8" height="17" fill="#c9d1d9"/></g></svg></svg>
"""


# ---- Pages, as Chromium shows them

COMMENT = """<!doctype html><meta charset="utf-8"><style>
body{margin:0;padding:16px;width:900px;box-sizing:border-box;background:#fff;color:#1f2328;
font:14px/1.5 -apple-system,'Segoe UI',Helvetica,'Liberation Sans',sans-serif}
section{border:1px solid #d0d7de;border-radius:6px}header{padding:8px 16px;background:#f6f8fa;color:#656d76;
border-bottom:1px solid #d0d7de;border-radius:6px 6px 0 0}header b{color:#1f2328}main{padding:4px 16px 8px}
h2{font-size:20px}h3{font-size:16px}h2,h3{margin:16px 0 8px}p,ul{margin:8px 0}ul{padding-left:24px}
table{border-collapse:collapse;margin:8px 0}
td,th{border:1px solid #d0d7de;padding:4px 11px}tr:nth-child(2n){background:#f6f8fa}
code{background:#eff1f3;border-radius:6px;padding:2px 5px;font:85% MONOSPACE}
</style><section><header><b>continuous integration</b> commented on this change</header><main>REVIEW</main></section>
""".replace("MONOSPACE", MONOSPACE)


def photograph(page: Path, to: Path, width: int, height: int) -> None:
    """Take a picture of the top of a page, without what is empty below, in at most 128 colours."""
    from PIL import Image, ImageChops

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("Error: Chromium is not on the PATH: install it (apt-get install chromium)")
    with tempfile.TemporaryDirectory(prefix="browser-") as folder:
        shot = Path(folder) / "shot.png"
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1.5"]
        where = [f"--user-data-dir={folder}", f"--window-size={width},{height}", f"--screenshot={shot}", page.as_uri()]
        subprocess.run([chromium, *flags, *where], check=True, capture_output=True, timeout=60)
        image = Image.open(shot).convert("RGB")
    empty = Image.new("RGB", image.size, image.getpixel((0, image.height - 1)))
    _, _, _, bottom = ImageChops.difference(image, empty).getbbox() or (0, 0, 0, image.height)
    image = image.crop((0, 0, image.width, min(image.height, bottom + 24)))
    image.quantize(128, dither=Image.Dither.NONE).save(to, optimize=True)


# ---- Everything

# What is typed, and the seconds that a reader has for what it prints.
GENERATION = "cookiecutter cookiecutter-dvc-mlops --no-input"
DAY = (
    ("cd customer-churn && source .venv/bin/activate", 0.3),
    ("dvc metrics show | cut -c -100", 4),
    ("dvc repro", 3),
    ("dvc exp run -S train.model=logistic_regression", 2),
    ("python -m mlops review | head -23", 9),
)


def example(folder: Path) -> None:
    """Generate the example project, work with it, and take its pictures."""
    from markdown_it import MarkdownIt

    project = folder / "customer-churn"
    (folder / "cookiecutter-dvc-mlops").symlink_to(TEMPLATE)
    own = str(project / ".venv" / "bin")
    env = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    env |= {"PATH": os.pathsep.join([own, str(Path(sys.executable).parent), os.environ["PATH"]]), "LANG": "C.UTF-8"}
    session = []
    for command, reading in ((GENERATION, 3), *DAY):
        print(f"$ {command}", flush=True)
        start = time.monotonic()
        first = command == GENERATION
        chunks = [] if command.startswith("cd ") else run(command, folder if first else project, env)
        rows = terminal([(moment, text.replace(str(folder), "~")) for moment, text in chunks])
        while rows and not rows[-1].cells:
            rows.pop()
        session.append((command, time.monotonic() - start, rows, reading))
        if first:
            photograph(project / "reports" / "evaluation.html", PICTURES / "evaluation.png", 1000, 1145)
    (PICTURES / "recording.svg").write_text(recording(session), encoding="utf-8")

    said = subprocess.run(["python", "-m", "mlops", "review"], cwd=project, env=env, capture_output=True, check=True)
    review = MarkdownIt("commonmark").enable("table").render(said.stdout.decode())
    comment = folder / "comment.html"
    comment.write_text(COMMENT.replace("REVIEW", review), encoding="utf-8")
    photograph(comment, PICTURES / "review.png", 900, 2000)


def main() -> None:
    """Make the pictures that the arguments name, or all."""
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / "pipeline.svg").write_text(pipeline(PIPELINE.read_text(encoding="utf-8")), encoding="utf-8")
    if sys.argv[1:] != ["pipeline"]:
        with tempfile.TemporaryDirectory(prefix="pictures-") as folder:
            example(Path(folder))
    for path in sorted(PICTURES.iterdir()):
        print(f"{path.relative_to(TEMPLATE)}: {path.stat().st_size:,} bytes")
        if path.stat().st_size > MOST_BYTES:
            raise SystemExit(f"Error: {path.name} is larger than {MOST_BYTES:,} bytes")


if __name__ == "__main__":
    main()
