"""TikTok, as downloaded, into the store that training reads.

    python scripts/prepare_tiktok.py downloads/tiktok data/tiktok
    python -m mask_sup.train +experiment=wild_tiktok

ROOT holds TikTok_dataset; see mask_sup/prepare/tiktok.py. There are no labels and no cameras.
"""

from mask_sup.prepare.command import command
from mask_sup.prepare.tiktok import find_clips

if __name__ == "__main__":
    command(find_clips, "tiktok", "tiktok", __doc__)
