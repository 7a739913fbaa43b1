"""Evaluation protocols: frozen dataclasses whose fields are the protocol. A new one is a module here and a line below."""

PLUGINS = ("zero_shot_retrieval",)
