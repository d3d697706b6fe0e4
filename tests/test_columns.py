"""What becomes of each column of a table on its way into a network."""

import datetime
import decimal
import json
import sys
import tracemalloc

import numpy as np
import pytest

import fastmlp
from fastmlp.arrays import dataset_of
from fastmlp.config import configure
from fastmlp.data import Sparse
from fastmlp.data.values import written_number
from fastmlp.errors import InputError
from fastmlp.frames import read_table
from fastmlp.tables.columns import Columns
from fastmlp.tables.texts import as_dates, as_numbers, texts_of


def learnt(said=None, **columns):
    return Columns.learn(read_table(columns), said)


def inputs(columns, **values):
    X = columns.encode(read_table(values))
    return X.toarray() if isinstance(X, Sparse) else X


GAPS = [
    None, "", " ", "?", "NA", "n/a", "NaN", "null", float("nan"), np.datetime64("NaT", "s"), "#N/A", "-", ".",
    "#DIV/0!", r"\N", "[NULL]", "\u2013", "0000-00-00",
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("number", np.arange(6)),
        ("number", np.linspace(0, 1, 6)),
        ("number", ["1", "2.5", "?", "-3e2", "4", "5"]),
        ("number", np.array([1, None, 2.5, "3", decimal.Decimal("4.5"), 6], object)),
        ("number", np.array([1, 2, 3, "NaT", 5, 6], "timedelta64[h]")),
        ("number", ["12 %", "7.5%", "-", "100%", "-3 %", "0%"]),
        ("number", ["$1,250", "$980.50", "-$3", "($4.20)", "$0", "#N/A"]),
        ("number", ["1'250.00", "1 250", "1,250,000", "1,250.5", "−3", "950 €"]),
        ("number", ["12:30", "08:15:30", "1 days 02:00:00", "", "00:00", "23:59"]),
        ("number", ["26:30", "8:15", "100:00", "", "0:30", "0:00"]),
        ("category", ["a", "b", "a", "b", "a", ""]),
        ("category", ["1.10.2", "1.9.1", "1.10.2", "1.9.1", "", "1.9.1"]),
        ("category", [True, False, True, False, True, False]),
        ("category", np.array([True, None, False, True, False, None], object)),
        ("category", ["02139", "02140", "02139", "02140", "?", "02139"]),
        ("category", ["1", "2", "one", "1", "2", "one"]),
        ("date", np.arange("2024-01-01", "2024-01-07", dtype="datetime64[D]")),
        ("date", ["2024-01-01", "2024/1/2", "2024-01-03 12:30", "2024-01-04T01:02:03.5Z", "", "2024-01-05"]),
        ("date", np.array([datetime.date(2024, 1, k) for k in range(1, 7)], object)),
        ("date", ["31.01.2024", "01.02.2024 08:30", "1.3.2024", "", "02.02.2024", "03.02.2024"]),
        ("date", ["1/31/2024", "02/01/2024", "?", "2/3/2024 1:05 PM", "02/04/2024", "02/05/2024"]),
        (
            "date",
            ["Jan 31 2024", "February 1, 2024", "2 Feb 2024", "03-Feb-24", "Sun, 04 Feb 2024 10:00:00 +0100", "-"],
        ),
        ("date", ["2024-01", "2024-02", "2024-03", "2024-04", "2024-05", "2024-06"]),
        ("category", ["18.00.00", "00.00.00"] * 3),  # times
        ("number", ["01", "5000", "12.5", "0", "700", "01"]),  # no codes
        ("category", ["01", "02", "10", "11", "2", "01"]),
        ("category", ["1998-99", "1999-00", "2000-01"] * 2),  # seasons
        ("drop", [3] * 6),
        ("drop", ["same"] * 6),
        ("drop", list("abcdef")),
        ("drop", ["1" + "a" * 300_000 + "!", *"abcde"]),  # in no time
        ("drop", [datetime.date(2024, 1, 1)] * 6),
    ],
)
def test_a_column_is_what_its_type_and_its_values_say(kind, values):
    columns = learnt(x=values, other=np.arange(6.0))
    assert columns.columns[0].kind == kind
    assert (columns.columns[0].inputs > 0) == (kind != "drop")


@pytest.mark.parametrize("gap", GAPS, ids=repr)
def test_every_way_of_writing_a_gap_is_one(gap):
    texts, codes = texts_of(np.array(["a", gap, "b"], object))
    assert [texts[code] for code in codes] == ["a", None, "b"]
    assert np.isnan(as_numbers(np.array([1, gap, 2], object))).tolist() == [False, True, False]
    assert np.isnat(as_dates(np.array(["2024-01-31", gap], object))).tolist() == [False, True]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["31.01.2024", "01.02.24"], ["2024-01-31", "2024-02-01"]),
        (["31/01/2024", "02-01-2024"], ["2024-01-31", "2024-01-02"]),
        (["01/31/2024", "2/1/24"], ["2024-01-31", "2024-02-01"]),
        (["01/02/2024", "01/03/2024"], ["2024-02-01", "2024-03-01"]),  # first days of months
        (["02/01/2024", "03/01/2024"], ["2024-02-01", "2024-03-01"]),
        (["1/31/2024 12:05 AM", "1/31/2024, 1:05 p.m."], ["2024-01-31T00:05", "2024-01-31T13:05"]),
        (["Jan 31 2024", "31st January 2024"], ["2024-01-31", "2024-01-31"]),
        (["31-JAN-24", "Wed, 31 Jan 1969"], ["2024-01-31", "1969-01-31"]),
        (["2024-01-31 12:00:00.250+0200", "2024.01.31 12:00 UTC"], ["2024-01-31T10:00", "2024-01-31T12:00"]),
        (["2024-01-31 12:00 CET", "2024-01-31T12:00+01:00[Europe/Paris]"], ["2024-01-31T12:00", "2024-01-31T11:00"]),
        (["31-01-24", "2-01-24"], ["2024-01-31", "2024-01-02"]),
        (["01-31-24", "02-01-99"], ["2024-01-31", "1999-02-01"]),
        (["20240131T123005Z", "20240131 1230"], ["2024-01-31T12:30:05", "2024-01-31T12:30"]),
        (["2024:01:31 12:30:05"], ["2024-01-31T12:30:05"]),
        (["31JAN2024:12:30:05", "31/Jan/2024:12:30:05 +0100"], ["2024-01-31T12:30:05", "2024-01-31T11:30:05"]),
        (["2024/01/31 12:30:05 PM GMT+1", "2024-01-31 12:30 UTC-0130"], ["2024-01-31T11:30:05", "2024-01-31T14:00"]),
        (["20240131", "2024-01", "January 2024"], ["2024-01-31", "2024-01-01", "2024-01-01"]),
    ],
)
def test_dates_are_read_as_people_write_them(texts, said):
    assert as_dates(np.array(texts, object)).tolist() == [np.datetime64(text, "s").item() for text in said]


def test_days_and_months_stand_in_new_rows_as_they_stood_in_training():
    days = np.arange("2023-03-01", "2024-03-01", dtype="datetime64[D]")
    columns = learnt(d=[f"{day.day}/{day.month}/{day.year}" for day in days.tolist()])
    assert np.array_equal(
        inputs(columns, d=["2/5/2023", "5/2/2024"]), inputs(learnt(d=days), d=["2023-05-02", "2024-02-05"])
    )
    assert columns.columns[0].about == "elapsed days, year, month, weekday; days before months"
    assert learnt(d=["01/31/2024", "02/01/2024"]).columns[0].about == "elapsed days; months before days"
    again = Columns.of(json.loads(json.dumps(columns.described())))
    assert np.array_equal(inputs(again, d=["2/5/2023"]), inputs(columns, d=["2/5/2023"]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        *{
            "12.5 %": 0.125, "$1,250": 1250, "1,250.5": 1250.5, "1,250,000": 1.25e6, "1'250": 1250,
            "1\u202f250 €": 1250, "(3.20)": -3.2, "USD 5": 5,
            "US$1,250": 1250, "\u20a925,000": 25_000, "-A$3.20": -3.2, "R$ 5": 5,
            "Rs. 1,10,000": 110_000, "3 EUR": 3,
            "1\u2009250.5": 1250.5, "1\u2003250": 1250, "1\u2007250": 1250,
            "6:00 PM": 0.75, "12:30 a.m.": 1 / 48, "1:30.5": 90.5 / 86_400,
            "1:00:30": 3630 / 86_400, "-$3.20": -3.2, "\u22123": -3, "+£.5": 0.5, "06:00": 0.25, "1 days 12:00:00": 1.5,
            "-1 days": -1, "-0:15": -1 / 96, "\u22121:00:30": -3630 / 86_400, "+06:00": 0.25,
            "-1 days +18:00:00": -0.25,
        }.items(),
        *dict.fromkeys(["1,250", "€1,250", "R$1,250", "1,25", "(3", "$", "12:60", "1 2"]).items(),
        *dict.fromkeys(["5 kg", "1,2500.5", "USDA 5", "1_0"]).items(),
    ],
)  # fmt: skip
def test_numbers_are_read_as_people_write_them_where_that_is_sure(text, said):
    assert written_number(text) == (said and pytest.approx(said, rel=1e-15))


def test_a_number_keeps_its_order_is_bounded_and_bends_at_each_quantile():
    x = np.random.default_rng(0).standard_normal(1000)
    columns = learnt(x=x)
    new = np.array([-1e308, -1e300, -1, 0, 1, 1e300, 1e308])
    X = inputs(columns, x=new)
    first, median, third = np.quantile(x, [0.25, 0.5, 0.75])
    z = (new[2:5] - median) / (third - first)
    np.testing.assert_allclose(X[2:5, 0], z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-6)
    np.testing.assert_allclose(X[[0, 1, 5, 6], 0], [-3, -3, 3, 3], rtol=1e-6)


def test_of_many_rows_the_number_itself_weighs_as_much_as_its_bends_and_a_model_from_before_reads_as_it_did():
    """Else lines are drowned: of collinear columns their differences tell most."""
    x = np.random.default_rng(0).standard_normal((2, 2000))
    number = (columns := learnt(x=x[0], y=x[1])).columns[0].learnt
    values = number.entries(x[0])[1]
    line, bends = np.square(values[0]).mean(), np.square(values[1:]).sum(0).mean()
    assert 0.5 < line / bends < 2
    few = learnt(x=x[0, :200], y=x[1, :200]), learnt(x=x[0])
    assert [each.columns[0].learnt.weight for each in few] == [1, 1]  # there are no bends, or a series needs them most
    described = columns.described()
    assert np.array_equal(inputs(Columns.of(described), x=x[0], y=x[1]), inputs(columns, x=x[0], y=x[1]))
    del described[0]["learnt"]["weight"]
    assert np.array_equal(4 * Columns.of(described).columns[0].learnt.entries(x[0])[1][0], values[0])


def test_the_hats_of_a_number_span_what_the_bins_between_quantiles_do_and_are_as_far_apart():
    """Rows' products are those of inputs that rise from 0 to 1 in each bin: the smaller of both places among edges."""
    x = np.random.default_rng(0).standard_normal(20_000)
    number = learnt(x=x, y=x).columns[0].learnt
    assert number.inputs == 1 + 64
    at = np.array([0, 1, 10, 20, 33, 64])
    index, values = number.entries(number.edges[at] / number.scale + number.median)
    assert len(index) == 2 + 6
    X = np.zeros((len(at), number.inputs))
    np.put_along_axis(X, index.T, values.T, axis=1)
    products = 64 / 16 * X[:, 1:] @ X[:, 1:].T
    np.testing.assert_allclose(products, np.minimum.outer(at, at), atol=1e-3)  # places are told to the width of a float
    filled = np.histogram(np.interp((x - number.median) * number.scale, number.edges, np.arange(65)), np.arange(65))[0]
    np.testing.assert_allclose(filled, 20_000 / 64, atol=2)  # the rows at both ends of a bin


def test_between_edges_a_row_is_what_two_of_them_are_by_parts():
    """Any first layer makes the same of it. A hat rises by 4 sqrt(32) over a unit of place, which errs by 2^-25."""
    rng = np.random.default_rng(0)
    days = np.datetime64("2020-01-01") + rng.integers(0, 3000, 9000)
    table = {
        "x": np.where(rng.random(9000) < 0.1, np.nan, rng.standard_normal(9000)),
        "few": rng.integers(0, 9, 9000) ** 2.0,
        "two": np.arange(9000) % 2, "gaps": np.where(np.arange(9000) % 3, 7, np.nan),
        "day": np.where(np.arange(9000) % 7, days, np.datetime64("NaT", "D")),
        "c": rng.choice(["a", "b", "c", ""], 9000),
    }  # fmt: skip
    columns = learnt(**table)
    assert columns.between_edges is not None
    between, edges = columns.between_edges
    given = {name: values[:500].copy() for name, values in table.items()}
    number = columns.columns[0].learnt
    given["x"][: len(number.edges)] = number.edges / number.scale + number.median
    given["x"][-3:], given["c"][-1] = [-1e9, 1e308, 1e30], "new"
    X, fewer = (np.asarray(each.encode(read_table(given)).toarray()) for each in (columns, between))
    assert np.count_nonzero(fewer) < 0.6 * np.count_nonzero(X)
    np.testing.assert_allclose(fewer @ edges.toarray(), X, atol=2e-6)
    assert learnt(x=np.arange(200.0)).between_edges is None
    dense = learnt(x=rng.standard_normal(2000), y=rng.standard_normal(2000))
    assert not dense.sparse
    assert dense.between_edges is not None
    assert dense.between_edges[0].sparse
    many = learnt({"c": "category"}, c=np.arange(20_000) % 10_000, x=np.arange(20_000.0))
    assert many.between_edges is None  # ten thousand rows of weights are not copied for it


def test_a_value_that_most_rows_have_leaves_bins_to_the_others():
    x = np.concatenate([np.zeros(900), np.arange(1, 101)])
    edges = learnt(x=x).columns[0].learnt.edges
    assert len(edges) >= 4  # 125 of the zeros count beside the hundred others, in eight bins


@pytest.mark.parametrize(
    ("rows", "bins", "alone"),
    [(60, 0, 0), (255, 0, 0), (256, 8, 16), (4000, 8, 64), (4096, 16, 128), (20_000, 64, 128)],
)
def test_bins_of_a_number_are_fewer_where_rows_are_few_and_more_where_it_is_alone(rows, bins, alone):
    x = np.arange(float(rows))
    day = np.datetime64("1900-01-01") + x.astype(int)
    for columns, count in (
        (learnt(x=x, other=x), bins), (learnt(x=x), alone), (learnt({"y": "drop"}, x=x, y=x), alone),
        (learnt(day=day), alone),
    ):  # fmt: skip
        kind = columns.columns[0].learnt
        number = getattr(kind, "parts", {"elapsed days": kind})["elapsed days"]
        assert len(number.edges) == (count and count + 1)


@pytest.mark.parametrize("sparse", [False, True])
def test_a_category_has_an_input_each_gaps_have_one_and_what_is_unknown_has_none(sparse):
    many = [f"v{k}" for k in range(400)] * 2 if sparse else []
    known = [*many, "b", "a", "b", "a", None, "once"]
    # A number of two values is told by one input.
    columns = learnt(c=known, x=np.arange(len(known)) // (len(known) // 2))
    values = sorted({*many, "a", "b"})
    X = columns.encode(read_table({"c": ["b", "NA", "a", "never seen", "once"], "x": [0, 0, 1, 1, 1]}))
    assert isinstance(X, Sparse) == sparse
    expected = np.zeros((5, len(values) + 1))
    expected[0, values.index("b")] = expected[1, -1] = expected[2, values.index("a")] = 1
    X = X.toarray() if sparse else X
    assert np.array_equal(X[:, :-1], expected)


def test_codes_that_lost_their_zeros_on_the_way_through_numbers_are_known():
    columns = learnt(zip=["02139", "2140", "007", "07", "90210"] * 2, x=np.arange(10.0))
    values = columns.columns[0].learnt.values
    found = columns.columns[0].learnt.places(["02139", "2139", "02140", "7", "90210", "x", None])
    assert [(*values, "gap", "new")[k] for k in found] == ["02139", "02139", "new", "new", "90210", "new", "gap"]


def test_categories_that_are_new_and_columns_without_values_are_said_where_there_are_more_than_in_training():
    seldom = [None, *np.arange(7.0)]
    columns = learnt(
        c=["a", "b"] * 4, often_new=["u", "u", "v", "v", "w", "x", "y", "z"], x=np.arange(8.0), seldom=seldom
    )
    given = {"c": ["a", "A", None], "often_new": ["new", "u", "u"], "x": [0, 1, 2], "seldom": [None] * 3}
    said = "column 'c' has unknown values in 1 of 3 rows, such as 'A'; in training it had 2 values: a, b"
    assert columns.unlike(read_table(given)) == said
    given["c"] = ["a", "b", "?"]
    assert columns.unlike(read_table(given)) is None
    for name, values in (("x", ["", "NA", "2"]), ("c", ["?", None, "a"]), ("x", [1, np.nan, np.nan])):
        said = f"column {name!r} has no value in 2 of 3 rows; in training all rows had one"
        assert columns.unlike(read_table(given | {name: values})) == said
    prices = learnt(price=np.linspace(1000, 90_000, 300))
    for low, high in ((1, 90), (2e6, 9e6)):  # of thousands, or in cents
        first, last = np.quantile([low, high], [0.1, 0.9])
        said = f"column 'price' is from {first:.5g} to {last:.5g} in most rows; in training from 1000 to 90000"
        assert prices.unlike(read_table({"price": np.linspace(low, high, 21)})) == said
        assert prices.unlike(read_table({"price": np.linspace(low, high, 19)})) is None
    assert prices.unlike(read_table({"price": np.full(500, 1000.0)})) is None
    new = np.linspace(1000, 90_000, 50)
    for value, count, is_said in ((-999, 5, True), (-999, 4, False), (9_999_999, 5, True), (1000, 5, False)):
        said = (
            f"column 'price' is {value} in 10.0% of rows; in training from 1000 to 90000: "
            "where it says none, leave a gap"
        )
        table = read_table({"price": np.append(new[count:], [value] * count)})
        assert prices.unlike(table) == (said if is_said else None)
    known = learnt(price=np.append(np.linspace(1000, 90_000, 300), [-999] * 9))
    assert known.unlike(read_table({"price": np.append(new, [-999] * 5)})) is None
    spread = np.linspace(1000, 90_000, 260)
    for values in (np.append(spread, np.zeros(40)), spread[::6]):  # with smaller ones in its range; few rows
        median, found = np.median(values), learnt(price=values)
        for times, is_said in ((1 / 1000, True), (1 / 60, True), (1 / 10, False), (60, True)):
            said = f"column 'price' has the median {times * median:.5g}; in training {median:.5g}: as in another unit"
            assert found.unlike(read_table({"price": values * times})) == (said if is_said else None)
        assert found.unlike(read_table({"price": np.sort(values)[:30]})) is None
    angles = np.linspace(-90, 90, 300)
    found = learnt(angle=angles)
    said = "column 'angle' has quartiles 1.5708 apart; in training 90: as in another unit"
    assert found.unlike(read_table({"angle": np.radians(angles)})) == said
    assert found.unlike(read_table({"angle": angles[100:200]})) is None
    many = {name: np.repeat(values, 7) for name, values in given.items()}
    assert (
        columns.unlike(read_table(many))
        == "column 'seldom' has no value in 21 of 21 rows; in training some rows had one"
    )
    empty = [None] * 250
    for filled, is_said in ((3, False), (200, True)):  # of 2,250: all of 250 are gaps in 7 of 10 draws, and in none
        found = learnt(x=np.arange(2250.0), seldom=[*np.arange(filled), *[None] * (2250 - filled)])
        table = read_table({"x": np.arange(250.0), "seldom": empty})
        assert (found.unlike(table) is not None) == is_said
        assert (Columns.of(json.loads(json.dumps(found.described()))).unlike(table) is not None) == is_said


@pytest.mark.parametrize("learnt_as", [("True", "False"), ("yes", "no"), ("T", "F"), ("Y", "N")])
@pytest.mark.parametrize("given", [[True, False, None], [1, 0, np.nan], ["on", "off", "?"], ["y", "N", ""]])
def test_another_word_for_yes_or_no_is_the_same_category(learnt_as, given):
    """An export has 1 and 0 where pandas wrote True and False."""
    columns = learnt(c=[*learnt_as] * 4, x=np.arange(8.0))
    first, second = ({"c": np.array(values, object), "x": np.zeros(3)} for values in ([*learnt_as, None], given))
    np.testing.assert_array_equal(columns.encode(read_table(first)), columns.encode(read_table(second)))
    assert columns.unlike(read_table(second)) is None
    of_three = learnt(c=[*learnt_as, "maybe"] * 3, x=np.arange(9.0))
    assert of_three.unlike(read_table({"c": ["on"], "x": [0]})) is not None


def test_a_hundred_thousand_categories_cost_an_entry_a_row():
    rows = 200_000
    table = read_table({"key": np.arange(rows) % 100_000, "x": np.arange(rows) % 2})
    columns = Columns.learn(table, {"key": "category"})
    assert columns.inputs == 100_000 + 1
    tracemalloc.start()
    X = columns.encode(table)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(X.data) <= 2 * rows
    assert most < 200 * rows  # bytes, of which the matrix has 24; with its zeros it would have 400,000


def test_rows_hold_no_zeros():
    x = np.maximum(np.arange(20_000.0), 4000)
    X = learnt(x=x).encode(read_table({"x": x}))
    assert isinstance(X, Sparse)
    assert X.data.all()
    assert np.diff(X.indptr)[[0, -2]].tolist() == [1, 9]  # no hat rises at the least of the values


def test_integers_said_to_be_categories_are_the_same_as_floats_and_as_text():
    columns = learnt({"zip": "category"}, zip=[8001, 8002, 8001, 8002])
    for zips in ([8002, 8001], [8002.0, 8001.0], ["8002", "8001.0"], np.array([8002, 8001.0], object)):
        assert np.array_equal(inputs(columns, zip=zips), [[0, 1], [1, 0]])
    sizes = learnt({"size": "category"}, size=np.array([0.1, 3, 0.1, 3], np.float32))
    for values in ([3, 0.1], ["3.0", "0.1"], np.array([3, 0.1], np.float32), np.array([3, 0.1], np.float16)):
        assert np.array_equal(inputs(sizes, size=values), [[0, 1], [1, 0]])


@pytest.mark.parametrize(
    ("values", "others"),
    [
        (["30", "7", "30", "7"], [decimal.Decimal("30.00"), decimal.Decimal("7.0")]),
        (["Zürich", "Genève"] * 2, ["Zu\u0308rich", "Gene\u0300ve"]),  # as macOS writes names
    ],
)
def test_a_category_is_the_same_however_it_is_spelt(values, others):
    columns = learnt({"c": "category"}, c=values)
    assert np.array_equal(inputs(columns, c=np.array(others, object)), inputs(columns, c=values[:2]))


def test_true_and_false_are_the_same_as_booleans_and_as_text_of_any_program():
    columns = learnt(paid=[True, False, True, False])
    for paid in ([False, True], ["False", "True"], ["false", "TRUE"], np.array([False, "true"], object)):
        assert np.array_equal(inputs(columns, paid=paid), [[1, 0], [0, 1]])


def test_bytes_that_are_not_in_utf_8_are_as_many_categories():
    names = [b"Andr\xe8", b"Andr\xe9"]
    assert np.array_equal(inputs(learnt(name=names * 2), name=names), np.eye(2))


def test_a_date_is_days_month_and_weekday():
    days = np.arange("2023-03-01", "2024-03-01", dtype="datetime64[D]")
    columns = learnt(d=days)
    assert [*columns.columns[0].learnt.parts] == ["elapsed days", "year", "month", "weekday"]
    X = inputs(columns, d=["2024-02-29", None])
    ones = X[0][-19:]
    assert ones.sum() == 2
    by_name = columns.columns[0].learnt.parts
    assert by_name["month"].values[int(np.flatnonzero(ones[:12])[0])] == "2"
    assert by_name["weekday"].values[int(np.flatnonzero(ones[12:])[0])] == "3"  # a Thursday
    assert not X[1].any()


def test_numbers_are_finite_inputs_however_close_they_are():
    close = np.arange(8) * 5e-324
    for x in (close, np.append(close, 1.0)):  # the inverse of the quartiles' distance is infinite
        columns = learnt(x=x, y=np.arange(len(x)))
        X = inputs(columns, x=x, y=x)
        assert np.isfinite(X).all()
        assert (columns.columns[0].kind == "number") == bool(x[-1] == 1)
    json.dumps(columns.described(), allow_nan=False)


def test_months_and_years_are_durations_of_as_many_days_as_on_the_mean():
    for unit, days in (("M", 30.436875), ("Y", 365.2425)):
        assert as_numbers(np.array([0, 2, "NaT"], f"timedelta64[{unit}]")).tolist()[:2] == pytest.approx([0, 2 * days])


def test_long_values_of_a_category_are_named_in_a_line():
    about = learnt(text=["first line\nsecond" + "!" * 1000, "b"] * 3).columns[0].about
    assert about == "2 values: b, first line second" + "!" * 23


def test_a_gap_is_neutral_and_said():
    x = np.array([1.0, 2, np.nan, 4, 5, 6, 7, 8])
    columns = learnt(x=x)
    X = inputs(columns, x=x)
    assert X[:, -1].tolist() == [0, 0, 1, 0, 0, 0, 0, 0]
    assert not X[2, :-1].any()
    assert inputs(learnt(x=np.arange(8.0)), x=[np.nan])[0].tolist() == [0] * learnt(x=np.arange(8.0)).inputs
    constant = learnt(x=[3.0, 3, np.nan], y=[1.0, 2, 3])
    assert inputs(constant, x=[3, np.nan], y=[1, 1])[:, 0].tolist() == [0, 1]  # where it is missing may say something
    closed = learnt(x=["2024-01-31", "2024-01-31", ""])
    assert inputs(closed, x=["", "2024-01-31", "2025-02-01"])[:, 0].tolist() == [1, 0, 0]
    assert closed.columns[0].about == "constant but for gaps"


@pytest.mark.parametrize("name", ["id", "row_id", "PassengerId", "index"])
def test_numbers_of_rows_are_dropped_unless_they_are_said_to_be_more(name):
    values = {name: np.arange(100, 110), "x": np.arange(10.0)}
    assert Columns.learn(read_table(values)).columns[0].kind == "drop"
    assert Columns.learn(read_table(values), {name: "number"}).columns[0].kind == "number"
    again = {name: np.arange(10) // 2, "x": np.arange(10.0)}
    assert Columns.learn(read_table(again)).columns[0].kind == "number"


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("id", np.arange(10) // 5, "category"),
        ("user_id", np.arange(10.0) // 5, "category"),
        ("userID", ["-7"] * 5 + ["12"] * 5, "category"),
        ("id", np.arange(10) // 5 + 0.5, "number"),
        ("acid", np.arange(10) // 5, "number"),
        ("x", np.arange(10) // 5, "number"),
        (0, np.arange(10) // 5, "number"),
    ],
)
def test_integers_that_come_again_are_names_under_the_name_of_an_id_which_is_said(name, values, kind):
    columns = Columns.learn(read_table({name: values}))
    assert columns.columns[0].kind == kind
    said = [f"{name!r} is taken for a category; --column {name}=number reads numbers"]
    assert columns.doubtful == (said if kind == "category" else [])
    assert Columns.learn(read_table({name: values}), {name: "number"}).columns[0].kind == "number"


@pytest.mark.parametrize("form", ["{}A", "“{}.5”", "no {}/7"])
def test_a_category_whose_values_hardly_repeat_is_said_where_they_have_digits(form):
    texts = [form.format(k) for k in range(20)]
    columns = learnt(a=np.array([*texts, texts[-1]], object), b=np.array([*"abcdefgha"] + [None] * 12, object))
    line = f"'a' is taken for a category, though 19 of its values occur once; others are such as {texts[-1]!r}"
    assert columns.doubtful == [line]


def test_columns_go_by_name_in_any_order():
    columns = learnt(a=[1.0, 2, 3], b=["x", "y", "x"], c=["u", "u", "v"])
    given = inputs(columns, a=[1.0], b=["x"], c=["u"])
    assert np.array_equal(inputs(columns, c=["u"], b=["x"], a=[1.0]), given)
    assert np.array_equal(inputs(columns, c=["u"], b=["x"], a=[1.0], others=[[1, 2]]), given)


AS_OTHERS = "which is no number as its others are"
REFUSED = [
    ({"a": [None, "?", "NA"], "b": [1, 2, 3]}, "column 'a' is all gaps; leave it out"),
    ({"a": [1, 1, 1], "b": ["x", "x", "x"]}, "no column is left to learn from ('a': it is constant"),
    ({"a": [1, 2], "b": [1]}, "differ in length"),
    ({"a": 1.0}, "column 'a' of X has the shape (); it must be a list of values"),
    ({"a": [[1, 2], [3, 4]]}, "column 'a' holds values of the type ndarray; each must be a number, a text or a date"),
    ("table.csv", "X is 'table.csv'; it must be the table itself: pandas.read_csv('table.csv')"),
    ({"a": [1j, 2]}, "Complex data not supported: column 'a' of X; it must hold numbers, text or dates"),
    ({"a": np.array([[1, 2], [3]], object)}, "column 'a' holds values of the type list; each must be a number"),
    ({"a": [{"k": 1}, {"k": 2}]}, "column 'a' holds values of the type dict"),
    ({"a": 2**62 + np.arange(3)}, "('a': its values are one float64; subtract what they have in common"),
    ({}, "0 feature(s)"),
    ({"a": ["1", "2", "3", "two"]}, f"column 'a' holds 'two', {AS_OTHERS}; mend it, or say"),
    ({"a": [*map(str, range(50)), *["unknown"] * 50]}, f"column 'a' holds 'unknown', {AS_OTHERS}"),
    ({"a": ["2024-01-01", "2024-01-02", "never"]}, "column 'a' holds 'never', which is no date as its others are"),
    ({"a": ["1,500", "2,500"]}, f"column 'a' holds '1,500', {AS_OTHERS}"),
    ({"a": [f"{k} kg" for k in range(50)]}, f"column 'a' holds '0 kg', {AS_OTHERS}"),
    ({"a": [f"{k},5-" for k in range(50)]}, f"column 'a' holds '0,5-', {AS_OTHERS}"),
    (
        {"a": ["01/02/2024", "03/02/2024", "02/03/2024"]},
        "of which either number may be the month; it must have them as 2024-",
    ),
    ({"a": ["05/04/2024", "06/04/2024"]}, "of which either number may be the month"),  # April's days, or May and June
    ({"a": ["03/04/21"]}, "either number may be the month; it must have them as 2021-03-04, or be left out"),
    ({"a": ["19-04-30", "20-05-11", "19-06-12"]}, "may be the year; it must have them as 2019-04-30, or be left out"),
    *(
        ({"a": values}, f"column 'a' holds {said!r}, {AS_OTHERS}")
        for said, values in {
            "inf": ["1", "2", "3", "inf", "inf"],
            "2": ["1 %", "0", "2"],
            "€3": ["$1", "2", "€3"],
            "59.5": ["1:00.5", "59.5"],
            "0.5*": [f"{k}.5" + "*" * (k % 4 == 0) for k in range(40)],
            "<0": [f"<{k}" for k in range(40)],
            "€0.5M": [f"€{k}.5{unit}" for k in range(20) for unit in "MK"],
            "Rs. 1,500": [f"Rs. {k},500" for k in range(1, 40)],
            "0±0.5": [f"{k}±0.5" for k in range(40)],
            "0×10^-3": [f"{k}×10^-3" for k in range(40)],
        }.items()
    ),
    ({"a": [1.0, np.inf, 2.0]}, "column 'a' holds inf, which is not finite; where there is no number leave a gap"),
]
REFUSED_AS_SAID = [
    ({"a": [1, 2]}, "columns names 'z', but the table has 'a'", {"z": "number"}),
    ({"a": [1, 2]}, "it must be one of number, category, date, drop", {"a": "integer"}),
    ({"a": ["1", "two"]}, "column 'a' holds 'two', which is no number", {"a": "number"}),
    ({"a": ["2024-02-30", "2024-01-01"]}, "column 'a' holds '2024-02-30', which is no date", {"a": "date"}),
]


@pytest.mark.parametrize(("table", "message", "said"), [*((*each, None) for each in REFUSED), *REFUSED_AS_SAID])
def test_what_cannot_be_learnt_from_is_refused_in_one_line(table, message, said):
    with pytest.raises(InputError) as error:
        Columns.learn(read_table(table), said)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"b": [1.0]}, "the table lacks 'a'; it must have the columns that the model was fitted to"),
        ({"b": [1.0], "A": [1.0]}, "the table lacks 'a', and the model does not know 'A'; it must have"),
        ({"a": ["much"], "b": [1.0]}, "column 'a' holds 'much', which is no number"),
        ({"a": [1.0], "b": [-np.inf]}, "column 'b' holds -inf, which is not finite"),
        ({"a": ["-inf"], "b": [1.0]}, "column 'a' holds -inf, which is not finite"),
    ],
)
def test_other_columns_than_in_training_are_refused_by_name(table, message):
    columns = learnt(a=[1.0, 2, 3], b=[1.0, 2, 4])
    with pytest.raises(InputError, match=message):
        columns.encode(read_table(table))


def test_what_became_of_each_column_is_a_short_table():
    text = str(learnt(n=[1.0, 2, None, 4], c=["u", "v", "u", "v"], k=[1, 1, 1, 1]))
    assert [line.split()[:3] for line in text.splitlines()] == [
        ["column", "is", "inputs"], ["n", "number", "2"], ["c", "category", "2"], ["k", "drop", "0"],
    ]  # fmt: skip
    assert text.endswith("it is constant")


def test_a_data_frame_of_numbers_needs_no_narwhals(monkeypatch):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2], "b": [0.5, np.nan]})
    monkeypatch.setitem(sys.modules, "narwhals", None)
    assert {name: values.tolist()[0] for name, values in read_table(frame).columns.items()} == {"a": 1, "b": 0.5}
    with pytest.raises(InputError, match="a data frame of text, dates or gaps needs narwhals; pip install"):
        read_table(frame.assign(c="x"))


@pytest.mark.filterwarnings("ignore:Determining the column names of a LazyFrame")
@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_data_frames_are_read_as_what_they_hold(library):
    pytest.importorskip("narwhals")
    module = pytest.importorskip(library)
    days = [datetime.datetime(2024, 1, k, 12) for k in (1, 2, 3)]
    given = {"n": [1, None, 3], "t": ["a", None, "b"], "b": [True, False, True], "d": days}
    frame = module.table(given) if library == "pyarrow" else module.DataFrame(given)
    table = read_table(frame).columns
    assert np.array_equal(as_numbers(table["n"]), [1, np.nan, 3], equal_nan=True)
    for rows in (slice(None), slice(1, 3), np.array([2, 0, 0])):
        listed, codes = texts_of(table["t"][rows])
        assert [listed[code] for code in codes] == np.array(given["t"], object)[rows].tolist()
    assert as_dates(table["d"]).tolist() == days
    if library == "polars":
        with pytest.raises(InputError, match="^X is LazyFrame; it must be a data frame, such as X.collect()"):
            read_table(frame.lazy())
    if library == "pyarrow":  # a dictionary with a gap, of which NumPy's own view has another value in the gap
        table = read_table(module.table({"t": module.array(["a", None, "b"]).dictionary_encode()})).columns
        assert [texts_of(table["t"])[0][code] for code in texts_of(table["t"])[1]] == ["a", None, "b"]
    if library != "pyarrow":  # integers that are said to be categories
        integers = module.Series([3, 7, 3])
        said = (
            integers.astype("category")
            if library == "pandas"
            else integers.cast(module.String).cast(module.Categorical)
        )
        assert Columns.learn(read_table(module.DataFrame({"x": said}))).columns[0].kind == "category"
    if library == "pandas":
        with pytest.raises(InputError, match="^X has more than one column 'n'; each must have a name of its own$"):
            read_table(module.concat([frame, frame[["n"]]], axis=1), wanted=["t"])
        texts = frame["t"].astype("string[python]"), frame["t"].astype(module.StringDtype("python", np.nan))
        assert [read_table({"t": each}).columns["t"].tolist() for each in texts] == [["a", None, "b"]] * 2
        typed = frame.assign(n=module.array([1, None, 3], "Int64"), t=frame["t"].astype("category"))
        typed["d"] = typed["d"].dt.tz_localize("Europe/Zurich")
        table = read_table(typed).columns
        assert np.array_equal(as_numbers(table["n"]), [1, np.nan, 3], equal_nan=True)
        assert [texts_of(table["t"])[0][code] for code in texts_of(table["t"])[1]] == ["a", None, "b"]
        assert as_dates(table["d"]).tolist() == [day - datetime.timedelta(hours=1) for day in days]
        said = module.Series(["b", None, "a", "b"], dtype=module.CategoricalDtype(["never there", "b", "a"]))
        values, plain = read_table(module.DataFrame({"t": said})).columns["t"], np.array(["b", None, "a", "b"], object)
        for rows in (slice(None), slice(1, 3), np.array([3, 0, 0])):
            listed, codes = texts_of(values[rows])
            assert [listed[code] for code in codes] == plain[rows].tolist()
            assert {*listed} == {*plain[rows]}


def test_the_columns_of_a_dict_are_those_of_the_data_frame_that_they_come_from():
    pytest.importorskip("narwhals")
    pandas, polars, arrow = map(pytest.importorskip, ("pandas", "polars", "pyarrow"))
    codes = [7, None, 9, 7, 9]
    text = [None if code is None else str(code) for code in codes]
    for frame in (
        pandas.DataFrame({"zip": pandas.Categorical(codes)}),
        pandas.DataFrame(
            {"zip": pandas.array(codes, pandas.ArrowDtype(arrow.dictionary(arrow.int32(), arrow.int64())))}
        ),
        polars.DataFrame({"zip": polars.Series(text, dtype=polars.Categorical)}),
        arrow.table({"zip": arrow.chunked_array([arrow.array(codes).dictionary_encode()])}),
    ):
        for given in (frame, {"zip": frame["zip"]}):
            columns = Columns.learn(table := read_table(given))
            assert (columns.columns[0].kind, columns.columns[0].learnt.values) == ("category", ("7", "9")), type(frame)
            listed, places = texts_of(table.columns["zip"])
            assert [listed[place] for place in places] == text
    wide = polars.DataFrame({"x": polars.Series([2**70, None, 3], dtype=polars.Int128)})
    assert np.array_equal(as_numbers(read_table(wide).columns["x"]), [2.0**70, np.nan, 3], equal_nan=True)


def test_a_structured_array_has_columns():
    rows = np.array([(1.5, "a", 3), (2.5, "b", 4), (np.nan, "a", 5)], [("x", float), ("t", "U1"), ("n", int)])
    found, expected = (read_table(X).columns for X in (rows, {name: rows[name] for name in "xtn"}))
    assert [*found] == ["x", "t", "n"]
    assert all(np.array_equal(found[name], expected[name], equal_nan=name != "t") for name in found)
    with pytest.raises(InputError, match="the table lacks 't'; it must have the columns"):
        Columns.learn(read_table(rows)).encode(read_table(rows[["x", "n"]]))


IDS = (2**62 + np.arange(60) % 3).tolist()  # as float64 they are one


def test_ids_among_numbers_keep_all_their_digits(tmp_path):
    (tmp_path / "ids.csv").write_text("x,user_id,y\n" + "".join(f"{k},{IDS[k]},{k // 30}\n" for k in range(60)))
    data = fastmlp.load(str(tmp_path / "ids.csv"), label_column="y", val_fraction=None, say=print)
    given = dataset_of({"x": range(60), "user_id": IDS}, data.y, None, None, None, configure(val_fraction=0.1), print)
    for X in (data.X, given.X):
        assert len(Columns.learn(X).columns[1].learnt.values) == 3


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_ids_with_gaps_keep_all_their_digits(library):
    pytest.importorskip("narwhals")
    module, columns = pytest.importorskip(library), {"user_id": [*IDS, None]}
    frame = module.table(columns) if library == "pyarrow" else module.DataFrame(columns)
    if library == "pandas":
        frame = module.DataFrame(columns, dtype="Int64")
    assert Columns.learn(read_table(frame)).columns[0].learnt.values == tuple(map(str, IDS[:3]))
