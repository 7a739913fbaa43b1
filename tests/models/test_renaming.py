"""Tensors by other names, of which none is lost."""

import torch

from tvts_bench.models.state_dict import renamed, replaced, substituted


def test_names_are_replaced_part_by_part_in_order() -> None:
    assert replaced("blocks.0.attn.proj.weight", (("blocks.", "layer."), (".attn.proj.", ".out."))) == (
        "layer.0.out.weight"
    )
    assert substituted("layer1.0.net.conv1.weight", ((r"^(layer\d\.\d+)\.net\.", r"\1."),)) == "layer1.0.conv1.weight"


def test_of_two_with_one_name_the_second_gets_a_name_that_no_network_has() -> None:
    tensors = {"a.net.w": torch.zeros(1), "a.w": torch.ones(1), "b": torch.zeros(2)}
    found = renamed(tensors, lambda name: name.replace(".net", ""))
    assert list(found) == ["a.w", "a.w (another a.w)", "b"]
    assert found["a.w"] is tensors["a.net.w"]
