"""Losses, explanations, maps and ECG preprocessing against numbers of the authors' code."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from reference.vectors import reference, reference_dir

from medical.alignment.grounding import contrast_to_noise, merge_maps, phrase_map
from medical.alignment.objective import Alignment, gram_by_pattern, more
from medical.alignment.signal import baseline, minmax_leads
from medical.alignment.xplain import NO_FINDING, all_prompts, explain
from medical.ecg.data.conform import resample


def temperatures(arrays):
    return sorted(key.removeprefix("loss_t") for key in arrays if key.startswith("loss_t"))


def test_more_and_its_gradients():
    arrays = reference("more_infonce")
    assert temperatures(arrays)
    for t in temperatures(arrays):
        note, xray, ecg = (torch.tensor(arrays[name], requires_grad=True) for name in ("note", "xray", "ecg"))
        loss = more(xray, ecg, note, scale=1 / float(t))
        loss.backward()
        assert float(loss) == pytest.approx(float(arrays[f"loss_t{t}"]), rel=1e-4)
        for name, rows in (("note", note), ("xray", xray), ("ecg", ecg)):
            np.testing.assert_allclose(rows.grad, arrays[f"grad_{name}_t{t}"], rtol=1e-3, atol=2e-4)
        one_present = torch.ones(len(note), 3, dtype=torch.bool)
        one_present[:, 1] = False
        alone = more(xray, ecg, note, scale=1 / float(t), present=one_present)
        assert float(alone) == pytest.approx(float(arrays[f"loss_note_xray_t{t}"]), rel=1e-4)


@pytest.mark.parametrize("name", ["symile_3mod_norm", "gram_3mod_norm"])
def test_the_module_forms_are_the_published_losses(name):
    arrays = reference(name)
    rows = [torch.tensor(arrays[f"rep{m}"]) for m in range(3)]
    present = torch.ones(len(rows[0]), 3, dtype=torch.bool)
    if name.startswith("symile"):
        module = Alignment("symile", width=rows[0].shape[1])
        module.log_scale.data.fill_(float(np.log(arrays["logit_scale"])))
        found = module(rows, present, permutations=torch.tensor(arrays["perms_n"]))
        expected = arrays["loss_n"]
    else:  # rep0 is the anchor: the report, here
        ordered = [rows[1], rows[2], rows[0]]
        scale = 1 / float(arrays.get("temperature", 0.07))
        found, expected = gram_by_pattern(ordered, present, scale=scale), arrays["loss"]
    assert float(found) == pytest.approx(float(expected), rel=1e-4)


def test_xplainer():
    path = reference_dir() / "xplainer.json"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    case = json.loads(path.read_text())
    catalogue = case["descriptors"]
    cosines = np.array([case["sims"][prompt] for prompt in all_prompts(catalogue)])
    found = explain(cosines, catalogue, temperature=case["softmax_temperature"])
    for name, observations in found.observations.items():
        for one, p in observations.items():
            assert p == pytest.approx(case["pos_probs"][f"{one} indicating {name}"], abs=1e-5)
    assert found.positive == pytest.approx(case["disease_pos"], abs=1e-5)
    assert found.negative == pytest.approx(case["disease_neg"], abs=1e-5)
    assert found.predicted == [name for name in case["predicted"] if name != NO_FINDING]
    assert found.vector(case["keys"]) == pytest.approx(case["prob_vector"], abs=1e-5)


def test_phrase_maps():
    arrays = reference("biovil_simmap")
    patches, text, sigma = arrays["patch"], arrays["text"], float(arrays["sigma"])
    size = (int(arrays["height"]), int(arrays["width"]))
    cropped = {"size": size, "resize": int(arrays["resize_size"]), "crop": int(arrays["crop_size"])}
    np.testing.assert_allclose(phrase_map(patches, text, sigma=sigma), arrays["smoothed"], atol=1e-5)
    for kind in ("nearest", "bilinear"):
        found = phrase_map(patches, text, sigma=sigma, interpolation=kind, **cropped)
        np.testing.assert_allclose(found, arrays[f"map_{kind}"], atol=1e-5)
    whole = phrase_map(patches, text, sigma=sigma, size=size, interpolation="bilinear")
    if np.isnan(arrays["map_nocrop_bilinear"]).any():
        square = {"size": size, "resize": cropped["resize"], "crop": cropped["resize"]}
        whole = phrase_map(patches, text, sigma=sigma, interpolation="bilinear", **square)
    np.testing.assert_allclose(whole, arrays["map_nocrop_bilinear"], atol=1e-5)


def test_merged_maps():
    arrays = reference("g2g_bbm")
    found = merge_maps(arrays["activation"], arrays["merged"], float(arrays["s"]))
    np.testing.assert_allclose(found, arrays["output"], atol=5e-3)
    inside = arrays["gt"] > 0
    assert contrast_to_noise(arrays["output"], inside, signed=True) == pytest.approx(
        float(arrays["cnr"]), abs=2e-3
    )


def test_ecg_preprocessing_of_more():
    arrays = reference("ecg_preproc")
    np.testing.assert_allclose(
        resample(arrays["ecg500"].T, 500.0, 100.0)[:, 50:-50], arrays["more_resampled"][:, 50:-50], atol=2e-3
    )
    levelled = baseline(arrays["more_resampled"], 100.0)
    np.testing.assert_allclose(levelled, arrays["more_baseline"], atol=1e-5)
    np.testing.assert_allclose(minmax_leads(levelled), arrays["more_minmax"], atol=1e-4)
    np.testing.assert_allclose(minmax_leads(arrays["flat_in"]), arrays["flat_minmax"], atol=1e-4)
