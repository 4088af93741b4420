"""python -m mask_sup.export: the command; what it does is in `mask_sup.export`."""

import hydra
from omegaconf import DictConfig

from mask_sup.files.config import conf_dir
from mask_sup.files.ranges import check_ranges


@hydra.main(version_base="1.3", config_path=conf_dir(), config_name="export")
def main(cfg: DictConfig) -> None:
    """Export poses."""
    from mask_sup.export import export

    check_ranges(cfg)
    export(cfg)


if __name__ == "__main__":
    main()
