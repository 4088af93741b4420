"""python -m mask_sup.report: the command; what it does is in `mask_sup.report`."""

import hydra
from omegaconf import DictConfig

from mask_sup.files.config import conf_dir
from mask_sup.files.ranges import check_ranges


@hydra.main(version_base="1.3", config_path=conf_dir(), config_name="report")
def main(cfg: DictConfig) -> None:
    """Write a report."""
    from mask_sup.report import write_report

    check_ranges(cfg)
    write_report(cfg)


if __name__ == "__main__":
    main()
