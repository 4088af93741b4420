"""MPI-INF-3DHP, as downloaded, into the store that training reads.

    python scripts/prepare_3dhp.py downloads/mpi_inf_3dhp data/mpi_inf_3dhp
    python -m mask_sup.train +experiment=mpi_inf_3dhp_full

    python scripts/prepare_3dhp.py downloads/mpi_inf_3dhp data/mpi_inf_3dhp_test \
        --protocol mpi_inf_3dhp_test --masks masks

ROOT holds S1 to S8 (videos with their FGmasks and ChairMasks) and mpi_inf_3dhp_test_set. The test
set, S1/Seq2 and S4/Seq2 have no masks: make some with python -m mask_sup.masks; see
mask_sup/prepare/mpi_inf_3dhp.py.
"""

from mask_sup.prepare.command import command
from mask_sup.prepare.mpi_inf_3dhp import find_clips

if __name__ == "__main__":
    command(find_clips, "mpi_inf_3dhp", "mpi_inf_3dhp", __doc__)
