"""Pretraining of video backbones by sorting the transcripts of narrated video (TVTS, CVPR 2023)."""
