"""Tables of numbers: CSV with text labels, names and weights, svmlight, class names, and what damaged files do."""

import gzip
import io
import math
import random
import re
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from reading import dense, read_csv, read_features

import kernels
from fastmlp.data import Dataset, Sparse, load, split_rows
from fastmlp.data import csv as csv_reader
from fastmlp.data import header as csv_header
from fastmlp.data import svmlight as svmlight_reader
from fastmlp.data.columns import REMEDY
from fastmlp.data.decimals import decimals, split_fields
from fastmlp.data.labels import as_numbers, class_indices, distinct, task_of
from fastmlp.data.svmlight import features, read
from fastmlp.data.synthetic import load_synthetic
from fastmlp.errors import InputError
from fastmlp.formats import Features, LabelColumn, Query

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def write(tmp_path):
    """Write a file of that name and content; returns its path as text."""

    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


@contextmanager
def refused(path, message):
    """What is done inside is refused with just this, word for word, after the file's name, in one line."""
    with pytest.raises(InputError) as error:
        yield
    assert str(error.value) == f"{path}: {message}"
    assert "\n" not in str(error.value)


WRITTEN_SO = "as others of the column have; replace it in all of them, or --column "
ODD = ", as the others of the column are; mend it, or --column "
NO_FEATURES = "the samples have no features; they must have at least one"
LEAVE = "every row must have one: leave such rows out"


# -- numbers -------------------------------------------------------------------------------------------------------


def a_number(random):
    digits = "".join(random.choice("0123456789") for _ in range(random.randrange(1, 12)))
    return random.choice(
        [
            lambda: repr(random.uniform(-1, 1) * 10 ** random.randrange(-8, 9)),
            lambda: str(random.randrange(10 ** random.randrange(1, 20))),
            lambda: f"{random.uniform(-1000, 1000):.{random.randrange(18)}f}",
            lambda: f"{random.gauss(0, 1):.{random.randrange(1, 18)}g}",
            lambda: f"{random.uniform(-1, 1) * 10.0 ** random.randrange(-300, 300):e}",
            lambda: f"-{digits}.{digits[:6]}",
            lambda: f"{digits}.",
            lambda: f".{digits}",
            lambda: f"-0{digits}",
            lambda: f"+{digits}{digits}{digits}",
        ]
    )()


def test_numbers_are_the_bits_that_python_reads():
    numbers = [a_number(random.Random(k)) for k in range(30_000)]
    numbers += ["9007199254740992", "9007199254740993", "0.1", "-0", "-0.0", "1e-320", "000000000000000001", "1" * 19]
    fields = split_fields(np.frombuffer(",".join(numbers).encode() + b"\n", np.uint8), b",\n")
    read = decimals(fields, np.ones(len(fields), bool))
    np.testing.assert_array_equal(read.view(np.uint64), np.array([float(text) for text in numbers]).view(np.uint64))
    assert 0.5 < fields.plain.mean() < 0.9  # both ways are tried


def test_numbers_beside_the_middle_of_two_are_rounded_as_python_does():
    """Nineteen digits, one apart, on both sides of the middle between two neighbours in float64."""
    choose, numbers = random.Random(0), []
    for _ in range(10_000):
        x = choose.choice(
            [choose.random(), choose.uniform(1, 10), choose.uniform(1, 1e6), choose.uniform(2**53, 2**60)]
        )
        middle = (Fraction(x) + Fraction(math.nextafter(x, math.inf))) / 2
        places = 19 - len(str(int(middle)))
        for step in (-1, 0, 1, 2):
            digits = str(int(middle * 10**places) + step).rjust(places + 1, "0")
            numbers.append(f"{digits[: len(digits) - places]}.{digits[len(digits) - places :]}")
    fields = split_fields(np.frombuffer(",".join(numbers).encode() + b"\n", np.uint8), b",\n")
    assert fields.plain.all()
    np.testing.assert_array_equal(decimals(fields, fields.plain), [float(text) for text in numbers])


@pytest.mark.parametrize(
    "text", ["", "-", ".", "-.", "1.2.3", "--1", "1-", "1_0", "x", "nan", "inf", "1e999", "1 2", "\0"]
)
def test_what_is_no_finite_number_is_none(text):
    fields = split_fields(np.frombuffer(f"1,{text},2\n".encode(), np.uint8), b",\n")
    assert decimals(fields, np.ones(3, bool)) is None
    np.testing.assert_array_equal(decimals(fields, np.array([True, False, True]))[[0, 2]], [1, 2])


# -- CSV tables ----------------------------------------------------------------------------------------------------


FLOWERS = [
    ("5.1", "0.25", "setosa"), ("7.5", "-4.75", "virginica"), ("6.25", "0.001", "setosa"), ("1", "10.5", "virginica"),
]  # fmt: skip


def written(between, *, header="sepal,petal,class", point=".", ends="\n", row=lambda k, fields: fields):
    """The flowers as a table: what stands between fields, for the decimal point, at ends of lines; rows as changed."""
    rows = [row(k + 1, [field.replace(".", point) for field in fields]) for k, fields in enumerate(FLOWERS)]
    lines = ([header.split(",")] if header else []) + rows
    return "".join(between.join(line) + ends for line in lines)


def quoted(fields):
    return [f'"{field}"' for field in fields]


def zipped(text, name="data/flowers.csv"):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__MACOSX/._flowers.csv", "unasked")
        archive.writestr(name, text)
    return content.getvalue()


ROW_NAMES = "column 1, '', is taken for row numbers and left out"
COMMAS = "commas are read as decimal points"
AGAIN = "the header comes again, 2 times, as where files are joined; those lines are left out"
TITLE = "what stands above the table is left out: Flowers"
NOTE = "line 9 (measured by hand) sums up others, or has one value only; it and what follows are left out"
DIALECTS = {  # content, what is said of it besides the label column
    "plain": (written(","), []),
    "quotes around some": (
        written(",").replace("5.1", '"5.1"').replace("petal", '"petal"').replace("setosa", '"setosa"'), []
    ),
    "windows lines": (written(",", ends="\r\n"), []),
    "gzip": (gzip.compress(written(",").encode()), []),
    "blank lines": ("\n\n" + written(",").replace("\n7.5", "\n\n\n7.5") + "\n\n", []),
    "no newline at the end": (written(",").rstrip("\n"), []),
    "pipes": (written("|"), []),
    "a space": (written(" "), []),
    "columns of spaces": (written("   ", row=lambda k, f: [f"  {f[0]:>6s}", f[1], f"{f[2]}  "]), []),
    "tabs": (written("\t"), []),
    "double tabs": (written("\t\t"), []),
    "spaces and tabs": (written(" \t "), []),
    "a comma between spaces": (written(" , "), []),
    "semicolons, decimal commas": (written(";", point=","), [COMMAS]),
    "tabs, decimal commas": (written("\t", point=","), [COMMAS]),
    "pipes, decimal commas": (written("|", point=","), [COMMAS]),
    "spaces, decimal commas": (written(" ", point=","), [COMMAS]),
    "commas, decimal commas in quotes": (written(",", point=",", row=lambda k, f: quoted(f)), [COMMAS]),
    "decimal commas and thousands": (
        written(";", point=",").replace("10,5", "0.010,50 €").replace("7,5", "0.007,5"), [COMMAS]
    ),
    "quoted in apostrophes": (written(",", row=lambda k, f: [f"'{field}'" for field in f]), []),
    "a title": ("Flowers\n" + written(","), [TITLE]),
    "a title in Excel": ("Flowers,,\n,,\n" + written(","), [TITLE]),
    "a title, all quoted": ('"Flowers","",""\n"","",""\n' + written(",", row=lambda k, f: quoted(f)), [TITLE]),
    "two lines of title": ('"Flowers"\n"by hand, in 1936"\n\n' + written(";"), [f"{TITLE}, by hand, in 1936"]),
    "a title, and a note below": (
        "Flowers\n\n" + written(";", point=",") + "\nmeasured by hand\n", [TITLE, COMMAS, NOTE]
    ),
    "a separator behind the header alone": (written(",").replace("class\n", "class,\n"), []),
    "the header again": (written(",") + "sepal,petal,class\n" * 2, [AGAIN]),
    "Excel's sep line": ("sep=;\n" + written(";", point=","), [COMMAS]),
    "Excel's text by formula": (re.sub(r"[^,\n]+", r'="\g<0>"', written(",")), []),
    "Excel's text by formula, quoted": (re.sub(r"[^,\n]+", r'"=""\g<0>"""', written(",")), []),
    "Excel's sep line, tabs": ('"sep=\t"\r\n' + written("\t", ends="\r\n"), []),
    "Excel's Unicode text": (written("\t", ends="\r\n").encode("utf-16"), []),
    "UTF-16 without a mark": (written(",").encode("utf-16-le"), []),
    "UTF-16, big end first": (written(",").encode("utf-16-be"), []),
    "UTF-32": (written(",").encode("utf-32"), []),
    "a mark, quotes": (written(",", header='"sepal","petal","class"').encode("utf-8-sig"), []),
    "a mark where files were joined, spaces of no width": (
        written(",").replace("setosa", "setosa\u200b").replace("6.25", "\ufeff6.25"), []
    ),
    "old Macs": (written(",", ends="\r"), []),
    "newlines written twice": (written(",", ends="\r\r\n"), []),
    "a rule below the header": (written("|").replace("\n", "\n-----|:---:|---\n", 1), []),
    "a rule below the header, spaces": (written(" ").replace("\n", "\n----- ----- --------\n", 1), []),
    "a rule below the header, psql": (written(" | ").replace("\n", "\n-----+-----+---\n", 1), []),
    "a Markdown table": (
        "| sepal | petal | class |\n|---|---|---|\n"
        + written(" | ", header="", row=lambda k, fields: [f"| {fields[0]}", fields[1], f"{fields[2]} |"]),
        [ROW_NAMES],
    ),
    "Octave's comments": ("# name: flowers\n# rows: 4\n# columns: 3\n" + written(" "), []),
    "end of file of DOS": (written(",", ends="\r\n") + "\x1a", []),
    "comments": ("# flowers\n# by hand, in 1936\n" + written(",") + "# the end\n", []),
    "comments in the middle": (written(",").replace("6.25", "# half\n6.25"), []),
    "percent comments": ("% flowers\n%\n\n" + written(","), []),
    "np.savetxt": ("# sepal petal class\n" + written(" ", header=""), ["line 1, a comment, is taken for the header"]),
    "#header": ("#" + written(","), ["line 1, a comment, is taken for the header"]),
    "row numbers of pandas": (written(",", header=",sepal,petal,class", row=lambda k, f: [str(k - 1), *f]),
        [ROW_NAMES]),
    "row numbers of pandas, twice": (
        written(",", header=",Unnamed: 0,sepal,petal,class", row=lambda k, f: [str(k - 1), str(9 - k), *f]),
        [ROW_NAMES, "column 2, 'Unnamed: 0', is taken for row numbers and left out"],
    ),
    "row numbers of pandas, an id": (
        written(",", header=",id,sepal,petal,class", row=lambda k, f: [str(k - 1), str(90 - k), *f]),
        [ROW_NAMES, "column 2, 'id', is taken for row numbers and left out"],
    ),
    "R's write.csv": (
        written(",", header='"","sepal","petal","class"', row=lambda k, f: [f'"{k}"', *f[:2], f'"{f[2]}"']), [ROW_NAMES]
    ),
    "R's write.csv2": (
        written(";", header='"";"sepal","petal","class"'.replace(";", ","), point=",", row=lambda k, f: [f'"{k}"', *f]),
        [COMMAS, ROW_NAMES],
    ),
    "R's write.table": (
        written(" ", header='"sepal","petal","class"', row=lambda k, f: [f'"row {k}"', *f[:2], f'"{f[2]}"']),
        [ROW_NAMES],
    ),
    "a PassengerId": (
        written(",", header="PassengerId,sepal,petal,class", row=lambda k, f: [str(k), *f]),
        ["column 1, 'PassengerId', is taken for row numbers and left out"],
    ),
    "separators at the ends": (written(",", ends=",\n"), []),
    "separators at the ends, blank lines": (written(",", ends=",\n\n"), []),
    "separators at the ends of rows": ("sepal;petal;class\n" + written(";", header="", ends=";\n"), []),
    "empty columns and rows of Excel": (",,,,\n" + written(",", ends=",,\n") + ",,,,\n,,,,\n", []),
    "#, a row's number": (
        written(",", header='"#",sepal,petal,class', row=lambda k, f: [str(k), *f]),
        ["column 1, '#', is taken for row numbers and left out"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_table_in_every_common_dialect(write, dialect):
    content, said = DIALECTS[dialect]
    path = Path(write("flowers.csv", content))
    for _ in range(2):  # parsed, then from the cache
        notes = []
        samples, _ = csv_reader.read(path, Query(say=notes.append))
        np.testing.assert_array_equal(samples.X, np.array([row[:2] for row in FLOWERS], np.float32))
        y, classes = class_indices(samples.labels, "flowers")
        assert (classes, y.tolist()) == (("setosa", "virginica"), [0, 1, 0, 1])
        assert (samples.columns, samples.label) == (("sepal", "petal"), ("class", 2))
        *others, label = notes
        assert others == [f"{path}: {note}" for note in said]
        assert "the labels are column" in label
        assert ", 'class' (2 classes); --label-column takes" in label
    X = read_features(path, 2, ("petal", "sepal"))
    np.testing.assert_array_equal(X.astype(np.float32), samples.X[:, ::-1])


def test_a_header_that_comes_again_in_a_table_of_text_is_left_out_but_no_row_that_does(write):
    rows = "red,Rome,yes\nblue,Paris,no\nred,Paris,yes\nblue,Rome,no\n"
    data = load(write("a.csv", ("colour,town,class\n" + rows) * 3), say=lambda line: None)
    assert (len(data.X) + len(data.X_test), data.classes) == (12, ("no", "yes"))
    for again in (rows, rows.replace("Rome", "True").replace("Paris", "False")):
        data = load(write("b.csv", again * 3), label_column="-1", say=lambda line: None)
        assert len(data.X) + len(data.X_test) == 12


@pytest.mark.parametrize(
    ("columns", "rows", "found", "left_out"),
    [
        ("a,b", "1,x\n,\n3,z\n", ["1", "", "3"], 0),
        ("a,b", "1,x\n3,\n,\n ,\n", ["1", "3"], 2),  # as Excel leaves them
        ("a", '1\n""\n3\n\n""\n""\n', ["1", "", "3"], 2),  # pandas' gap in a table of one column; a blank line is none
    ],
)
def test_rows_of_gaps_are_predicted_from_but_for_those_at_the_end_which_are_said(write, columns, rows, found, left_out):
    known, said = Features(1 + columns.count(","), tuple(columns.split(",")), frame="must"), []
    path = write("new.csv", f"{columns}\n{rows}")
    assert csv_reader.features(Path(path), Query(known=known, say=said.append)).columns["a"].tolist() == found
    line = f"{path}: the lines at the end that hold separators alone are left out ({left_out})"
    assert said == [line] * (left_out > 0)


def test_rows_of_gaps_in_front_are_said_to_be_left_out(write):
    known, said = Features(2, frame="must"), []
    path = write("new.csv", ",\n\n,\n1,x\n3,y\n")
    assert len(csv_reader.features(Path(path), Query(known=known, say=said.append))) == 2
    assert said == [f"{path}: the lines in front that hold separators alone are left out (2)"]


def test_what_is_not_in_utf8_is_read_as_excel_writes_it_and_said(write):
    rows, notes = ["Größe,Sorte", "1,süß", "2,herb", "3,süß", "4,5 €"], []
    lines = [line.encode("cp1252" if k != 2 else "utf-8") for k, line in enumerate([*rows, "5,á la carte", "6,herb"])]
    lines[3] = rows[3].encode()  # where files are joined, a line is in UTF-8
    samples, _ = csv_reader.read(Path(write("windows.csv", b"\n".join(lines))), Query("Sorte", say=notes.append))
    assert (samples.columns, samples.label[0]) == (("Größe",), "Sorte")
    assert [samples.labels.values[k] for k in samples.labels.codes] == [
        "süß",
        "herb",
        "süß",
        "5 €",
        "á la carte",
        "herb",
    ]
    assert notes[0].endswith("line 1 is not in UTF-8 but, it seems, in Windows-1252: 'Größe'")


def test_a_zip_of_one_text_is_that_text_under_any_name(write):
    for name in ("flowers.csv.zip", "flowers.zip", "flowers.csv"):
        data = load(write(name, zipped(written(","))), val_fraction=None)
        assert (data.name, len(data.X), data.classes) == ("flowers", 4, ("setosa", "virginica"))
    sparse = b"".join(b"%d 0:%d 2:1\n" % (k % 2, k) for k in range(9))  # which only the content tells
    assert load(write("a.zip", zipped(sparse, "a.txt")), val_fraction=None).index_base == 0
    with pytest.raises(InputError, match="is JSON; it must be a table in text"):
        load(write("a.zip", zipped(b'[{"a": 1}]', "a.txt")))
    damaged = bytearray(zipped(written(",")))
    damaged[damaged.index(b"data/flowers.csv") + 20] ^= 1
    with pytest.raises(InputError, match="not a valid .zip file"):
        load(write("bad.csv.zip", bytes(damaged)))


def test_a_line_in_quotes_is_no_comment(write):
    rows = "".join(f'{k},"text {k % 3}\n# {k % 3}",{"xy"[k % 2]}\n# by "hand\n' for k in range(6))
    data = load(write("a.csv", f"a,text,label\n{rows}"), val_fraction=None)
    assert data.X.columns["text"].tolist() == [f"text {k % 3}\n# {k % 3}" for k in range(6)]


def test_a_table_may_begin_with_a_label_such_as_less_than(tmp_path):
    path = tmp_path / "adult.data"
    path.write_text("<=50K,39,1.5\n>50K,50,2.5\n" * 9)
    assert load(str(path), val_fraction=None).classes == ("<=50K", ">50K")


NO_TABLES = {
    "a report": (
        "Quarterly report\n\nsepal,class\n1,x\n2,y\n",
        "line 1 has one field only; none of the separators comma, semicolon, tab, pipe, space stands in it",
    ),
    "tildes": (
        "1~2~x\n3~4~y\n",
        "line 1 has one field only; none of the separators comma, semicolon, tab, pipe, space stands in it",
    ),
    "HTML": (
        "<!DOCTYPE html>\n",
        "is XML or HTML; it must be a table in text, an image, or an .npz as np.savez(path, X=X, y=y) writes it",
    ),
    "thousands, tabs": ("a\tclass\n1,500\tx\n2,500\ty\n",
        f"line 2, column 1 (a): '1,500' has a comma, of decimals or thousands, {WRITTEN_SO}a=category"),
}  # fmt: skip


@pytest.mark.parametrize("above", ["", "# signs\n", "# signs\n\n", "sign,a,b\n"])
def test_labels_that_look_like_comments_are_labels(write, above):
    rows = ["#,1,2", "%,3,4.5", "#,5,6", "a,7,8"]
    gaps = write("gaps.csv", above + "\n".join(["#,1,u", "%,3,v", "#,,u"] * 9))
    assert len(load(gaps, label_column="1", val_fraction=None).y) == 27
    for first in range(4):
        X, y = read_csv(Path(write("signs.csv", above + "\n".join(rows[first:] + rows[:first]))), "1")
        assert (len(X), len(set(y.tolist()))) == (4, 3)


ROW_NUMBERS = {  # header, what row k has in the first column, whether it is left out
    "an index": (",a,class", lambda k: 3 * k + 7, True),
    "an Id that counts, in any order": ("Id,a,class", lambda k: (7 * k) % 20 + 1, True),
    "a customer's number": ("CustomerID,a,class", lambda k: 15_634_602 + 17 * k, True),
    "a number of rows": ("sno,a,class", lambda k: k + 1, True),
    "a measurement": ("acid,a,class", lambda k: 3 * k + 7, False),
    "an Id that comes again": ("Id,a,class", lambda k: k // 2, False),
    "decimals": ("Id,a,class", lambda k: k + 0.5, False),
    "an id in Spanish": ("id_cliente,a,class", lambda k: 1000 + 17 * k, True),
    "an id in Italian": ("IdProdotto,a,class", lambda k: 1000 + 17 * k, True),
    "an id between words": ("SK_ID_CURR,a,class", lambda k: 100_002 + k, True),
    "one of many features": ("id_01,a,class", lambda k: 1000 + 17 * k, False),
    "an inner diameter": ("ID (mm),a,class", lambda k: 1000 + 17 * k, False),
    "another name": ("case,a,class", lambda k: (7 * k) % 20, None),
    "no header": (None, lambda k: k + 1, None),
    "no header, a measurement": (None, lambda k: 2 * k, False),
}


@pytest.mark.parametrize("name", ROW_NUMBERS)
def test_numbers_of_rows_are_left_out_or_said(write, name):
    """They are no feature: in a file sorted by class they give the class away."""
    header, number, left_out = ROW_NUMBERS[name]
    rows = "".join(f"{number(k)},{k % 5}.5,{'xy'[k > 9]}\n" for k in range(20))
    said = []
    data = load(write("a.csv", f"{header}\n{rows}" if header else rows), say=said.append)
    assert data.X.shape[1] == (1 if left_out else 2)
    lines = [line for line in said if "is taken for row numbers and left out" in line or "count the rows" in line]
    assert len(lines) == (left_out is not False)


@pytest.mark.parametrize("header", ["a,id,b,class", "a,b,class,customer_id", "a,class,b,Id"])
def test_an_id_is_left_out_wherever_it_stands_unless_the_user_says_what_it_is(write, header):
    """It is no label either, though it stands last."""
    columns = {"a": [k % 5 + 0.5 for k in range(20)], "b": [k % 3 for k in range(20)], "class": ["x", "y"] * 10}
    name = ({*header.split(",")} - {*columns}).pop()
    columns[name] = [(7 * k) % 20 + 300 for k in range(20)]
    rows = zip(*(columns[each] for each in header.split(",")))
    path, said = write("a.csv", f"{header}\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)), []
    data = load(path, say=said.append)
    assert (data.columns, data.label.name) == (("a", "b"), "class")
    assert any(f"{name!r}, is taken for row numbers and left out" in line for line in said)
    assert name in load(path, column=[f"{name}=number"], say=said.append).columns


def test_names_that_come_again_are_called_as_pandas_does(write):
    """So columns of a later file in another order are found, and those of the data frame that pandas reads."""
    said = []
    data = load(write("a.csv", "a,b,a,class\n1,2,3.5,x\n4,5,6,y\n" + "7,8,9,x\n" * 9), say=said.append)
    assert data.columns == ("a", "b", "a.1")
    assert said[0].endswith(": two columns are named 'a'; the second, column 3, is called 'a.1'")
    X = read_features(Path(write("new.csv", "b,a,a\n2,1,3.5\n")), 3, data.columns)
    np.testing.assert_array_equal(X, np.array([[1, 2, 3.5]], np.float32))
    assert csv_header.told_apart(["a", "", "a.1", "a", "a", ""]) == ["a", "", "a.1", "a.2", "a.3", ""]


@pytest.mark.parametrize(("last", "label"), [("A,B,Label", "Label"), ("p,r,ys", "ys"), ("Ganz,,9", "9")])
def test_a_label_of_one_row_is_said_where_others_have_many(write, last, label):
    said, rows = [], "a,b,label\n" + "".join(f"{'pq'[k % 2]},{'rs'[k % 3 > 0]},{k % 2}\n" for k in range(80))
    load(path := write("a.csv", f"{rows}{last}\n"), say=said.append)
    assert f"{path}: one row only has the label {label}; mend it if it is a mistake" in said
    said.clear()
    load(write("b.csv", rows), say=said.append)
    load(write("c.csv", f"{rows[:88]}{last}\n"), say=said.append)  # one of few is no surprise
    assert not [line for line in said if "one row only" in line]


def test_a_label_that_may_say_that_it_is_missing_is_said(write):
    said = []
    data = load(write("a.csv", "a,class\n" + "1,x\n2,NA\n3,y\n" * 5), say=said.append)
    assert data.classes == ("NA", "x", "y")
    assert said[0].endswith(": 'NA', the label of 5 rows, is a class like others; leave them out if it is none")
    load(write("b.csv", "a,class\n" + "1,yes\n2,no\n2,Yes\n" * 5), say=said.append)
    assert said[-1] == "'Yes' and 'yes' are two classes; write them alike if they are one"
    load(write("c.csv", "a,class\n" + "1,<=50K\n2,>50K\n2,<=50K.\n" * 5), say=said.append)  # adult.data and adult.test
    assert said[-1] == "'<=50K' and '<=50K.' are two classes; write them alike if they are one"
    load(write("d.csv", "a,class\n" + "1,caf\u00e9\n2,cafe\u0301\n1,tea\n" * 5), say=said.append)
    assert said[-1] == "'cafe\u0301' and 'caf\u00e9' are two classes; write them alike if they are one"
    load(write("d.csv", "a,label\n" + "3,1\n2,1.0\n3,x\n" * 5), say=said.append)
    assert said[-1] == "'1' and '1.0' are two classes; write them alike if they are one"


@pytest.mark.parametrize(("yes", "no"), [("True", "False"), ("TRUE", "FALSE"), ("true", "false")])
def test_columns_of_true_and_false_are_ones_and_zeros_and_labels_stay_text(write, yes, no):
    """pandas.get_dummies makes such columns; R writes them in capitals."""
    rows = f"size,red,blue,target\n1.5,{yes},{no},{yes}\n-2,{no}, {yes},{no}\n"
    expected = np.array([[1.5, 1, 0], [-2, 0, 1]], np.float32)
    for content in (rows, rows.replace("1.5", '"1.5"'), rows.partition("\n")[2], rows.replace(" ", "")):
        samples, _ = csv_reader.read(Path(write("a.csv", content)), Query("-1", say=[].append))
        np.testing.assert_array_equal(samples.X, expected)
        assert samples.labels.values == [yes, no]
    X = read_features(Path(write("new.csv", f"{no},{yes},0\n")), 3)
    np.testing.assert_array_equal(X, [[0, 1, 0]])


def test_a_space_in_text_is_no_separator_where_commas_make_rows_of_one_length(write):
    data = load(write("a.csv", "code,language,a,class\nA,Creole English,1,x\nB,French,2,y\n"), val_fraction=None)
    assert [(name, *values) for name, values in data.X.columns.items()] == [
        ("code", "A", "B"), ("language", "Creole English", "French"), ("a", "1", "2")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("symbol,date,price\nMSFT,Jan 1 2000,39.81\nMSFT,Feb 1 2000,36.35\n", ","),
        ("MSFT,Jan 1 2000,39\nAMZN,Feb 1 2000,36\n", ","),
        ("emotion,pixels,usage\n3,70 80 82 72,train\n0,151 150 147 155,train\n", ","),  # as FER-2013's faces
        ("town,flat,rent\nBern,5 2 b,39\nBasel,1 7 a,36\n", ","),
        ("1st class,adults,man,yes\n2nd class,adults,woman,no\n", ","),
        ("height\tvoice\n64\tSoprano 1\n63\tAlto 2\n", "\t"),
        ("\tlabel\tsensor 1\n0\t1\t2.5\n1\t0\t3.5\n", "\t"),
        ("name a b\nSmith,J 5 3\nDoe,K 4 2\n", " "),
        ("1,5 2,25 3\n2,5 3,75 4\n", " "),
    ],
)
def test_constant_spaces_in_text_are_separators_only_where_commas_are_none(text, delimiter):
    assert csv_header.read_head(text.encode(), Query()).delimiter == delimiter


@pytest.mark.parametrize("delimiter", [";", "\t", ","])
def test_delimiters_are_recognised(write, delimiter):
    text = 'a|label|b\n1|"a, b; c\td"|2.5\n3|d|4\n'
    path = write("table.csv", text.replace("|", delimiter))
    X, y = read_csv(Path(path))
    np.testing.assert_array_equal(X, np.array([[1, 2.5], [3, 4]], np.float32))
    assert y.tolist() == [0, 1]
    pixels = write("pixels.csv", "label|a|b\n1|2|255\n0|3|4\n".replace("|", delimiter))
    np.testing.assert_array_equal(read_csv(Path(pixels))[0], np.array([[2, 255], [3, 4]], np.uint8))


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ("0 7 255 255.0 1e2", np.uint8),
        ("0 7 256", np.float32),
        ("0 7 -1", np.float32),
        ("0 7 0.5", np.float32),
        ("1e38 1e-37 9999", np.float32),
        ("1e39 1 2", np.float64),
        ("1e-50 1 2", np.float64),
        ("1e9 1000000001 1000000002", np.float64),  # in float32 all three are the same
        ("1e9 1 1000000002", np.float32),
    ],
)
def test_the_smallest_dtype_that_will_do(write, values, dtype):
    numbers = values.split()
    X, _ = read_csv(Path(write("a.csv", "label,x\n" + "".join(f"{k % 2},{v}\n" for k, v in enumerate(numbers)))))
    assert X.dtype == dtype
    row = read_features(Path(write("row.csv", f"x\n{numbers[1]}\n")), 1, ("x",))  # alone it says nothing of others
    assert row.tolist() == [[float(numbers[1])]]
    np.testing.assert_array_equal(X[:, 0], np.array([float(v) for v in numbers]).astype(dtype))


def test_whole_files_line_by_line_and_in_chunks_agree(monkeypatch):
    """Random tables, columns in any order: one chunk, many chunks, and the csv module."""
    for seed in range(50):
        choose = random.Random(seed)
        columns = choose.randrange(3, 9)
        label, weight, *features = choose.sample(range(columns), columns)
        rows = [[a_number(choose) for _ in range(columns)] for _ in range(choose.randrange(1, 40))]
        for row in rows:
            row[label], row[weight] = f"class_{choose.randrange(3)}", str(choose.randrange(9))
        body = "\n".join(",".join(row) for row in rows).encode()
        head = csv_header.Head([f"c{k}" for k in range(columns)], True, ",", body, 2)
        chosen = csv_header.Chosen(features, label, weight)
        slow, slow_labels = csv_reader._parse_carefully(head, chosen)
        for size in (1, 200, 1 << 20):
            monkeypatch.setattr(csv_reader, "CHUNK_BYTES", size)
            fast, fast_labels = csv_reader._parse_table(head, chosen)
            np.testing.assert_array_equal(fast, slow)
            assert fast_labels == slow_labels
        np.testing.assert_array_equal(slow, [[float(row[k]) for k in (*features, weight)] for row in rows])


def test_a_table_without_a_header_begins_with_its_label(write):
    X, y = read_csv(Path(write("letters.csv", "T,2,8\nI,3,7\nT,1,1\n")))
    np.testing.assert_array_equal(X, [[2, 8], [3, 7], [1, 1]])
    assert y.tolist() == [1, 0, 1]


def test_a_header_of_numbers_is_known_by_its_label(write):
    path = write("spectrum.csv", "label,400,410\n" + "a,0.5,1\nb,2,3\n" * 5)
    data = load(path)
    assert (data.columns, len(data.X) + len(data.X_test)) == (("400", "410"), 10)
    np.testing.assert_array_equal(read_features(Path(write("new.csv", "410,400\n1,2\n")), 2, data.columns), [[2, 1]])


def test_images_are_what_is_named_so_or_has_alike_neighbours(write, rng):
    """Digits without a word about them, and noise in columns called pixels; no counts, one-hots or single numbers."""
    digits = load_synthetic(0, 40, 2).X

    def shape(X, *names):
        header = [",".join(["label", *names]) + "\n"] if names else []
        rows = [",".join(map(str, [k % 2, *row])) + "\n" for k, row in enumerate(X.tolist())]
        return load(write("pixels.csv", "".join(header + rows)), label_column=1).image_shape

    assert shape(digits) == shape(digits[:10]) == (28, 28)
    assert shape(digits // 16) == (28, 28)
    noise = rng.integers(0, 256, (40, 64))
    for name in ("pixel{}", "pixel_{}_0", "px{}", "{}x1"):
        assert shape(noise, *(name.format(k) for k in range(64))) == (8, 8)
    assert shape(digits[:, :-1]) is shape(digits / 2) is shape(noise) is None
    assert shape(np.full((20, 64), 7)) is shape(noise[:, :49]) is None
    assert shape(rng.poisson(rng.uniform(3, 50, 256), (60, 256))) is None
    assert shape(np.repeat(np.arange(64)[None], 20, 0)) is None
    assert shape(np.eye(8, dtype=int)[rng.integers(0, 8, (40, 8))].reshape(40, 64)) is None
    hours = rng.uniform(3, 200, (60, 1, 8)) + rng.integers(0, 3, (60, 8, 8))  # eight sensors, hour after hour
    assert shape(hours.astype(int).reshape(60, 64)) is None


def test_weights_are_taken_from_their_column_and_split_with_the_rows(write):
    rows = [(k, "ab"[k % 2], k / 4) for k in range(1, 41)]
    path = write("w.csv", "x,label,w\n" + "".join(f"{x},{label},{w}\n" for x, label, w in rows))
    data = load(path, weight_column="w", val_fraction=0.25)
    assert data.columns == ("x",)
    assert data.sample_weight.dtype == np.float64
    np.testing.assert_array_equal(data.sample_weight, data.X[:, 0] / 4)
    assert (len(data.X), load(path).columns, load(path).sample_weight) == (30, ("x", "w"), None)
    path = write("text.csv", "x,w,t,label\n" + "".join(f"{x},{w},{'no' * (x % 3)},{label}\n" for x, label, w in rows))
    data = load(path, weight_column="w", val_fraction=0.25)
    assert [*data.X.columns] == ["x", "t"]
    np.testing.assert_array_equal(data.sample_weight, data.X.columns["x"].astype(float) / 4)
    path = write(
        "zeros.csv",
        "x,w,t,label\n" + "".join(f"{x},{x % 2},{'no' * (x % 3)},{'cab'[x % 2 + x % 4 // 2]}\n" for x in range(40)),
    )
    data = load(path, weight_column="w", val_fraction=0.25)  # rows of weight 0 are left out, with their class
    assert (len(data.X), len(data.X_test), data.classes) == (15, 5, ("a", "b"))
    np.testing.assert_array_equal(data.X_test.columns["x"].astype(int), data.tested.rows)
    assert (data.tested.rows % 2 == 1).all()
    known = Features(2, ("x", "t"), label=LabelColumn("label", 2), frame="must")
    for named in ("w", "2"):  # for a model the same rows are held out
        again = load(path, weight_column=named, val_fraction=0.25, known=known)
        np.testing.assert_array_equal(again.tested.rows, data.tested.rows)


def test_a_held_out_file_is_read_by_name_and_with_the_training_classes(write):
    train = write("train.csv", "a,b,label,w\n1,2,cat,1\n3,4.5,dog,2\n5,6,cow,3\n")
    test = write("test.csv", "id,label,b,a\nx1,dog,20,10\nx2,cat,40,30\n")
    data = load(train, test=test, weight_column="w")
    np.testing.assert_array_equal(data.X_test, [[10, 20], [30, 40]])
    assert data.X_test.dtype == data.X.dtype == np.float32  # whole numbers in one file only
    assert (data.classes, data.y_test.tolist()) == (("cat", "cow", "dog"), [2, 0])
    for content, message in [
        (
            "label,b\ncat,1\n",
            "no column 'a'; the columns are label, b; the model takes all it learnt from (train --drop learns without)",
        ),
        ("a,b\n1,2\n", "all its columns are features; it must have a column of labels, too"),
        ("label,a,b\ncat,1,2\nhen,3,4\n", "label 'hen' is none of the training set's 3 classes (cat, cow, dog)"),
        ("label,a,b\nCAT.,1,2\nhen,3,4\n", "label 'hen' is none of the training set's 3 classes (cat, cow, dog)"),
        ("label,a,b\n1,1,2\n", "label '1' is none of the training set's 3 classes (cat, cow, dog)"),
    ]:
        bad = write("bad.csv", content)
        with refused(bad, message):
            load(train, test=bad, weight_column="w")


@pytest.mark.parametrize(
    ("trained_on", "header", "found"),
    [
        ("label", "a,b,kind", 2), ("label", "target,b,a,z", 0), ("label", "a,b,odd", "'label'"),
        (None, "b,odd,a", 1), (None, "x,class,a,b", 1), (None, "x,odd,a,b", "of labels"),
    ],
)  # fmt: skip
def test_labels_to_test_on_may_have_another_name_than_in_training(write, trained_on, header, found):
    names, notes = header.split(","), []
    path = write("test.csv", f"{header}\n" + "".join(",".join([f"{row}"] * len(names)) + "\n" for row in "123"))
    query = Query(known=Features(2, ("a", "b"), label=trained_on and LabelColumn(trained_on, 2)), say=notes.append)
    if isinstance(found, int):
        samples, _ = csv_reader.read(Path(path), query)
        assert (samples.X.tolist(), samples.label.name) == ([[1, 1], [2, 2], [3, 3]], names[found])
        assert notes == [f"{path}: the labels are column {found + 1}, {names[found]!r} (3 classes); {REMEDY}"]
    else:
        with refused(path, f"has no labels: no column {found}; the columns are {', '.join(names)}; {REMEDY}"):
            csv_reader.read(Path(path), query)


def test_labels_in_another_case_or_with_a_point_behind_are_the_same_which_is_said(write):
    """UCI's adult.test has >50K. where adult.data has >50K."""
    train = write("a.data", "1,2,High\n1,3,Low\n2,3,Low\n")
    test, said = write("a.test", "|1x3 Cross validator\n1,2,Low.\n1,3,high\n2,3,Low\n\n"), []
    assert load(train, test=test, say=said.append).y_test.tolist() == [1, 0, 1]
    assert said[-2:] == ["the label 'Low.' is taken for 'Low'", "the label 'high' is taken for 'High'"]
    known = write("known.csv", "label,a\ncaf\u00e9,1\ntea,2\n")
    test = write("mac.csv", "label,a\ncafe\u0301,1\n")
    assert load(known, test=test, say=said.append).y_test.tolist() == [0]
    twice = write("twice.csv", "label,a\ncat,1\nCat,2\ncat.,3\n")
    with refused(
        bad := write("bad.csv", "label,a\nCAT,1\n"),
        "label 'CAT' is none of the training set's 3 classes (Cat, cat, cat.)",
    ):
        load(twice, test=bad)


@pytest.mark.parametrize(
    "end",
    [
        "Total,99.5,{0}\n",
        "Mean,5,\nstd,1,\n",
        "Mittelwert,5,\nStdabw.,1,\n",
        ",,{0}\n",
        "Grand total:,,{0}\nMax,,{0}\n",
        "Gesamt,9,{0}\n",
    ],
)
@pytest.mark.parametrize("label", ["ok", "1.5"])
def test_lines_at_the_end_that_sum_up_the_others_are_left_out_and_said(write, end, label):
    rows = "item,a,label\n" + "".join(
        f"{['Total', 'Sum', 'Mean'][k % 3]} {k % 4},{k},{label}{k % 7}\n" for k in range(60)
    )
    whole, notes = load(write("whole.csv", rows), say=[].append, val_fraction=None), []
    data = load(write("table.csv", rows + end.format(label)), say=notes.append, val_fraction=None)
    assert (len(data.y), data.classes, data.y.tolist()) == (60, whole.classes, whole.y.tolist())
    said = "sums up others, or has one value only; it and what follows are left out"
    assert [note for note in notes if ": line 62 (" in note and note.endswith(said)]
    # So it is for a model to which the items said nothing.
    known = Features(1, ("a",), label=data.label)
    assert (
        len(load(write("again.csv", rows + end.format(label)), known=known, say=notes.append, val_fraction=None).y)
        == 60
    )


@pytest.mark.parametrize("end", ["", ";;;"])
def test_names_and_values_above_a_table_are_left_out_and_said(write, end):
    notes, rows = [], "a;b;c;d;label\n" + "1,5;2;x;;u\n2,5;3;;y;v\n" * 9
    path = write("device.csv", f"Device:;Haake 550{end}\nSamples;18{end}\n\n{rows}")
    for content, count in ((rows, 18), (rows[: rows.index("2,5")], 1)):  # to predict from few rows, too
        path = write("device.csv", f"Device:;Haake 550{end}\nSamples;18{end}\n\n{content}\n")
        query = Query(known=Features(4, ("a", "b", "c", "d"), frame="must"), labelled=False, say=notes.append)
        assert len(csv_reader.features(Path(path), query)) == count
        assert f"{path}: what stands above the table is left out: Device: Haake 550, Samples 18" in notes
        notes.clear()
    # Such lines are rows where no line of names is below them.
    data = load(
        write("gaps.csv", ";2;;;u\n" * 3 + "1,5;2;x;;u\n2,5;3;;y;v\n" * 9),
        say=[].append,
        val_fraction=None,
    )
    assert len(data.y) == 21
    baskets = "milk,,,,a\n" * 6 + "bread,milk,tea,oil,a\nmilk,oil,tea,,b\n" * 9
    assert len(load(write("baskets.csv", baskets), label_column="5", say=[].append, val_fraction=None).y) == 24


def test_a_row_to_predict_that_was_cut_off_is_no_note(write):
    query = Query(known=Features(3, ("a", "b", "c"), frame="must"), labelled=False, say=[].append)
    with pytest.raises(InputError, match="line 3 has 1 fields; the first line has 3"):
        csv_reader.features(Path(write("a.csv", "a,b,c\nx,1,2\nDres\n")), query)
    assert len(csv_reader.features(Path(write("a.csv", "a,b,c\nx,1,2\n\n____\nMade in Dresden\n")), query)) == 1


def test_a_last_row_of_a_max_is_a_row(write):
    rows = "name,age,label\n" + "Ann,30,no\nBob,40,yes\n" * 9
    data = load(write("a.csv", rows + "Max,50,yes\n"), say=[].append, val_fraction=None)
    assert data.X.columns["name"].tolist()[-1] == "Max"
    assert len(load(write("b.csv", rows + "Max,50,\n"), say=[].append, val_fraction=None).y) == 18
    units = rows.replace("no", "kg").replace("yes", "kg").replace("label", "unit")  # says nothing of a row
    data = load(write("c.csv", units + "Max,50,kg\n"), label_column="age", say=[].append, val_fraction=None)
    assert len(data.y) == 18


def test_a_row_of_two_dashes_is_one_of_gaps(write):
    new = Query(known=Features(2, ("a", "b"), frame="must"), labelled=False)
    head = csv_header.read_head(b"a,b\n--,--\n5,6\n", new)
    assert [*head.fields(0)] == ["--", "5"]


def test_rows_to_predict_may_end_in_one_that_has_one_value_and_what_is_kept_has_as_many_rows(write):
    query = Query(known=Features(2, ("a", "b"), frame="must"), say=[].append)
    for end, count in (("z,,\n", 3), ("Total,3,4\n", 2)):
        path = Path(write("table.csv", "item,a,b\nx,1,2\ny,2,2\n" + end))
        assert len(csv_reader.features(path, query)) == len(csv_reader.fields(path, ["item"], query)["item"]) == count


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a;b\n1,5;2\n2,5;3\n", COMMAS),
        ("a,b\n1,2\nSum,6\n", "line 3 (Sum,6) sums up others, or has one value only; it and what follows are left out"),
        ("a,b,a\n1,2,3\n", "two columns are named 'a'; the second, column 3, is called 'a.1'"),
    ],
)
@pytest.mark.parametrize("frame", [None, "must"])
@pytest.mark.parametrize("named", [("a", "b"), None])
def test_what_is_guessed_of_rows_to_predict_is_said(write, text, said, frame, named):
    known, notes = Features(text.partition("\n")[0].count("a") + 1 if named is None else 2, named, frame=frame), []
    csv_reader.features(path := Path(write("table.csv", text)), Query(known=known, say=notes.append))
    assert f"{path}: {said}" in notes


def test_what_is_money_beside_points_is_money_beside_commas(write):
    for money in ("€ {}", "₹ {}", "US$ {}", "{} ₽", "{} EUR"):
        rows = "".join(f"{money.format(number)}\t{label}\n" for number, label in [("1.250,5", "x"), ("7,25", "y")])
        data = load(write("a.csv", "price\tlabel\n" + rows), val_fraction=None, say=[].append)
        assert data.X.tolist() == [[1250.5], [7.25]]


@pytest.mark.parametrize("header", ["", "a,b,c\n", "c,b,label\n"])
@pytest.mark.parametrize("frame", ["may", "must"])
def test_a_table_without_names_goes_by_places_whatever_the_next_one_has_for_names(write, header, frame):
    known = Features(2, None, label=LabelColumn(None, 2), frame=frame)
    path = Path(write("table.csv", header + "1,x,yes\n2,y,no\n" if frame == "must" else header + "1,3,yes\n2,4,no\n"))
    expected = [["1", "2"], ["x", "y"]] if frame == "must" else [[1, 2], [3, 4]]
    for X in (
        csv_reader.features(path, Query(known=known, say=[].append)),
        load(path, known=known, say=[].append, val_fraction=None).X,
    ):
        assert [*X.columns] == ["column 1", "column 2"]
        assert [values.tolist() for values in X.columns.values()] == expected


@pytest.mark.parametrize("content", ["p,x\n", "p,x\ne,y\ne,x\n", "p,x\ne,y\np,x\n", "colour,size\np,7\n"])
def test_rows_of_text_are_all_predicted_where_the_training_file_had_no_header(write, content):
    known = Features(2, None, label=LabelColumn(None, 2), frame="must")
    X = csv_reader.features(Path(write("new.csv", content)), Query(known=known, say=[].append))
    assert X.columns["column 1"].tolist() == [row[0] for row in content.split() if len(row) == 3]


def test_the_only_column_may_have_names_and_values_of_several_words(write):
    for name, values in [("Years Experience", ["1", "28,5"]), ("town", ["New York", "Bern, Switzerland"])]:
        path, known = Path(write("new.csv", "\n".join([name, *values]))), Features(1, (name,), frame="must")
        X = csv_reader.features(path, Query(known=known, say=[].append))
        assert X.columns[name].tolist() == [values[0], values[1].replace("28,5", "28.5")]


def test_a_header_may_have_a_number_among_its_names(write):
    data = load(write("a.csv", "city,0,years,z\nBern,5,3,x\nRome,7,4,y\n"), val_fraction=None, label_column=4)
    assert data.X.columns["0"].tolist() == ["5", "7"]


def test_a_header_may_have_years_between_names_above_text_that_comes_again(write):
    rows = "".join(f"C{k},{k},{k / 8},{('low', 'high')[k % 2]}\n" for k in range(40))
    data = load(write("a.csv", f"Country,2017,2018,Income\n{rows}"), val_fraction=None, say=[].append)
    assert (len(data.y), data.classes, data.columns) == (40, ("high", "low"), ("Country", "2017", "2018"))
    assert len(load(write("b.csv", rows), val_fraction=None, say=[].append).y) == 40
    assert len(load(write("c.csv", f"C99,2017,2018,high\n{rows}"), val_fraction=None, say=[].append).y) == 41


def test_a_table_of_names_needs_a_header_where_all_its_columns_are_numbers_too(write):
    known = Features(2, ("a", "b"), label=LabelColumn("label", 2), frame="may")
    with refused(
        path := write("table.csv", "1,3\n2,4\n"),
        "has no header line; it must have one, as the model knows its columns by name (a, b)",
    ):
        csv_reader.features(Path(path), Query(known=known, say=[].append))


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ("1.300 850 23.456", True),
        ("€1.300 €850 €-2.450", True),
        ("1.300 850.000 23.456", False),  # all have decimals
        ("1.3 850 23.456", False),  # zeros at the end are not written
        ("1.300 1200 850", False),  # thousands stand without a point
        ("0.300 850 1.250", False),
        ("1.300 12 7", False),
    ],
)
@pytest.mark.parametrize("place", [0, 1])
def test_decimals_that_may_be_thousands_with_points_are_said(write, numbers, said, place):
    rows = [[price, str(k / 8)] for k, price in enumerate(numbers.split() * 20)]
    text = "\n".join(";".join(row[:: 1 - 2 * place]) for row in [["price", "a"], *rows])
    load(write("table.csv", text), say=(notes := []).append, label_column="price", task="regression")
    note = "'price': '1.300' is read as decimals; where points group thousands, take them out"
    assert [each.endswith(f"column {1 + place}, {note}") for each in notes].count(True) == said


def test_points_group_thousands_where_one_number_has_two_and_commas_are_decimals(write):
    rows = "".join(f"{k}.{300 + k};{k},5;{'xy'[k % 2]}\n" for k in range(100, 140))
    data = load(write("table.csv", f"people;area;label\n1.234.567;7,25;x\n{rows}"), val_fraction=None)
    assert data.X.tolist() == [[1_234_567, 7.25], *([1001 * k + 300, k + 0.5] for k in range(100, 140))]


def test_a_last_line_whose_word_is_there_before_is_a_row(write):
    rows = "item,a,label\n" + "".join(f"{('Min', 'Total')[k % 2]},{k},{'xy'[k % 2]}\n" for k in range(60))
    assert len(load(write("table.csv", rows), val_fraction=None, say=[].append).y) == 60


def a_column(kind, k):
    """What row k of 60 has in a column of that kind."""
    random_of = random.Random(f"{kind} {k}")
    return {
        "decimal": f"{random_of.random():.4f}",
        "text": ("ham", "spam", "eggs")[k % 3],
        "name": f"person {k}",
        "class": str(k % 3),
        "sign": str(2 * (k % 2) - 1),
        "year": str(2010 + k % 3),
        "day": f"2024-01-{k // 24 + 1:02}",
        "time": f"{k % 12:02}:30",
        "code": str((2, 4, 9)[k % 3]),
        "count": str(min(int(random_of.expovariate(0.15)), 40 + k)),  # many times 0, seldom 30
        "pixel": str(random_of.randrange(200)),
        "far": str((1, 2, 60)[k % 3]),
        "zero": "0",
        "stage": ("1", "2a", "2b")[k % 3],
    }[kind]


def a_table(kinds, header=None, rows=60):
    lines = [header.split()] if header else []
    lines += [[a_column(kind, k) for kind in kinds.split()] for k in range(rows)]
    return "".join(",".join(line) + "\n" for line in lines)


LABEL_COLUMNS = {  # kinds of columns, header, the label column from 0 on, whether it is said
    "label anywhere": ("decimal class decimal", "a label b", 1, False),
    "class last": ("pixel decimal class", "a b class", 2, True),
    "target first": ("class decimal class", "target a b", 0, True),
    "Species last": ("decimal class text", "a b Species", 2, True),
    "Survived second": ("pixel class pixel decimal", "PassengerId Survived Age Fare", 1, True),
    "Attrition second": ("pixel text decimal pixel", "Age Attrition Rate Years", 1, True),
    "isFraud before isFlaggedFraud": ("decimal class class", "amount isFraud isFlaggedFraud", 1, True),
    "y last": ("class decimal class", "x1 x2 y", 2, True),
    "y first": ("class decimal class", "y x1 x2", 0, True),
    "y anywhere": ("pixel class pixel", "a y b", 1, True),
    "y of a place in the middle": ("pixel pixel class", "x y depth", 2, True),
    "y of a place": ("pixel pixel class", "x y z", 2, True),
    "label before class": ("class text decimal", "class label a", 1, False),
    "the last of two known": ("class decimal class", "class a target", 2, True),
    "Class_Label": ("decimal class decimal", "a Class_Label b", 1, True),
    "an unknown name last, text": ("pixel decimal text", "a b kind_of_mail", 2, True),
    "an unknown name last, integers": ("pixel class class", "a b c", 2, True),
    "an unknown name last, years": ("decimal decimal year", "a b c", 2, True),
    "an unknown name last, codes": ("decimal decimal code", "a b c", 2, True),
    "an unknown name last, numbers and text": ("decimal decimal stage", "a b stage", 2, True),
    "an id last": ("decimal class count", "a b id", 1, True),
    "unknown, first, text": ("text decimal decimal", "a b c", 0, True),
    "apart from numbered names, first": ("class pixel pixel pixel pixel", "num p0 p1 p2 p3", 0, True),
    "apart from numbered names, last": ("class class class class class", "p0 p1 p2 p3 num", 4, True),
    "numbered otherwise": ("class pixel pixel pixel class", "num x0 p0 p1 p2", 4, True),
    "few apart from numbered names": (
        "count text" + " pixel" * 20,
        "sample group " + " ".join(map("g{}".format, range(20))),
        1,
        True,
    ),
    "few apart from wavelengths": (
        "decimal class" + " pixel" * 20,
        "a b " + " ".join(map("9{:02}.5".format, range(20))),
        1,
        True,
    ),
    "apart from numbers": ("class pixel pixel pixel pixel", "num 0 1 2 3", 0, True),
    "numbers, first": ("class pixel pixel zero", "0 1 2 3", 0, True),
    "numbers, last": ("zero pixel pixel class", "0 1 2 3", 3, True),
    "no header, text last": ("decimal decimal text", None, 2, True),
    "no header, text first": ("text pixel pixel", None, 0, True),
    "no header, text and integers": ("text decimal class class", None, 0, True),
    "no header, images": ("class zero pixel pixel zero", None, 0, True),
    "no header, images, labels last": ("zero pixel pixel zero class", None, 4, True),
    "no header, decimals": ("decimal decimal class", None, 2, True),
    "no header, decimals, labels first": ("class decimal decimal", None, 0, True),
    "no header, signs": ("sign decimal decimal", None, 0, True),
    "no header, counts": ("count decimal pixel class", None, 3, True),
    "no header, counts last": ("class decimal pixel count", None, 0, True),
    "no header, codes last": ("decimal decimal code", None, 2, True),
}


@pytest.mark.parametrize("name", LABEL_COLUMNS)
def test_the_label_column_is_found(write, name):
    kinds, header, column, is_said = LABEL_COLUMNS[name]
    path, notes = Path(write("table.csv", a_table(kinds, header))), []
    samples, _ = csv_reader.read(path, Query(say=notes.append))
    values = [a_column(kinds.split()[column], k) for k in range(60)]
    assert [str(samples.labels.values[code]) for code in samples.labels.codes] == values
    label_name = header.split()[column] if header else None
    assert samples.label == (label_name, column)
    shown = f"column {column + 1}" + (f", {label_name!r}" if header else "")
    said = [f"{path}: the labels are {shown} ({len(set(values))} classes); {REMEDY}"] if is_said else []
    assert notes[-1:] == said or (not is_said and not notes)
    X = samples.X
    rows = a_table(kinds).splitlines()  # and where it is known, it is found in rows alone
    for text, labelled in ((rows, True), ([",".join(np.delete(row.split(","), column)) for row in rows], False)):
        bare = Path(write("rows.csv", "\n".join(text)))
        read = read_features(bare, X.shape[1], samples.columns, None, samples.label)
        np.testing.assert_array_equal(read.astype(X.dtype), X)
        query = Query(known=Features(X.shape[1], samples.columns, label=samples.label))
        if labelled:
            again = csv_reader._read(bare, query)
            np.testing.assert_array_equal(again.X, X)
            assert [str(again.labels.values[code]) for code in again.labels.codes] == values
        else:
            with refused(bare, "all its columns are features; it must have a column of labels, too"):
                csv_reader._read(bare, query)


NO_LABEL_COLUMN = {
    "two ends of integers": (
        "class decimal class", None,
        "it is not clear which column holds the labels: the first, column 1 (3 values), or the last, "
        "column 3 (3 values)",
    ),
    "two ends of text": (
        "text decimal text", None,
        "it is not clear which column holds the labels: the first, column 1 (3 values), or the last, "
        "column 3 (3 values)",
    ),
    "text and integers beside decimals": (
        "text pixel decimal class", None,
        "it is not clear which column holds the labels: the first, column 1 (3 values), or the last, "
        "column 4 (3 values)",
    ),
    "text and integers under unknown names": (
        "text decimal class", "a b c",
        "it is not clear which column holds the labels: the first, 'a' (3 values), or the last, 'c' (3 values)",
    ),
    "integers and decimals under unknown names": (
        "class decimal decimal", "a b c",
        "it is not clear which column holds the labels: the first, 'a' (3 values), or the last, 'c' "
        "(60 different numbers with decimals)",
    ),
    "integers far apart and nothing": (
        "far decimal zero", None,
        "it is not clear which column holds the labels: the first, column 1 (3 values), or the last, "
        "column 3 (one value only)",
    ),
    "integers and nothing": (
        "class decimal zero", "a b c",
        "it is not clear which column holds the labels: the first, 'a' (3 values), or the last, 'c' (one value only)",
    ),
    "names and nothing": (
        "name decimal zero", "a b c",
        "no column looks like labels: the first, 'a' (60 different texts in 60 rows), or the last, "
        "'c' (one value only)",
    ),
    "no header, text beside numbers": (
        "decimal text pixel decimal", None,
        "no column looks like labels: the first, column 1 (60 different numbers with decimals), or the last, "
        "column 4 (60 different numbers with decimals)",
    ),
    "two known names": ("decimal class text decimal", "a class target b",
        "'class' or 'target' may be the label column"),
    "two names for ends": ("class decimal class", "type b quality", "'type' or 'quality' may be the label column"),
}  # fmt: skip

# Of the same tables: what is refused of classes is a number to predict, in that column, which is said.
NUMBER_COLUMN = {
    "decimals": (
        "decimal class decimal", None, "column 3",
        "no column looks like labels: the first, column 1 (60 different numbers with decimals), or the last, column 3 "
        "(60 different numbers with decimals)",
    ),
    "dates": (
        "day pixel decimal", "day temperature load", "column 3, 'load'",
        "no column looks like labels: the first, 'day' (3 dates or times), or the last, 'load' (60 different numbers "
        "with decimals)",
    ),
    "times": (
        "time pixel decimal", "at temperature load", "column 3, 'load'",
        "no column looks like labels: the first, 'at' (12 dates or times), or the last, 'load' (60 different numbers "
        "with decimals)",
    ),
    "decimals apart from numbered names": (
        "pixel pixel pixel decimal", "p0 p1 p2 price", "column 4, 'price'",
        "column 4, 'price', does not look like labels (60 different numbers with decimals)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NUMBER_COLUMN)
def test_a_column_of_numbers_is_predicted_and_said_where_none_has_classes(write, name):
    kinds, header, column, message = NUMBER_COLUMN[name]
    path, notes = write("table.csv", a_table(kinds, header)), []
    data = load(path, say=notes.append)
    assert (data.task, data.classes, data.y.dtype) == ("regression", (), np.float64)
    assert notes == [
        f"{path}: the labels are {column} (60 different numbers); {REMEDY}",
        f"{path}: the labels are 60 different numbers with decimals, such as 0.04, in 60 rows, and predicted as "
        "numbers (--task classification makes classes of them)",
        *[f"{path}: from column 1 follows what the label is in every row; leave out what new rows will not have"]
        * (header is None),
    ]
    with refused(path, f"{message}; {REMEDY}"):
        load(path, task="classification")


@pytest.mark.parametrize("price", ["${k},250.50", "{k}.25 %", "{k}'000", "({k}.5)"])
def test_prices_and_shares_are_numbers_to_predict(write, price):
    data = load(
        write("a.csv", "x,price\n" + "".join(f'{k},"{price.format(k=k)}"\n' for k in range(1, 61))), val_fraction=None
    )
    assert (data.task, data.X.shape) == ("regression", (60, 1))
    assert np.ptp(np.diff(data.y)) < 1e-9 < abs(np.diff(data.y)[0])


def test_few_numbers_to_test_on_are_read_as_those_of_training_were(write):
    train = write("a.csv", "x,price\n" + "".join(f"{k},{k}.5\n" for k in range(1, 61)))
    for price, number in (("$1,250.50", 1250.5), ("12.5 %", 0.125), ("(3)", -3)):
        data = load(train, test=write("b.csv", f'x,price\n2,"{price}"\n3,7\n'))
        assert data.y_test.tolist() == [number, 7]


@pytest.mark.parametrize("feature", ["1", "1.5"])
def test_labels_that_are_codes_are_predicted_as_they_were_given(write, feature):
    """Beside pixels, which are read another way, too."""
    data = load(write("a.csv", "a,label\n" + f"{feature},01\n2,02\n3,10\n" * 9), val_fraction=None)
    assert data.classes == ("01", "02", "10")


def test_a_minus_is_a_class_beside_a_plus(write):
    data = load(write("a.csv", "strand,class\n" + "+,-\n-,+\n" * 20), val_fraction=None)
    assert data.classes == ("+", "-")


def test_where_numbers_are_asked_for_the_last_column_of_them_is_taken(write):
    for kinds, place in (("class decimal decimal", 2), ("class decimal class", 2), ("decimal class decimal", 2)):
        path = write("table.csv", a_table(kinds, "a b c"))
        data = load(path, task="regression")
        assert data.columns == tuple("abc"[:place] + "abc"[place + 1 :])
    for table in (a_table("decimal text", "a target"), "a,target\n1,{0}9\n2,{0}8\n".format("9" * 400)):
        path, said = write("table.csv", table), []
        what = "the label of row 0 .counted from 0. is '.*'; with --task regression it must be a finite number"
        with pytest.raises(InputError, match=f"^{re.escape(path)}: {what}"):
            load(path, task="regression", say=said.append)
        assert said[0].startswith(f"{path}: the labels are column 2, 'target' (")


@pytest.mark.parametrize("name", NO_LABEL_COLUMN)
def test_a_label_column_in_doubt_is_refused_with_the_remedy(write, name):
    kinds, header, message = NO_LABEL_COLUMN[name]
    path = write("table.csv", a_table(kinds, header))
    numbers = "; --task regression predicts the last" if name == "integers and decimals under unknown names" else ""
    with refused(path, f"{message}; {REMEDY}{numbers}"):
        load(path)


def test_the_label_column_by_number(write):
    path = write("table.csv", a_table("class decimal code"))
    for option, column in (("1", 0), ("3", 2), ("-1", 2), ("-3", 0)):
        kind = ("class", "decimal", "code")[column]
        notes = []
        samples, _ = csv_reader.read(Path(path), Query(option, say=notes.append))
        assert [str(samples.labels.values[code]) for code in samples.labels.codes] == [
            a_column(kind, k) for k in range(60)
        ]
        assert notes == [f"{path}: the labels are column {column + 1} (3 classes); {REMEDY}"]
    assert load(path, label_column=-1).classes == ("2", "4", "9")
    for option in ("0", "4", "-4"):
        with refused(path, f"no column {option}; there are 3, numbered 1 to 3 and -1 to -3"):
            load(path, label_column=option)
    named = write("named.csv", a_table("class pixel pixel pixel", "0 1 2 3"))
    assert load(named, label_column="0").columns == ("1", "2", "3")  # a name comes before a number
    weighted = write("weighted.csv", a_table("class decimal count"))
    assert load(weighted, label_column=1, weight_column=-1).X.shape[1] == 1


HEADERS_OF_NUMBERS = {  # the first lines, and whether the first of all is a header
    "0,1,2,3 0,5,6,7 1,5,6,8": True,
    "1,2,3,4 0,5,6,7 1,5,6,8": True,
    "0,1,3,2 0,5,6,7 1,5,6,8": False,
    "2,3,4,5 0,5,6,7 1,5,6,8": False,
    "0,1,2 0,0.5,6 1,0.5,6": True,
    "0,1,2 0,5,6 1,5,6": False,
    "0,1 0.5,1 0.25,1": True,
    "0,1 0,1 1,0": False,
    "0,1,2 " + "5,6,0 5,6,1 " * 10: True,
    "0,1,2 " + "0,1,0 5,6,1 5,6,2 " * 10: False,
    "0,1 " + "0,0 1,1 " * 10: False,
    "ham,text-0 spam,text-1 ham,text-2 spam,text-3 ham,text-4": False,
    "text-0,by,ham text-1,me,spam text-2,you,ham text-3,us,ham": False,
    "Red,size Red,a ,b Red,c": True,
    "text,spam text-1,spam text-2,ham text-3,spam": True,
    "a,b,class x,b,p y,c,q x,b,q": True,
    "male,age,kind male,5,a female,,b male,7,a female,8,b": True,
    "male,born,kind male,2020-01-02,a female,2020-01-03,b male,,a": True,
    "word,tag " + "the,a dog,b " * 150 + "word,b word,b": True,
    ",0,1 0,5,6 1,5,7": True,
    "0,1,kind 5,6,a 5,6,b": True,
    "kind,0,1 a,5,6 b,5,6": True,
    "b,0,1 a,5,6 b,5,6": False,
    "b,1,2 a,5.5,6 c,5,6": False,
    "0,1,2,3": False,
    "label,400,410 a,1,2": True,
    "class,400,410 a,1,2": True,
    "class,400,410 object,1,2 class,1,2": False,
    ",0.5,1,1.5,2 9.4,0,1,0,0 9.5,1,0,0,2": True,
    "land,1990,1995,2000,2005 a,5,6,8,7 b,6,7,8,9": True,
    "land,1990,1995,2000,2006 a,5,6,8,7 b,6,7,8,9": False,
    "land,1990,1995,2000 a,5,6,8 b,6,7,8": False,
    "land,2000,2001,2002 a,0.5,6,8 b,6.5,7,8": True,
    "land,2000,2001,2003 a,0.5,6,8 b,6.5,7,8": False,
    "a,2000,2001,2002 a,0.5,6,8 b,6.5,7,8": False,
    "2000,2001,2002 0.5,6,8 6.5,7,8": False,
    "Ann,1,2,3 Bob,0.5,6,8 Cy,6.5,7,8": False,
    "Ann,0.5,1.0,1.5 Bob,5,6,8 Cy,6,7,8": False,
    "Ann,-1,0,1 Bob,5,6,8 Cy,6,7,8": False,
    ",2,3,4,5 1,4,5,6,7 2,6,7,8,9": False,
    "1940,1945,1950,1955 22.2,44.5,59.6,7 44.5,22.2,1,2": True,
    "0.5,1.0,1.5,2.0 0,1,0,0 0,1,1,3": True,
    "1940,1945,1950,1955 22,44,59,7 44,22,1,2": False,
    "1,5,4 a,0,5,6 b,1,7,5": True,
    "name,on,by Ike,1953-01-20,R": True,
    "Ike,1953-01-20,R JFK,1961-01-20,D": False,
    "land,2020-01-01,by Oz,high,R": True,
}


@pytest.mark.parametrize("lines", HEADERS_OF_NUMBERS)
def test_a_header_of_column_numbers_is_known_by_their_order(lines):
    text = lines.replace(" ", "\n").encode()
    assert csv_header.read_head(text, Query()).is_header == HEADERS_OF_NUMBERS[lines]


def test_years_taken_for_names_are_said(write):
    said = []
    rows = "".join(f"n{k},{k}.5,{k % 7},{k}.25\n" for k in range(30))
    data = load(write("years.csv", "land,2000,2001,2002\n" + rows), label_column="-1", say=said.append)
    assert (data.columns, len(data.X) + len(data.X_test)) == (("land", "2000", "2001"), 30)
    assert said[0].endswith("years.csv: line 1 (land, 2000, 2001, 2002) is taken for a header")
    rows = "".join(f"n{k},{k},{k % 7},{k % 5},1\n" for k in range(30))
    load(write("doses.csv", "land,0.5,1.0,1.5,2.0\n" + rows), label_column="2", say=said.append)
    assert any("line 1 (land, 0.5, 1.0, 1.5, 2.0) is taken for a header" in note for note in said)


def test_names_are_not_looked_at_for_ids_where_no_number_is_large(write, monkeypatch):
    monkeypatch.setattr(csv_reader, "merges_ids", lambda name, numbers: pytest.fail(name))
    load(write("ids.csv", "user_id,x,label\n" + "".join(f"{k * 7},{k}.5,{k % 2}\n" for k in range(20))))


def test_an_array_of_pixels_with_column_numbers_is_of_images(write):
    pixels = load_synthetic(0, 60, 2).X
    table = np.column_stack([np.arange(60) % 10, pixels])
    header, rows = ",".join(map(str, range(785))), [",".join(map(str, row)) for row in table.tolist()]
    notes = []
    data = load(write("array.csv", "\n".join([header, *rows])), say=notes.append)
    assert (len(data.X) + len(data.X_test), data.X.dtype, data.image_shape) == (60, np.uint8, (28, 28))
    assert notes[0].endswith("line 1 (0, 1, 2, 3, 4, ...) is taken for a header of column numbers")
    new = write("new.csv", "\n".join([header.rpartition(",")[0], *(row.partition(",")[2] for row in rows)]))
    for columns in (None, data.columns):  # these are other numbers: with the labels they count from 1
        np.testing.assert_array_equal(read_features(Path(new), 784, columns, None, data.label), pixels)
    # What pandas makes of the first row where it takes that for the names, and writes.
    names = ",".join(csv_header.told_apart(rows[0].split(",")))
    for text in ([names, *rows[1:]], [f",{names}", *(f"{k},{row}" for k, row in enumerate(rows[1:]))]):
        data = load(write("names.csv", "\n".join(text)), val_fraction=None, say=notes.append)
        np.testing.assert_array_equal(data.X, pixels[1:])
        assert (data.image_shape, data.y.tolist()) == ((28, 28), table[1:, 0].tolist())
        assert any("what pandas makes of a row of samples" in note for note in notes)


def test_a_table_of_quoted_labels_alone_has_no_features(write):
    with pytest.raises(InputError, match="the samples have no features; they must have at least one$"):
        load(write("labels.csv", 'id,label\n1,"a"\n2,"b"\n'), drop="id", label_column="label")
    with pytest.raises(InputError, match="the samples have no features; they must have at least one$"):
        load(write("left.csv", 'x,label\n1,"a"\n2,"b"\n' * 5), drop="x")


def test_columns_of_one_value_and_of_one_feature(write):
    data = load(write("flat.csv", "label,x\n" + "a,0.5\nb,0.5\n" * 10))
    assert set(data.X.ravel().tolist()) == {0.5}


def test_a_feature_of_the_model_cannot_hold_the_labels(write):
    path = Path(write("a.csv", "a,b,label\n1,2,x\n"))
    with refused(path, "--label-column b: column 2, 'b' is a feature of the model"):
        read_features(path, 2, ("a", "b"), "b")


def test_features_for_a_model_that_knows_its_columns(write):
    columns = ("a", "b")
    for content in (
        "a,b\n1,2.5\n",
        "a,b\n0001,2.5\n",
        "b,name,label,a\n2.5,x y,?,1\n",
        "1,2.5\n",
        ",0,1\n0,1,2.5\n",
        "label,a,b\n,1,2.5\n",
        "cat,1,2.5\n",
    ):
        X = read_features(Path(write("new.csv", content)), 2, columns)
        np.testing.assert_array_equal(X, np.array([[1, 2.5]], np.float32))
    known = Features(2, columns, frame="may")
    path = Path(write("gaps.csv", "a,b\n1,2.5\n,\n2,\n,\n,\n"))  # a line of Excel's at the end is no row
    assert csv_reader.features(path, Query(known=known)).columns["a"].tolist() == ["1", "", "2"]
    codes = Path(write("codes.csv", "a,b\n02139,2.5\n"))  # numbers alone, but for what the model knows
    known = Features(2, columns, frame="must")
    assert csv_reader.features(codes, Query(known=known)).columns["a"].tolist() == ["02139"]
    for content, message in [
        (
            "a,b\n1,2.5\n,\n1,2.5\n",
            "line 3, column 1 (a): the value is missing; it must be a number: fill such fields, or leave "
            "their rows out",
        ),
        (
            "a,b\n1,NaN\n",
            "line 2, column 2 (b): the value is missing (NaN); it must be a number: fill such fields, or leave "
            "their rows out",
        ),
        (
            "label,a,c\n0,1,2\n",
            "no column 'b'; the columns are label, a, c; the model takes all it learnt from "
            "(train --drop learns without)",
        ),
        ("1,2,3,4\n", "has 4 columns for 2 features"),
        ("a,b\n1,x\n", "line 2, column 2 (b): 'x' is not a number"),
    ]:
        path = write("bad.csv", content)
        with refused(path, message):
            read_features(Path(path), 2, columns)


FRAMES = {  # content, the columns as they are read
    "text": ("a,b,label\nx,1,p\ny y,2.50,q\n", {"a": ["x", "y y"], "b": ["1", "2.50"]}),
    "gaps": ("label,a,b\np,1,\nq,NA,?\np,2,3\n", {"a": ["1", "NA", "2"], "b": ["", "?", "3"]}),
    "NaN": ("label,a\np,1.5\nq,NaN\n", {"a": ["1.5", "NaN"]}),
    "dates, yes and no": ("on,paid,class\n2024-01-31,yes,p\n,no,q\n",
        {"on": ["2024-01-31", ""], "paid": ["yes", "no"]}),
    "a header with newlines": ('"a\n(cm)",b,label\n1,red,p\n2,blue,q\n', {"a\n(cm)": ["1", "2"], "b": ["red", "blue"]}),
    "other ends of lines": ("a\u2028b,c\x0bd,label\n1,u\x85,p\n2,v\x0c,q\n",
        {"a\u2028b": ["1", "2"], "c\x0bd": ["u", "v"]}),
    "gaps of Excel": ("a,b,label\n1,#N/A,p\n-,2,q\n3,#DIV/0!,p\n",
        {"a": ["1", "-", "3"], "b": ["#N/A", "2", "#DIV/0!"]}),
    "codes": ("zip,label\n02139,p\n10001,q\n", {"zip": ["02139", "10001"]}),
    "short codes": ("code,label\n0042,p\n0017,q\n", {"code": ["0042", "0017"]}),
    "quoted codes": ('zip,label\n"02139",p\n"10001",q\n', {"zip": ["02139", "10001"]}),
    "quotes and newlines first": (
        'a,b,label\n"12"" x\n""y"", z",7" w,p\n1" v,u,q\n"\n",t,q\n',
        {"a": ['12" x\n"y", z', '1" v', ""], "b": ['7" w', "u", "t"]},
    ),
    "quotes and newlines": ('a,label\n"x, ""y""\nz",p\n1,q\n2,q\nw,q\nv,q\n', {"a": ['x, "y"\nz', "1", "2", "w", "v"]}),
    "an inch": ('a,b,label\n3" nail,1,p\nbolt,2,q\n', {"a": ['3" nail', "bolt"], "b": ["1", "2"]}),
    "decimal commas": ("a;b;label\nx;1,5;p\ny;-2,25;q\n", {"a": ["x", "y"], "b": ["1.5", "-2.25"]}),
    "no header": ("x,p,1.5\ny,q,2\nx,p,3\n", {"column 1": ["x", "y", "x"], "column 3": ["1.5", "2", "3"]}),
    "no header, all text": ("p,x,n\ne,y,n\np,y,m\n", {"column 2": ["x", "y", "y"], "column 3": ["n", "n", "m"]}),
    "a header of names that are values below": ("a,b,label\nx,a,p\ny,b,q\n", {"a": ["x", "y"], "b": ["a", "b"]}),
}  # fmt: skip


@pytest.mark.parametrize("name", FRAMES)
def test_columns_of_text_dates_and_gaps_are_kept_as_they_stand(write, name):
    content, columns = FRAMES[name]
    label = {"no header": 2, "no header, all text": 1}.get(name)
    data = load(write("a.csv", content), val_fraction=None, label_column=label)
    assert {name: values.tolist() for name, values in data.X.columns.items()} == columns
    assert data.X is data.X_test
    assert data.classes == (("e", "p") if name.endswith("all text") else ("p", "q"))


def test_a_column_said_to_be_something_keeps_what_numbers_would_lose(write):
    path = write("a.csv", "zip,size,label\n02139,1,x\n2139,2,y\n")
    said = load(path, val_fraction=None, column=("zip=category",))
    assert said.X.columns["zip"].tolist() == ["02139", "2139"]
    notes = []
    assert load(path, val_fraction=None, say=notes.append).X.columns["zip"].tolist() == ["02139", "2139"]
    assert notes[0] == f"{path}: column 1, 'zip', with '02139', is taken for codes; --column zip=number reads numbers"
    assert load(path, val_fraction=None, column=("zip=number",)).X.columns["zip"].tolist() == ["02139", "2139"]
    assert load(path, val_fraction=None, drop="zip").X.tolist() == [[1], [2]]
    assert load(path, val_fraction=None, column=("zip=drop",)).columns == ("size",)
    assert load(path, val_fraction=None, drop=("label",), label_column="size").classes == ("1", "2")
    assert load(write("b.csv", 'a,b,label\n"007",1.5,x\n010,2,y\n'), val_fraction=None).X.tolist() == [
        [7, 1.5],
        [10, 2],
    ]
    for options, message in [
        ({"drop": ("zip", "size")}, NO_FEATURES),
        ({"drop": ("zip", "size", "label")}, NO_FEATURES),
        ({"column": ("zpi=category",)}, "no column 'zpi'; did you mean zip? the columns are zip, size, label"),
        ({"drop": ("sise",)}, "no column 'sise'; did you mean size? the columns are zip, size, label"),
        ({"column": ("label=category",)}, "--column: column 3, 'label' holds the labels; --task says what they are"),
        ({"drop": ("label",), "label_column": "label"}, "--drop label: holds the labels; it cannot be left out"),
    ]:
        with refused(path, message):
            load(path, val_fraction=None, **options)
    with refused(alone := write("alone.csv", "a,id\n1,2\n2,3\n"), NO_FEATURES):
        load(alone, drop="a", val_fraction=None)
    for column in ("zip", "zip=code", "=category"):
        with pytest.raises(
            InputError, match=f"--column '{column}': must be NAME=KIND; kinds are number, category, date, drop"
        ):
            load(path, column=(column,))


@pytest.mark.parametrize("text", ["", "u"], ids=["numbers", "text in another column"])
@pytest.mark.parametrize(
    ("odd", "others", "said"),
    [
        ("-200", "{}", "-200"), ("9999.0", "{}.5", "9999"), ("-999.9", "{}.5", "-999.9"), ("9999999", "{}", "9999999"),
        ("-999", "-{}", "-999"), ("-1", "1", None), ("-1", "{}", None), ("500", "{}", None),
        ("0", "9{}", None), ("-60", "-{}", None),
    ],
)  # fmt: skip
def test_a_number_that_seems_to_say_that_there_is_none_is_said(write, odd, others, said, text):
    notes, rows = [], [f"{text or k},{odd if k % 16 == 7 else others.format(k)},{'pq'[k % 2]}\n" for k in range(80)]
    load(write("a.csv", "a,b,label\n" + "".join(rows)), say=notes.append)
    what = "in 6.2% of the rows is far from its other numbers: if it says that there is none, leave those fields empty"
    told = [line.partition("column 2, 'b': ")[2] for line in notes if "far from" in line]
    assert told == [f"{said} {what}"] * (said is not None)


@pytest.mark.parametrize(
    ("names", "missing", "others", "cure"),
    [("a,b,label", "99", "4", "leave those fields empty"), ("a,label,b", "-999", "4.5", "leave those rows out")],
    ids=["bytes", "labels"],
)
def test_bytes_and_labels_that_seem_to_say_that_there_is_none_are_said(write, names, missing, others, cure):
    notes, rows = [], [f"{k % 7},{missing if k % 8 == 7 else f'{k % 25}{others[1:]}'},{k % 2}\n" for k in range(80)]
    path = write("a.csv", f"{names}\n" + "".join(rows))
    load(path, say=notes.append)
    what = f"{missing} in 12.5% of the rows is far from its other numbers: if it says that there is none, {cure}"
    assert [line for line in notes if "far from" in line] == [f"{path}: column 2, {names.split(',')[1]!r}: {what}"]


def test_a_test_file_may_have_the_gaps(write):
    train, test = "a,b,label\n1,2,x\n3,4,y\n", "b,a,label\n2,,x\n1,5,y\n"
    data = load(write("train.csv", train), test=write("test.csv", test))
    assert data.X.columns["a"].tolist() == [1, 3]
    assert {name: values.tolist() for name, values in data.X_test.columns.items()} == {"a": ["", "5"], "b": ["2", "1"]}


BAD_TABLES = {
    "a quote that is not closed": (
        'label,a\nx,1\n"y,2\nx,3\n', "line 3: a quotation mark is not closed; the lines behind it are lost in it"
    ),
    "a name too few": ("a,label\n1.5,2,x\n2.5,3,y\n", "line 2 has 3 fields; the first line has 2"),
    "text": ("label,a,b\nx,1,2\ny,1,two\n", f"line 3, column 3 (b): 'two' is not a number{ODD}b=category"),
    "infinite": ("label,a\nx,1.5\ny,1e999\n", "line 3, column 2 (a): 1e999 is not finite"),
    "an infinity beside text": (
        "label,a,b\nx,1.5,u\ny,inf,v\n", "line 3, column 2 (a): 'inf' is not finite; mend it, or --column a=category"
    ),
    "points and decimal commas": ("label;a\nx;1,5\ny;2.5\n",
        f"line 2, column 2 (a): '1,5' is not a number{ODD}a=category"),
    "points and decimal commas in quotes": (
        'label,a,b\nx,"1,5",2.5\ny,"2,5",3\n',
        f"line 2, column 2 (a): '1,5' has a comma, of decimals or thousands, {WRITTEN_SO}a=category",
    ),
    "thousands in quotes of another country": (
        'label,a\nx,"1,10,000.5"\ny,"1,5"\n', f"line 3, column 2 (a): '1,5' is not a number{ODD}a=category"
    ),
    "thousands": ('label,a\nx,"1,500"\ny,2\n', f"line 2, column 2 (a): '1,500' is not a number{ODD}a=category"),
    "Python's number": ("label,a\nx,1.5\ny,1_0\n", f"line 3, column 2 (a): '1_0' is not a number{ODD}a=category"),
    "units in all rows": (
        "label;a\n" + "".join(f"x;{k},5 °C\n" for k in range(30)),
        f"line 2, column 2 (a): '0,5 °C' has a unit or a mark, {WRITTEN_SO}a=category",
    ),
    "commas in all rows": (
        "label\ta\n" + "".join(f"x\t{k},500\n" for k in range(1, 9)),
        f"line 2, column 2 (a): '1,500' has a comma, of decimals or thousands, {WRITTEN_SO}a=category",
    ),
    "a line of units": (
        "label,a,b\nkind,kg,\nx,1,2\ny,2,3\n",
        "line 2, column 2 (a): 'kg' is not a number, as the others of the column are; mend it, or delete the line if "
        "it holds units or is a header, too, or --column a=category",
    ),
    "shares beside numbers": (
        "label,a\nx,12%\n\ny,0\nx,15\n",
        "line 5, column 2 (a): '15' is in another unit than others of the column; mend it",
    ),
    "shares beside numbers, and text": (
        "label,a,b\nx,12%,u\ny,15,v\n",
        "line 3, column 2 (a): '15' is in another unit than others of the column; mend it, or --column a=category",
    ),
    "two currencies": (
        "label,a\nx,$1\ny,2\nx,€3\n", "line 4, column 2 (a): '€3' is in another unit than others of the column; mend it"
    ),
    "minutes and seconds beside hours": (
        "label,a\nx,58:30\ny,1:02:03\n",
        "line 2, column 2 (a): '58:30' is in another unit than others of the column; mend it",
    ),
    "minutes and seconds beside parts of seconds": (
        "label,a\nx,1:30.5\ny,1:31\n",
        "line 3, column 2 (a): '1:31' is in another unit than others of the column; mend it",
    ),
    "no header": ("0,1.5\n1,x\n0,3\n", f"line 2, column 2: 'x' is not a number{ODD}2=category"),
    "a share": ("label,% new\np,1\nq,x\n", f"line 3, column 2 (% new): 'x' is not a number{ODD}'% new=category'"),
    "a note of two fields below": (
        "a;b;c;d;label\n" + "1,5;2;3;4;x\n1;2,5;3;4;y\n" * 9 + "\nMade: 12.01.2025; K. Smith\n",
        "line 21 has 2 fields; the first line has 5",
    ),
    "a long row of two lines": ('label,a\nx,1.5\ny,"2\n3",4\nx,2\n', "line 4 has 3 fields; the first line has 2"),
    "short row": ("label,a,b\nx,1.5,2\ny,1\n", "line 3 has 2 fields; the first line has 3"),
    "long row": ("label,a,b\nx,1.5,2\ny,1,2,3\n", "line 3 has 4 fields; the first line has 3"),
    "after a quoted newline": ('label,a\n"x\nz",1\ny,bad\n',
        f"line 4, column 2 (a): 'bad' is not a number{ODD}a=category"),
    "after blank lines": ("\n\nlabel,a\n\nx,1\ny,bad\n", f"line 6, column 2 (a): 'bad' is not a number{ODD}a=category"),
    "units": (
        "label,a\n" + "".join(f"{'xy'[k % 2]},{k}.5 kg\n" for k in range(40)),
        f"line 2, column 2 (a): '0.5 kg' has a unit or a mark, {WRITTEN_SO}a=category",
    ),
    "a word for gaps": (
        "label,a\n" + "".join(f"{'xy'[k % 2]},{'unknown' if k % 3 else k}\n" for k in range(90)),
        f"line 3, column 2 (a): 'unknown' is not a number{ODD}a=category",
    ),
    "a word among dates": (
        "label,on\nx,2024-01-31\ny,never\nx,2024-02-01\n",
        f"line 3, column 2 (on): 'never' is not a date{ODD}on=category",
    ),
    "a label of thousands": (
        "a,target\n" + "".join(f'{k},"1,{k:03}"\n' for k in range(90)),
        "the label of line 2 is '1,000', and others are written so; labels must be plain numbers, without commas, "
        "units and marks, or --task classification",
    ),
    "a word among prices": (
        "a,target\n" + "".join(f"{k},{'sold' if k == 7 else k + 0.5}\n" for k in range(90)),
        "the label of line 9 is 'sold', the others are numbers; it is no number: mend it, or --task classification, "
        "or leave such rows out",
    ),
    "label missing": ("label,a\nx,1.5\n,2\n", f"line 3, column 1 (label): the label is missing; {LEAVE}"),
    "label NA": (
        "label,a\n1,1.5\n2,2\nNA,2\nNA,3\n",
        "the label of line 4 is 'NA', the others are numbers; it is missing in 2 of 4 rows: leave such rows out",
    ),
    "label -nan": (
        "label,a\n1,1.5\n2,2\n-nan,2\n-nan,3\n",
        "the label of line 4 is '-nan', the others are numbers; it is missing in 2 of 4 rows: leave such rows out",
    ),
    "label NaN": (
        "label,a\n1,1.5\nnan,2\n2,3\nnan,x\n",
        f"line 3, column 1 (label): the label is missing in 2 of 4 rows; {LEAVE}",
    ),
    "labels that name rows": (
        "a,label\n" + "".join(f"1.5,no. {k}\n" for k in range(40)),
        "the labels are 40 different texts in 40 rows, such as 'no. 0', which are no classes; give another "
        "--label-column, or write quantities as plain numbers",
    ),
    "one infinite number": (
        "a,label\n" + "".join(f"1.5,{k / 8}\n" for k in range(40)) + "2,inf\n",
        "the label of line 42 is 'inf', the others are numbers; it is no number: mend it, or --task classification, "
        "or leave such rows out",
    ),
    "an infinity among few numbers": (
        "a,label\n1.5,0\n2.5,1\n3,inf\n",
        "the label of line 4 is 'inf', the others are numbers; it is no number: mend it, or --task classification, "
        "or leave such rows out",
    ),
    "shares beside others": (
        "a,target\n" + "".join(f"1.5,{k}.5{' %' * (k > 25)}\n" for k in range(40)),
        "the label of line 28 is '26.5 %', the others are numbers; it is no number: mend it, or --task classification, "
        "or leave such rows out",
    ),
    "one label": ("label,a\nx,1.5\nx,2\n", "all labels are 'x'; there must be at least two classes"),
    "one number": ("label,a\n-1,1.5\n-1,2\n", "all labels are '-1'; there must be at least two classes"),
    "not text": (b"label,a\nx,1.5\n\xff\x81,2\n", "line 3: not text in UTF-8 (byte 0xff); save it as UTF-8"),
    "zeros": (b"label,a\nx,1.5\n\0\0\0,2\n", "not text (byte 0x00)"),
    "no name": (
        "label,,a\nx,1,2\n", "line 1: column 2 has no name; every column must have one: give it one, or --drop 2"
    ),
    "a measurement without a name": (
        ",a,label\n0.5,1,x\n", "line 1: column 1 has no name; every column must have one: give it one, or --drop 1"
    ),
    "a few rows": (
        "label,a\nx,1.5\ny,2\n",
        "2 samples cannot be split with --val-fraction 0.1; give --test (arrays: X_test, y_test)",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("kinds", "header"),
    [
        ("text text decimal", "abc"), ("class text decimal decimal", "abcd"), ("class text decimal class", "abcd"),
        ("text text text", "abc"), ("text text class", None), ("text class text pixel", None),
    ],
)  # fmt: skip
def test_where_text_stands_between_the_ends_the_labels_are_the_last(write, kinds, header):
    count = len(kinds.split())
    data = load(write("a.csv", a_table(kinds, header and " ".join(header))), say=lambda line: None)
    assert data.label == (header and header[-1], count - 1)
    assert [*data.X.columns] == [*(header or [f"column {k}" for k in range(1, count + 1)])][:-1]


BAD_WEIGHTS = {
    "no such column": ("label,a\n0,1\n", {}, "no column 'w'; the columns are label, a"),
    "no header": ("0,1\n1,2\n", {}, "no column 'w'; the columns are not named (there is no header line)"),
    "negative": ("label,w\nx,1\ny,-2\n", {}, "line 3, column 2 (w): the weight is -2; it must be at least 0"),
    "text": ("label,w\nx,1\ny,heavy\n", {}, "line 3, column 2 (w): 'heavy' is not a number"),
    "all zero": ("label,a,w\nx,1,0\ny,2,0\n", {}, "all sample weights are 0; at least one must be positive"),
    "the labels": (
        "a,w\n1,1\n2,0\n", {"label_column": "w"}, "column 'w' holds the labels; it cannot hold the weights, too"
    ),
}  # fmt: skip


# -- class names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "classes", "y"),
    [
        (np.array([3, 0, 3]), "0 3", [1, 0, 1]),
        (np.array([2010, 2012, 2010], np.int16), "2010 2012", [0, 1, 0]),
        (np.array([2.0, -1.0, 2.0]), "-1 2", [1, 0, 1]),
        (np.array([0.5, 1.0, 0.5], np.float32), "0.5 1", [0, 1, 0]),
        (np.array([1, -1, 1]), "-1 1", [1, 0, 1]),
        (np.array([70000, 5]), "5 70000", [1, 0]),
        (["3", "0", "03"], "0 3", [1, 0, 1]),
        (["1.0", "+1", "2"], "1 2", [0, 0, 1]),
        (["10001", "02139", "2"], "2 02139 10001", [2, 1, 0]),
        (["10", "9.5", "-1e3"], "-1000 9.5 10", [2, 1, 0]),
        (["12345678901234567891", "12345678901234567890"], "12345678901234567890 12345678901234567891", [1, 0]),
        (["b", "10", "9", "b"], "10 9 b", [2, 0, 1, 2]),
        (["01", "x", "1"], "01 1 x", [0, 2, 1]),
        (["1_0", "2"], "1_0 2", [0, 1]),
        (["inf", "nan", "1"], "1 inf nan", [1, 2, 0]),
        (["ä", "z", "Z"], "Z z ä", [2, 1, 0]),
    ],
)
def test_what_labels_make_of_themselves(labels, classes, y):
    got, names = class_indices(distinct(labels), "a file")
    assert (names, got.tolist(), got.dtype) == (tuple(classes.split()), y, np.int64)
    again, _ = class_indices(distinct([names[k] for k in got]), "another", names)  # classes name themselves
    np.testing.assert_array_equal(again, got)


@pytest.mark.parametrize(
    ("texts", "line"),
    [
        (["007", "8", "7", "8"], "a file: the labels '007' and '7' are one class"),
        (["2", "1", "2.0", "1", "1.0"], "a file: the labels '2' and '2.0' are one class"),
        (["007", "07x", "7", "7"], None),
        (["7", "8", "7"], None),
    ],
)
def test_texts_that_are_one_number_are_one_class_and_said(texts, line):
    said = []
    class_indices(distinct(texts), "a file", testing=True, say=said.append)
    assert said == ([line] if line else [])


def test_ten_thousand_classes_of_either_kind(write):
    names = [f"class {k:05d}" for k in range(10_000)]
    text = "label,a\n" + "".join(f"{name},0.5\n" for name in names) * 2
    data = load(write("many.csv", text), test=write("again.csv", text))
    assert data.classes == tuple(names)
    np.testing.assert_array_equal(data.y, np.tile(np.arange(10_000), 2))
    data = load(write("numbers.csv", text.replace("class ", "-")), test=write("more.csv", "label,a\n-9999,1\n"))
    assert (data.classes[0], data.classes[-1], data.y_test.tolist()) == ("-9999", "0", [0])
    with pytest.raises(
        InputError, match="many: 10,001 distinct labels, a, class 00000, .*; there can be 10,000 classes"
    ):
        class_indices(distinct([*names, "a"] * 2), "many")


QUANTITIES = {  # labels, what they are called, or None where they are classes
    "prices": ([f"{k * k % 97}.5" for k in range(60)], "different numbers with decimals, such as 0.5, in 60 rows"),
    "whole prices": ([f"{k * k % 97 * 100}.0" for k in range(60)], "different numbers in 60 rows"),
    "ages": (np.arange(400) ** 2 % 211, "different numbers in 400 rows"),
    "measurements": (
        np.linspace(0, 1, 60, dtype=np.float32),
        "60 different numbers with decimals, such as 0.0169492, in 60",
    ),
    "a few rows of decimals": (
        ["0.1", "0.2", "0.3", "0.4", "0.5"],
        "5 different numbers with decimals, such as 0.1, in 5",
    ),
    "a few rows of integers": (np.arange(30) % 16 * 7, "16 different numbers in 30 rows"),
    "more rows of integers": (np.arange(32) % 16 * 7, None),
    "the ten digits": (np.arange(1, 11), None),
    "ratings": ([f"{k % 10 / 2}" for k in range(60)], None),
    "three decimals": (["0.1", "0.2", "0.3"], None),
    "years": (np.arange(60) % 20 + 1990, None),
    "a class for each two rows": (np.arange(60) // 2, None),
    "many classes, each often": (np.arange(3000) % 100 * 7, None),
    "names": ([f"name {k // 2}" for k in range(60)], None),
    "doses": ([f"{k % 7} %" for k in range(60)], None),
}


@pytest.mark.parametrize("name", QUANTITIES)
def test_a_quantity_is_not_taken_for_classes(name):
    labels, message = QUANTITIES[name]
    labels, said = distinct(labels), []
    assert task_of(labels, "a file", "auto", said.append) == ("classification" if message is None else "regression")
    assert len(class_indices(labels, "a file")[1]) == len(labels.values)  # where it is asked for
    if message is not None:
        (line,) = said
        assert message in line
        assert line.startswith("a file: the labels are ")
        assert line.endswith(", and predicted as numbers (--task classification makes classes of them)")
        numbers = as_numbers(labels, "a file")
        np.testing.assert_array_equal(numbers, [float(labels.values[code]) for code in labels.codes])
    elif name in ("a class for each two rows", "many classes, each often", "ratings"):
        assert said == [
            f"a file: the labels are {len(labels.values)} numbers, taken for classes "
            "(--task regression predicts numbers)"
        ]
    else:
        assert said == []


# -- svmlight ------------------------------------------------------------------------------------------------------


SVM = b"""# made by hand
+1 1:0.5 3:-2e0 # a comment 9:9
-1\t2:1e-3  4:7\r

-1
+1 4:1 2:.25 1:3
"""
X_SVM = np.array([[0.5, 0, -2, 0], [0, 1e-3, 0, 7], [0, 0, 0, 0], [3, 0.25, 0, 1]], np.float32)


SVM_FORMS = {
    "a.svm": SVM,
    "a.libsvm": SVM.decode().encode("utf-16"),
    "a.SVMLIGHT": SVM.replace(b"\r", b"").replace(b"\n", b"\r"),
    "a.svm.gz": gzip.compress(SVM),
}


@pytest.mark.parametrize("name", SVM_FORMS)
def test_svmlight_in_its_forms(write, name):
    path = write(name, SVM_FORMS[name])
    samples, _ = read(Path(path), Query())
    np.testing.assert_array_equal(dense(samples.X)[:, 1:], X_SVM)
    assert (samples.X.dtype, samples.X.shape, samples.lowest) == (np.float32, (4, 5), 1)
    data = load(path, val_fraction=0.5)
    assert isinstance(data.X, Sparse)
    assert (data.name, data.classes, data.X.shape, data.X_test.shape) == ("a", ("-1", "1"), (2, 4), (2, 4))
    rows = {tuple(row): label for row, label in zip(X_SVM.tolist(), (1, 0, 0, 1))}
    for X, y in ((data.X, data.y), (data.X_test, data.y_test)):
        assert [rows[tuple(row)] for row in dense(X).tolist()] == y.tolist()


def read_svmlight(path, width):
    """The samples, for a model of so many inputs that has seen no svmlight file."""
    return features(path, Query(known=Features(width), say=lambda line: None))


def test_svmlight_counts_from_0_if_either_file_does_and_is_as_wide_as_both(write):
    ones, wide = write("ones.svm", "a 1:1 2:2\nb 2:3\n"), write("wide.svm", "b 5:1\n")
    zeros = write("zeros.svm", "a 0:1\nb 3:2\n")
    assert (load(ones, test=wide).X.shape, load(ones, test=wide).X_test.shape) == ((2, 5), (1, 5))
    both = load(ones, test=zeros)
    np.testing.assert_array_equal(dense(both.X), [[0, 1, 2, 0], [0, 0, 3, 0]])
    np.testing.assert_array_equal(dense(both.X_test), [[1, 0, 0, 0], [0, 0, 0, 2]])
    np.testing.assert_array_equal(dense(read_svmlight(Path(zeros), 4)), [[1, 0, 0, 0], [0, 0, 0, 2]])
    assert read_svmlight(Path(ones), width=7).shape == (2, 7)
    with refused(wide, "line 1: '5:1' has an index beyond 4, the largest there can be"):
        read_svmlight(Path(wide), width=4)
    with refused(zeros, "line 2: '3:2' has an index beyond 2, the largest there can be"):
        read_svmlight(Path(zeros), width=3)
    assert read_svmlight(Path(zeros), width=4).shape == (2, 4)


def test_svmlight_values_are_float64_where_they_must_be(write):
    for value in ("1e39", "1000000001"):
        path = write("a.svm", f"0 1:{value}\n1 1:2\n")
        assert read_svmlight(Path(path), 1).dtype == np.float64
        data = load(write("train.svm", "0 1:0.1\n1 1:2 2:3\n"), test=path)
        assert data.X.dtype == data.X_test.dtype == np.float64
        assert data.X.toarray().tolist() == [[np.float32(0.1), 0], [2, 3]]
        assert data.X_test.toarray().tolist() == [[float(value), 0], [2, 0]]


def test_svmlight_in_chunks_agrees_with_scikit_learn(write, monkeypatch):
    sklearn = pytest.importorskip("sklearn.datasets")
    for seed in range(50):
        choose = random.Random(seed)
        lines = []
        for _ in range(choose.randrange(1, 30)):
            columns = sorted(choose.sample(range(1, 40), choose.randrange(12)))
            entries = choose.choice("  \t").join(
                f"{k}:{choose.gauss(0, 1):.{choose.randrange(1, 12)}g}" for k in columns
            )
            end = choose.choice(["", " ", " # 3:4", "\r", "\n", "\n# 1:2"])
            lines.append(f"{choose.choice((-1, 1, 3))} {entries}{end}")
        text = "\n".join(lines).encode()
        theirs, labels = sklearn.load_svmlight_file(io.BytesIO(text), dtype=np.float32, n_features=39, zero_based=False)
        for size in (1, 100, 1 << 20):
            monkeypatch.setattr(svmlight_reader, "CHUNK_BYTES", size)
            ours, _ = read(Path(write("a.svm", text)), Query())
            np.testing.assert_array_equal(dense(ours.counted_from(1, 39).X), theirs.toarray())
            np.testing.assert_array_equal([int(ours.labels.values[k]) for k in ours.labels.codes], labels)


BAD_SVM = {
    "empty": (b"", "no rows"),
    "only comments": (b"# a\n\n  # b\n", "no rows"),
    "no label": (b"1 1:2\n1:2 2:3\n", "line 2: '1:2' stands first; a label must"),
    "no index": (b"1 1:2\n\n# x\n0 2\n", "line 4: '2' is not index:value"),
    "no value": (b"1 1:2\n0 2:\n", "line 2: '2:' has no finite number as its value"),
    "index apart": (b"1 1 :2\n", "line 1: '1' is not index:value"),
    "two colons": (b"1 1:2:3\n", "line 1: '1:2:3' has no finite number as its value"),
    "text value": (b"1 1:2\n0 2:x\n", "line 2: '2:x' has no finite number as its value"),
    "NaN": (b"1 1:nan\n", "line 1: '1:nan' has no finite number as its value"),
    "infinite": (b"1 1:1e999\n", "line 1: '1:1e999' has no finite number as its value"),
    "Python's number": (b"1 1:1_0\n", "line 1: '1:1_0' has no finite number as its value"),
    "text index": (b"1 a:2\n", "line 1: 'a:2' has no index; it must be an integer from 0 on"),
    "negative index": (b"1 -1:2\n", "line 1: '-1:2' has no index; it must be an integer from 0 on"),
    "fractional index": (b"1 1.0:2\n", "line 1: '1.0:2' has no index; it must be an integer from 0 on"),
    "huge index": (b"1 2147483647:2\n",
        "line 1: '2147483647:2' has an index beyond 2147483646, the largest there can be"),
    "twice": (b"1 1:2\n0 3:1 2:1 3:0\n", "line 2: '3:0' has an index that its line has already"),
    "query": (b"1 qid:3 1:2\n", "line 1: 'qid:3' is a query id, for ranking; it must be left out"),
    "several labels": (b"1 1:2\n\n0,1 3:1\n", "line 3: '0,1' are several labels; a row must have one"),
    "a label and a number": (b"1;10.5 1:2\n", "line 1: '1;10.5' are several labels; a row must have one"),
    "half of UTF-16": (b"\xff\xfe1", "begins as UTF-16 but is not valid; it must be UTF-8"),
    "not text": (b"\xff 1:2\n1 1:2\n", "not text (byte 0xff)"),
    "one label": (b"a 1:2\na 1:3\n", "all labels are 'a'; there must be at least two classes"),
    "no features": (b"a\nb\n" * 10, NO_FEATURES),
    "truncated": (gzip.compress(SVM)[:-9], "the gzip stream ends early; the file is truncated"),
}  # fmt: skip


BAD = {
    **{f"bad.csv: {name}": (*case, {}) for name, case in (NO_TABLES | BAD_TABLES).items()},
    **{
        f"bad.csv, weights: {name}": (content, message, {"weight_column": "w", **options})
        for name, (content, options, message) in BAD_WEIGHTS.items()
    },
    **{f"bad.svm: {name}": (*case, {}) for name, case in BAD_SVM.items()},
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_line_with_line_and_column(write, name):
    content, message, options = BAD[name]
    path = write(name[:7], content)  # bad.csv or bad.svm
    with refused(path, message):
        load(path, **options)


# -- Sparse and Dataset --------------------------------------------------------------------------------------------


def test_rows_of_sparse_samples(rng):
    X = np.where(rng.random((30, 9)) < 0.2, rng.integers(1, 99, (30, 9)), 0).astype(np.uint8)
    X[[0, 7, 29]] = 0
    csr = kernels.csr(X)
    sparse = Sparse(csr.indptr, csr.indices.astype(np.int32), csr.values, X.shape)
    assert (len(sparse), sparse.dtype) == (30, np.uint8)
    for rows in (
        np.array([3, 3, 0, 29]),
        np.array([8]),
        np.array([], int),
        np.arange(30)[::-1],
        slice(5, None, 3),
        slice(0, 0),
    ):
        np.testing.assert_array_equal(dense(sparse[rows]), X[rows])
    assert dense(sparse.astype(np.float64)).dtype == np.float64


def test_a_dataset_checks_what_it_is_given():
    X, y = np.ones((4, 6), np.float32), np.array([0, 1, 0, 1])
    good = Dataset("a", X, y, X, y, ("0", "1"), "a file", image_shape=(2, 3), columns=tuple("abcdef"), sample_weight=y)
    assert good.sample_weight.dtype == np.float64
    bad = "a file: training set: "
    ragged = Sparse(np.array([0, 1, 1, 1, 2]), np.array([0, 5], np.int32), np.array([1, np.nan]), (4, 6))
    for change, message in [
        ({"image_shape": (2, 2)}, "a file: image_shape is (2, 2); it must have 6 pixels"),
        ({"columns": ("a",)}, "a file: 1 columns are named; there must be 6"),
        ({"sample_weight": y[:3]},
            bad + "the sample weights are int64 of shape (3,); they must be numbers of shape (4,)"),
        ({"sample_weight": y * np.nan},
            bad + "the weight of row 0 (counted from 0) is nan; it must be finite and at least 0"),
        ({"sample_weight": y - 1},
            bad + "the weight of row 0 (counted from 0) is -1; it must be finite and at least 0"),
        ({"sample_weight": y * 0}, bad + "all sample weights are 0; at least one must be positive"),
        ({"X_test": ragged},
            "a file: test set, row 3 (counted from 0): holds a NaN or an infinity; all values must be finite"),
    ]:  # fmt: skip
        with pytest.raises(InputError) as error:
            replace(good, **change)
        assert str(error.value) == message


def test_synthetic_digits_are_images():
    assert load_synthetic(0, 3, 2).image_shape == (28, 28)


@pytest.mark.parametrize("first", ["{}.5", "red {}"])
@pytest.mark.parametrize(("column", "others"), [("b", "c, d"), ("d", "b, c")])
def test_classes_in_columns_of_their_own_are_said(write, first, column, others):
    for several in (False, True):  # several labels in a row are no classes
        rows = [[first.format(k % 7), *(int(k % 3 == j or (several and k == 5)) for j in range(3))] for k in range(60)]
        lines, notes = ["a,b,c,d", *(",".join(map(str, row)) for row in rows)], []
        load(path := write("a.csv", "\n".join(lines)), label_column=column, say=notes.append)
        said = f"{path}: in each row one of {others} and the label is 1: if they are classes, make one column of them"
        assert any(note.startswith(said) for note in notes) != several


def test_a_class_whose_rows_are_all_held_out_is_said(write):
    path = write("a.csv", "a,label\n" + "".join(f"{k * 37 % 101},{2 if k == 5 else k % 2}\n" for k in range(50)))
    held_out = [5 in split_rows(50, 0.1, seed, path)[1] for seed in range(99)]
    for seed in (held_out.index(True), held_out.index(False)):
        load(path, seed=seed, say=(notes := []).append)
        said = f"{path}: all rows of 2 are held out to test on, and none is trained on; another --seed leaves some"
        assert notes == [said] * held_out[seed]


@pytest.mark.parametrize("text", [False, True])
def test_rows_to_test_on_that_are_trained_on_are_said(write, text):
    rows = [f"{k % 7},{k * 37 % 101},{'north' if text else 8},{'yn'[k % 2]}\n" for k in range(200)]
    train, part, other = (
        write(f"{name}.csv", "a,b,c,label\n" + "".join(chosen))
        for name, chosen in {"train": rows[50:], "part": rows[90:140][::-1], "other": rows[:100]}.items()
    )
    known = Features(3, ("a", "b", "c"), label=LabelColumn("label", 3), frame="must" if text else None)
    for (test, said), model in product(((train, True), (part, True), (other, False)), (None, known)):
        load(train, test=test, known=model, say=(notes := []).append)
        assert (f"{test}: its rows are in {train}, too; what was learnt by heart is tested" in notes) == said


@pytest.mark.parametrize("text", [False, True])
def test_copies_of_rows_on_both_sides_of_the_split_are_said(write, rng, text):
    """Rows that were copied before the split are learnt by heart; rows of few values are alike by chance."""
    rows = [
        f"{a:.3f},{b:.2f},{'north' if text else 8},{'yn'[k % 2]}\n"
        for k, (a, b) in enumerate(rng.normal(size=(400, 2)))
    ]
    few = [f"{k % 3},{k * 7 % 5},{'north' if text else 8},{'yn'[k % 2]}\n" for k in range(400)]
    oversampled = rows[:360] + rows[360:] * 9
    for name, content, share in (
        ("all", rows * 3, "100%"),
        ("some", oversampled, "50%"),
        ("none", rows, ""),
        ("few", few, ""),
    ):
        path = write(f"{name}.csv", "a,b,c,label\n" + "".join(content))
        load(path, say=(notes := []).append)
        told = [
            float(note.partition("about ")[2].partition("%")[0])
            for note in notes
            if "are copies of rows to train on" in note
        ]
        assert told == ([pytest.approx(float(share[:-1]), abs=25)] if share else [])
