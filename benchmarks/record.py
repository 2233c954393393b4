"""Run a benchmark and put what it prints into docs/performance.md, with the machine, the date and the command.

    python benchmarks/record.py "Indexing a folder" -- benchmarks/index.py PHOTOS

A section of that name is replaced, any other is left as it was; so no figure there is ever edited by hand.
"""

import datetime
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
HEAD = """# Performance

Every section is the output of the command above it, inserted by `benchmarks/record.py`; paths to photos are left out.
Speeds differ from machine to machine; ratios within one section were measured in one run. "The report" is an earlier
university report on DINOv2 retrieval, whose figures this project reproduces. The targets for AVX-512 were 1.3 (fp32)
and 3 (int8) times the speed of the report's pipeline: fp32 does not reach its target; int8 did on a processor with AMX
(4.4), and not on one without. No GPU was available yet, so there are no GPU figures.

| term | meaning |
|---|---|
| x report | images a second divided by those of the report's pipeline |
| of peak | arithmetic speed divided by that of an fp32 matrix product on the same machine |
| bare, of bare | the encoder alone, without collection or service; a speed divided by that of the bare encoder |
| B a row, B a vector | bytes on disk of one row (vector and catalog entry); bytes of one vector in the index |
| p50, p95, p99 | 50 %, 95 %, 99 % of the times are at most this |
| 429 | requests refused with HTTP status 429, because too many were waiting |
| effort | efSearch of a graph, nprobe of an inverted file |
| ours / faiss, refined | time of a query divided by that of FAISS, or of FAISS with rescoring: single, batch of 256 |
"""


VECTORS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_vnni": "AVX-512 VNNI",
    "avx_vnni": "AVX VNNI",
    "amx_int8": "AMX",
}


def machine() -> str:
    """Processor, the vector instructions that decide its speed, cores, memory: what a reader needs to compare."""
    info = Path("/proc/cpuinfo")
    described = dict(
        re.findall(r"^([a-z][a-z ]+?)\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.exists() else []
    )
    model = described.get("model name") or platform.processor() or platform.machine()
    if "flags" in described:
        has = set(described["flags"].split())
        model += f" ({', '.join(f'{label}' if flag in has else f'no {label}' for flag, label in VECTORS.items())})"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {cores} cores, {memory:.0f} GiB, Python {platform.python_version()}"


def section(title: str, command: list[str], output: str) -> str:
    """One section of the page; absolute and parent paths are shown by their last part alone."""
    shown = " ".join(Path(part).name if part.startswith(("/", "..")) else part for part in command)
    today = datetime.datetime.now(tz=datetime.UTC).date()
    return f"## {title}\n\n{machine()}, {today}\n\n```console\n$ python {shown}\n```\n\n{output.strip()}\n"


def replaced(page: str, title: str, text: str) -> str:
    """`page` with the section of this title replaced, or added at its end."""
    pattern = re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    if pattern.search(page):
        return pattern.sub(lambda _: text + "\n", page).rstrip() + "\n"
    return f"{page.rstrip()}\n\n{text}"


def main() -> None:
    if len(sys.argv) < 4 or sys.argv[2] != "--":
        sys.exit(__doc__)
    title, command = sys.argv[1], sys.argv[3:]
    run = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, text=True, check=False)
    print(run.stdout, end="")
    if run.returncode:
        sys.exit(f"{command[0]} ended with {run.returncode}; nothing was recorded")
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else HEAD
    PAGE.write_text(replaced(page, title, section(title, command, run.stdout)), encoding="utf-8")


if __name__ == "__main__":
    main()
