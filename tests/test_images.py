"""Handwriting in photographs and drawings: what is found, how it is framed, what is refused and how well it is read."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL")

from handwriting import STYLES, Look, compose, from_strokes, lines, on_paper, pen_strokes, styled
from lines import one_line
from PIL import Image, ImageDraw, ImageOps

import fastmlp
from fastmlp import predict
from fastmlp.data.synthetic import synthetic_digits
from fastmlp.errors import InputError
from fastmlp.images.digits import RIGHT, busyness, reading_order, straightened
from fastmlp.images.framing import framing_of
from fastmlp.images.ink import prepare
from fastmlp.images.prepare import Seen, picture, probabilities, read_images

SHAPE = (28, 28)


@pytest.fixture(scope="module")
def reader(mnist):
    """(a model trained on MNIST with the defaults, its accuracy on the test set)."""
    result = fastmlp.fit(mnist)
    return result.model, result.summary["test_accuracy"]


def drawn(pixels: np.ndarray) -> np.ndarray:
    """Light ink on black [h, w] as a picture: dark on white, with colours."""
    return np.repeat(255 - pixels[..., None], 3, 2)


def pixels_of(path: str) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("L"))


def with_pillow(draw) -> np.ndarray:
    image = Image.new("RGB", (300, 300), "white")
    draw(ImageDraw.Draw(image))
    return np.asarray(image)


# -- how the training images are framed
# ---------------------------------------------------------------------------------


def test_the_framing_of_mnist_is_that_of_its_authors(mnist):
    framing = framing_of(mnist.X, SHAPE)
    assert (framing.box, framing.most) == (20, 20)
    assert framing.off_centre == pytest.approx(1, abs=0.01)  # half a pixel, and half a pixel to spare
    fit = [framing.fits(image) for image in mnist.X_test.reshape(-1, *SHAPE)]
    assert np.mean(fit) == 1


def test_what_fills_its_images_or_lies_anywhere_in_them_is_no_drawing(rng):
    texture = rng.integers(0, 256, (100, 784)).astype(np.uint8)
    digit = synthetic_digits(1)[0].reshape(SHAPE)[4:24, 4:24]
    anywhere = np.zeros((100, 40, 40), np.uint8)
    for image, y, x in zip(anywhere, rng.integers(0, 21, 100), rng.integers(0, 21, 100)):
        image[y : y + 20, x : x + 20] = digit
    assert framing_of(texture, SHAPE) is None
    assert framing_of(255 - synthetic_digits(100)[0], SHAPE) is None
    assert framing_of(anywhere.reshape(100, -1), (40, 40)) is None
    assert framing_of(np.zeros((10, 784), np.uint8), SHAPE) is None
    assert framing_of(synthetic_digits(100)[0], None) is None


def test_the_framing_is_kept_in_the_models_file(tmp_path, digits):
    model = fastmlp.fit(digits, epochs=1).model
    model.save(tmp_path / "model.npz")
    assert model.framing is not None
    assert fastmlp.load_model(tmp_path / "model.npz").framing == model.framing


# -- one digit --------------------------------------------------------------------------------------------------------


def test_a_digit_of_mnist_drawn_large_and_off_centre_is_framed_as_it_was(mnist):
    differences = []
    for image in mnist.X_test[:50].reshape(-1, *SHAPE):
        large = np.asarray(Image.fromarray(np.pad(image, ((40, 4), (4, 60)))).resize((5 * 92, 5 * 72), Image.BICUBIC))
        (seen,) = prepare(drawn(large), SHAPE, 20)
        differences.append(np.abs(seen.astype(float) - image).mean())
    # Half a pixel of the rounded centre alone makes 8 grey levels on average; a wrong scale or polarity more than 25.
    assert np.mean(differences) < 12


@pytest.mark.parametrize(("shape", "box"), [((28, 28), 20), ((14, 14), 10), ((32, 24), 18), ((8, 8), 6)])
def test_the_longer_side_is_the_box_and_the_centre_of_mass_in_the_middle(shape, box, rng):
    for digit in range(10):
        picture = on_paper([digit], rng)
        (seen,) = prepare(picture, shape, box)
        rows, columns = (np.flatnonzero((seen > 115).any(axis)) for axis in (1, 0))
        assert abs(max(np.ptp(rows), np.ptp(columns)) + 1 - box) <= 1
        for axis, side in enumerate(shape):
            mass = seen.sum(1 - axis, dtype=float)
            assert mass @ np.arange(side) / mass.sum() == pytest.approx(side // 2, abs=0.15)
        assert seen.max() == 255


def test_images_are_read_where_no_more_threads_are_allowed(allow_threads, tmp_path, rng):
    Image.fromarray(rng.integers(0, 256, (28, 28)).astype(np.uint8)).save(tmp_path / "a.png")
    allow_threads(0)
    (seen,) = read_images([picture(tmp_path / "a.png")], SHAPE, say=lambda line: None)
    np.testing.assert_array_equal(seen.digits.reshape(SHAPE), pixels_of(tmp_path / "a.png"))


def test_a_prepared_digit_is_read_as_it_is_and_as_upright_as_most(reader, rng):
    model, _ = reader
    (one,) = prepare(on_paper([1], rng), SHAPE, 20)
    rows, columns = np.indices(SHAPE) - 14
    for lean in (-0.4, 0.0, 0.3):  # columns a row
        leaning = np.stack([np.roll(row, round(lean * y)) for y, row in zip(range(-14, 14), one)])
        (upright,) = straightened(leaning[None]).astype(float)
        assert (upright * rows * columns).sum() / (upright * rows**2).sum() == pytest.approx(-RIGHT, abs=0.02)
        assert upright.sum(1) == pytest.approx(
            leaning.sum(1, dtype=float), abs=14
        )  # each pixel of a row may be rounded
    X = leaning.reshape(1, -1)
    both = model.predict_proba(X), model.predict_proba(straightened(leaning[None]).reshape(1, -1))
    np.testing.assert_array_equal(probabilities(model, Seen(X, prepared=True)), sum(both) / 2)
    np.testing.assert_array_equal(probabilities(model, Seen(X)), both[0])


def test_ink_and_paper_may_be_of_any_two_colours(rng):
    picture = on_paper([5], rng)
    share = (255 - picture[..., :1].astype(float)) / 255
    expected = prepare(picture, SHAPE, 20)
    for ink, paper in [
        ((0, 0, 0), (255, 255, 255)),
        ((255, 255, 255), (0, 0, 0)),
        ((255, 255, 0), (255, 255, 255)),
        ((200, 0, 0), (0, 0, 120)),
        ((0, 90, 255), (255, 240, 200)),
        ((20, 20, 20), (90, 90, 90)),
    ]:
        coloured = np.uint8(np.array(paper) * (1 - share) + np.array(ink) * share)
        (seen,) = prepare(coloured, SHAPE, 20)
        assert np.abs(seen.astype(float) - expected[0]).mean() < 4, (ink, paper)  # soft edges may be darker or lighter


def leaning(angle: float, squares: bool) -> np.ndarray:
    """Ruled paper photographed at a slant."""
    ruled = Image.fromarray(
        np.uint8(lines(squares)(np.full((700, 700, 3), 245.0), np.random.default_rng(int(100 + 10 * angle))))
    )
    return np.asarray(ruled.rotate(angle, Image.BICUBIC))[150:550, 200:500].astype(float)


def framed(picture) -> np.ndarray:
    """All its digits side by side."""
    return np.hstack(list(prepare(np.uint8(np.clip(picture, 0, 255)), SHAPE, 20))).astype(float)


@pytest.mark.parametrize("angle", [-8, -3, 0.5, 2, 5])
@pytest.mark.parametrize("squares", [False, True])
def test_a_digit_on_ruled_paper_at_a_slant_is_as_on_plain_paper(angle, squares, rng):
    for digit in (0, 2, 5, 8):  # what runs along a line may be taken for it
        picture = np.full((400, 300, 3), 255.0)
        drawn = on_paper([digit], rng)[:390, :290]
        picture[5 : 5 + drawn.shape[0], 5 : 5 + drawn.shape[1]] = drawn
        share = (255 - picture) / 255
        ruled = leaning(angle, squares) * (1 - share) + 20 * share
        assert np.abs(framed(ruled) - framed(picture)).mean() < 12, digit  # as of half a pixel of the rounded centre


def test_light_ink_is_as_strong_in_the_shade_as_in_the_light(rng):
    share = (255 - on_paper([3], rng).astype(float)) / 255
    board = 30 * (1 - share) + 220 * share
    shade = np.where(np.arange(len(share)) < len(share) // 2, 0.5, 1)[:, None, None]
    assert np.abs(framed(board * shade) - framed(board)).mean() < 12
    assert np.abs(framed(board) - framed(255 * (1 - share))).mean() < 12


def test_a_sheet_on_a_table_is_found_where_half_of_it_is_as_dark_as_the_table(rng):
    paper = np.pad(0.9 * on_paper([4], rng).astype(float), ((60, 60), (60, 60), (0, 0)), constant_values=0.9 * 255)
    table = np.pad(paper, ((120, 90), (80, 150), (0, 0)), constant_values=110)
    rows, columns = np.indices(table.shape[:2])
    beyond = (rows + columns - sum(table.shape[:2]) / 2) / 12  # of the shadow's soft edge, across the sheet
    shade = 1 - 0.55 / (1 + np.exp(-beyond.clip(-50, 50)))
    assert np.abs(framed(table * shade[..., None]) - framed(paper)).mean() < 12


def test_a_wide_digit_of_a_thick_pen_is_not_cut_in_two():
    ring = with_pillow(lambda draw: draw.ellipse((40, 90, 260, 210), outline=0, width=40))
    filled = ring.copy()
    filled[100:200, 60:160] = 0  # one stroke only is crossed there, and it is as thick as the digit is high
    assert len(prepare(filled, SHAPE, 20)) == 1


def test_digits_are_in_one_line_unless_one_is_below_all_of_it():
    # Top, left, ...
    short_first, low, tall, below = (10, 40, 40, 60), (25, 20, 65, 38), (5, 0, 60, 18), (70, 0, 100, 20)
    assert reading_order([short_first, low, tall, below]) == [2, 1, 0, 3]


def test_a_digit_lower_than_its_neighbours_may_be_as_wide_as_two():
    flat = with_pillow(lambda draw: draw.line([(90, 150), (150, 210), (210, 150)], 0, 8))
    assert len(prepare(flat, SHAPE, 20)) == 2
    row = flat.copy()
    row[90:220, 60:68] = row[90:220, 240:248] = 0
    assert len(prepare(row, SHAPE, 20)) == 3


@pytest.mark.parametrize(("thick", "thin"), [(0.03, 0.015), (0.09, 0.01)])
def test_thin_strokes_of_digits_in_a_row_do_not_fade(thick, thin, rng):
    look = Look(glyph=(200, 201), ink=(0, 1), paper=(255, 256))
    glyphs = [
        from_strokes(digit, 200, width, 0.05, rng)
        for digit, width in zip((2, 0, 6, 5, 7), (thick, thick, thin, thick, thin))
    ]
    assert len(prepare(np.uint8(np.clip(compose(glyphs, look, rng)[0], 0, 255)), SHAPE, 20)) == 5


def test_a_digit_in_a_row_may_be_broken_further_apart_than_the_bar_of_a_5(rng):
    glyphs = [from_strokes(digit, 120, 0.09, 0.05, rng) for digit in (1, 2, 1)]
    glyphs[1][42:80] = 0  # each part is lower than a digit may be beside the others, and a comma is left out so
    picture, _ = compose(glyphs, Look(ink=(0, 1), paper=(255, 256)), rng)
    assert len(prepare(np.uint8(np.clip(picture, 0, 255)), SHAPE, 20)) == 3


@pytest.mark.parametrize("height", [10, 14])
def test_digits_a_pixel_apart_are_read_apart(height, rng):
    for _ in range(5):
        glyphs = [from_strokes(digit, height, 0.1, 0.05, rng) for digit in (3, 1, 0)]
        picture, _ = compose(glyphs, Look(ink=(0, 1), paper=(255, 256)), rng, gap=(1.1 / height, 1.2 / height))
        assert len(prepare(np.uint8(np.clip(picture, 0, 255)), SHAPE, 20)) == 3


@pytest.mark.parametrize(("size", "margin"), [((7, 10), 1), ((30, 45), 0)])
def test_a_picture_may_be_cut_close_to_its_digit(size, margin, rng):
    """Whose strokes go from side to side then, as ruled lines do, and touch the sides, as shadows do."""
    for digit in range(10):
        picture = Image.fromarray(on_paper([digit], rng))
        small = picture.crop(ImageOps.invert(picture).getbbox()).resize(size, Image.LANCZOS)
        tight = np.pad(np.asarray(small), ((margin, margin), (margin, margin), (0, 0)), constant_values=255)
        for seen in (tight, 255 - tight):
            assert len(prepare(seen, SHAPE, 20)) == 1, digit


@pytest.mark.parametrize("fine", [1, 3])
def test_strokes_a_pixel_wide_are_whole_on_a_large_canvas(fine, rng):
    """With hard edges, and with soft ones: drawn ``fine`` times as large, and made smaller."""
    for digit in (0, 2, 3, 5, 7, 8):
        canvas = Image.new("L", (1000 * fine, 1000 * fine), 255)
        for stroke in pen_strokes(digit, rng):
            ImageDraw.Draw(canvas).line([tuple(fine * (150 + 700 * point)) for point in stroke], 0, fine)
        picture = np.asarray(canvas.resize((1000, 1000), Image.BOX).convert("RGB"))
        assert len(prepare(picture, SHAPE, 20)) == 1, digit


# -- what is no digit
# ---------------------------------------------------------------------------------------------------

rng = np.random.default_rng(0)
PAPER = np.full((400, 300, 3), 245.0)


def box(side: int, round_: float) -> np.ndarray:
    """An empty frame a pixel inside the picture's sides, its corners round by that share of them."""
    image = Image.new("RGB", (side, side), "white")
    ImageDraw.Draw(image).rounded_rectangle(
        (1, 1, side - 2, side - 2), round_ * side, outline=0, width=max(1, side // 40)
    )
    return np.asarray(image)


EMPTY = {
    "white": PAPER,
    "black": 0 * PAPER,
    "ruled": lines(False)(PAPER.copy(), rng),
    "squared": lines(True)(PAPER.copy(), rng),
    **{
        f"{'squared' if squares else 'ruled'} at {angle} degrees": leaning(angle, squares)
        for angle in (-8, -3, 0.5, 2, 5)
        for squares in (False, True)
    },
    **{f"squared at {angle} degrees": leaning(angle, True) for angle in (20, 35, 45)},
    "noise": PAPER - 30 + rng.normal(0, 12, PAPER.shape),
    "more noise": rng.uniform(0, 255, PAPER.shape),
    "light from the left": PAPER * np.linspace(1, 0.4, 300)[None, :, None],
    "light from above": PAPER * np.linspace(0, 1, 400)[:, None, None],
    "half in the shade": PAPER * np.where(np.arange(300) < 130, 0.5, 1)[None, :, None],
    "a sheet on a table": np.pad(PAPER, ((90, 60), (50, 110), (0, 0)), constant_values=70),
    "a small shade": PAPER[:20, :20] * np.linspace(1, 0.4, 20)[:, None],
    "one pixel": np.zeros((1, 1, 3)),
    "one row": np.full((1, 500, 3), 99),
    **{
        f"a frame {side} pixels wide, {round_}": box(side, round_)
        for side, round_ in ((30, 0.1), (30, 0.2), (56, 0.1), (56, 0.25), (300, 0.3))
    },
    "a speck": with_pillow(lambda draw: draw.ellipse((150, 150, 154, 154), fill=0)),
}
BLOTS = {
    "disc": with_pillow(lambda draw: draw.ellipse((90, 80, 200, 190), fill=(20, 20, 60))),
    "small disc": with_pillow(lambda draw: draw.ellipse((90, 80, 130, 120), fill=(20, 20, 60))),
    "large disc": with_pillow(lambda draw: draw.ellipse((30, 30, 270, 270), fill=(20, 20, 60))),
    "square": with_pillow(lambda draw: draw.rectangle((90, 80, 200, 190), fill=0)),
    "triangle": with_pillow(lambda draw: draw.polygon([(80, 80), (200, 100), (110, 200)], fill=0)),
    "splash": with_pillow(
        lambda draw: [draw.ellipse((x, y, x + 60, y + 60), fill=0) for x, y in rng.uniform(90, 150, (12, 2))]
    ),
}


def path(points) -> np.ndarray:
    return with_pillow(lambda draw: draw.line([tuple(point) for point in points], 0, 7, joint="curve"))


TURNS = np.linspace(0, 1, 300)[:, None]
SCRIBBLES = {
    "zigzag": path((60 + 18 * k, 90 + 120 * (k % 2)) for k in range(11)),
    "spiral": path(150 + 100 * TURNS * np.hstack((np.cos(20 * TURNS), np.sin(20 * TURNS)))),
    "loops": path(np.hstack((60 + 180 * TURNS + 30 * np.cos(31 * TURNS), 150 + 50 * np.sin(31 * TURNS)))),
    "grid": with_pillow(
        lambda draw: [draw.line(side, 0, 6) for k in range(80, 201, 40) for side in ((80, k, 200, k), (k, 80, k, 200))]
    ),
}


@pytest.mark.parametrize("name", SCRIBBLES)
def test_a_scribble_is_refused_by_what_is_known_of_digits(name, mnist):
    framing = framing_of(mnist.X, SHAPE)
    with pytest.raises(InputError, match="holds a scribble"):
        prepare(SCRIBBLES[name], SHAPE, 20, framing.busiest)
    prepare(SCRIBBLES[name], SHAPE, 20)  # nothing is known
    assert busyness(mnist.X_test.reshape(-1, *SHAPE)).max() <= framing.busiest


@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_picture_is_refused(name):
    with pytest.raises(InputError, match="holds (no|a blot|a line)"):
        prepare(np.uint8(np.clip(EMPTY[name], 0, 255)), SHAPE, 20)


@pytest.mark.parametrize("name", BLOTS)
def test_a_blot_is_refused(name):
    with pytest.raises(InputError, match="holds"):
        prepare(BLOTS[name], SHAPE, 20)


def test_a_page_of_writing_is_refused():
    page = with_pillow(lambda draw: [draw.text((10, 10 + 20 * k), "the quick brown fox", fill=0) for k in range(12)])
    with pytest.raises(InputError, match="marks, more than the 20 digits"):
        prepare(page, SHAPE, 20)


def test_no_picture_breaks_the_preparation(rng):
    """Random pictures of any size give digits or InputError, and digits are of the right shape and not black."""
    for _ in range(150):
        h, w = rng.integers(1, 60, 2)
        kind = rng.integers(4)
        picture = rng.integers(0, 256, (h, w, 3))
        picture = picture if kind == 0 else np.where(rng.random((h, w, 1)) < rng.random(), 255, picture * (kind == 1))
        if kind == 3:
            picture = np.kron(picture, np.ones((int(rng.integers(1, 9)), int(rng.integers(1, 9)), 1)))
        try:
            seen = prepare(picture.astype(np.uint8), SHAPE, 20)
        except InputError:
            continue
        assert seen.shape[1:] == SHAPE
        assert seen.max((1, 2)).min() == 255


# -- the command
# --------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(here, digits):
    """A directory with a model of synthetic digits, one of its digits large on paper, and three on one line."""
    fastmlp.fit(digits, epochs=6).model.save("model.npz")
    rng = np.random.default_rng(3)
    for name, what in [("one", [4]), ("three", [3, 1, 4])]:
        Image.fromarray(on_paper(what, rng)).save(f"{name}.png")
    return here


def test_a_drawing_is_found_and_the_command_says_so(files, command):
    code, out, err = command(predict, "model.npz", "one.png")
    assert (code, out) == (0, "4\n")
    assert err == (
        "one.png: 1 digit found, scaled and centred as in training (--as-is takes the whole image, --show writes what "
        "is seen)\n"
    )


def test_digits_in_a_row_are_read_from_left_to_right_one_a_line(files, command):
    code, out, err = command(predict, "model.npz", "three.png")
    assert (code, out) == (0, "3\n1\n4\n")
    assert err.startswith("three.png: 3 digits found")
    code, out, _ = command(predict, "model.npz", "three.png", "one.png")
    assert out == "three.png\t3\nthree.png\t1\nthree.png\t4\none.png\t4\n"
    assert command(predict, "model.npz", "three.png", "--proba")[1].count("\n") == 1 + 3


def test_as_is_takes_the_whole_image(files, command):
    _, _, err = command(predict, "model.npz", "three.png", "--as-is")
    assert "made grey and 28 x 28" in err
    assert "light border" in err


def test_what_the_network_saw_is_written(files, command, digits):
    Image.fromarray(digits.X_test[0].reshape(SHAPE)).save("digit.png")
    command(predict, "model.npz", "three.png", "one.png", "--show", "seen.png")
    assert pixels_of("seen.png").shape == (2 * 28, 3 * 28)
    command(predict, "model.npz", "digit.png", "three.png", "--show", "seen")
    np.testing.assert_array_equal(pixels_of("seen/digit.png"), digits.X_test[0].reshape(SHAPE))
    assert pixels_of("seen/three.png").shape == (28, 3 * 28)
    np.savez("table.npz", X=digits.X_test)
    message = "--show writes what the network sees of images"
    one_line(command(predict, "model.npz", "table.npz", "--show", "seen"), 2, message)
    Path("file").touch()
    code, out, err = command(predict, "model.npz", "one.png", "--show", "file/seen.png")
    assert (code, out) == (1, "")
    assert "--show file/seen.png: cannot be written" in err


def test_ink_on_nothing_is_read_and_nothing_on_paper_refused(files, command):
    share = 255 - pixels_of("one.png")
    rgba = np.zeros((*share.shape, 4), np.uint8)
    rgba[..., 3] = share
    Image.fromarray(rgba).save("ink.png")
    assert command(predict, "model.npz", "ink.png")[1] == "4\n"
    rgba[..., :3] = 255  # not to be seen on white paper
    Image.fromarray(rgba).save("chalk.png")
    assert command(predict, "model.npz", "chalk.png")[1] == "4\n"
    shade = np.broadcast_to(np.linspace(150, 250, 100), (80, 100)).astype(np.uint8)
    Image.fromarray(shade).save("nothing.png")
    code, out, err = command(predict, "model.npz", "one.png", "nothing.png")
    assert (code, out) == (2, "")
    assert "nothing.png: holds no ink" in err
    assert "--as-is takes the whole image" in err


def test_a_photograph_turned_by_its_exif_tag_is_upright(files, command):
    tag = Image.Exif()
    tag[0x0112] = 6
    Image.fromarray(pixels_of("one.png")).transpose(Image.ROTATE_90).save("turned.jpg", exif=tag)
    assert command(predict, "model.npz", "turned.jpg")[1] == "4\n"


def test_a_model_of_other_images_takes_them_whole(files, command, rng):
    X = rng.integers(0, 256, (100, 784)).astype(np.uint8)
    np.savez("texture.npz", X=X.reshape(-1, 28, 28), y=np.arange(100) % 2)
    model = fastmlp.fit(fastmlp.load("texture.npz"), epochs=1).model
    assert (model.image_shape, model.framing) == (SHAPE, None)
    model.save("other.npz")
    _, _, err = command(predict, "other.npz", "one.png")
    assert "made grey and 28 x 28" in err


# -- how well it reads
# --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_handwriting_in_every_style_is_read_nearly_as_well_as_the_test_set(reader, mnist, tmp_path):
    model, accuracy = reader
    sources = ("mnist", "strokes")  # in turns; the nightly test has both, and thirty times as many
    shares = [styled(model, mnist, tmp_path, style, 2, sources[k % 2])[0] for k, style in enumerate(STYLES)]
    assert np.mean(shares) >= 0.95 * accuracy
    assert min(shares) >= 0.5


@pytest.mark.nightly
@pytest.mark.parametrize("source", ["mnist", "strokes"])
@pytest.mark.parametrize("style", STYLES)
def test_each_style_is_read_nearly_as_well_as_the_test_set(reader, mnist, tmp_path, style, source):
    model, accuracy = reader
    share, _, wrong = styled(model, mnist, tmp_path, style, 60, source)
    assert share >= 0.95 * accuracy - 0.02, wrong  # 0.02 is the standard deviation of 60 digits' share


@pytest.mark.slow
def test_nine_of_ten_rows_of_digits_are_read(reader, mnist, tmp_path):
    model, _ = reader
    shares = [
        styled(model, mnist, tmp_path, style, 8, "strokes", (2, 6))[0]
        for style in ("pen", "felt tip", "thin", "lined", "photo", "light on dark")
    ]
    assert np.mean(shares) >= 0.9
