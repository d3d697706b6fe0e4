"""The page to draw on, in a real browser: what it sees and says is what predict sees and says."""

import base64
import io
import json
import re
import shutil
import subprocess
import time

import numpy as np
import pytest

pytest.importorskip("PIL")

from browser import BROWSER, DRIVER, browser
from handwriting import STYLES, pen_strokes, write
from PIL import Image, ImageDraw
from test_commands import random_model

import fastmlp
import kernels
from fastmlp import export, predict
from fastmlp.data.synthetic import synthetic_digits
from fastmlp.errors import InputError
from fastmlp.exporting.page import page
from fastmlp.images.digits import frame
from fastmlp.images.framing import Framing
from fastmlp.images.ink import prepare
from fastmlp.images.prepare import Seen, probabilities
from fastmlp.models.model import Model

needs_browser = pytest.mark.skipif(not (BROWSER and DRIVER), reason="needs chromium and chromedriver")

# Runs the page's prepare() and probabilities() on a PNG; calls back with each digit's [pixels, probabilities], or text.
_PREPARE = """
const [url, done] = arguments, image = new Image();
image.onload = () => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.width, image.height];
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const {data, width, height} = context.getImageData(0, 0, image.width, image.height);
  try {
    const digits = prepare({h: height, w: width, at: data}, MODEL.shape, MODEL.box, MODEL.busiest);
    done(digits.map(pixels => [Array.from(pixels), Array.from(probabilities(pixels))]));
  } catch (error) { done(String(error)); }
};
image.src = url;
"""


def drawing_model(**known):
    """A network of random weights for digits as MNIST has them."""
    return random_model((784, 16, 10), scale=1 / 100, image_shape=(28, 28), framing=Framing(20, 20, 1), **known)


@pytest.fixture(scope="module")
def model():
    """A network that tells digits apart, trained for a second."""
    X, y = synthetic_digits(4000)
    drawn = np.stack([frame(image, (28, 28), 20) for image in X.reshape(-1, 28, 28) / 255])
    data = fastmlp.Dataset("drawn", drawn.reshape(-1, 784), y, drawn[:100].reshape(-1, 784), y[:100],
                           tuple("0123456789"), "drawn digits", image_shape=(28, 28))  # fmt: skip
    return fastmlp.fit(data, epochs=5).model


@pytest.fixture(scope="module")
def window(model, tmp_path_factory):
    """A browser that shows the model's page; nothing was complained about when the tests are over."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_bytes(page(model, str(path)))
    with browser() as session:
        session.size(1200, 800)
        session.open(path.as_uri())
        yield session
        assert session.complaints() == []


def paper_box(window):
    return window.run("const r = paper.getBoundingClientRect(); return [r.left, r.top, r.width]")


def answer(window):
    """What the page says when it has read what is drawn."""
    for _ in range(200):
        if not window.run("return waiting"):
            break
        time.sleep(0.02)
    return window.run("return byId('answer').textContent")


def draw(window, digit, rng, place=(0.2, 0.15), size=0.6, kind="mouse"):
    left, top, width = paper_box(window)
    for stroke in pen_strokes(digit, rng):
        points = (np.array((left, top)) + width * (np.array(place) + size * stroke)).astype(int)
        window.draw([tuple(map(int, point)) for point in points], kind)


def canvas_png(window) -> bytes:
    return base64.b64decode(window.run("return paper.toDataURL('image/png')").partition(",")[2])


# -- without a browser
# ---------------------------------------------------------------------------------------------------


def test_the_page_needs_nothing_but_itself_and_names_any_class():
    model = drawing_model()
    model.classes = ("</script><b>", "é", *"23456789")
    text = page(model, "page.html").decode()
    assert text.count("</script>") == 1
    assert not re.search(r"(src|href)=(?![\"']data:)|https?://|@import|fetch\(|XMLHttpRequest|WebSocket|import\(", text)
    assert "/*MODEL*/" not in text


def test_weights_are_of_16_bits_where_that_changes_no_probability():
    model = drawing_model()
    before = model.network.params.copy()
    assert '"dtype": "float16"' in page(model, "page.html").decode()
    np.testing.assert_array_equal(model.network.params, before)
    model.network.layers[1][0][...] *= 1e6  # beyond the range of float16
    assert '"dtype": "float32"' in page(model, "page.html").decode()


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_the_page_computes_every_activation(rng):
    """Each is of its layer; to float32's rounding, but GELU's error function is one of 1.5e-7."""
    names = list(kernels.ACTIVATIONS)
    network = kernels.Network((784, *(1 for _ in names), 10), activation=names)
    made = Model(network, 1.0, tuple("0123456789"), image_shape=(28, 28), framing=Framing(20, 20, 1))
    functions = re.search(r"const ACTIVATIONS = (\[.*?\]); //", page(made, "page.html").decode(), re.DOTALL)[1]
    Z = 4 * rng.standard_normal(50)
    script = f"console.log(JSON.stringify({functions}.map(f => {Z.tolist()}.map(z => f(z)))))"
    ran = subprocess.run(["node", "-e", script], capture_output=True, text=True, check=True, timeout=60)
    for name, Y in zip(names, json.loads(ran.stdout), strict=True):
        np.testing.assert_allclose(Y, kernels.ACTIVATIONS[name].twin(Z), rtol=1e-6, atol=1e-6, err_msg=name)


def test_a_model_of_no_drawings_gets_no_page():
    with pytest.raises(
        InputError, match="table.html: a page to draw on needs a model that was trained on images of drawings"
    ):
        page(random_model((784, 10)), "table.html")


def test_export_writes_the_page_and_train_says_how(here, succeeds, digits):
    from fastmlp import train

    np.savez("digits.npz", X=digits.X.reshape(-1, 28, 28), y=digits.y)
    last = succeeds(train, "--data", "digits.npz", "--epochs", "1", "--out", "run").err.splitlines()[-1]
    assert last.endswith("python -m fastmlp.export run/model.npz page.html")
    assert export.main(last.split()[-2:]) == 0
    assert (here / "page.html").read_bytes().startswith(b"<!DOCTYPE html>")


# -- in the browser
# ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@needs_browser
def test_the_page_sees_what_python_sees(window, model, tmp_path, rng):
    """The same pixels within a grey level, the same digits, the same refusals, in every style and of an empty frame."""
    frame = Image.new("RGB", (56, 56), "white")
    ImageDraw.Draw(frame).rounded_rectangle((1, 1, 54, 54), 8, outline=0)
    frame.save(tmp_path / "frame.png")
    for k, style in enumerate([*STYLES, "frame"]):
        digits = rng.integers(10, size=1 if k % 2 else 4).tolist()
        drawn = style in STYLES
        path = write(tmp_path / "it", digits, [None] * len(digits), style, rng) if drawn else tmp_path / "frame.png"
        with Image.open(path) as image:
            picture = np.asarray(image.convert("RGB"))
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "PNG")
        seen = window.later(_PREPARE, "data:image/png;base64," + base64.b64encode(file.getvalue()).decode())
        try:
            expected = prepare(picture, (28, 28), model.framing.box, model.framing.busiest).reshape(-1, 784)
        except InputError:
            assert isinstance(seen, str), style
            continue
        assert len(seen) == len(expected), style
        for (pixels, P), row in zip(seen, expected):
            assert np.abs(np.array(pixels) - row.astype(int)).max() <= 1, style
            mean = probabilities(model, Seen(np.array(pixels, np.uint8)[None], prepared=True))[0]
            np.testing.assert_allclose(P, mean, atol=0.005)


@pytest.mark.slow
@needs_browser
def test_twenty_drawn_digits_are_read_as_predict_reads_the_saved_paper(window, model, tmp_path, succeeds, rng):
    model.save(tmp_path / "model.npz")
    paths, answers = [], []
    for k in range(20):
        window.run("clear()")
        draw(window, k % 10, rng, kind=("mouse", "pen", "touch")[k % 3])
        answers.append(answer(window))
        paths.append(tmp_path / f"{k}.png")
        paths[-1].write_bytes(canvas_png(window))
    lines = "".join(f"{path}\t{said}\n" for path, said in zip(paths, answers))
    assert succeeds(predict, tmp_path / "model.npz", *paths).out == lines
    assert sum(said == str(k % 10) for k, said in enumerate(answers)) >= 16  # all but its own errors


@pytest.mark.slow
@needs_browser
def test_buttons_keys_bars_and_several_digits(window, rng):
    window.run("clear()")
    assert answer(window) == "Nothing drawn yet."
    draw(window, 1, rng, (0.02, 0.3), 0.35)
    one = answer(window)
    draw(window, 0, rng, (0.5, 0.3), 0.35)
    assert answer(window)[0] == one[0]
    assert len(answer(window)) == 2
    shares = window.run("return [...document.querySelectorAll('#bars i')].map(bar => parseFloat(bar.style.width))")
    assert sum(shares) == pytest.approx(100, abs=0.1)
    window.run("document.querySelectorAll('#seen button')[0].click()")
    assert window.run("return document.querySelector('li.best b').textContent") == one
    window.run("byId('undo').click()")
    assert answer(window) == one
    for left in range(window.run("return strokes.length") - 1, -1, -1):
        window.keys("z")
        assert window.run("return strokes.length") == left
    assert answer(window) == "Nothing drawn yet."
    assert window.run("return byId('undo').disabled && byId('clear').disabled")
    window.run("paper.focus()")
    window.keys(" ", *["\ue015"] * 10, " ")  # the pen down, ten steps down, the pen up
    assert window.run("return strokes.length") == 1
    assert answer(window) == "1"
    window.keys("\ue00c")  # Escape
    assert answer(window) == "Nothing drawn yet."
    window.draw([tuple(int(v) for v in np.array(paper_box(window)[:2]) + 100)])  # a dot
    assert answer(window) != ""


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize(("width", "height"), [(320, 568), (390, 844), (820, 1180), (1600, 900)])
def test_the_page_fits_its_window_in_the_dark_too(window, rng, width, height):
    try:
        window.size(width, height)
        for theme in ("dark", "light"):
            window.tool("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
            window.run("clear()")
            draw(window, 7, rng)
            assert answer(window) in "0123456789"
            assert window.run("return document.documentElement.scrollWidth <= innerWidth")
            bottom = window.run("return byId('answer').getBoundingClientRect().bottom")
            assert bottom <= height  # the answer is seen while one draws
    finally:
        window.size(1200, 800)
