"""python -m mask_sup.report: the command; what it does is in `mask_sup.report`."""

from omegaconf import DictConfig

from mask_sup.files.ranges import check_ranges
from mask_sup.files.words import command


@command("report")
def main(cfg: DictConfig) -> None:
    """Poses as a page to look at, what not to trust in them first; or a training's page anew."""
    from mask_sup.report import write_report

    check_ranges(cfg)
    write_report(cfg)


if __name__ == "__main__":
    main()
