"""Whether a machine has the device that is asked for, told before anything is put on it."""

__all__ = ["check_device", "check_gpu"]

WHY = 100  # letters of what PyTorch says


def check_gpu() -> None:
    """Refuse to train on a GPU where PyTorch finds none.

    Raises:
        ValueError: With the way to train without one.
    """
    import torch

    if not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        raise ValueError(
            "this training asks for a GPU, and PyTorch finds none here: add trainer=cpu to train "
            "without one, slowly (mask-sup doctor tells the device)"
        )


def check_device(device: str) -> None:
    """Refuse the name of a device that PyTorch does not know or have.

    Raises:
        ValueError: With what it says, and the device that is always there.
    """
    if device == "cpu":
        return
    import torch

    try:
        torch.empty(0, device=device)
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        why = str(error).splitlines()[0][:WHY]
        raise ValueError(
            f"device={device}: not on this machine; give device=cpu ({why})"
        ) from error
