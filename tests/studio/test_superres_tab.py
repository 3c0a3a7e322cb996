"""The super-resolution tab: what it says of pictures, and regions that are enlarged at once."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import numpy
import pytest
from PIL import Image, ImageCms

from engines import registry
from engines.base import Job, Measurement, Output, Result, UserError
from engines.superres.params import SuperresParams
from engines.superres.preview import PreviewEngine, PreviewParams, place
from studio.config import LOCAL
from studio.film_facts import picture_or_film
from studio.http import StudioRoutes
from studio.jobs.service import Studio
from studio.jobs.views import NotFound
from studio.overview import overview
from studio.panels.preview import PreviewPanel
from studio.panels.result import ResultPanel
from studio.picture_facts import picture_facts
from studio.preview import Previews, Region
from studio.scene import View
from studio.tabs.superres import SuperresTab, verdict
from studio.visitors import Visitors
from tests.engines.media.make_film import film, moving
from tests.studio.scenes import inbox_of, scene_of

TAB = "super-resolution"
CLASSICAL = "superres.classical"
STRANGER = "f" * 32


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """80 x 60, even but for a square of noise whose middle is at 55, 25."""
    pixels = numpy.full((60, 80, 3), 90, numpy.uint8)
    noise = numpy.random.default_rng(0).integers(0, 255, (16, 16, 3))
    pixels[17:33, 47:63] = noise
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    return path


def _chosen(studio: Studio, path: Path, owner: str = LOCAL) -> tuple[str, str]:
    """Session and key of a picture that is chosen on the tab."""
    session = studio.open_session(owner).id
    inbox_of(studio).add_in_place(session, TAB, str(path), (path.suffix,))
    [file] = [one for one in inbox_of(studio).files(session, TAB) if one.path == path]
    return session, file.key


def _wanted(engine: str = CLASSICAL, **more: Any) -> dict[str, Any]:
    return {"engine": engine, "values": {"scale": 2, "long_side": ""}, "size": 16, **more}


def _ended(previews: Previews, asked: str, owner: str = LOCAL) -> Region:
    while (found := previews.look(owner, asked)).state not in ("done", "failed", "cancelled"):
        time.sleep(0.01)
    return found


# --- words -------------------------------------------------------------------------------------


def test_facts_of_a_picture(tmp_path: Path, photo: Path) -> None:
    assert picture_facts(photo).facts == ("80 x 60", "8-bit colour")
    deep = tmp_path / "deep.png"
    Image.fromarray(numpy.zeros((3, 5), numpy.uint16)).save(deep)
    assert picture_facts(deep).facts == ("5 x 3", "16-bit grey")
    assert picture_facts(deep).more == {
        "width": 5, "height": 3, "bits": 16, "channels": 1, "format": "png",
    }  # fmt: skip
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    clear = tmp_path / "clear.png"
    Image.new("RGBA", (4, 4)).save(clear, icc_profile=profile)
    assert picture_facts(clear).facts == ("4 x 4", "8-bit colour", "transparent", "sRGB built-in")
    Image.new("RGB", (4, 4)).save(clear, icc_profile=b"no profile")
    assert picture_facts(clear).facts[-1] == "own profile"
    text = tmp_path / "text.png"
    text.write_text("words")
    with pytest.raises(UserError, match=r"text\.png"):
        picture_facts(text)


def test_a_picture_is_shown_small_upright_and_with_its_profile(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    large = tmp_path / "large.jpg"
    Image.new("RGB", (2400, 1200), (200, 100, 50)).save(large, exif=exif, icc_profile=profile)
    made = overview(large).more
    shown = Image.open(io.BytesIO(made["image"]))
    assert (made["type"], shown.size) == ("image/jpeg", (800, 1600))
    assert shown.info["icc_profile"] == profile
    clear = tmp_path / "clear.png"
    Image.new("LA", (40, 20), (9, 0)).save(clear)
    made = overview(clear).more
    assert made["type"] == "image/webp"
    assert Image.open(io.BytesIO(made["image"])).getpixel((0, 0))[3] == 0  # type: ignore[index]
    deep = tmp_path / "deep.png"
    Image.fromarray(numpy.full((3, 5), 40000, numpy.uint16)).save(deep)
    grey = Image.open(io.BytesIO(overview(deep).more["image"]))
    assert grey.getpixel((2, 1)) == pytest.approx(40000 >> 8, abs=1)


def test_size_is_said_in_large_numbers_and_agreement_in_a_sentence() -> None:
    tab = SuperresTab("Super-resolution", [])
    reading = tab.read({
        "width": (2560.0, "px"), "height": (1708.0, "px"), "megapixels": (4.37248, "MP"),
        "consistency": (41.2, "dB"), "megapixels_per_second": (1.5, "MP/s"),
    })  # fmt: skip
    assert [(row.name, row.value, row.unit) for row in reading.headline] == [
        ("Width", 2560.0, "px"), ("Height", 1708.0, "px"), ("Megapixels", 4.4, ""),
    ]  # fmt: skip
    assert reading.verdict == verdict(41.2)
    assert reading.verdict is not None
    assert reading.verdict.tone == "sure"
    assert verdict(20.0).tone == "doubt"
    assert [row.name for row in reading.rest] == [
        "agreement with the input, made small again", "speed",
    ]  # fmt: skip
    assert tab.read({"size": (3.0, "B")}).headline == ()


def test_the_example_is_a_small_picture_that_names_its_photographer() -> None:
    tab = SuperresTab("Super-resolution", [])
    assert tab.example is not None
    assert tab.example.stat().st_size < 300_000
    assert picture_facts(tab.example).facts == ("640 x 427", "8-bit colour")
    assert "Sander Klootwijk, CC BY-SA 4.0" in tab.credit


def test_the_panel_names_the_chosen_pictures_to_the_browser(studio: Studio, photo: Path) -> None:
    session, key = _chosen(studio, photo)
    scene = scene_of(studio, view=View(tab=TAB, open={TAB: "abc"}))
    with gr.Blocks():
        panel = PreviewPanel(TAB, inbox_of(studio), picture_facts)
    html = panel.html(scene) or ""
    found = re.search(r'<ns-region tab="super-resolution" pictures="([^"]*)" job="abc">', html)
    assert found is not None
    assert json.loads(unescape(found[1])) == [{
        "name": "photo.png", "width": 80, "height": 60,
        "picture": f"studio/overview/{session}/{TAB}/{key}",
        "region": f"studio/region/{session}/{TAB}/{key}",
    }]  # fmt: skip
    inbox_of(studio).remove(session, TAB)
    assert panel.html(scene) == ""
    assert panel.html(scene_of(studio, view=View(tab="raw"))) is None


# --- films ------------------------------------------------------------------------------------


def test_facts_of_a_film_and_of_a_picture_beside_it(tmp_path: Path, photo: Path) -> None:
    clip = film(tmp_path / "clip.mp4", moving(50, 32, 48), sound="aac", turned=90)
    found = picture_or_film(clip)
    assert found.facts == ("0:02", "32 x 48", "25 frames a second", "with sound")
    assert not found.more  # no region of it can be looked at
    assert picture_or_film(photo) == picture_facts(photo)
    clip.write_bytes(b"no film")
    with pytest.raises(UserError, match=r"clip\.mp4"):
        picture_or_film(clip)


def test_films_and_pictures_each_have_their_methods(studio: Studio, tmp_path: Path) -> None:
    engines = [registry.engine_class(one) for one in (CLASSICAL, "superres.negvsr")]
    tab = SuperresTab("Super-resolution", engines)
    assert {".png", ".mp4"} <= set(tab.suffixes)
    clip = film(tmp_path / "clip.mp4", moving(2))
    _chosen(studio, clip)
    inbox, scene = inbox_of(studio), scene_of(studio, view=View(tab=TAB))
    with gr.Blocks():
        tab.build(studio, inbox, lambda _network: [])
    values = [
        field.shown(field.default) for one in tab.forms for field in one.form.fields
    ]  # as a page that was not touched has them
    with pytest.raises(UserError, match=r"Films are enlarged by another .* NegVSR"):
        tab.submit(scene, inbox, CLASSICAL, values)
    tab.submit(scene, inbox, "superres.negvsr", values)
    [job] = studio.wait(LOCAL, [one.id for one in studio.jobs(LOCAL)], poll=0.01)
    assert (job.engine, job.state) == ("superres.negvsr", "done"), job.error


def test_a_film_is_played_where_the_result_is(studio: Studio, tmp_path: Path) -> None:
    clip = film(tmp_path / "clip.mp4", moving(3, 32, 48))
    session = studio.open_session(LOCAL).id
    ids = studio.submit(LOCAL, session, "superres.negvsr", [[clip]], {"strength": 0.0})
    [job] = studio.wait(LOCAL, ids, poll=0.01)
    assert job.state == "done", job.error
    with gr.Blocks():
        panel = ResultPanel(TAB, ("", ""), SuperresTab("Super-resolution", []).read)
    html = panel.html(scene_of(studio, view=View(tab=TAB, open={TAB: job.id}))) or ""
    assert job.primary is not None
    assert re.search(rf'<video [^>]*src="studio/file/{job.primary.id}/clip-lanczos-4x\.mp4"', html)
    assert html.count("<ns-compare ") == 1
    assert re.search(r"<dt>Frames</dt><dd>3\b", html)


# --- regions -----------------------------------------------------------------------------------


@pytest.fixture
def previews(studio: Studio) -> Previews:
    return Previews(studio)


def _picture(previews: Previews, asked: str, name: str) -> numpy.ndarray[Any, Any]:
    return numpy.asarray(Image.open(previews.file(LOCAL, asked, name))).astype(float)


def test_the_place_of_most_detail_is_enlarged_unless_one_is_named(
    studio: Studio, previews: Previews, photo: Path
) -> None:
    session, key = _chosen(studio, photo)
    asked = previews.ask(LOCAL, session, TAB, key, _wanted())
    found = _ended(previews, asked)
    assert found.error == ""
    assert (found.found["from"], found.found["to"]) == ([16, 16], [32, 32])
    assert abs(found.found["left"] + 8 - 55) <= 8
    assert abs(found.found["top"] + 8 - 25) <= 8
    assert found.found["whole"] > 0
    assert _picture(previews, asked, "after.png").std() > 20

    asked = previews.ask(LOCAL, session, TAB, key, _wanted(left=500, top=0))
    found = _ended(previews, asked).found
    assert (found["left"], found["top"]) == (64, 0)  # moved into the picture
    assert _picture(previews, asked, "after.png").std() == 0


def test_a_region_is_what_the_whole_picture_has_there(
    studio: Studio, previews: Previews, photo: Path
) -> None:
    session, key = _chosen(studio, photo)
    asked = previews.ask(LOCAL, session, TAB, key, _wanted(left=45, top=15))
    assert _ended(previews, asked).state == "done"
    ids = studio.submit(LOCAL, session, CLASSICAL, [[photo]], {"scale": 2.0})
    [job] = studio.wait(LOCAL, ids, poll=0.01)
    assert job.primary is not None
    whole = numpy.asarray(Image.open(job.primary.path))[30:62, 90:122]
    for side in ("before.png", "after.png"):  # both are Lanczos here
        assert abs(_picture(previews, asked, side) - whole).max() <= 1


def test_a_longer_side_makes_the_region_as_large_as_in_the_whole(
    studio: Studio, previews: Previews, photo: Path
) -> None:
    session, key = _chosen(studio, photo)
    values = {"scale": 4, "long_side": "240"}  # three times
    asked = previews.ask(LOCAL, session, TAB, key, _wanted(values=values))
    assert _ended(previews, asked).found["to"] == [48, 48]


def test_a_picture_smaller_than_a_region_and_a_transparent_deep_one(
    studio: Studio, previews: Previews, tmp_path: Path
) -> None:
    small = tmp_path / "small.png"
    Image.new("RGBA", (9, 5), (200, 100, 50, 128)).save(small)
    session, key = _chosen(studio, small)
    asked = previews.ask(LOCAL, session, TAB, key, _wanted())
    assert _ended(previews, asked).found["to"] == [18, 10]
    assert _picture(previews, asked, "after.png")[5, 9] == pytest.approx([200, 100, 50, 128], abs=1)
    assert _picture(previews, asked, "before.png")[5, 9] == pytest.approx(
        [200, 100, 50, 128], abs=1
    )
    deep = tmp_path / "deep.png"
    Image.fromarray(numpy.full((40, 40), 40000, numpy.uint16)).save(deep)
    session, key = _chosen(studio, deep)
    asked = previews.ask(LOCAL, session, TAB, key, _wanted())
    assert _ended(previews, asked).state == "done"
    assert _picture(previews, asked, "after.png").mean() == pytest.approx(40000 / 257, abs=1)


class Tell:
    """An engine that says what it was asked, and for what place."""

    id = "superres.tell"
    title = "Tell"
    tab = "Super-resolution"
    summary = "For tests"
    accepts = ("image",)
    suffixes = (".png",)
    version = "1"
    Params = SuperresParams
    told: dict[str, Any] = {}  # noqa: RUF012

    def run(
        self, inputs: list[Path], params: Any, job: Job, origin: tuple[int, int] = (0, 0)
    ) -> Result:
        """Remember all of it; a name of "slow" waits to be stopped."""
        with Image.open(inputs[0]) as image:
            size = image.size
        Tell.told = {"params": params, "origin": origin, "size": size}
        while params.name == "slow":
            job.check_cancelled()
            time.sleep(0.01)
        path = job.workspace / "made.png"
        Image.new("RGB", (size[0] * 2, size[1] * 2)).save(path)
        speed = {"megapixels_per_second": Measurement(4 * size[0] * size[1] / 1e6 / 3)}
        return Result([Output(path, "image", "made", primary=True)], measurements=speed)


@pytest.fixture
def tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.registry._added", dict(registry.added()))
    registry.register(Tell.id, f"{__name__}:Tell")


@pytest.mark.usefixtures("tell")
def test_the_engine_gets_the_settings_of_the_form_with_nothing_lost(
    studio: Studio, previews: Previews, photo: Path
) -> None:
    session, key = _chosen(studio, photo)
    values = {"scale": 2, "strength": 0.3, "output": "jpeg", "quality": 20, "nonsense": 1}
    asked = previews.ask(LOCAL, session, TAB, key, _wanted(Tell.id, values=values, left=40, top=30))
    found = _ended(previews, asked)
    assert found.error == ""
    params = Tell.told["params"]
    assert (params.strength, params.output, params.scale) == (1.0, "tiff", 2.0)
    # A margin all around, as far as the picture goes.
    assert Tell.told["origin"] == (30 - 24, 40 - 24)
    assert Tell.told["size"] == (24 + 16 + 24, 24 + 16 + 14)
    # Three seconds for what was cut out are as many more as there are more pixels.
    assert found.found["whole"] == pytest.approx(3 * 80 * 60 / (64 * 54), rel=1e-3)


@pytest.mark.usefixtures("tell")
def test_a_region_is_stopped_replaced_and_given_up(
    studio: Studio, previews: Previews, photo: Path
) -> None:
    session, key = _chosen(studio, photo)
    slow = _wanted(Tell.id, values={"scale": 2, "name": "slow"})
    asked = previews.ask(LOCAL, session, TAB, key, slow)
    while previews.look(LOCAL, asked).state != "running":
        time.sleep(0.01)
    previews.stop(LOCAL, asked)
    assert _ended(previews, asked).state == "cancelled"
    first = previews.ask(LOCAL, session, TAB, key, slow)
    while previews.look(LOCAL, first).state != "running":
        time.sleep(0.01)
    second = previews.ask(LOCAL, session, TAB, key, _wanted())
    assert _ended(previews, second).state == "done"
    assert _ended(previews, first).state == "cancelled"
    assert studio.jobs(LOCAL) == []  # regions are no part of the history
    params = {"key": "k", "engine": Tell.id, "settings": {"name": "slow"}, "seconds": 0.05}
    [late] = studio.submit(LOCAL, session, PreviewEngine.id, [[photo]], params)
    assert "takes more than 0 seconds" in _ended(previews, late).error


def test_what_cannot_be_enlarged_says_so(
    studio: Studio, previews: Previews, photo: Path, tmp_path: Path
) -> None:
    session, key = _chosen(studio, photo)
    for wanted, said in [
        (_wanted("speech.storm"), "cannot be looked at"),
        (_wanted("superres.negvsr"), r"does not read photo\.png"),
        (_wanted(PreviewEngine.id), "cannot be looked at"),
        (_wanted("nobody"), "There is no engine called nobody"),
        (_wanted(values={"scale": 99}), "scale: "),
        (_wanted(size=9999), "size: "),
    ]:
        with pytest.raises(UserError, match=said):
            previews.ask(LOCAL, session, TAB, key, wanted)
    with pytest.raises(NotFound):
        previews.ask(LOCAL, session, TAB, "0" * 16, _wanted())
    text = tmp_path / "text.png"
    text.write_text("words")
    session, key = _chosen(studio, text)
    found = _ended(previews, previews.ask(LOCAL, session, TAB, key, _wanted()))
    assert (found.state, "text.png" in found.error) == ("failed", True)


def test_nobody_reaches_anothers_pictures_and_regions(
    studio: Studio, previews: Previews, photo: Path
) -> None:
    session, key = _chosen(studio, photo)
    asked = previews.ask(LOCAL, session, TAB, key, _wanted())
    assert _ended(previews, asked).state == "done"
    for reach in (
        lambda: previews.picture(STRANGER, session, TAB, key),
        lambda: previews.ask(STRANGER, session, TAB, key, _wanted()),
        lambda: previews.look(STRANGER, asked),
        lambda: previews.file(STRANGER, asked, "after.png"),
        lambda: previews.stop(STRANGER, asked),
        lambda: previews.file(LOCAL, asked, "region.json"),
        lambda: previews.file(LOCAL, asked, "../../studio.db"),
    ):
        with pytest.raises(NotFound):
            reach()


def test_the_most_detailed_place_of_a_narrow_picture_lies_in_it() -> None:
    from engines.media.picture import Picture, PictureFacts

    for height, width in ((1, 1), (1, 5000), (300, 16), (17, 17)):
        pixels = numpy.random.default_rng(1).integers(0, 255, (height, width, 3), numpy.uint8)
        picture = Picture(pixels, None, PictureFacts("a.png", "png", width, height))
        box = place(picture, PreviewParams(size=16))
        assert 0 <= box.left <= width - box.width
        assert 0 <= box.top <= height - box.height
        assert (box.width, box.height) == (min(width, 16), min(height, 16))


# --- over HTTP ---------------------------------------------------------------------------------


@pytest.fixture
def client(studio: Studio) -> Iterator[Any]:
    """The studio's own addresses for the person at this machine."""
    from starlette.applications import Starlette
    from starlette.testclient import TestClient

    app = Starlette(routes=StudioRoutes(studio, Visitors(studio.settings), "boot").routes())
    app.cookie_id = "x"  # type: ignore[attr-defined]
    app.tokens = {}  # type: ignore[attr-defined]
    with TestClient(app) as client:
        yield client


def test_the_page_sees_a_picture_and_has_a_region_enlarged(
    client: httpx.Client, studio: Studio, photo: Path
) -> None:
    session, key = _chosen(studio, photo)
    shown = client.get(f"/studio/overview/{session}/{TAB}/{key}")
    assert (shown.status_code, shown.headers["content-type"]) == (200, "image/jpeg")
    assert Image.open(io.BytesIO(shown.content)).size == (80, 60)
    made = client.post(f"/studio/region/{session}/{TAB}/{key}", json=_wanted()).json()
    address = f"/studio/region/{made['asked']}"
    while (found := client.get(address).json())["state"] != "done":
        time.sleep(0.01)
    assert found["found"]["to"] == [32, 32]
    for side in ("before", "after"):
        answer = client.get(f"{address}/{side}.png")
        assert answer.headers["cache-control"].startswith("private")
        assert Image.open(io.BytesIO(answer.content)).size == (32, 32)
    assert client.get(f"{address}/region.json").status_code == 404
    assert client.post(f"{address}/stop").status_code == 200


def test_what_is_not_there_is_missing_and_what_is_wrong_is_said(
    client: httpx.Client, studio: Studio, photo: Path
) -> None:
    session, key = _chosen(studio, photo)
    nothing = "0" * 32
    for address in (f"overview/{session}/{TAB}/{nothing}", f"overview/{nothing}/{TAB}/{key}",
                    f"region/{nothing}", f"region/{nothing}/after.png"):  # fmt: skip
        assert client.get(f"/studio/{address}").status_code == 404
    for address in (f"region/{session}/{TAB}/{nothing}", f"region/{nothing}/stop"):
        assert client.post(f"/studio/{address}", json=_wanted()).status_code == 404
    here = f"/studio/region/{session}/{TAB}/{key}"
    for body in (b"{", b'{"engine": "nobody"}', b'{"engine": "superres.classical", "left": "x"}'):
        answer = client.post(here, content=body)
        assert answer.status_code == 422
        assert answer.json()["error"]
    photo.write_text("words")
    answer = client.get(f"/studio/overview/{session}/{TAB}/{key}")
    assert (answer.status_code, "photo.png" in answer.text) == (422, True)
