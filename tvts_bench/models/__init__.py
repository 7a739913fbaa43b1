"""Networks, and safe, strict loading of weights."""

from tvts_bench import torchvision_ops as torchvision_ops  # before anything here imports timm
