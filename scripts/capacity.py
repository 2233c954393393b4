"""Print the capacity table of docs/deployment.md: what 10⁷, 10⁸ and 10⁹ images take, from measured figures.

    python scripts/capacity.py [--gpu-rate 1000] [--gpu-price 2.5] [--node-gib 128] [--node-price 1.0]

Each default is named where the table is printed; those that were not measured here are called assumptions.
"""

import argparse

SIZES = (10**7, 10**8, 10**9)
DIM = 768
# Bytes a vector at 768 numbers, measured on FAISS 1.15.1 (300,000 vectors); those of DISKANN are an assumption.
MEMORY = {"HNSW32 float32": 3344, "HNSW32 SQ8": 1040, "IVF + RaBitQ, SQ8 refine": 912, "DISKANN": DIM // 8}
DISK = {"HNSW32 float32": 3072, "HNSW32 SQ8": 3072, "IVF + RaBitQ, SQ8 refine": 3072, "DISKANN": 3072 + 64 * 4}
USABLE = 0.7
"""Of a node's memory: the rest is for segments that are loaded while old ones still serve."""
CATALOG = 185
"""Bytes of the local catalog a row, with its indexes: measured with 4,577 photos whose keys have 20 letters."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu-rate", type=float, default=5.19, help="dinov2-base images/s on 2 cores (measured, fp32)")
    parser.add_argument("--gpu-rate", type=float, default=1000.0, help="dinov2-base images/s on one GPU (assumption)")
    parser.add_argument("--gpu-price", type=float, default=2.5, help="of a GPU hour (assumption)")
    parser.add_argument("--node-gib", type=float, default=128.0, help="memory of a search node (assumption)")
    parser.add_argument("--node-price", type=float, default=1.0, help="of a search node's hour (assumption)")
    args = parser.parse_args()
    print("| images | GPU hours | for | core hours without a GPU | vectors float16, GB | catalog, GB |")
    print("|---|---|---|---|---|---|")
    for count in SIZES:
        hours = count / args.gpu_rate / 3600
        cores = 2 * count / args.cpu_rate / 3600
        print(
            f"| {count:.0e} | {hours:,.1f} | {hours * args.gpu_price:,.0f} | {cores:,.0f} "
            f"| {count * DIM * 2 / 1e9:,.0f} | {count * CATALOG / 1e9:,.1f} |"
        )
    print()
    print("| images | index | memory, GB | disk, GB | search nodes | a month |")
    print("|---|---|---|---|---|---|")
    for count in SIZES:
        for name, each in MEMORY.items():
            memory = count * each / 1e9
            nodes = max(1, -(-memory // (args.node_gib * 2**30 / 1e9 * USABLE)))
            month, disk = nodes * args.node_price * 730, count * DISK[name] / 1e9
            print(f"| {count:.0e} | {name} | {memory:,.0f} | {disk:,.0f} | {nodes:,.0f} | {month:,.0f} |")


if __name__ == "__main__":
    main()
