"""What the served page answers to whom: visitors, guards, files, and nothing else."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from studio.inbox import Inbox
from studio.jobs.views import ArtifactView
from studio.visitors import COOKIE, visitor_token
from tests.studio.serving import Page, Serve

MISSING = "There is no such file here"


@pytest.fixture(scope="module")
def local(serve: Serve) -> Page:
    """The page of a person at their own machine."""
    return serve()


@pytest.fixture(scope="module")
def shared(serve: Serve) -> Page:
    """The page as strangers reach it, on a Space."""
    return serve(space=True)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "a text.txt"
    path.write_text("some text")
    return path


def _url(file: ArtifactView) -> str:
    return f"/studio/file/{file.id}/{quote(file.name)}"


def _token(visitor: httpx.Client) -> str:
    if COOKIE not in visitor.cookies:
        visitor.get("/studio/alive")
    return visitor.cookies[COOKIE]


def _call(visitor: httpx.Client, event: str, *data: Any, **more: Any) -> httpx.Response:
    """Call an event of the page as a program would that knows its way around Gradio."""
    dependencies = visitor.get("/config").json()["dependencies"]
    number = next(one["id"] for one in dependencies if one["api_name"] == event)
    body = {"fn_index": number, "data": data, "session_hash": str(id(visitor)), **more}
    return visitor.post("/gradio_api/run/predict", json=body)


# Files


def test_a_file_is_sent_as_what_it_is_and_as_nothing_that_runs(local: Page, text: Path) -> None:
    job, me = local.run("local", text), local.visitor()
    before, after = job.comparisons[0]
    shown = me.get(_url(before))
    assert shown.content == before.path.read_bytes()
    assert shown.headers["content-type"] == "image/png"
    assert shown.headers["content-disposition"].startswith("inline")
    saved = me.get(_url(after), params={"download": "1"})
    assert saved.headers["content-disposition"] == 'attachment; filename="after.png"'
    output = me.get(_url(job.outputs[0]))
    assert output.headers["content-disposition"].startswith("attachment")
    assert "a%20text.0.bin" in output.headers["content-disposition"]
    for answer in (shown, saved, output):
        assert answer.status_code == 200
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert answer.headers["cache-control"].startswith("private")
    assert me.head(_url(before)).headers["content-length"] == str(before.bytes)


def test_a_file_can_be_asked_for_in_ranges(local: Page, text: Path) -> None:
    job, me = local.run("local", text), local.visitor()
    url, content = _url(job.outputs[0]), job.outputs[0].path.read_bytes()
    part = me.get(url, headers={"Range": "bytes=2-5"})
    assert (part.status_code, part.content) == (206, content[2:6])
    assert part.headers["content-range"] == f"bytes 2-5/{len(content)}"
    assert me.get(url, headers={"Range": "bytes=-3"}).content == content[-3:]
    assert me.get(url, headers={"Range": f"bytes={len(content)}-"}).status_code == 416
    whole = me.get(url)
    assert whole.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize(
    "name", ["Küste 日本 🙂.txt", "100% #1 a?b;c.txt", 'quo"te\r\nX-Evil: 1.txt']
)
def test_names_of_any_kind_arrive(local: Page, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("text")
    me = local.visitor()
    for file in local.run("local", path).outputs:
        answer = me.get(_url(file))
        assert answer.content == file.path.read_bytes()
        assert "x-evil" not in answer.headers


def test_outputs_come_in_one_archive(local: Page, text: Path) -> None:
    first, second = (local.run("local", text, "b" * 32) for _ in range(2))
    me = local.visitor()
    answer = me.get(f"/studio/zip/batch/{'b' * 32}")
    assert answer.headers["content-type"] == "application/zip"
    assert (
        answer.headers["content-disposition"] == 'attachment; filename="noise-studio-bbbbbbbb.zip"'
    )
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [
            "a text.0.bin", "a text.1.bin", "a text.0-2.bin", "a text.1-2.bin",
        ]  # fmt: skip
        assert archive.read("a text.0-2.bin") == second.outputs[0].path.read_bytes()
    one = me.get(f"/studio/zip/job/{first.id}")
    with zipfile.ZipFile(io.BytesIO(one.content)) as archive:
        assert archive.namelist() == ["a text.0.bin", "a text.1.bin"]
    for key in (f"job/{'0' * 32}", f"batch/{'0' * 32}", f"session/{first.session_id}", "job/%25"):
        missing = me.get(f"/studio/zip/{key}")
        assert (missing.status_code, missing.text) == (404, MISSING)


def test_a_folder_comes_as_an_archive_to_its_owner_alone(shared: Page, tmp_path: Path) -> None:
    me, stranger = shared.visitor(), shared.visitor()
    model = tmp_path / "Küste"
    model.mkdir()
    (model / "config.json").write_text("{}")
    owner = _token(me)
    session = shared.studio.open_session(owner).id
    ids = shared.studio.submit(owner, session, "demo.model", [[model]], {})
    [job] = shared.studio.wait(owner, ids)
    [made] = job.outputs
    answer = me.get(f"/studio/zip/folder/{made.id}")
    assert answer.headers["content-disposition"] == (
        "attachment; filename*=UTF-8''K%C3%BCste-small.zip"
    )
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == ["Küste-small/config.json"]
    for visitor, key in ((stranger, made.id), (me, job.inputs[0].id), (me, "0" * 32)):
        missing = visitor.get(f"/studio/zip/folder/{key}")
        assert (missing.status_code, missing.text) == (404, MISSING)
    for file in (made, job.inputs[0]):  # a folder is no file
        assert me.get(_url(file)).status_code == 404
    body = {"prompt": "whose is it?"}
    assert stranger.post(f"/studio/ask/{job.id}", json=body).status_code == 404


def test_a_file_that_was_deleted_by_hand_is_missing(local: Page, text: Path) -> None:
    job, me = local.run("local", text), local.visitor()
    job.outputs[0].path.unlink()
    assert me.get(_url(job.outputs[0])).status_code == 404
    with zipfile.ZipFile(io.BytesIO(me.get(f"/studio/zip/job/{job.id}").content)) as archive:
        assert archive.namelist() == ["a text.1.bin"]
    job.outputs[1].path.unlink()
    assert me.get(f"/studio/zip/job/{job.id}").status_code == 404


# Visitors


def test_each_browser_is_somebody_else(shared: Page) -> None:
    ann, ben = shared.visitor(), shared.visitor()
    first = ann.get("/")
    rules = first.headers["set-cookie"].split("; ")
    assert {"Path=/", "HttpOnly", "SameSite=Lax"} <= set(rules)
    assert len(_token(ann)) == 32
    assert _token(ann) != _token(ben)
    assert "set-cookie" not in ann.get("/").headers
    framed = shared.visitor(**{"x-forwarded-proto": "https"}).get("/studio/alive")
    assert "Secure; SameSite=None; Partitioned" in framed.headers["set-cookie"]


def test_a_cookie_of_another_server_takes_nobodys_identity(shared: Page) -> None:
    token = "0123456789abcdef" * 2
    for other in ('odd={"a":1}', "bad name=x", "a=b c", ""):
        assert visitor_token(f"{other}; {COOKIE}={token}") == token
        answer = shared.visitor(cookie=f"{other}; {COOKIE}={token}").get("/studio/alive")
        assert "set-cookie" not in answer.headers
    for forged in ("", "x", token.upper(), token + "0", "../../etc/passwd", "local"):
        assert visitor_token(f"{COOKIE}={forged}") is None
        answer = shared.visitor(cookie=f"{COOKIE}={forged}").get("/studio/alive")
        assert COOKIE in answer.headers["set-cookie"]


def test_one_visitor_gets_nothing_of_anothers(shared: Page, text: Path) -> None:
    ann, ben = shared.visitor(), shared.visitor()
    _token(ben)
    job = shared.run(_token(ann), text, "b" * 32)
    files = [*job.inputs, *job.outputs, *job.figures, *job.comparisons[0], *job.tracks[0],
             job.thumbnail]  # fmt: skip
    urls = [_url(file) for file in files if file is not None]
    urls += [f"/studio/zip/job/{job.id}", f"/studio/zip/batch/{'b' * 32}"]
    unknown = ben.get(f"/studio/file/{'0' * 32}/a.txt")
    assert (unknown.status_code, unknown.text) == (404, MISSING)
    strangers = [ben, shared.visitor(), shared.visitor(cookie=f"{COOKIE}=local")]
    for url in urls:
        assert ann.get(url).status_code == 200
        for stranger in strangers:
            answer = stranger.get(url)
            assert (answer.status_code, answer.text) == (404, MISSING)
            told = {name for name in answer.headers if name != "set-cookie"}
            assert told == {name for name in unknown.headers if name != "set-cookie"}
    assert ann.get(f"/studio/file/{job.outputs[0].id}/another.name").status_code == 404


def test_sounds_are_played_in_the_page_and_in_ranges(local: Page, text: Path) -> None:
    job, me = local.run("local", text), local.visitor()
    types = {".flac": "audio/flac", ".mp3": "audio/mpeg"}
    for sound, _ in job.tracks:
        part = me.get(_url(sound), headers={"Range": "bytes=0-3"})
        assert part.content == sound.path.read_bytes()[:4]
        assert part.headers["content-type"] == types[sound.path.suffix]
        assert part.headers["content-disposition"].startswith("inline")


def test_chosen_sounds_can_be_listened_to_by_who_chose_them(shared: Page, tmp_path: Path) -> None:
    ann, ben = shared.visitor(), shared.visitor()
    owner, _ = _token(ann), _token(ben)
    session, inbox = shared.studio.open_session(owner).id, Inbox(shared.studio.settings.uploads)
    content = {"a song.mp3": b"ID3 and more", "page.html": b"<script>alert(1)</script>"}
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    inbox.add_uploads(session, "speech", [tmp_path / name for name in content])
    song, page = inbox.files(session, "speech")

    def address(key: str, name: str, tab: str = "speech", of: str = session) -> str:
        return f"/studio/chosen/{of}/{tab}/{key}/{quote(name)}"

    part = ann.get(address(song.key, "a song.mp3"), headers={"Range": "bytes=4-6"})
    assert (part.status_code, part.content) == (206, b"and")
    assert part.headers["content-type"] == "audio/mpeg"
    bens = shared.studio.open_session(_token(ben)).id
    for visitor, url in (
        (ben, address(song.key, "a song.mp3")),
        (ben, address(song.key, "a song.mp3", of=bens)),
        (ann, address(song.key, "a song.mp3", tab="../speech")),
        (ann, address(song.key, "a song.mp3", tab="demo")),
        (ann, address("0" * 16, "a song.mp3")),
        (ann, address(page.key, "page.html")),
        (ann, address(page.key, "page.mp3")),  # the page under a sound's name
    ):
        answer = visitor.get(url)
        assert answer.status_code == 404, url
        assert b"script" not in answer.content


def test_events_of_the_page_answer_for_ones_own_things_alone(shared: Page, text: Path) -> None:
    ann, ben = shared.visitor(), shared.visitor()
    job = shared.run(_token(ann), text)
    session = {"session": job.session_id}
    seen = _call(ann, "_open", session, None, {}).text
    assert job.session_id in seen
    foreign = _call(ben, "_open", session, None, {})
    assert foreign.status_code == 200
    assert job.session_id not in foreign.text
    assert text.name not in foreign.text
    dependencies = ben.get("/config").json()["dependencies"]
    act = next(one["api_name"] for one in dependencies if one["api_name"].startswith("_act"))
    for action in ("open", "use", "rerun", "delete", "cancel", "retry-failed", "session"):
        for key in (job.id, job.session_id, job.batch):
            data = {"do": action, "key": key}
            answer = _call(ben, act, session, None, {}, event_data=data)
            assert text.name not in answer.text
            assert job.id not in answer.text
    for data in ({"do": "rename-session", "text": "Ben's"}, {"do": "delete-session"}):
        _call(ben, act, session, None, {}, event_data=data)
    assert shared.studio.job(_token(ann), job.id) == job
    assert len(shared.studio.jobs(_token(ann))) == 1
    assert shared.studio.jobs(_token(ben)) == []
    assert "Ben's" not in [view.name for view in shared.studio.sessions(_token(ann))]
    _call(ann, act, session, None, {}, event_data={"do": "delete", "key": job.id})  # it can be done
    assert shared.studio.jobs(_token(ann)) == []


def test_who_logs_in_owns_what_is_theirs(serve: Serve, text: Path) -> None:
    page = serve(auth=(("ann", "secret"),))
    job = page.run("user:ann", text)
    other = page.run("local", text)
    ann, stranger = page.visitor(), page.visitor()
    assert ann.post("/login", data={"username": "ann", "password": "secret"}).status_code == 200
    assert stranger.post("/login", data={"username": "ann", "password": "x"}).status_code == 400
    assert ann.get(_url(job.outputs[0])).status_code == 200
    assert ann.get(_url(other.outputs[0])).status_code == 404
    for visitor in (stranger, page.visitor(cookie=f"{COOKIE}={'0' * 32}")):
        assert visitor.get(_url(job.outputs[0])).status_code == 404
        assert visitor.get(_url(other.outputs[0])).status_code == 404
        assert visitor.get("/gradio_api/file=/etc/hostname").status_code == 404


# Guards


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "[", "", "10.0.0.7"]
)
def test_a_foreign_name_that_points_here_is_refused(local: Page, host: str) -> None:
    answer = local.visitor().get("/", headers={"Host": host})
    assert answer.status_code in (400, 403)
    assert "Noise Studio</" not in answer.text
    assert local.visitor().get("/", headers={"Host": "LOCALHOST:1"}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://127.0.0.1", "//", "["]
)
def test_another_sites_page_can_change_nothing(shared: Page, origin: str) -> None:
    me = shared.visitor()
    headers = {"Origin": origin}
    name = f"{os.urandom(4).hex()}.txt"
    files = {"files": (name, b"text")}
    refused = me.post("/gradio_api/upload", files=files, headers=headers)
    assert refused.status_code == 403
    assert "another site" in refused.text
    assert not list(shared.studio.settings.temporary.rglob(name))
    assert me.post("/gradio_api/upload", files=files).status_code == 200
    assert me.post("/gradio_api/upload", files=files, headers={"Origin": shared.address}).is_success


def test_a_page_says_what_it_may_load(local: Page) -> None:
    policy = local.visitor().get("/").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "object-src 'none'" in policy
    assert "http:" not in policy


# Nothing else is served


def test_nothing_of_the_machine_is_served(local: Page, text: Path, tmp_path: Path) -> None:
    job, me = local.run("local", text), local.visitor()
    settings = local.studio.settings
    here = Path("pyproject.toml").resolve()
    private = [
        settings.home / "studio.db", job.outputs[0].path, text, here, Path("/etc/passwd"),
        settings.temporary / ".." / ".." / "studio.db", settings.home, tmp_path,
    ]  # fmt: skip
    assert here.is_file()
    for path in private:
        for form in (str(path), str(path).lstrip("/"), quote(str(path), safe=""), f"//{path}"):
            for route in ("/gradio_api/file=", "/gradio_api/file/", "/file=", "/file/"):
                assert me.get(f"{route}{form}").status_code in (403, 404)
    for route in (
        "/gradio_api/file=pyproject.toml",
        "/gradio_api/file=file:///etc/passwd",
        "/gradio_api/file=http://127.0.0.1:1/",
        "/gradio_api/proxy=http://127.0.0.1:1/",
        "/studio/assets/js/../../../pyproject.toml",
        "/studio/assets/js/%2e%2e/%2e%2e/%2e%2e/pyproject.toml",
        "/studio/assets/weights/yond-snrnet-small.safetensors",
        "/studio/file/../../etc/passwd",
        f"/studio/file/{job.outputs[0].id}/..%2f..%2fstudio.db",
        f"/studio/file/{quote(str(settings.home / 'studio.db'), safe='')}/studio.db",
        "/static/%2e%2e/%2e%2e/routes.py",
        "/monitoring/summary",
        "/gradio_api/runs",
        "/gradio_api/profiling/summary",
        "/gradio_api/vibe-code",
    ):
        assert me.get(route).status_code in (400, 403, 404), route


def test_uploads_stay_inside_and_leave_the_cache_at_once(serve: Serve, tmp_path: Path) -> None:
    page = serve(space=True)  # Gradio has one cache a process: that of the page built last
    me, other = page.visitor(), page.visitor()
    settings, upload = page.studio.settings, _uploads(me)
    for name in ("../../../evil.txt", "..\\..\\evil.txt", "/etc/evil.txt", "\u202etxt.live.txt"):
        content = os.urandom(8)
        [sent] = me.post("/gradio_api/upload", files={"files": (name, content)}).json()
        assert Path(sent).resolve().is_relative_to(settings.temporary)
        file = {"path": sent, "meta": {"_type": "gradio.FileData"}}
        assert _call(me, upload, {}, None, [file]).status_code == 200
        [kept] = [path for path in settings.uploads.rglob("*.txt") if path.read_bytes() == content]
        assert not set(kept.name) & set("\\/\u202e")
        for visitor in (me, other):
            for path in (sent, kept):
                assert visitor.get(f"/gradio_api/file={path}").status_code in (403, 404)
    assert not list(tmp_path.iterdir())
    assert not list(settings.home.parent.glob("*.txt"))


def test_nobody_can_have_a_file_of_the_machine_taken_for_their_upload(
    serve: Serve, text: Path
) -> None:
    page = serve(space=True)
    me = page.visitor()
    upload, home = _uploads(me), page.studio.settings.home
    database = home / "studio.db"
    for path in (text, database, Path("/etc/hostname"), home / "cache" / ".." / "studio.db"):
        for file in ({"path": str(path)}, {"path": "x", "url": f"file://{path}"}):
            sent = {**file, "meta": {"_type": "gradio.FileData"}}
            assert _call(me, upload, {}, None, [sent]).status_code == 403
    assert text.read_text() == "some text"
    assert database.is_file()
    kept = {path.name for path in page.studio.settings.uploads.rglob("*")}
    assert not kept & {text.name, "hostname", "studio.db"}


def _uploads(visitor: httpx.Client) -> str:
    """The event of the demo tab's drop zone: the last one, for tabs come in order."""
    dependencies = visitor.get("/config").json()["dependencies"]
    return [
        one["api_name"]
        for one in dependencies
        if one["targets"] and one["targets"][0][1] == "upload"
    ][-1]


def test_the_page_can_tell_that_the_studio_was_started_anew(serve: Serve) -> None:
    first, second = (serve().visitor().get("/studio/alive") for _ in range(2))
    assert first.json().keys() == {"boot"}
    assert first.json() != second.json()
    assert first.headers["cache-control"] == "no-store"
