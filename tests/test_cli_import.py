"""adgan import: a model that rank and score use as their own."""

import torch
from commands import adgan, one_error
from safetensors.torch import save_file
from test_models_import_dcgan import Dcgan


def test_an_imported_model_scores(discs, tmp_path):
    torch.manual_seed(0)
    file, out = tmp_path / "g.safetensors", tmp_path / "model"
    save_file(Dcgan((10, 8, 4)).state_dict(), file)
    told = adgan("import", file, "-o", out, "--fit", "pad").stderr
    assert told.startswith("a generator of 16 px, 3 channels, 10 latent dimensions; model in ")
    rows = adgan("score", discs(3), "-m", out, "--k", "1", "--device", "cpu").stdout.splitlines()
    assert len(rows) == 1 + 3
    shown = adgan("info", out).stdout
    assert "g.safetensors" in shown and "pad" in shown


def test_a_model_that_is_there_is_not_written_over(tmp_path):
    file, out = tmp_path / "g.safetensors", tmp_path / "model"
    save_file(Dcgan((10, 8, 4)).state_dict(), file)
    adgan("import", file, "-o", out)
    before = (out / "model.safetensors").read_bytes()
    assert "--overwrite" in one_error(adgan("import", file, "-o", out, code=2).stderr)
    adgan("import", file, "-o", out, "--overwrite", "-q")
    assert (out / "model.safetensors").read_bytes() == before
