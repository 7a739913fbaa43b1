"""Backbones, one file a family. A new one is a module here and a line below."""

PLUGINS = ("tvts", "pixels")
