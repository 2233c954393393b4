"""Names of collections on a server: each rebuild makes a new one beside the old."""

import re


def generation(name: str) -> tuple[str, int]:
    """`photos_r2` as (photos, 2), and `photos` as (photos, 1)."""
    match = re.fullmatch(r"(.*)_r(\d+)", name)
    return (match[1], int(match[2])) if match else (name, 1)
