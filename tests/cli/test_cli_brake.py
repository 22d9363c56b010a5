"""`k3net brake` as its user sees it."""

import json
import re
import time
from collections.abc import Iterator

import pytest
from fixture_api import FixtureApi, k3net

from k3net.cli.client import Address, ApiError, BadAnswer, Client, NoAnswer
from k3net.model import rfc3339

STATUS = "/api/v1/brake"
RELEASE = "/api/v1/brake/release"
OFF = {"enabled": True, "held": [], "held_seconds": None}
HELD = {"enabled": True, "held": ["n1", "n2", "n3\x1b[2J"], "held_seconds": 130.5}


@pytest.fixture
def api() -> Iterator[FixtureApi]:
    with FixtureApi({STATUS: OFF, f"POST {RELEASE}": {"released": []}}) as running:
        yield running


def ok(api: FixtureApi, *args: str) -> str:
    done = k3net("brake", *args, "--addr", api.url)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_brake_that_holds_nothing_is_off(api: FixtureApi) -> None:
    assert ok(api, "status") == "brake: off, nothing is held\n"


def test_a_brake_that_is_switched_off_is_told_from_one_that_rests(api: FixtureApi) -> None:
    api.answers[STATUS] = {**OFF, "enabled": False}
    assert ok(api, "status") == "brake: switched off by reconcile.brake; nothing is ever held\n"


def test_what_is_held_is_said_with_since_when_and_how_it_goes_through(api: FixtureApi) -> None:
    api.answers[STATUS] = HELD
    first, rest = ok(api, "status").split("\n", 1)
    told = re.fullmatch(r"brake: holds 3 Nodes for 2m10s, since (\S+)", first)
    assert told is not None
    assert abs(time.time() - 130.5 - (rfc3339.parse(told[1]) or 0)) < 10
    assert rest == (
        "  n1\n"
        "  n2\n"
        "  n3\\x1b[2J\n"
        "They go NotReady if they stay silent and\n"
        "  - a member that this daemon reaches does not reach them either, or\n"
        "  - 2 x peer_ttl have passed and this daemon's own network works, or\n"
        "  - somebody says: k3net brake release\n"
    )


@pytest.mark.parametrize("age", [None, "soon", -1, 1e300])
def test_an_age_that_is_none_is_left_out(api: FixtureApi, age: object) -> None:
    api.answers[STATUS] = {**HELD, "held_seconds": age}
    assert ok(api, "status").startswith("brake: holds 3 Nodes\n")


def test_status_for_a_program_is_what_the_api_gave(api: FixtureApi) -> None:
    api.answers[STATUS] = HELD
    assert json.loads(ok(api, "status", "-o", "json")) == HELD
    assert api.posts == []


def test_a_release_is_one_post_of_an_empty_object_and_prints_the_names(api: FixtureApi) -> None:
    api.answers[f"POST {RELEASE}"] = {"released": ["n1", "n2\x9b"]}
    assert ok(api, "release") == "released 2 Nodes:\n  n1\n  n2\\x9b\n"
    [(path, headers, body)] = api.posts
    assert (path, headers["Content-Type"], json.loads(body)) == (RELEASE, "application/json", {})
    assert api.requests == []


def test_a_release_of_nothing_says_so_and_is_no_failure(api: FixtureApi) -> None:
    assert ok(api, "release") == "brake: off, nothing is held\n"


@pytest.mark.parametrize("answer", [{}, {"held": 3, "released": 3}, {"held": [1], "released": [None]}])
def test_what_no_brake_says_is_one_line(api: FixtureApi, answer: object) -> None:
    api.answers |= {STATUS: answer, f"POST {RELEASE}": answer}
    for action in ("status", "release"):
        done = k3net("brake", action, "--addr", api.url)
        assert (done.returncode, done.stdout) == (1, "")
        assert re.fullmatch(r"k3net: \S+ gave JSON without the names that are (held|released);.*\n", done.stderr)


@pytest.mark.parametrize("args", [(), ("hold",), ("release", "n1"), ("status", "-o", "yaml")])
def test_a_wrong_question_is_exit_code_2_and_releases_nothing(api: FixtureApi, args: tuple[str, ...]) -> None:
    done = k3net("--addr", api.url, "brake", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert api.posts == []


def client_of(api: FixtureApi) -> Client:
    return Client(Address("127.0.0.1", api.port), "s3cret", deadline=2)


def test_a_post_carries_the_token_and_its_refusal_is_the_daemon_s_word(api: FixtureApi) -> None:
    api.answers["POST /x"] = (415, {"code": "UNSUPPORTED_MEDIA_TYPE", "message": "no", "details": ""})
    with pytest.raises(ApiError, match="UNSUPPORTED_MEDIA_TYPE: no"):
        client_of(api).post("/x", {"a": 1})
    [(_, headers, body)] = api.posts
    assert (headers["Authorization"], body) == ("Bearer s3cret", b'{"a": 1}')


def test_a_post_that_is_answered_with_no_object_fails(api: FixtureApi) -> None:
    api.answers["POST /x"] = []
    with pytest.raises(BadAnswer, match="JSON that is not an object"):
        client_of(api).post("/x", {})


def test_a_post_is_sent_once_whatever_becomes_of_it(api: FixtureApi) -> None:
    api.answers["POST /x"] = lambda request: setattr(request, "close_connection", True)
    with pytest.raises(NoAnswer, match="it closed the connection without an answer"):
        client_of(api).post("/x", {})
    assert len(api.posts) == 1
