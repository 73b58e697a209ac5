"""A check that PyTorch can compute on this machine's GPU, with the remedy where it cannot."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

PCI = Path("/sys/bus/pci/devices")
NVIDIA, DISPLAY = "0x10de", "0x03"  # PCI vendor; the class of graphics cards and 3D controllers begins so


def obstacle(index: int = 0) -> str | None:
    """Why PyTorch cannot compute on GPU `index`, with the remedy; None where it can, "" where the machine has no NVIDIA GPU."""
    warnings.filterwarnings(
        "ignore", "CUDA initialization"
    )  # each later look of PyTorch's would say at length what is returned here
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.cuda.init()
            count = torch.cuda.device_count()
    except (RuntimeError, AssertionError) as error:  # the latter where PyTorch was built without CUDA
        return _unusable(str(error))
    if index >= count:
        return f"there is no GPU {index}: PyTorch sees {count} (CUDA_VISIBLE_DEVICES chooses them), each for one process"
    capability, built = torch.cuda.get_device_capability(index), torch.cuda.get_arch_list()
    if not any(_runs(architecture, capability) for architecture in built):
        return (
            f"{torch.cuda.get_device_name(index)} has compute capability {capability[0]}.{capability[1]}, for which PyTorch "
            f"{torch.__version__} was not built ({', '.join(built)}); install a build of PyTorch that has it (pytorch.org)"
        )
    return None


def _unusable(reason: str) -> str:
    needed = f"PyTorch {torch.__version__} needs one for CUDA {torch.version.cuda}"
    if "too old" in reason:
        return f"the NVIDIA driver is too old: {needed}; install a newer driver (nvidia-smi shows which it is)"
    if torch.version.cuda and "no NVIDIA driver" not in reason and "No CUDA GPUs" not in reason:
        return f"CUDA does not start: {reason.splitlines()[0].rstrip('.')}; nvidia-smi says whether the driver works"
    if not any(map(_is_gpu, PCI.glob("*"))):
        return ""
    if not torch.version.cuda:
        return f"PyTorch {torch.__version__} was built without CUDA; install a build that has it (pytorch.org)"
    if "No CUDA GPUs" in reason:
        return "the NVIDIA GPU is hidden from this process: see CUDA_VISIBLE_DEVICES and nvidia-smi"
    return f"the NVIDIA GPU has no driver that this process sees: {needed}; install it (containers: docker run --gpus all)"


def _is_gpu(device: Path) -> bool:
    try:
        vendor, kind = ((device / name).read_text(encoding="ascii").strip() for name in ("vendor", "class"))
    except OSError:
        return False
    return vendor == NVIDIA and kind.startswith(DISPLAY)


def _runs(architecture: str, capability: tuple[int, int]) -> bool:
    """Whether code of `architecture` runs on `capability`.

    sm_XY runs on the same major from its minor up, sm_XYa on that one alone, compute_XY (which the driver compiles) on all that
    are newer: https://docs.nvidia.com/cuda/cuda-c-programming-guide/#application-compatibility
    """
    form, _, number = architecture.partition("_")
    digits = number.rstrip("af")
    of = int(digits[:-1]), int(digits[-1])
    if form == "compute":
        return capability >= of
    if number.endswith("a"):
        return capability == of
    return capability[0] == of[0] and capability[1] >= of[1]
