"""Real films and real reports through the readers, the towers and the search: what a small model gets out of them.

    python benchmarks/xray_ecg_report_real.py --films actualmed --reports indiana_reports [--seeds 3]

``--films``: Actualmed's folder (``metadata.csv``, ``images/``). ``--reports``: Indiana's (``indiana_reports.csv``). No
film comes with a report here, so films are trained against one sentence a finding, with the MiniLM of the extra
``minilm`` and adapters in it. Three questions, the first two on patients that were not trained on: which of two
sentences a film is closer to; whether films of patients with a finding are answered with reports of abnormal films;
and whether MiniLM as it comes finds, by a sentence, the reports that were coded so.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

# Started as a file, this folder leads the search path.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]
SENTENCES = {
    "COVID-19": "COVID-19 pneumonia is present in this film.",
    "No finding": "No abnormal finding in this film.",
}
STATEMENTS = {
    "Cardiomegaly": ("The heart is enlarged, cardiomegaly.", "The heart is normal in size."),
    "Pleural Effusion": ("There is a pleural effusion.", "There is no pleural effusion."),
    "Calcified Granuloma": ("There is a calcified granuloma.", "The lungs are clear."),
    "Pulmonary Atelectasis": ("There is atelectasis.", "There is no atelectasis."),
}
ABNORMAL = "Opacity"
TOWERS = {
    "patch": 12, "ecg_patch": 100, "ecg_window": 1, "ecg_stem": 8, "width": 32, "depth": 2, "heads": 4,
    "attention_drop": (0.0, 0.0), "dim": 16, "head_hidden": 32, "head_norm": "layer", "pool": "patches",
}  # fmt: skip


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--films", type=Path)
    parser.add_argument("--reports", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--corpus", type=int, default=60, help="reports of either kind that films ask for")
    parser.add_argument("--searched", type=int, default=300, help="reports that sentences ask for")
    options = parser.parse_args()
    if options.films is None or options.reports is None:
        print("nothing measured: --films and --reports name the folders of the two data sets")
        return
    import torch

    torch.set_num_threads(1)
    start = time.process_time()
    reports = checked("indiana", options.reports)
    with tempfile.TemporaryDirectory(prefix="kindred-films-") as scratch:
        manifest = write_manifest(options.films, Path(scratch))
        sentences(reports, options.searched)
        films(options, manifest, reports, Path(scratch))
    print(f"\n{time.process_time() - start:.0f} s of one core")


def checked(source: str, root: Path, **options: Any) -> Any:
    """The usable items of a source; prints what there is."""
    from core.data.checks import Quarantine
    from medical.alignment.data.sources import Checks, check_items, read_items

    quarantine = Quarantine()
    items, facts = check_items(read_items(source, str(root), **options), quarantine, Checks())
    there = {name: count for name, count in facts["patterns"].items() if count}
    print(
        f"{source}: {len(items)} items of {facts['patients']} patients, {there}; "
        f"{len(quarantine.offenders)} left out"
    )
    return items


def write_manifest(films: Path, scratch: Path) -> Path:
    """A manifest of the films with a stated finding, each with the sentence of its finding."""
    from medical.alignment.data.tables import read_table

    checked("actualmed", films)
    table = read_table(films / "metadata.csv", ["patientid", "finding", "imagename"])
    rows = [["subject_id", "xray_path", "report_xray", "labels"]]
    for one in table.itertuples():
        if one.finding in SENTENCES:
            label = "none" if one.finding == "No finding" else one.finding
            rows.append([one.patientid, f"images/{one.imagename}", SENTENCES[one.finding], label])
    path = scratch / "manifest.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return path


def films(options: argparse.Namespace, manifest: Path, reports: Any, scratch: Path) -> None:
    """Train on the films of some patients; ask for sentences and for reports with the films of others."""
    from medical.alignment.data.report import pair_text
    from medical.alignment.data.sources import read_items
    from medical.alignment.evaluate import auroc, embed
    from medical.alignment.learn.train import new_space, train_space
    from medical.alignment.prepared import load_prepared, prepare
    from medical.alignment.preprocess import Preprocessing

    ill, well = (kind[: options.corpus] for kind in corpus(reports))
    texts = [pair_text(text, "") for text in (*ill, *well)]
    abnormal = np.array([True] * len(ill) + [False] * len(well))
    print(
        f"corpus: {len(ill)} reports coded {ABNORMAL}, {len(well)} of clear lungs\n\n| seed | test films | "
        "AUROC of two sentences | AUROC of abnormal share of 10 reports |\n|---:|---:|---:|---:|"
    )
    found = []
    for seed in range(options.seeds):
        drawn = {"fractions": {"train": 0.55, "valid": 0.1, "test": 0.35}, "seed": seed}
        items = read_items("manifest", str(options.films), manifest=str(manifest), **drawn)
        form = Preprocessing(image_size=48, mean=0.5, std=0.25)
        prepare(items, scratch / f"prepared{seed}", preprocessing=form, mask_same_text=False)
        prepared = load_prepared(scratch / f"prepared{seed}")
        space = new_space(
            prepared, encoder="minilm", length=96, text_width=32, text_layers=1, text_heads=4,
            lora={"rank": 4, "alpha": 8.0, "dropout": 0.0, "bias": "none"}, architecture=TOWERS,
            objective={"method": "pairwise"}, seed=seed,
        )  # fmt: skip
        train_space(
            space, prepared, steps=60, batch_size=16, augmentation=None, modality_dropout=0.0,
            optimization={"learning_rate": 0.002}, seed=seed, progress=False, diagnostics=False,
        )  # fmt: skip
        rows = prepared.rows("test")
        query = {"xray": embed(space, prepared, rows).rows["xray"]}
        truth = prepared.targets[rows, 0]
        fit = space.score(
            query, "text", space.embed_texts([pair_text(one, "") for one in SENTENCES.values()])
        )
        nearest = np.argsort(-space.score(query, "text", space.embed_texts(texts)), axis=1)[:, :10]
        pairs = (fit[:, 0] - fit[:, 1], abnormal[nearest].mean(axis=1))
        values = [one[0] for part in pairs if (one := auroc(truth, part, [], 0)) is not None]
        if len(values) == 2:
            found.append(values)
            print(f"| {seed} | {len(rows)} | {values[0]:.3f} | {values[1]:.3f} |", flush=True)
    mean = np.mean(found, axis=0)
    print(f"| mean | | {mean[0]:.3f} | {mean[1]:.3f} |\n")


def corpus(reports: Any) -> tuple[list[str], list[str]]:
    """Texts of reports that were coded `ABNORMAL`, and of those with none of the frequent codes and clear lungs."""
    texts = reports.table["xray_report"]
    ill = reports.targets[:, reports.labels.index(ABNORMAL)] == 1
    well = ~reports.targets.any(axis=1) & texts.str.contains("clear", case=False).to_numpy()
    there = (texts != "").to_numpy()
    return list(dict.fromkeys(texts[ill & there])), list(dict.fromkeys(texts[well & there]))


def sentences(reports: Any, count: int) -> None:
    """AUROC and precision of reports by a sentence, with MiniLM as it comes."""
    import torch

    from core.encoders.text import PretrainedText, model_home
    from medical.alignment.evaluate import auroc
    from medical.alignment.tokens import ReportTokenizer

    tower = PretrainedText("minilm").eval()
    tokenizer = ReportTokenizer.from_folder(model_home("minilm"), length=96)

    def embed(texts: list[str]) -> np.ndarray:
        order = np.argsort([len(text) for text in texts])
        parts = []
        with torch.inference_mode():
            for start in range(0, len(texts), 32):
                ids, mask = tokenizer([texts[place] for place in order[start : start + 32]])
                parts.append(tower(torch.from_numpy(ids), torch.from_numpy(mask)))
        rows = torch.nn.functional.normalize(torch.cat(parts), dim=1).numpy()
        return np.asarray(rows[np.argsort(order)])

    texts = reports.table["xray_report"].to_numpy()
    rows = np.flatnonzero(texts != "")[:count]
    vectors = embed(texts[rows].tolist())
    print(
        f"MiniLM, {len(rows)} reports\n\n| coded | reports | AUROC | precision at 10 |\n|---|---:|---:|---:|"
    )
    for name, (yes, no) in STATEMENTS.items():
        if name not in reports.labels:
            continue
        truth = reports.targets[rows, reports.labels.index(name)]
        fit = vectors @ embed([yes, no]).T
        area = auroc(truth, fit[:, 0] - fit[:, 1], [], 0)
        best = np.argsort(-fit[:, 0])[:10]
        if area is not None:
            print(f"| {name} | {int(truth.sum())} | {area[0]:.3f} | {truth[best].mean():.1f} |")


if __name__ == "__main__":
    main()
