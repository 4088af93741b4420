"""mask-sup film: one of the embedded bodies, by four cameras whose calibration hides a mistake."""

from pathlib import Path

import click

from mask_sup.files.verbs import Command
from mask_sup.synthetic.names import ACTIONS, FILM_FAULTS

ABOUT = """\
Film one of the embedded bodies with four cameras whose calibration hides a mistake.

    mask-sup film data/filmed                     videos/, plates/, calibration.toml, answer/
    mask-sup new man --videos data/filmed/videos
    mask-sup film data/people --fault two_people

A second example for one's own cameras, small and with known answers: a person moves before four
cameras, one video and one picture of the empty scene each, and calibration.toml (Anipose's format)
is wrong in one way. answer/ tells which: fault.json, the true cameras, and the true joints and
masks of every frame to compare with. Labels are for this comparison alone.

Three faults leave the cameras as they are and bring somebody else into the pictures, with the own
masks in answer/others: two_people walk about and pass each other, a bystander stays beside, a
visitor walks through once. Masks of both hold what is seen of them."""


@click.command("film", cls=Command, help=ABOUT)
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--fault", type=click.Choice(FILM_FAULTS), default="swapped", show_default=True)
@click.option("--action", type=click.Choice(ACTIONS), default="walking", show_default=True)
@click.option("--size", type=click.IntRange(1), default=640, help="Side of the pictures, pixels.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), default=8.0, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
def main(root: Path, size: int, seconds: float, action: str, fault: str, seed: int) -> None:
    """Film in a folder."""
    from mask_sup.synthetic.film import film

    film(root, size, seconds, action, fault, seed)
    print(f"filmed in {root}; do not look into {root / 'answer'} yet")


if __name__ == "__main__":
    main()
