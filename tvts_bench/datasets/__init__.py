"""Data sets, each reading its official distribution as downloaded. A new one is a module here and a line below."""

PLUGINS = ("scripted_motion", "ssv2", "k400", "ucf101", "hmdb51", "folder", "list")
