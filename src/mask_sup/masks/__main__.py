"""mask-sup masks [check]: the commands; what they do is in `extract.py` and `gate.py`."""

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from mask_sup.files.build import trust_from_command_line
from mask_sup.files.ranges import check_ranges
from mask_sup.files.verbs import Commands, handing_on
from mask_sup.files.words import command


@command("masks")
def extract_main(cfg: DictConfig) -> None:
    """Foreground masks of videos or pictures, of one person in all views."""
    from mask_sup.masks.extract import extract

    check_ranges(cfg)
    extract(trust_from_command_line(cfg, HydraConfig.get().overrides.task))


@command("check_masks", "masks check")
def check_main(cfg: DictConfig) -> None:
    """Which masks are bad, and how: check.json, and check.html with pictures."""
    from mask_sup.masks.gate import check

    check_ranges(cfg)
    check(cfg)


main = Commands(
    "masks",
    "Foreground masks of videos or pictures, and which of them are bad.",
    {
        "extract": handing_on("extract", "Make masks.", extract_main),
        "check": handing_on("check", "Which masks are bad, and how.", check_main),
    },
    usual="extract",
)

if __name__ == "__main__":
    main()
