"""Patterns of files that are passed over, as git reads them: from `.lookalikeignore` in any folder, and from the user.

What the user names on the command line comes first, then the file of the deepest folder, and in each the last line that
matches; what lies in an ignored folder cannot be taken back. A pattern that could take long to match is refused: a
folder from a stranger may bring such a file.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lookalike.errors import SourceError
from lookalike.utils.files import reason

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

FILE = ".lookalikeignore"
LONGEST = 1024 * 1024
PATTERNS = 1000
STARS, DOUBLE_STARS = 3, 2
"""Asterisks in one part of a pattern, and parts of two: matching tries every combination of what these stand for."""


@dataclass(frozen=True)
class Patterns:
    """Lines of patterns for what lies below `prefix`; `place` names them in errors."""

    lines: tuple[str, ...]
    prefix: str = ""
    place: str = "--exclude"

    def verdict(self, key: str) -> bool | None:
        """Whether a path, which ends in a slash for a folder, is ignored; None where no line says."""
        return self._spec.check_file(key.removeprefix(self.prefix)).include

    @cached_property
    def _spec(self) -> "GitIgnoreSpec":
        from pathspec import GitIgnoreSpec

        if len(self.lines) > PATTERNS:
            raise SourceError(f"{self.place}: {len(self.lines):,} lines, and {PATTERNS:,} are the most")
        for line in map(str.strip, self.lines):
            parts = [] if line.startswith("#") else line.split("/")
            if any(part.count("*") > STARS for part in parts):
                raise SourceError(f"{self.place}: {line!r} has more than {STARS} asterisks between slashes")
            if parts.count("**") > DOUBLE_STARS:
                raise SourceError(f"{self.place}: {line!r} has ** more than {DOUBLE_STARS} times")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # of brackets in brackets
                return GitIgnoreSpec.from_lines(self.lines)
        except ValueError as error:
            raise SourceError(f"{self.place}: {error}; see the manual of gitignore") from error


@dataclass(frozen=True)
class Rules:
    """All patterns that hold in one folder, those that decide first before the others."""

    own: Patterns | None = None
    files: tuple[Patterns, ...] = ()

    @classmethod
    def of(cls, lines: Sequence[str]) -> "Rules":
        """Those of the user, which hold everywhere."""
        return cls(Patterns(tuple(lines))) if lines else cls()

    def ignores(self, key: str) -> bool:
        """Whether a path below the source is passed over; a folder's ends in a slash."""
        layers = ((self.own,) if self.own else ()) + self.files
        return next((verdict for layer in layers if (verdict := layer.verdict(key)) is not None), False)

    def within(self, folder: Path, prefix: str) -> "Rules":
        """With the file of `folder`, if it has one; raises SourceError where that cannot be read."""
        path = folder / FILE
        try:
            if not path.is_file():
                return self
            with path.open("rb") as file:
                data = file.read(LONGEST + 1)
        except OSError as error:
            raise SourceError(f"{path}: {reason(error)}; nothing is indexed without it") from error
        if len(data) > LONGEST:
            raise SourceError(f"{path}: over {LONGEST:,} bytes")
        lines = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff").splitlines()
        return Rules(self.own, (Patterns(tuple(lines), prefix, str(path)), *self.files))
