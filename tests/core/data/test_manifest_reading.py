from __future__ import annotations

import pandera.pandas as pa
import pytest

from core.data.manifest import check_classes, confine, read_manifest
from core.errors import DataError


def read(tmp_path, text, **options):
    path = tmp_path / "m.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return read_manifest(path, root=tmp_path / "data", **options)


GOOD = "id,path,group,split,label\na,x.png,g1,train,0\nb,d/y.png,g2,test,1\n"


def test_types_paths_and_rows(tmp_path):
    table = read(tmp_path, GOOD, columns={"label": int})
    assert table["label"].tolist() == [0, 1]
    assert table["path"].tolist() == [str(tmp_path / "data/x.png"), str(tmp_path / "data/d/y.png")]
    assert table.index.tolist() == [2, 3]


def test_blank_lines_keep_the_row_numbers(tmp_path):
    table = read(tmp_path, "id,path\na,x\n\n,\nb,y\nc,z\n")
    assert table.index.tolist() == [2, 5, 6]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_other_separators_marks_and_line_ends(tmp_path, separator):
    text = "\ufeff" + GOOD.replace(",", separator).replace("\n", "\r\n")
    assert read(tmp_path, text)["id"].tolist() == ["a", "b"]


def test_quoted_cells_hold_separators_and_other_scripts(tmp_path):
    table = read(tmp_path, 'id,path,split,text\na,"ä, b.png",train,"say ""hé"""\n', columns={"text": str})
    assert table["path"].tolist() == [str(tmp_path / "data/ä, b.png")]
    assert table["text"].tolist() == ['say "hé"']


def test_ids_stay_text(tmp_path):
    table = read(tmp_path, "id,path,split\n007,x,train\nNA,y,train\n1e5,z,train\n")
    assert table["id"].tolist() == ["007", "NA", "1e5"]


def test_without_groups_each_item_is_its_own_and_splits_are_made(tmp_path):
    rows = "".join(f"i{i},p{i}\n" for i in range(20))
    table = read(tmp_path, "id,path\n" + rows)
    assert table["group"].tolist() == table["id"].tolist()
    assert table["split"].value_counts().to_dict() == {"train": 14, "valid": 3, "test": 3}


def test_columns_of_groups_and_splits_that_are_empty_throughout_are_as_good_as_none(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("id,path,group,split\n" + "".join(f"i{n},{n}.png,,\n" for n in range(20)))
    table = read_manifest(path, root=tmp_path)
    assert table["group"].tolist() == table["id"].tolist()
    assert set(table["split"]) == {"train", "valid", "test"}


def test_several_and_optional_paths(tmp_path):
    text = "id,image,ecg,split\na,x.png,x.dat,train\nb,y.png,,test\n"
    table = read(tmp_path, text, paths=["image"], optional_paths=["ecg", "report"])
    assert table["ecg"].tolist() == [str(tmp_path / "data/x.dat"), ""]
    assert table["report"].tolist() == ["", ""]


def test_bool_and_schema_columns(tmp_path):
    text = "id,path,split,sick,age\na,x,train,1,40\nb,y,test,False,50\n"
    table = read(tmp_path, text, columns={"sick": bool, "age": pa.Column(float, pa.Check.ge(0))})
    assert table["sick"].tolist() == [True, False]
    assert table["age"].tolist() == [40.0, 50.0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ["no rows", "first line names the columns"]),
        ("id,path\n", ["no rows", "add one row"]),
        ("id,path\n,\n\n", ["no rows"]),
        ("id,file\na,x\n", ["column(s) path missing", "'file'"]),
        ("id,path,path\na,x,y\n", ["given twice", "path"]),
        ("id,path\na,x,4\n", ["row 2", "3 cells", "2, as in the header"]),
        ("id,path\na,x\na,y\n", ["row 3, column id", "'a'", "unique"]),
        ("id,path\n,x\nb,y\n", ["row 2, column id", "empty"]),
        ("id,path\na,\nb,y\n", ["row 2, column path", "empty"]),
        ("id,path,group\na,x,\nb,y,g\n", ["row 2, column group", "empty"]),
        ("id,path,split\na,x,train\nb,y,tset\n", ["split of row 3", "tset", "train, valid, test"]),
        ("id,path,split\na,x,train\nb,y,\n", ["split of row 3"]),
        ("id,path,group,split\na,x,p,train\nb,y,p,test\n", ["p in test and train"]),
        ('id,path\na,"x\nb,y\n', ["not a table"]),
        (b"id,path\n\xff,x\n", ["not UTF-8"]),
    ],
)
def test_a_wrong_manifest_is_explained(tmp_path, text, told):
    with pytest.raises(DataError) as caught:
        read(tmp_path, text)
    for words in told:
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "cell", "told"),
    [
        (int, "x", "'x' is not a whole number"),
        (int, "1.5", "whole number"),
        (int, "", "whole number"),
        (float, "x", "'x' is not a number"),
        (float, "nan", "not a number"),
        (float, "1e400", "not a finite number"),
        (bool, "2", "'2' is not one of"),
        (str, "", "empty"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_by_row_and_column(tmp_path, kind, cell, told):
    text = f"id,path,split,v\na,x,train,{'1' if kind is not str else 'q'}\nb,y,train,{cell}\n"
    with pytest.raises(DataError, match="row 3, column v") as caught:
        read(tmp_path, text, columns={"v": kind})
    assert told in str(caught.value)


def test_a_missing_manifest(tmp_path):
    with pytest.raises(DataError, match="is missing"):
        read_manifest(tmp_path / "no.csv", root=tmp_path)


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "link/x", "file-link", "\0", "loop/x"])
def test_a_path_that_leaves_the_root_is_refused_and_named(tmp_path, path):
    root, outside = tmp_path / "data", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "link").symlink_to(outside)
    (root / "file-link").symlink_to("/etc/passwd")
    (root / "loop").symlink_to(root / "loop")
    with pytest.raises(DataError, match="row 2, column path"):
        read(tmp_path, f"id,path,split\na,{path},train\n")


def test_links_and_absolute_paths_that_stay_inside_are_followed(tmp_path):
    root = tmp_path / "data"
    (root / "real").mkdir(parents=True)
    (root / "alias").symlink_to(root / "real")
    (tmp_path / "root-link").symlink_to(root)
    assert confine(root, "alias/x") == root / "real" / "x"
    assert confine(root, str(root / "real/x")) == root / "real" / "x"
    assert confine(tmp_path / "root-link", "real/x") == root / "real" / "x"


def test_a_root_whose_name_begins_another_is_not_confused(tmp_path):
    with pytest.raises(DataError, match="leaves the data root"):
        confine(tmp_path / "data", "../data2/x")


def test_one_class_is_refused():
    assert check_classes(["b", "a", "b"]) == ["a", "b"]
    with pytest.raises(DataError, match=r"column diagnosis: saw \['a'\].*another class"):
        check_classes(["a", "a"], name="diagnosis")
