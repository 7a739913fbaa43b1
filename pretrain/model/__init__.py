"""What pretraining trains: the video encoder of tvts_bench, a text encoder, projections and the sorting transformer."""

from tvts_bench import torchvision_ops as torchvision_ops  # before anything here imports timm or transformers
