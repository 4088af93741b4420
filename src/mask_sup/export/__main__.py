"""python -m mask_sup.export: the command; what it does is in `mask_sup.export`."""

from omegaconf import DictConfig

from mask_sup.files.ranges import check_ranges
from mask_sup.files.words import command


@command("export")
def main(cfg: DictConfig) -> None:
    """Poses of mask_sup.predict as files of other programs."""
    from mask_sup.export import export

    check_ranges(cfg)
    export(cfg)


if __name__ == "__main__":
    main()
