"""python -m mask_sup.predict: the command; what it does is in `mask_sup.poses`."""

import hydra
from omegaconf import DictConfig

from mask_sup.config import conf_dir


@hydra.main(version_base="1.3", config_path=conf_dir(), config_name="predict")
def main(cfg: DictConfig) -> None:
    """Predict poses."""
    from mask_sup.poses import predict

    predict(cfg)


if __name__ == "__main__":
    main()
