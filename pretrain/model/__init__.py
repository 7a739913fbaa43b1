"""What pretraining trains: the bench's video encoder, a text encoder, projections and the sorting transformer."""

from tvts_bench import torchvision_ops as torchvision_ops  # before anything here imports timm or transformers
