"""python -m mask_sup.sync: the command; what it does is in `mask_sup.calibration.sync`."""

from omegaconf import DictConfig

from mask_sup.files.ranges import check_ranges
from mask_sup.files.words import command


@command("sync")
def main(cfg: DictConfig) -> None:
    """By how many frames cameras that were started by hand are apart, told by the masks."""
    from mask_sup.calibration.sync import sync

    check_ranges(cfg)
    sync(cfg)


if __name__ == "__main__":
    main()
