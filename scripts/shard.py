"""A prepared store as a few large tar archives, which training reads the same way.

    python scripts/shard.py data/h36m data/h36m_shards
    python -m mask_sup.train +experiment=h36m_full data.source.root=data/h36m_shards

For disks and networks on which many small files are slow. See mask_sup/data/shards.py.
"""

import argparse
from pathlib import Path

from mask_sup.data.shards import write_shards


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path, help="folder of the store")
    parser.add_argument("out", type=Path, help="folder of the archives")
    parser.add_argument("--megabytes", type=float, default=256, help="size of an archive")
    given = parser.parse_args()
    try:
        header = write_shards(given.root.expanduser(), given.out.expanduser(), given.megabytes)
    except (OSError, ValueError) as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from error
    print(f"written to {given.out}: {len(header['shards'])} archives")


if __name__ == "__main__":
    main()
