"""The live page: who is let in, what is sent, and that nobody who looks holds up or fills anything."""

import asyncio

import httpx
import orjson
import pytest

from swarm.records.run_folder import RunFolder
from swarm.report.live.course import STOP
from swarm.report.live.going import Going
from swarm.report.live.server import NOTES_SHOWN, VIEWERS_MAX, Guard, Publisher, app_of, serve_page

pytest.importorskip("starlette", reason="the extra `live` is not installed")
pytest.importorskip("uvicorn", reason="the extra `live` is not installed")

TOKEN = "t0ken"


def app(going_run) -> tuple[Publisher, Guard]:
    publisher = Publisher(Going(going_run.path))
    return publisher, app_of(publisher, token=TOKEN, hosts=("127.0.0.1", "::1", "box"))


async def ask(
    app: Guard, path: str, *, method: str = "GET", host: str = "127.0.0.1:80", **more
) -> httpx.Response:
    """Return the answer of an application that is asked in this process."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        return await client.request(method, path, headers={"host": host, **more})


@pytest.mark.parametrize("path", ["/", "/events", "/state", "/report", "/stop", "/nothing"])
@pytest.mark.parametrize("given", ["", "?token=", "?token=t0keN", "?token=t0ken%20", "?token=\xff"])
def test_nothing_is_told_without_the_token(going_run, path: str, given: str) -> None:
    _, guard = app(going_run)
    for method in ("GET", "POST"):
        answer = asyncio.run(ask(guard, path + given, method=method))
        assert (answer.status_code, "sample" in answer.text) == (403, False)
    assert not (going_run.path / STOP).exists()


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("127.0.0.1", 200), ("127.0.0.1:4321", 200), ("BOX:1", 200), ("[::1]:80", 200), ("[::1]", 200),
        ("evil.example", 400), ("127.0.0.1.evil.example:80", 400), ("", 400), ("[::2]:80", 400),
        ("box@evil.example", 400),
    ],
)  # fmt: skip
def test_it_answers_to_its_own_names_alone(going_run, host: str, code: int) -> None:
    _, guard = app(going_run)
    assert asyncio.run(ask(guard, f"/state?token={TOKEN}", host=host)).status_code == code


def test_a_token_may_come_as_a_header(going_run) -> None:
    _, guard = app(going_run)
    assert asyncio.run(ask(guard, "/state", authorization=f"Bearer {TOKEN}")).status_code == 200
    assert asyncio.run(ask(guard, "/state", authorization="Bearer x")).status_code == 403


def test_every_answer_forbids_to_keep_frame_or_pass_it_on(going_run) -> None:
    _, guard = app(going_run)
    for path in (f"/?token={TOKEN}", f"/state?token={TOKEN}", "/", f"/report?token={TOKEN}"):
        headers = asyncio.run(ask(guard, path)).headers
        assert headers["cache-control"] == "no-store" and headers["referrer-policy"] == "no-referrer"
        assert (
            headers["x-frame-options"] == "DENY"
            and "default-src 'none'" in headers["content-security-policy"]
        )


def test_the_page_is_whole_and_fetches_nothing_from_elsewhere(going_run) -> None:
    publisher, guard = app(going_run)
    going_run.course.tell("begin", name="<b>x</b>", mode="live")
    asyncio.run(publisher.publish())
    text = asyncio.run(ask(guard, f"/?token={TOKEN}")).text
    assert "&lt;b&gt;x&lt;/b&gt;" in text and "<b>x</b>" not in text and TOKEN not in text
    assert "src=" not in text.partition("<script")[0] and "@import" not in text


def test_stop_is_a_post_and_the_run_hears_of_it(going_run, sample_run: RunFolder) -> None:
    _, guard = app(going_run)
    assert asyncio.run(ask(guard, f"/stop?token={TOKEN}")).status_code == 405
    assert not going_run.course.is_stop_asked
    assert asyncio.run(ask(guard, f"/stop?token={TOKEN}", method="POST")).status_code == 202
    assert going_run.course.is_stop_asked
    going_run.end(sample_run)
    assert asyncio.run(ask(guard, f"/stop?token={TOKEN}", method="POST")).status_code == 409
    assert not (going_run.path / STOP).exists()


def test_the_report_is_served_once_it_is_there(going_run, sample_run: RunFolder) -> None:
    publisher, guard = app(going_run)
    assert asyncio.run(ask(guard, f"/report?token={TOKEN}")).status_code == 404
    going_run.end(sample_run)
    asyncio.run(publisher.publish())
    assert "the report" in asyncio.run(ask(guard, f"/report?token={TOKEN}")).text


def test_states_are_server_sent_events_until_the_end(going_run, sample_run: RunFolder) -> None:
    """One line of JSON after `data: `, and an empty line (HTML 9.2.6)."""

    async def seen() -> list[bytes]:
        publisher, _ = app(going_run)
        events = publisher.events()
        found = []
        for until_s in (300.0, 600.0):
            going_run.until(until_s)
            first = asyncio.create_task(anext(events))
            await asyncio.sleep(0)
            await publisher.publish()
            found.append(await first)
        going_run.end(sample_run)
        await publisher.publish()
        return [*found, *[each async for each in events]]

    found = asyncio.run(seen())
    assert len(found) == 3
    for event in found:
        assert event.startswith(b"data: {") and event.endswith(b"}\n\n") and event.count(b"\n") == 2
    first, second, last = (orjson.loads(event[6:]) for event in found)
    assert (first["head"]["now_s"], second["head"]["now_s"], last["head"]["has_ended"]) == (
        300.0,
        600.0,
        True,
    )
    assert {"doing", "effective_ttft", "tpot", "hit_rate", "throughput"} == set(last["charts"])
    assert 0 < len(second["agents"]) <= 60


def test_charts_keep_the_names_of_their_data_from_one_state_to_the_next(going_run) -> None:
    async def seen() -> list[dict]:
        publisher, _ = app(going_run)
        publisher.watchers = 1
        found = []
        for until_s in (600.0, 630.0):
            going_run.until(until_s)
            publisher._charts_s = -1e9
            await publisher.publish()
            found.append(orjson.loads(publisher.newest)["charts"])
        return found

    before, after = asyncio.run(seen())
    for name in ("hit_rate", "doing"):
        assert before[name]["datasets"].keys() == after[name]["datasets"].keys()
        assert before[name]["datasets"] != after[name]["datasets"]


def test_a_state_is_as_large_late_in_a_run_as_early(going_run) -> None:
    async def sizes() -> list[int]:
        publisher, _ = app(going_run)
        publisher.watchers = 1
        found = []
        for until_s in (450.0, 900.0):
            going_run.until(until_s)
            publisher._charts_s = -1e9
            await publisher.publish()
            found.append(len(publisher.newest))
        return found

    early, late = asyncio.run(sizes())
    assert late < min(2.5 * early, 400_000)


def test_no_charts_are_drawn_where_nobody_looks(going_run) -> None:
    publisher, _ = app(going_run)
    going_run.until(300.0)
    asyncio.run(publisher.publish())
    assert orjson.loads(publisher.newest)["charts"] == {}


def test_more_viewers_than_may_are_turned_away(going_run) -> None:
    publisher, guard = app(going_run)
    publisher.watchers = VIEWERS_MAX
    assert asyncio.run(ask(guard, f"/events?token={TOKEN}")).status_code == 503


async def _viewer(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open the stream of events, and read nothing of it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    writer.write(f"GET /events?token={TOKEN} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n".encode())
    await writer.drain()
    return reader, writer


async def _count(reader: asyncio.StreamReader, seen: list[int], at: int) -> None:
    while data := await reader.read(1 << 16):
        seen[at] += data.count(b"data: {")


def test_a_sleeping_browser_misses_states_and_holds_up_nobody(going_run) -> None:
    """Nine read, and one does not: of 40 states of 2 MB it was sent what its socket takes."""

    async def watched() -> tuple[list[int], int, int]:
        opened: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        publishers: list[Publisher] = []
        is_over = False

        def may_end(publisher: Publisher) -> bool:
            publishers[:] = [publisher]
            return is_over

        going = Going(going_run.path)
        serving = asyncio.create_task(
            serve_page(
                going, address="127.0.0.1", port=0, token=TOKEN, hosts=(),
                opened=opened.set_result, may_end=may_end, every_s=0.01,
            )
        )  # fmt: skip
        port = int((await opened).rpartition(":")[2].partition("/")[0])
        viewers = [await _viewer(port) for _ in range(10)]
        seen = [0] * 9
        tasks = [asyncio.create_task(_count(viewers[at][0], seen, at)) for at in range(9)]
        while not publishers or publishers[0].watchers < 10:
            await asyncio.sleep(0.01)
        (publisher,) = publishers
        first = publisher.number
        for number in range(NOTES_SHOWN):
            going_run.course.tell("note", text=f"{number} " + "x" * 60_000)
        while publisher.number < first + 40:
            await asyncio.sleep(0.01)
        is_over = True
        await serving
        sent = publisher.number - first
        slept = [0]
        await _count(viewers[9][0], slept, 0)
        await asyncio.gather(*tasks)
        for _, writer in viewers:
            writer.close()
        return seen, sent, slept[0]

    seen, sent, slept = asyncio.run(watched())
    assert slept < min(seen) <= max(seen) <= sent + 2
