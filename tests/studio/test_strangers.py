"""Strangers and programs at a studio that they share: what they reach, and what they may."""

from __future__ import annotations

import base64
import json
import secrets
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from studio.http import StudioRoutes
from studio.library.routes import LibraryRoutes
from studio.model_routes import ModelRoutes
from studio.uploads import own_folder
from studio.visitors import KEY, Visitors
from tests.studio.serving import Page, Serve
from tests.studio.threads import run_apart

ANN, BEN = ({KEY: secrets.token_hex(16)} for _ in range(2))
MB = 2**20


@pytest.fixture(scope="module")
def page(serve: Serve) -> Page:
    return serve(
        space=True, mcp=True, max_files=3, max_jobs_hour=40, max_stored_mb=2, max_upload_mb=1
    )


def get(url: str, who: dict[str, str] | None = None) -> httpx.Response:
    return httpx.get(url, headers=who or {}, verify=False, timeout=30)


def call(page: Page, who: dict[str, str], endpoint: str, *data: Any) -> Any:
    """What an endpoint answers: its result, or (code, sentence), or (status, text)."""
    visitor = page.visitor(**who)
    begun = visitor.post(f"/gradio_api/call/{endpoint}", json={"data": data})
    if begun.status_code != 200:
        return begun.status_code, begun.text
    said = visitor.get(f"/gradio_api/call/{endpoint}/{begun.json()['event_id']}").text
    last = json.loads(said.rpartition("data: ")[2])
    return (last["title"], last["error"]) if "event: error" in said else last[0]


def upload(page: Page, who: dict[str, str], content: bytes = b"text", name: str = "a.txt") -> str:
    [path] = page.visitor(**who).post(
        "/gradio_api/upload", files={"files": (name, content)}
    ).json()  # fmt: skip
    return path


def run(page: Page, who: dict[str, str], name: str = "a.txt") -> Any:
    sent = upload(page, who, name=name)
    done = call(page, who, "run", "demo.big", [sent], {"times": 2}, 7, 60)
    assert done["state"] == "done", done
    return done


# Programs


def test_a_program_gets_what_it_asked_for(page: Page) -> None:
    done = run(page, ANN)
    assert (done["seed"], done["params"]["times"], len(done["outputs"])) == (7, 2, 2)
    for file in done["outputs"]:
        assert len(get(file["url"], ANN).content) == file["bytes"]
        assert get(file["url"], BEN).status_code == 404
        assert get(file["url"]).status_code == 404
    assert call(page, ANN, "status", done["job"])["state"] == "done"
    assert call(page, ANN, "jobs", 5)[0]["job"] == done["job"]
    assert call(page, ANN, "cancel", done["job"])["state"] == "done"


def test_a_call_leaves_nothing_in_memory(page: Page) -> None:
    before = len(page.blocks.state_holder.session_data)
    for _ in range(3):
        assert len(call(page, ANN, "engines", "")) > 3
    assert len(page.blocks.state_holder.session_data) <= before


def test_every_error_has_a_code_and_a_sentence(page: Page) -> None:
    sent = upload(page, ANN)
    wrong = {
        ("status", "0" * 32): "not_found",
        ("result", run(page, BEN)["job"]): "not_found",
        ("cancel", "'; drop table jobs; --"): "not_found",
        ("engines", "raw.nothing"): "no_such_engine",
    }
    for (endpoint, value), code in wrong.items():
        assert call(page, ANN, endpoint, value)[0] == code
    submits: list[tuple[list[Any], str]] = [
        (["demo.nothing", [sent], {}, None], "no_such_engine"),
        (["superres.preview", [sent], {}, None], "no_such_engine"),  # one that only the page asks
        (["demo.big", [sent], {"times": "many"}, None], "invalid"),
        (["demo.big", [sent], {"nothing": 1}, None], "invalid"),
        (["demo.big", [], {}, None], "invalid"),
        (["demo.big", "a.txt", {}, None], "invalid"),
        (["demo.big", ["/etc/hostname"], {}, None], "no_such_file"),
        (["demo.big", [f"{sent}/../a.txt"], {}, None], "no_such_file"),
        (["demo.big", [upload(page, BEN)], {}, None], "no_such_file"),
        (["demo.big", ["data:text/plain;base64,AAAA"], {}, None], "invalid"),
    ]
    for data, code in submits:
        told = call(page, ANN, "submit", *data)
        assert told[0] == code, (data, told)
        assert told[1].strip()
        assert "Traceback" not in told[1]


def test_addresses_and_foreign_files_in_a_request_are_refused_before_anything_is_fetched(
    page: Page,
) -> None:
    own, foreign = upload(page, ANN), upload(page, BEN, b"secret")
    for path in (
        "http://127.0.0.1:1/x",
        "https://example.org/a",
        "file:///etc/passwd",
        foreign,
        "/etc/passwd",
        f"{own}/../../x",
        str(page.studio.settings.home / "studio.db"),
    ):
        for file in ({"path": path}, {"path": path, "meta": {"_type": "gradio.FileData"}}):
            for data in ([file], {"deep": [{"er": file}]}):
                told = call(page, ANN, "submit", "demo.big", data, {}, None)
                assert told[0] == 403, (path, told)
    for body in (b"{", b"[" * 5000, b"\xff"):
        visitor = page.visitor(**ANN)
        answer = visitor.post("/gradio_api/call/submit", content=body)
        assert answer.status_code in (400, 422)
    long = page.visitor(**ANN).post("/gradio_api/call/submit", content=b" " * (5 * MB))
    assert long.status_code == 413


def test_a_key_that_could_be_guessed_is_none(page: Page) -> None:
    for key in ("", "me", "0" * 32, "ab" * 16, secrets.token_hex(15), f"{secrets.token_hex(16)}0"):
        assert page.visitor(**{KEY: key}).get("/studio/alive").status_code == 401
    upper = {KEY: ANN[KEY].upper()}
    assert call(page, upper, "jobs", 1) == call(page, ANN, "jobs", 1)


def test_only_what_the_page_needs_of_gradio_answers(page: Page) -> None:
    visitor = page.visitor(**ANN)
    sent = upload(page, ANN)
    for path in (
        f"file={sent}",
        "proxy=http://127.0.0.1:1/",
        "process_recording",
        "vibe-edit",
        "run-history/records",
        "deep_link",
        "stream/x/y/z/playlist.m3u8",
        "dev/reload",
        "custom_component/x/client/y",
        "token",
        "../gradio_api/file=/etc/passwd",
    ):
        for method in ("GET", "POST"):
            assert visitor.request(method, f"/gradio_api/{path}").status_code in (403, 404, 405)


# Uploads


def test_the_same_file_of_two_visitors_stays_two_files(page: Page) -> None:
    first, second = upload(page, ANN, b"equal"), upload(page, BEN, b"equal")
    assert first != second
    assert own_folder(page.studio.settings.temporary, ANN[KEY]) in Path(first).parents
    assert call(page, ANN, "submit", "demo.big", [first], {}, None)["jobs"]
    assert Path(second).read_bytes() == b"equal"
    assert call(page, BEN, "submit", "demo.big", [second], {}, None)["jobs"]


def test_no_more_is_kept_than_a_visitor_may_keep(page: Page) -> None:
    who = {KEY: secrets.token_hex(16)}
    visitor = page.visitor(**who)
    folder = own_folder(page.studio.settings.temporary, who[KEY])
    large = visitor.post("/gradio_api/upload", files={"files": ("a", b"x" * (MB + 1))})
    assert large.status_code == 413
    assert large.text.startswith("A file may have up to 1 MB")
    many = visitor.post("/gradio_api/upload", files=[("files", ("a", b"x"))] * 4)
    assert many.status_code == 413

    def endless() -> Any:  # no length is announced
        yield b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
        for _ in range(64):
            yield b"x" * 65_536

    kind = {"content-type": "multipart/form-data; boundary=b"}
    assert visitor.post("/gradio_api/upload", content=endless(), headers=kind).status_code == 413
    field = visitor.post("/gradio_api/upload", data={"no": "file"}, files={"files": ("a", b"x")})
    assert field.status_code == 400
    assert not [path for path in folder.rglob("*") if path.is_file()]
    for _ in range(2):
        sent = visitor.post("/gradio_api/upload", files={"files": ("a", b"x" * (MB - 2000))})
        assert sent.status_code == 200
    full = visitor.post("/gradio_api/upload", files={"files": ("a", b"x" * 9000)})
    assert full.status_code == 413
    assert "up to 2 MB" in full.text


def test_more_than_a_visitor_may_ask_for_is_refused(page: Page) -> None:
    who = {KEY: secrets.token_hex(16)}
    files = [upload(page, who, name=f"{n}.txt") for n in range(4)]
    told = call(page, who, "submit", "demo.big", files, {}, None)
    assert told == ("limit_reached", "At most 3 files can be run at once here")


# Everybody's own


def test_no_address_of_the_studio_gives_anything_of_anothers(page: Page) -> None:
    """Every route there is, with every id of Ann's, asked by Ben."""
    done = run(page, ANN, "only-anns.txt")
    job = page.studio.job(ANN[KEY], done["job"])
    ids = [job.id, job.session_id, job.batch, job.outputs[0].id, job.inputs[0].id]
    visitors = Visitors(page.studio.settings)
    routes = [
        *StudioRoutes(page.studio, visitors, "").routes(),
        *LibraryRoutes(page.studio, visitors).routes(),
        *ModelRoutes(page.studio, visitors).routes(),
    ]
    ben, secret = page.visitor(**BEN), (job.id, job.name, job.outputs[0].name, job.session_id)
    asked = 0
    for route in routes:
        for one in ids:
            path = getattr(route, "path", "")
            for name in getattr(route, "param_convertors", {}):
                given = job.outputs[0].name if name == "name" else one
                path = path.replace(f"{{{name}}}", str(given))
            for method in getattr(route, "methods", None) or ():
                answer = ben.request(
                    method, path, json={"ids": ids, "key": one} if method == "POST" else None
                )
                told = answer.text.replace(path, "")
                assert answer.status_code < 500, (method, path)
                assert not [word for word in secret if word and word in told], (method, path)
                asked += 1
    assert asked > 60
    assert page.studio.job(ANN[KEY], job.id) == job


# Agents


def test_tools_share_queue_limits_and_owners(page: Page) -> None:
    content = base64.b64encode(b"hello").decode()
    file = f"data:text/plain;name=x.txt;base64,{content}"

    async def agent(who: dict[str, str], *calls: tuple[str, dict[str, Any]]) -> list[Any]:
        http = httpx2.AsyncClient(headers=who, timeout=90, verify=False)
        target = streamable_http_client(f"{page.address}/studio/mcp", http_client=http)
        async with http, Client(target) as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert {"raw_yond", "demo_big", "job_status", "job_result", "cancel_job"} <= set(tools)
            assert tools["demo_big"].input_schema["required"] == ["files"]
            return [await client.call_tool(*one) for one in calls]

    first, path, params, many = run_apart(agent(
        ANN,
        ("demo_big", {"files": [file], "times": 2, "wait": 60}),
        ("demo_big", {"files": ["/etc/hostname"]}),
        ("demo_big", {"files": [file], "times": "many"}),
        ("demo_big", {"files": [file, file]}),
    ))  # fmt: skip
    job = first.structured_content["job"]
    assert first.structured_content["state"] == "done"
    assert get(first.structured_content["outputs"][0]["url"], ANN).is_success
    for told, code in ((path, "no_such_file"), (params, "invalid"), (many, "invalid")):
        assert told.is_error
        assert json.loads(told.content[0].text)["code"] == code
    foreign, unknown = run_apart(agent(BEN, ("job_result", {"job": job}), ("nothing", {})))
    assert json.loads(foreign.content[0].text)["code"] == "not_found"
    assert json.loads(unknown.content[0].text)["code"] == "no_such_engine"
    [nobody] = run_apart(agent({}, ("job_result", {"job": job})))
    assert json.loads(nobody.content[0].text)["code"] == "not_identified"
    assert call(page, ANN, "result", job)["state"] == "done"  # one history for all doors


def test_a_handshake_by_hand(page: Page) -> None:
    asked = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {},
        "clientInfo": {"name": "by hand", "version": "1"},
    }}  # fmt: skip
    headers = {"Accept": "application/json, text/event-stream", **ANN}
    answer = page.visitor(**headers).post("/studio/mcp", json=asked)
    assert answer.json()["result"]["serverInfo"]["name"] == "noise-studio"
    evil = page.visitor(**headers, Origin="https://evil.example").post("/studio/mcp", json=asked)
    assert evil.status_code == 403


# Passwords


def test_passwords_are_guessed_slowly_and_programs_may_send_theirs(serve: Serve) -> None:
    page = serve(auth=(("ann", "long secret"), ("ben", "another one")))
    ann, ben = httpx.BasicAuth("ann", "long secret"), httpx.BasicAuth("ben", "another one")
    plain = page.visitor()
    assert plain.get("/config").status_code == 401
    assert plain.get("/config", auth=ann).status_code == 200
    sent = plain.post("/gradio_api/upload", files={"files": ("a.txt", b"x")}, auth=ann)
    path = sent.json()[0]
    assert own_folder(page.studio.settings.temporary, "user:ann") in Path(path).parents
    body = {"data": ["demo.big", [{"path": path}], {}, None]}
    submit = "/gradio_api/call/submit"
    assert plain.post(submit, json=body, auth=ben).status_code == 403
    assert plain.post(submit, json=body, auth=ann).status_code == 200
    assert plain.post(submit, json=body, headers=ANN).status_code == 401  # a key is no password
    visitor = page.visitor()
    for attempt in range(5):
        wrong = {"username": "ann", "password": f"guess {attempt}"}
        assert visitor.post("/login", data=wrong).status_code == 400
    right = {"username": "ann", "password": "long secret"}
    refused = visitor.post("/login", data=right)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 20
    assert plain.get("/config", auth=ann).status_code == 429  # the same address
