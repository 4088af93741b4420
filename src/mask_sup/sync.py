"""python -m mask_sup.sync: the command; what it does is in `mask_sup.calibration.sync`."""

import hydra
from omegaconf import DictConfig

from mask_sup.files.config import conf_dir
from mask_sup.files.ranges import check_ranges


@hydra.main(version_base="1.3", config_path=conf_dir(), config_name="sync")
def main(cfg: DictConfig) -> None:
    """Synchronise."""
    from mask_sup.calibration.sync import sync

    check_ranges(cfg)
    sync(cfg)


if __name__ == "__main__":
    main()
