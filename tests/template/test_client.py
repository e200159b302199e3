"""The client's layer: for every team's functions, whatever they run on, and for as long as one names it."""

from __future__ import annotations

import pytest

from tests.template.synth import assembly


@pytest.mark.parametrize("stage", ["dev", "staging", "prod"])
def test_the_clients_layer_is_for_others(stage: str) -> None:
    """Both architectures, its ARN told, and old versions kept."""
    made = assembly(stage)
    ((logical_id, layer),) = made.resources("client", "AWS::Lambda::LayerVersion").items()

    assert sorted(layer["Properties"]["CompatibleArchitectures"]) == ["arm64", "x86_64"]
    assert (layer["DeletionPolicy"], layer["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert made.templates["client"]["Outputs"]["ClientLayerArn"]["Value"] == {"Ref": logical_id}


def test_the_local_stage_has_none() -> None:
    """Nothing there would use it, and everything waits for each stack."""
    assert "client" not in assembly("local").templates
