"""Makes `import torchvision` work where its compiled operators do not fit the installed torch (a CPU build, say).

Import this module before the first import of torchvision or timm. We use only torchvision's pure Python parts, but its
import registers fake kernels for `torchvision::nms` and fails with "operator torchvision::nms does not exist" when the
compiled library could not be loaded. Declaring the two schemas is enough; with matching wheels nothing is touched.
"""

from importlib.util import find_spec
from pathlib import Path

import torch


def _compiled_operators_load() -> bool:
    """Whether torchvision's own extension loads into this torch; loading it here is what its import does anyway."""
    if hasattr(torch.ops.torchvision, "nms"):
        return True
    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True  # not installed: its own ImportError says so better
    for library in Path(spec.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(str(library))
        except OSError:
            return False
    return hasattr(torch.ops.torchvision, "nms")


def declare_missing_operators() -> None:
    """Declare `torchvision::nms` and `torchvision::qnms` if, and only if, no compiled version of them loads."""
    if _compiled_operators_load():
        return
    for name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


declare_missing_operators()
