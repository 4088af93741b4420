"""MPII, as downloaded, into the store that training reads.

    python scripts/prepare_mpii.py downloads/mpii data/mpii --masks masks

ROOT holds images/ and either annot/mpii_train.json and annot/mpii_val.json or the original .mat;
MPII has no masks, so those are yours; see mask_sup/prepare/mpii.py.
"""

from mask_sup.prepare.command import command
from mask_sup.prepare.mpii import find_clips

if __name__ == "__main__":
    command(find_clips, "mpii", "mpii", __doc__)
