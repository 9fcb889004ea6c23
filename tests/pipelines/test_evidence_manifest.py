"""`make evidence` on own data reads the manifest that the command names, or the parameters, or that of the folder."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
import yaml

from core.evaluation.evidence_script import evidence_script

PIPELINES = Path(__file__).resolve().parents[2] / "pipelines"
NAMES = (
    "audio_temporal",
    "code_search",
    "ct_reduction",
    "ecg_prototypes",
    "eo_pretraining",
    "mri_segmentation",
    "xray_ecg_report",
)


@pytest.mark.parametrize("pipeline", NAMES)
def test_the_manifest_of_own_data(pipeline, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    script = import_module(f"pipelines.{pipeline}.evidence")
    raw = yaml.safe_load((PIPELINES / pipeline / "params.smoke.yaml").read_text(encoding="utf-8"))
    if pipeline == "mri_segmentation":
        raw["data"]["structures"] = ["a"]
    cases = (
        ("said.csv", "written.csv", "said.csv"),
        (None, "written.csv", "written.csv"),
        (None, None, "data/manifest.csv"),
    )
    for said, written, read in cases:
        raw["data"]["manifest"] = written
        Path("params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
        argv = ["--params", "params.yaml", "--source", "manifest", "--root", "data"]
        argv += ["--manifest", said] if said else []
        Path("data").mkdir(exist_ok=True)
        assert evidence_script(script.compare, script.Params, pipeline, argv=argv) == 2
        assert f"{read} is missing" in capsys.readouterr().err
