"""What the library's addresses answer to whom."""

from __future__ import annotations

import io
import json
import wave
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.testclient import TestClient

from studio.config import LOCAL
from studio.jobs.service import Studio
from studio.library import FACES
from studio.library.routes import LibraryRoutes
from tests import engines_for_tests
from tests.studio.scenes import finished, scene_of, texts

pytestmark = pytest.mark.usefixtures("tiny_engine")


class _Visitors:
    """Takes the owner from a header."""

    def of_request(self, request: Request) -> str:
        return request.headers.get("owner", LOCAL)


@pytest.fixture
def client(studio: Studio) -> Iterator[TestClient]:
    routes = LibraryRoutes(studio, _Visitors())  # type: ignore[arg-type]
    with TestClient(Starlette(routes=routes.routes())) as client:
        yield client


def _found(client: TestClient, **wanted: Any) -> dict[str, Any]:
    answer = client.get("/studio/library", params=wanted)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_page_is_html_with_every_name_escaped(
    client: TestClient, studio: Studio, tmp_path: Path
) -> None:
    finished(scene_of(studio), texts(tmp_path, "a <b>.txt", "b.txt"))
    finished(scene_of(studio), [tmp_path / "b.txt"], fail="user")
    found = _found(client)
    assert found["total"] == 3
    assert found["html"].count('class="card"') == 3
    assert "<b>.txt" not in found["html"]
    assert "It went wrong as you asked" in found["html"]
    assert _found(client, search="<B>")["total"] == 1
    assert "Nothing fits" in _found(client, search="zzz")["html"]
    assert _found(client, page=99)["page"] == 0
    assert client.get("/studio/library?measured=K").json()["error"].startswith("A measured value")
    facets = client.get("/studio/library/facets").json()
    assert facets["engine"] == [{"value": "demo.invert", "title": "Invert", "count": 3}]
    assert "characters" in facets["measured"]


def test_details_siblings_and_two_side_by_side(
    client: TestClient, studio: Studio, tmp_path: Path
) -> None:
    [first] = finished(scene_of(studio), texts(tmp_path, "a.txt"))
    [second] = finished(scene_of(studio), [tmp_path / "a.txt"], repeat=3)
    html = client.get(f"/studio/library/job/{second.id}").json()["html"]
    assert f'data-compare="{first.id}"' in html
    assert "<td>3</td>" in html  # the setting that was changed
    assert f"studio/file/{second.outputs[0].id}" in html
    beside = client.get(f"/studio/library/compare/{first.id}/{second.id}").json()["html"]
    assert "Repeat 1" in beside
    assert "Repeat 3" in beside
    refused = client.get(f"/studio/library/compare/{first.id}/{first.id}")
    assert "different results" in refused.json()["error"]


def test_deleting_can_be_taken_back_and_the_trash_emptied(
    client: TestClient, studio: Studio, tmp_path: Path
) -> None:
    a, b = finished(scene_of(studio), texts(tmp_path, "a.txt", "b.txt"))
    gone = client.post("/studio/library/delete", json={"ids": [a.id, b.id]}).json()
    assert (set(gone["ids"]), gone["running"]) == ({a.id, b.id}, 0)
    assert _found(client)["total"] == 0
    assert _found(client, trash="true")["total"] == 2
    back = client.post("/studio/library/restore", json={"ids": [a.id]}).json()
    assert back["ids"] == [a.id]
    assert client.post("/studio/library/empty", json={}).json() == {"removed": 1}
    assert a.outputs[0].path.is_file()
    assert not b.outputs[0].path.exists()
    assert "In the trash" not in client.get("/studio/library/space").json()["html"]
    for body in (b"x", b"[]", b'{"ids": "a"}', b'{"ids": [1]}'):
        assert "error" in client.post("/studio/library/delete", content=body).json()


def test_the_chosen_ones_come_as_one_zip_with_how_they_were_made(
    client: TestClient, studio: Studio, tmp_path: Path
) -> None:
    jobs = finished(scene_of(studio), texts(tmp_path, "a.txt", "b.txt"))
    jobs += finished(scene_of(studio), [tmp_path / "a.txt"])
    ids = ",".join(job.id for job in jobs)
    answer = client.post("/studio/library-zip", data={"ids": ids})
    with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
        assert packed.testzip() is None
        assert packed.namelist() == [
            "a.inverted.txt", "b.inverted.txt", "a.inverted-2.txt", "jobs.json",
        ]  # fmt: skip
        records = json.loads(packed.read("jobs.json"))
    assert records[0]["engine"] == "demo.invert"
    assert str(tmp_path) not in json.dumps(records)
    assert client.post("/studio/library-zip", data={"ids": "nothing"}).status_code == 404


def test_a_sound_is_drawn_once_and_served_as_a_picture(
    client: TestClient, studio: Studio, tmp_path: Path
) -> None:
    engines_for_tests.register_sound()
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(b"".join((n % 200 * 100).to_bytes(2, "little") for n in range(8000)))
    ids = studio.submit(LOCAL, scene_of(studio).session.id, engines_for_tests.SOUND, [[path]], {})
    [job] = studio.wait(LOCAL, ids, poll=0.01)
    assert f"studio/thumb/{job.outputs[0].id}" in _found(client)["html"]
    answer = client.get(f"/studio/thumb/{job.outputs[0].id}")
    assert answer.headers["content-type"] == "image/svg+xml"
    assert answer.text.count("M") > 90
    kept = list((studio.settings.cache / FACES).rglob("*.svg"))
    assert len(kept) == 1
    kept[0].write_text("<svg/>")
    assert client.get(f"/studio/thumb/{job.outputs[0].id}").text == "<svg/>"
    client.post("/studio/library/delete", json={"ids": [job.id]})
    assert client.get(f"/studio/thumb/{job.outputs[0].id}").status_code == 200  # seen in the trash
    client.post("/studio/library/empty", json={})
    assert not kept[0].exists()


def test_nobody_reaches_what_is_anothers(
    client: TestClient, studio: Studio, tmp_path: Path
) -> None:
    [mine] = finished(scene_of(studio), texts(tmp_path, "secret.txt"))
    [again] = finished(scene_of(studio), [tmp_path / "secret.txt"], repeat=2)
    session = mine.session_id
    client.headers["owner"] = "b" * 32
    assert _found(client) == {**_found(client), "total": 0}
    assert _found(client, session=session)["total"] == 0
    assert client.get("/studio/library/ids").json() == {"ids": []}
    for address in (
        f"/studio/library/job/{mine.id}",
        f"/studio/library/compare/{mine.id}/{again.id}",
        f"/studio/thumb/{mine.outputs[0].id}",
        f"/studio/session/{session}/export",
    ):
        answer = client.get(address)
        assert answer.status_code == 404
        assert "secret" not in answer.text
    for action in ("delete", "restore"):
        assert client.post(f"/studio/library/{action}", json={"ids": [mine.id]}).json()["ids"] == []
    assert client.post("/studio/library-zip", data={"ids": mine.id}).status_code == 404
    assert "secret" not in json.dumps(client.get("/studio/library/facets").json())
    assert len(studio.jobs(LOCAL)) == 2


def test_a_session_goes_out_and_comes_in(
    client: TestClient, studio: Studio, tmp_path: Path
) -> None:
    [job] = finished(scene_of(studio), texts(tmp_path, "a.txt"))
    studio.rename_session(LOCAL, job.session_id, "Küste: früh")
    answer = client.get(f"/studio/session/{job.session_id}/export")
    assert "K%C3%BCste_%20fr%C3%BCh.zip" in answer.headers["content-disposition"]
    made = client.post("/studio/session/import?name=a.zip", content=answer.content)
    assert made.json()["name"] == "Küste: früh"
    assert len(studio.jobs(LOCAL, made.json()["session"])) == 1
    refused = client.post("/studio/session/import?name=../b.zip", content=b"no zip")
    assert "b.zip is no whole zip" in refused.json()["error"]
    assert not list(studio.settings.temporary.glob("*"))
