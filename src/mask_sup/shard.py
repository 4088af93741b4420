"""mask-sup shard: a prepared store as a few large tar archives."""

from pathlib import Path

import click

from mask_sup.files.verbs import Command

ABOUT = """\
A prepared store as a few large tar archives, which training reads the same way.

    mask-sup shard data/h36m data/h36m_shards
    mask-sup train +experiment=h36m_full data.source.root=data/h36m_shards

For disks and networks on which many small files are slow. See mask_sup/data/shards.py."""


@click.command("shard", cls=Command, help=ABOUT)
@click.argument("store", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--megabytes",
    type=click.FloatRange(0, min_open=True),
    default=256,
    show_default=True,
    help="Size of an archive.",
)
def main(store: Path, out: Path, megabytes: float) -> None:
    """Write the archives."""
    from mask_sup.data.shards import write_shards

    header = write_shards(store.expanduser(), out.expanduser(), megabytes)
    print(f"written to {out}: {len(header['shards'])} archives")


if __name__ == "__main__":
    main()
