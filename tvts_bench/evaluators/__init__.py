"""Evaluation protocols: frozen dataclasses whose fields are the protocol. A new one is a module and a line here."""

PLUGINS = ("zero_shot_retrieval", "cached_probe", "online_probe", "finetune")
