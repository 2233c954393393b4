"""Become a standalone Milvus server of the package `milvus`, with everything below one folder.

    .venv-milvus/bin/python scripts/milvus_server.py FOLDER [--port 19530] [--auth]

It listens on every interface, whatever it is told (Milvus binds so): run it in a network namespace of its own, which is
what scripts/alone makes. The process is replaced by the server's, so a signal to it is a signal to the server.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

ROLES = ("rootCoord", "proxy", "queryCoord", "queryNode", "indexNode", "dataCoord", "dataNode")
LOOPBACK = "127.0.0.1"
PROGRAM = Path(sys.prefix) / "server"
"""Where the server is unpacked, once for all folders: that takes longer than starting it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=19530)
    parser.add_argument("--auth", action="store_true", help="ask for user and password (root:Milvus)")
    args = parser.parse_args()
    import milvus as package

    server: Any = package
    folder = args.folder.resolve()
    config = server.MilvusServerConfig(data_dir=str(folder))
    # While an index is built, Milvus would answer from a makeshift that misses much (recall .4 measured); this looks at
    # every row instead.
    config.set("queryNode.segcore.interimIndex.enableIndex", "false")
    # A server that was killed is waited for this long, in seconds, before the next one takes its place.
    config.set("common.session.ttl", "10")
    for role in ROLES:
        config.set(f"{role}.ip", LOOPBACK)
    config.set("authorization_enabled", args.auth)
    config.resolve()
    # Only now: the package would call a port taken whose last server has just been killed.
    config.set("proxy_port", args.port)
    config.write_config()
    server._initialize_data_files(str(PROGRAM))
    metrics, held = config.resolve_port(9091)
    held.close()
    os.chdir(folder)
    log = os.open(folder / "logs" / "server.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    environment = {
        **os.environ,
        "DEPLOY_MODE": "STANDALONE",
        "METRICS_PORT": str(metrics),
        "MILVUS_RUN_DIR": str(folder / "run"),
        "LD_LIBRARY_PATH": str(PROGRAM / "bin"),
    }
    binary = PROGRAM / "bin" / "milvus"
    os.execve(binary, [str(binary), "run", "standalone"], environment)


if __name__ == "__main__":
    main()
