import os
import sys

import pytest

from lookalike.integrations.ray.stderr import without_ray_lines

RAY = b"[2026-11-28 17:57:46,309 E 21543 21543] core_worker.cc:2465: Actor has constructor arguments\n"


def test_lines_of_rays_libraries_are_kept_back_and_others_are_not(capfd: pytest.CaptureFixture[str]) -> None:
    with without_ray_lines():
        os.write(2, RAY + b"a line of another library\n")
        sys.stderr.write("a line of ours\n")
    os.write(2, b"after it\n")
    # The pipe is read by a thread.
    errors = ""
    while "library" not in errors:
        errors += capfd.readouterr().err
    assert sorted(errors.splitlines()) == ["a line of another library", "a line of ours", "after it"]
