"""Human3.6M, as downloaded, into the store that training reads.

    python scripts/prepare_h36m.py downloads/h36m data/h36m
    python -m mask_sup.train +experiment=h36m_full

ROOT is the official release (videos, D3_Positions, metadata.xml, ground_truth_bs masks), what
h36m-fetch makes of it, or the layout of X-as-Supervision; see mask_sup/prepare/human36m.py.
"""

from mask_sup.prepare.command import command
from mask_sup.prepare.human36m import find_clips

if __name__ == "__main__":
    command(find_clips, "h36m", "h36m_six", __doc__)
