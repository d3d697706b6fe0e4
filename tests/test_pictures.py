"""Folders and archives of images: which files are read, into what classes, of what size; and what is refused."""

import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from lines import one_line

pytest.importorskip("PIL")

from PIL import Image

import fastmlp
from fastmlp import evaluate, predict, report, train
from fastmlp.data import load
from fastmlp.data.files import files_below
from fastmlp.data.synthetic import synthetic_digits
from fastmlp.errors import InputError


@pytest.fixture(autouse=True)
def place(here, monkeypatch, request):
    monkeypatch.delenv("FASTMLP_DATA", raising=False)
    if "trains" not in request.fixturenames:  # else the compiled kernels are in the cache
        monkeypatch.setenv("FASTMLP_CACHE", str(here / "cache"))


@pytest.fixture
def trains():
    """The test trains a network."""


def picture(name, pixels=None, mode="L", size=None):
    """Write an image, by default grey noise that its name decides, of 8 x 8."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if pixels is None:
        pixels = np.random.default_rng(list(name.encode())).integers(0, 256, (8, 8)).astype(np.uint8)
    image = Image.fromarray(pixels).convert(mode)
    (image if size is None else image.resize(size)).save(path)
    return pixels


def folder(where="set", classes="ab", count=4, **how):
    return {f"{name}/{k}.png": picture(f"{where}/{name}/{k}.png", **how) for name in classes for k in range(count)}


def zipped(where, name=None, top=""):
    """A .zip of the folder."""
    with zipfile.ZipFile(path := name or f"{where}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(Path(where).rglob("*")):
            archive.write(file, top + file.relative_to(where).as_posix())
    return path


def read(spec="set", **options):
    """(the data set, the lines that were said)."""
    lines = []
    return load(spec, val_fraction=None, say=lines.append, **options), lines


def require(data, images):
    np.testing.assert_array_equal(data.X, [pixels.reshape(-1) for pixels in images.values()])
    assert [data.classes[k] for k in data.y] == [name.split("/")[0] for name in images]


# -- what is read
# -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how", ["folder", "zip", "zip with a directory around all", "zip by content", "folder around all"]
)
def test_images_are_the_samples_of_their_directories_names(how):
    images = folder()
    spec = "set"
    if how.startswith("zip"):
        spec = zipped("set", "set.data" if "content" in how else None, "some name/" if "around" in how else "")
        shutil.rmtree("set")
    elif "around" in how:
        shutil.move("set", "outer/set")
        os.rename("outer", spec)
    data, lines = read(spec)
    require(data, images)
    assert (data.image_shape, data.X.dtype, data.name, lines) == ((8, 8), np.uint8, "set", [])


@pytest.mark.parametrize("form", ["folder", "zip"])
@pytest.mark.parametrize(
    ("train_name", "test_name", "said"),
    [
        ("train", "test", []), ("Training", "testing", []), ("train", "val", ["val is taken for the test set"]),
        ("training_set", "test_set", []), ("seg_train/seg_train", "seg_test/seg_test", []),
        ("images-train", "TEST images", []), ("trainingSet/trainingSet", "testSet", []),
    ],
)  # fmt: skip
def test_train_and_test_are_told_apart_by_their_directories(form, train_name, test_name, said):
    images, held_out = folder(f"set/{train_name}"), folder(f"set/{test_name}", count=2)
    spec = "set" if form == "folder" else zipped("set", top="set/")
    lines = []
    data = load(spec, say=lines.append)
    require(data, images)
    np.testing.assert_array_equal(data.X_test, [pixels.reshape(-1) for pixels in held_out.values()])
    assert lines == [f"{spec}: {line}" for line in said]


def test_of_two_directories_to_train_on_the_larger_is_taken_and_images_to_predict_are_left_out():
    images = folder("set/trainingSet/trainingSet")
    folder("set/trainingSample/trainingSample", count=2)
    held_out = folder("set/val", count=2)
    for name in ("0", "1", "2"):
        picture(f"set/testSet/testSet/{name}.png")
    data, lines = read()
    require(data, images)
    assert len(data.y_test) == len(held_out)
    left_out = (
        "testSet/testSet/0.png, testSet/testSet/1.png, testSet/testSet/2.png, trainingSample/trainingSample/a/0.png, "
    )
    assert [
        line
        for line in lines
        if f": 7 files ({left_out}" in line and "in no directory of a class in trainingSet or val and" in line
    ]
    shutil.rmtree("set/trainingSet/trainingSet")
    for name in ("cat.0", "dog.0"):
        picture(f"set/trainingSet/trainingSet/{name}.png")
    shutil.rmtree("set/trainingSample")
    with pytest.raises(InputError, match="trainingSet holds no directories of images; it must hold one for each class"):
        read()


def test_classes_may_be_called_train_and_test():
    images = folder(classes=["car", "test", "train"])
    require(read()[0], images)


def test_a_directory_around_all_may_have_a_parts_name_in_its_own():
    images = folder("set/digits-test")
    require(read()[0], images)


def test_directories_below_those_of_the_classes_are_said():
    folder()
    folder("set/b", classes=["a"])
    data, lines = read()
    assert (data.classes, len(data.y)) == (("a", "b"), 12)
    assert lines == ["set: the classes are a, b; directories below them, such as b/a, are not told apart"]


def test_classes_that_are_numbers_are_in_the_order_of_numbers():
    folder(classes=["10", "9", "0"], count=1)
    assert read()[0].classes == ("0", "9", "10")


def test_classes_may_be_links_to_directories():
    images = folder()
    Path("links").mkdir()
    for each in Path("set").iterdir():
        Path("links", each.name).symlink_to(each.resolve())
    require(read("links")[0], images)


def test_links_that_lead_back_are_not_followed():
    images = folder()
    Path("set/here").symlink_to(".")
    Path("set/a/up").symlink_to("..")
    require(read()[0], images)
    Path("set/a/other").symlink_to("../b")
    Path("set/b/other").symlink_to("../a")
    linked = [name.replace(a, f"{b}/other", 1) for a, b in ("ab", "ba") for name in images if name.startswith(a)]
    assert sorted(name for name, _ in files_below(Path("set"))) == sorted([*images, *linked])


def test_classes_that_differ_in_capitals_alone_are_said():
    folder(classes=["Cat", "cat", "dog"])
    assert read()[1] == ["'Cat' and 'cat' are two classes; write them alike if they are one"]


def test_what_systems_leave_is_passed_over_and_what_is_no_image_said():
    images = folder()
    for name in (".DS_Store", "a/Thumbs.db", "a/.hidden.png", ".git/x/y.png", "__MACOSX/a/._0.png", "b/desktop.ini"):
        Path("set", name).parent.mkdir(parents=True, exist_ok=True)
        Path("set", name).write_bytes(b"x")
    Path("set/labels.csv").write_text("a,b\n1,2\n")
    picture("set/loose.png")
    for spec in ("set", zipped("set")):
        data, lines = read(spec)
        require(data, images)
        assert lines == [
            f"{spec}: labels.csv is no image such as .jpg or .png and not used",
            f"{spec}: loose.png is in no directory of a class and not used",
        ]


@pytest.mark.parametrize(("parts", "where"), [([""], ""), (["train", "test"], " in train or test")])
def test_a_directory_without_images_is_said_to_make_no_class(parts, where):
    for part in parts:
        folder(f"set/{part}")
    Path("set", parts[0], "c", "deeper").mkdir(parents=True)
    data, lines = read()
    assert (data.classes, lines) == (("a", "b"), [f"set: directories without images{where} make no classes: c"])


@pytest.mark.parametrize(
    ("sizes", "shape"),
    [
        ([(20, 30)] * 4, (30, 20)),  # width and height
        ([(20, 30)] * 3 + [(40, 10)], (30, 20)),
        ([(10, 10), (20, 30), (30, 30), (40, 50), (41, 50)], (30, 30)),  # none prevails: the medians
        ([(640, 480)] * 4, (48, 64)),
        ([(50, 200)] * 4, (64, 16)),
    ],
)
def test_images_of_any_size_are_made_as_large_as_most_of_them_are(sizes, shape):
    for name in "ab":
        for k, size in enumerate(sizes):
            picture(f"set/{name}/{k}.png", size=size)
    data, lines = read()
    assert data.image_shape == shape
    assert len(lines) == (sizes != [shape[::-1]] * 4)
    assert all(f"made grey and {shape[1]} x {shape[0]}" in line for line in lines)


def test_an_image_is_resized_for_training_as_it_is_for_predict():
    folder(size=(30, 20))
    picture("set/a/large.png", size=(90, 80))
    data, _ = read()
    with Image.open("set/a/large.png") as image:
        wanted = np.asarray(image.resize((30, 20), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(data.X[data.tested.files.index("a/large.png")], wanted.reshape(-1))


def test_colours_transparency_and_turned_photographs_are_as_predict_sees_them():
    images = folder()
    pixels = images["a/0.png"]
    Image.fromarray(pixels).convert("RGB").save("set/a/0.png")
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[..., 3] = 255 - images["a/1.png"]  # black ink on nothing
    Image.fromarray(rgba).save("set/a/1.png")
    tag = Image.Exif()
    tag[0x0112] = 6
    Image.fromarray(images["b/1.png"]).transpose(Image.Transpose.ROTATE_90).save("set/b/1.png", exif=tag)
    data, lines = read()
    require(data, images)
    assert lines == ["2 images, such as set/a/0.png (8 x 8 RGB), made grey and 8 x 8"]


def test_a_test_folder_is_made_as_large_as_the_training_images():
    folder(), folder("other", size=(30, 30))
    for spec in ("other", zipped("other")):
        data, lines = read(test=spec)
        assert data.X_test.shape == (8, 64)
        assert lines == [f"8 images, such as {spec}/a/0.png (30 x 30 L), made grey and 8 x 8"]


def test_the_second_reading_is_from_the_cache_until_a_file_changes(monkeypatch):
    from fastmlp.data import pictures

    folder()
    first, _ = read()
    times = []
    read_images = pictures.read_images
    monkeypatch.setattr(
        pictures, "read_images", lambda *given, **named: times.append(1) or read_images(*given, **named)
    )
    again, _ = read()
    np.testing.assert_array_equal(again.X, first.X)
    assert times == []
    picture("set/a/0.png", np.zeros((8, 8), np.uint8))
    os.utime("set/a/0.png", ns=(1, 1))
    assert read()[0].X[0].max() == 0
    picture("set/b/9.png")
    assert len(read()[0].X) == 9
    assert times == [1, 1]
    os.rename("set/b", "set/c")
    assert read()[0].classes == ("a", "c")


# -- what is refused
# ----------------------------------------------------------------------------------------------------


def damaged():
    folder()
    content = Path("set/b/1.png").read_bytes()
    for name in ("a/2.png", "b/1.png", "b/3.png"):
        Path("set", name).write_bytes(content[:60])


def renamed():
    """Photographs that are no JPEG but are called so: of none the size is known."""
    folder()
    for path in Path("set").glob("?/*.png"):
        path.write_bytes(b"\0\0\0\x18ftypheic")


def moved():
    """Links whose targets have gone, one of them no image."""
    folder()
    os.symlink("gone.png", "set/a/0.5.png")
    os.symlink("gone", "set/notes")


def archive(name, content):
    def make():
        with zipfile.ZipFile("set.zip", "w") as file:
            file.writestr(name, content)

    return make


BAD = {
    "unreadable": ("set", damaged, "set/a/2.png: not a readable image"),
    "unreadable, which": ("set", damaged, "; 2 more cannot be read: set/b/1.png, set/b/3.png"),
    "all unreadable": ("set", renamed, "set/a/0.png: not a readable image (cannot identify image file); 7 more cannot"),
    "links to nothing": ("set", moved, "set/a/0.5.png: no such file"),
    "one class": ("set", lambda: folder(classes="a"), "all labels are 'a'; there must be at least two classes"),
    "no classes": ("set", lambda: picture("set/a.png"),
        "set: its images have no classes; each class must have a directory"),
    "only a test set": ("set", lambda: folder("set/test"), "set: holds test, and no train directory to train on"),
    "a zip of a page": ("set.zip", archive("a.html", "1,2"),
        "set.zip: holds no images, but a.html; it must hold a directory"),
    "a zip of loose images": ("set.zip", archive("a.png", "x"), "set.zip: its images (a.png) are in no directories"),
    "an empty zip": ("set.zip", archive("a/", ""), "set.zip: holds no files; it must hold a directory of images"),
    "no zip": ("set.zip", lambda: Path("set.zip").write_text("x"), "set.zip: not a valid .zip file"),
    "labels apart": (
        "set", lambda: [Path("set").mkdir(), *(Path("set", f"{k}_a.csv").write_text("1,2\n") for k in "Xy")],
        "set: holds samples in X_a.csv and, it seems, their labels in y_a.csv; they must be in one table, or in X.npy",
    ),
    "an empty folder": ("set", lambda: Path("set").mkdir(), "files, and no directory of images for each class"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_trained_on_is_one_line(name, command):
    spec, make, message = BAD[name]
    make()
    one_line(command(train, "--data", spec), 2, message)
    assert not Path("runs").exists()


def test_images_are_not_left_on_disk_and_have_no_columns():
    folder()
    with pytest.raises(InputError, match="--memory 5: set is a directory of images, which is read whole"):
        read(memory=5)
    with pytest.raises(InputError, match="--label-column x: names a column of a table"):
        read(label_column="x")


# -- the commands
# -------------------------------------------------------------------------------------------------------


@pytest.fixture
def digits_folder(trains):
    """Digits in dark ink on white paper, as PNG and JPEG, and a run on them."""
    X, y = synthetic_digits(600, 5)
    for k, (image, label) in enumerate(zip(X.reshape(-1, 28, 28), y)):
        picture(
            f"set/{'train' if k < 500 else 'test'}/{'abcdefghij'[label]}/{k}.{'png' if k % 3 else 'jpg'}", 255 - image
        )
    assert train.main(["--data", "set", "--epochs", "12", "--out", "run", "-q"]) == 0


def test_a_folder_is_trained_on_evaluated_predicted_and_reported(digits_folder, trains, succeeds):
    assert fastmlp.load_model("run").light_border
    accuracy = float(succeeds(evaluate, "run").out.split()[2].rstrip("%,"))
    assert accuracy > 80  # dark on white is centred: as it comes the units die, and it is 10
    for given, shown in (("set/test", "set/test"), (zipped("set/test", "new.zip", "top/"), "new.zip/top")):
        out, err = succeeds(predict, "run", given)
        rows = [line.split("\t") for line in out.splitlines()]
        assert sorted(name for name, _ in rows) == sorted(
            str(Path(shown, file.relative_to("set/test"))) for file in Path("set/test").glob("*/*")
        )
        right = sum(Path(name).parent.name == found for name, found in rows)
        assert right == round(accuracy * len(rows) / 100)
        assert "border" not in err
        assert float(succeeds(evaluate, "run", "--data", given).out.split()[2].rstrip("%,")) == accuracy
    files = list(Path("set/test/a").glob("*.png"))
    assert len(succeeds(predict, "run", "set/test/a/*.png").out.splitlines()) == len(files)
    pytest.importorskip("matplotlib")
    succeeds(report, "run")
    page = Path("run/report/report.html").read_text()
    assert "Files are those in set." in page
    wrong = next(name for name, found in rows if Path(name).parent.name != found)
    assert str(Path(wrong).relative_to(shown)) in page


def test_light_ink_is_noticed_by_a_model_of_dark_ink(digits_folder, trains, succeeds):
    with Image.open(next(Path("set/test/a").glob("*.png"))) as image:
        Image.fromarray(255 - np.asarray(image)).save("dark.png")
    err = succeeds(predict, "run", "dark.png").err
    assert err.startswith("dark.png has a dark border; for light ink on dark paper give --invert\n")
    assert succeeds(predict, "run", "dark.png", "--invert") == ("a\n", "")


def test_an_image_that_could_be_either_is_called_doubtful(trains, succeeds):
    model = fastmlp.fit(fastmlp.load("synthetic"), hidden=(), steps=20).model
    model.save("model.npz")
    X, _ = synthetic_digits(400, 9)
    P = model.predict_proba(X)
    order = P.max(1).argsort()
    for name, k in (("sure.png", order[-1]), ("either.png", order[0])):
        picture(name, X[k].reshape(28, 28))
    assert succeeds(predict, "model.npz", "sure.png").err == ""
    second, first = P[order[0]].argsort()[-2:]
    assert succeeds(predict, "model.npz", "either.png").err == (
        f"either.png: doubtful: {first} with {P[order[0], first]:.0%}, {second} with {P[order[0], second]:.0%}\n"
    )


def test_a_model_of_drawings_is_evaluated_on_photographs_as_predict_prepares_them(trains, capsys, rng, succeeds):
    from handwriting import on_paper

    fastmlp.fit(fastmlp.load("synthetic"), epochs=4).model.save("model.npz")
    for digit in range(4):
        picture(f"set/{digit}/x.png", on_paper([digit], rng))
    out, err = succeeds(evaluate, "model.npz", "--data", "set")
    assert out.startswith("test accuracy 100.00%")
    assert "set/0/x.png: 1 digit found, scaled and centred as in training\n" in err
    picture("set/3/two.png", on_paper([3, 3], rng))
    assert evaluate.main(["model.npz", "--data", "set"]) == 2
    assert "set/3/two.png: holds 2 digits; in a directory of a class it must hold one" in capsys.readouterr().err
