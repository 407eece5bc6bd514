"""Every (layer, type, kind) of the published vectors is either judged or stands in a list that may only get shorter."""

import pytest

# Layers that nothing decodes yet. A layer leaves this list with its first test file; what is then still missing of it
# stands in that file's NOT_DECODED.
LAYERS_NOT_DECODED = {
    "autodetect",
    "bulk",
    "clearcodec",
    "cliprdr",
    "credssp_ntlm",
    "device_channels",
    "displaycontrol",
    "dvc",
    "gfx",
    "graphics_channels",
    "multitransport",
    "nscodec",
    "progressive",
    "rdcleanpath",
    "rdpeudp",
    "rdpfile",
    "rdpsnd",
    "rfx",
    "zgfx",
}


def types_of(vectors):
    return {(vector["type"], vector["kind"]) for vector in vectors}


def test_every_layer_has_a_test_file_or_is_listed_as_missing(vector_layers, vector_modules):
    assert set(vector_modules) | LAYERS_NOT_DECODED == set(vector_layers)


def test_a_layer_with_a_test_file_is_not_listed_as_missing(vector_modules):
    assert not LAYERS_NOT_DECODED & set(vector_modules)


def test_every_type_is_decoded_or_listed_as_missing(vector_layers, vector_modules):
    for layer, module in vector_modules.items():
        missing = getattr(module, "NOT_DECODED", set())
        assert set(module.DECODERS) | missing == types_of(vector_layers[layer]), layer
        assert not set(module.DECODERS) & missing, f"{layer}: decoded, so no longer missing"


def test_each_layer_judges_the_number_of_vectors_that_it_says(vector_layers, vector_modules):
    judged = {
        layer: sum((vector["type"], vector["kind"]) in module.DECODERS for vector in vector_layers[layer])
        for layer, module in vector_modules.items()
    }
    assert judged == {layer: module.COUNT for layer, module in vector_modules.items()}


def test_every_leaf_said_to_be_hidden_is_hidden(vector_layers, vector_modules, paths_not_exposed):
    for layer, module in vector_modules.items():
        for kind_of_structure, paths in getattr(module, "NOT_EXPOSED", {}).items():
            hidden = {
                path
                for vector in vector_layers[layer]
                if (vector["type"], vector["kind"]) == (kind_of_structure, "decode")
                for path in paths_not_exposed(module, vector)
            }
            useless = {path for path in paths if not any(h == path or h.startswith(path + ".") for h in hidden)}
            assert not useless, f"{layer}, {kind_of_structure}: these leaves are shown"


@pytest.mark.parametrize("table", ["LEAVES", "ENCODERS", "NOT_EXPOSED"])
def test_no_table_names_a_type_without_decoder(vector_modules, table):
    for layer, module in vector_modules.items():
        decoded = {name for name, _ in module.DECODERS}
        assert set(getattr(module, table, ())) <= decoded, layer
