"""Backbones, one file a family. A new one is a module here and a line below."""

PLUGINS = (
    "tvts",
    "pixels",
    "clip",
    "dinov2",
    "dinov3",
    "siglip2",
    "videomae",
    "videomae2",
    "umt",
    "vjepa",
    "mocov3",
    "mae",
    "mvit",
    "tsm",
    "tanet",
    "tclr",
    "timm",
)
