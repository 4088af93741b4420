"""Two processes remember what one does."""

import pytest
import torch
from figures import HUMAN
from omegaconf import OmegaConf
from torch import distributed, multiprocessing

from mask_sup.files.build import build

BATCH, STEPS = 6, 3


def anatomy():
    return build(OmegaConf.load("conf/anatomy/human.yaml"), "anatomy", skeleton=HUMAN)


def batches():
    generator = torch.Generator().manual_seed(0)
    for step in range(STEPS):
        joints = 300 * torch.randn(BATCH, len(HUMAN.joints), 3, generator=generator)
        yield joints, torch.tensor([[0, 1, 0, 2, 1, 1], [2, 2, 3, 3, 0, 1], [4] * 6][step])


def run(part):
    """Running lengths and the gradient of `constancy`, of a share of every batch."""
    model, gradients = anatomy().train(), []
    for joints, person in batches():
        mine = joints[part].clone().requires_grad_()
        model(mine, person[part])["constancy"].backward()
        gradients.append(mine.grad)
    return model.running, gradients


def one_of_two(rank, folder):
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2
    )
    torch.save(run(slice(3 * rank, 3 * rank + 3)), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_remember_what_one_does(tmp_path):
    multiprocessing.spawn(one_of_two, (str(tmp_path),), nprocs=2)
    running, gradients = run(slice(None))
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    for own, _ in found:
        torch.testing.assert_close(own, running, rtol=1e-5, atol=1e-3)
    for step, whole in enumerate(gradients):
        # Each takes the mean over its half, and the two are averaged.
        both = torch.cat([told[1][step] for told in found]) / 2
        torch.testing.assert_close(both, whole, rtol=1e-4, atol=1e-9)
