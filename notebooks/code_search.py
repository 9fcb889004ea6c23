# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Search your own repository
#
# From a folder of code to answers with file and line, in three calls: `build_index`, `open_index`, `search`.
#
# Set the environment variable `KINDRED_REPOSITORY` to the folder you want to search (or edit the second
# cell). Without it, the notebook indexes Kindred's own code, as a **demo**.
#
# The encoder is the registered champion (`make repro PIPELINE=code_search` makes one). Where none is
# registered, the search ranks by words only and says so.

# %%
# ruff: noqa: E402
import os
import sys
import tempfile
import warnings
from pathlib import Path

root = next(
    folder
    for folder in (Path.cwd(), *Path.cwd().parents)
    if (folder / "pyproject.toml").is_file() and (folder / "code_search").is_dir()
)
# This file is called code_search too: the package must be found before it.
os.chdir(root)
sys.path = [str(root), *(entry for entry in sys.path if Path(entry or ".").resolve() != root / "notebooks")]

import matplotlib.pyplot as plt
import pandas as pd

from code_search.index import Options, build_index, open_index

warnings.filterwarnings("ignore", message="IProgress not found")
pd.set_option("display.max_colwidth", 60)

# %%
own = os.environ.get("KINDRED_REPOSITORY")
repository = Path(own) if own else root
# The demo leaves nothing behind in your cache, and does not find this notebook's own questions.
index_dir = None if own else Path(tempfile.mkdtemp()) / "index"
options = None if own else Options(exclude=["notebooks/", "tests/", "LICENSE"])
print("your repository" if own else "demo: Kindred's own code")

# %% [markdown]
# ## Index
#
# Words can be searched after the first line below; vectors follow. Files that git ignores, binaries,
# minified and generated files, vendored folders and files that look like credentials are left out, each
# with its reason.

# %%
report = build_index(repository, index_dir=index_dir, options=options, say=print)
print(f"{report.functions:,} functions in {report.files:,} files, read in {report.seconds_read:.1f} s")
print(f"{report.embedded:,} vectors, computed in {report.seconds_embed:.1f} s")
print("left out:", report.skipped or "nothing")
for note in report.notes:
    print("note:", note)

# %% [markdown]
# Only what changed is read again, so this costs next to nothing:

# %%
again = build_index(repository, index_dir=index_dir)
print(f"{again.read} files read, {again.embedded} vectors computed in {again.seconds_read:.2f} s")

# %% [markdown]
# ## Ask

# %%
index = open_index(repository, index_dir=index_dir)
question = "write a file so that nobody sees half of it"
results = index.search(question, top=8)
print(results.note or f"ranked by {results.mode}")
columns = ["rank", "score", "path", "start_line", "end_line", "name"]
results.to_pandas()[columns]

# %%
print(results[0])
print(results[0].snippet)

# %% [markdown]
# Filters: `lang="python"`, `path="src/**"`, and `mode="lexical"` or `"dense"` for one ranking alone. Here
# are the places that each ranking gives to the best answers of the default one.

# %%
modes = ["hybrid", "dense", "lexical"] if results.mode == "hybrid" else ["lexical"]
ranks = {mode: {r.place: r.rank for r in index.search(question, top=200, mode=mode)} for mode in modes}
pd.DataFrame(
    {mode: [ranks[mode].get(result.place) for result in results] for mode in modes},
    index=[result.name for result in results],
    dtype="Int64",
)

# %% [markdown]
# ## Why is it there?

# %%
why = index.explain(question, rank=1)
print(why["place"], "by meaning:", why["dense"], "by words:", why["lexical"]["score"])
pd.Series(why["lexical"]["words"], name="BM25").to_frame()

# %% [markdown]
# ## A picture of one answer
#
# Each dot is a function among the 300 best. A good answer is far right (same words), far up (same
# meaning), or both.

# %%
table = index.search(question, top=300).to_pandas()
height = table["score_dense"] if table["score_dense"].notna().any() else table["score"]
figure, axes = plt.subplots(figsize=(7, 4.5))
axes.scatter(table["score_lexical"], height, s=18, color="0.7", label="other functions")
best = table.head(5)
axes.scatter(best["score_lexical"], height.head(5), s=42, color="tab:blue", label="the first five")
for place, row in best.iterrows():
    axes.annotate(
        f"{row['rank']} {row['name']}",
        (row["score_lexical"], height[place]),
        xytext=(-7, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=8,
    )
axes.set_xlabel("BM25 (words)")
axes.set_ylabel("cosine similarity (meaning)" if table["score_dense"].notna().any() else "score")
axes.set_title(f"“{question}”" + ("" if own else " · demo"))
axes.legend(loc="best")
axes.margins(x=0.1)
figure.tight_layout()

# %% [markdown]
# ## The same from a shell, and from a server
#
# ```
# kindred index PATH
# kindred search "write a file so that nobody sees half of it" --path PATH --top 5
# KINDRED_INDEX=PATH make serve PIPELINE=code_search
# curl localhost:5001/invocations -H 'Content-Type: application/json' \
#      -d '{"query": "wait for a lock", "top": 3}'
# ```
