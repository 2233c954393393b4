"""The commands in the pages: what a block of code holds, and how it is run as written."""

import contextlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cli.running import status_of
from tests.support import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
OUTPUT = re.compile(r"\n\n```text\n(.*?)^```", re.MULTILINE | re.DOTALL)
FRACTION = re.compile(r"\d*[.,]\d+")
"""Scores, times and sizes of files, which may differ from machine to machine."""
INDENTED = re.compile(r"(?:^ {4}[^\n]*\n)+", re.MULTILINE)
COMMAND = re.compile(r"^(?:\$ )?(?:[A-Z_]+=\S+ |sudo -u \w+ |ExecStart=)*(?:/\S+/bin/)?lookalike (.+)$")
STATUS = re.compile(r"\s#.*\bstatus (\d)\b")
HERE = re.compile(r"<<'?(\w+)'?")
SHELL = set("|<>;&$`")
REDIRECTED = re.compile(r"^[^|>]* > ~?[\w./-]+$")


@dataclass(frozen=True)
class Block:
    """A block of code of a page: its language (empty for an indented one), its text, and what it prints.

    `output` is a `text` block right behind it, with nothing but an empty line between.
    """

    language: str
    text: str
    output: str | None = None


def blocks(page: Path) -> list[Block]:
    """All blocks of code of a page, in their order."""
    text = page.read_text(encoding="utf-8")
    fenced = [(match.start(), Block(match[1], match[2], _output(text, match.end()))) for match in FENCE.finditer(text)]
    bare = FENCE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]).replace("    ", "   x"), text)
    indented = [(match.start(), Block("", match[0])) for match in INDENTED.finditer(bare)]
    return [block for _, block in sorted([*fenced, *indented], key=lambda pair: pair[0])]


def _output(text: str, end: int) -> str | None:
    following = OUTPUT.match(text, end)
    return following[1] if following else None


def same(printed: str, home: Path) -> str:
    """What a command printed, as a page shows it: of another home, and with any digits for fractions."""
    return FRACTION.sub("#", printed.replace(str(home), "/home/me")).rstrip()


def runnable(page: Path) -> list[Block]:
    """The blocks that a test runs: `sh` and `python`."""
    return [block for block in blocks(page) if block.language in ("sh", "python")]


def commands(page: Path) -> Iterator[str]:
    """What follows `lookalike` in every line of every block, without comments and without usage lines."""
    for block in blocks(page):
        if block.language in ("", "sh", "console", "ini"):
            for line in joined(block.text):
                match = COMMAND.match(line.strip())
                if match and not re.search(r"\[-|…|status 2", match[1]):
                    yield match[1]


def joined(text: str) -> Iterator[str]:
    """The lines of a script, each with those that continue it: after a backslash, or in a here-document."""
    lines = iter(text.splitlines())
    for line in lines:
        whole = line
        while whole.endswith("\\"):
            whole = whole[:-1] + next(lines).lstrip()
        if here := HERE.search(whole):
            for inner in lines:
                whole += f"\n{inner}"
                if inner.strip() == here[1]:
                    break
        if whole.strip():
            yield whole


def run(script: str) -> None:
    """Run an `sh` block: plain commands of lookalike and `cd` in this process, all else in bash."""
    for line in joined(script):
        expected = int(status[1]) if (status := STATUS.search(line)) else 0
        assert _run(line) == expected, line


def _run(line: str) -> int:
    command, _, file = line.partition(" > ") if REDIRECTED.search(line) else (line, "", "")
    words = shlex.split(command, comments=True) if "\n" not in line else ["cat"]
    if not words:
        return 0
    if words[0] == "cd":
        os.chdir(Path(words[1]).expanduser())
        return 0
    if not is_plain(command, words):
        return _in_bash(line)
    if not file:
        return _in_process(words[1:])
    with Path(file.strip()).expanduser().open("w", encoding="utf-8") as out, contextlib.redirect_stdout(out):
        return _in_process(words[1:])


def is_plain(line: str, words: list[str]) -> bool:
    """Whether a line means the same without a shell: one command of ours, with nothing that a shell would expand."""
    bare = re.sub(r"'[^']*'|\"[^\"$`]*\"|\s#.*", "", line)
    return words[0] == "lookalike" and not SHELL & set(bare) and not re.search(r"[*?]", bare)


def _in_process(words: list[str]) -> int:
    return status_of(*(str(Path(word).expanduser()) if word.startswith("~/") else word for word in words))


def _in_bash(line: str) -> int:
    setup = f'lookalike() {{ "{sys.executable}" -m lookalike "$@"; }}; export PYTHONPATH="{ROOT}"; set -o pipefail; '
    return subprocess.run(["bash", "-c", setup + line], check=False).returncode
