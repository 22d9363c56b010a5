"""Eight real instances on one etcd and on one MariaDB: whatever happens, all end with what is stored."""

import contextlib
import random
import socket

import pytest
from integration.cluster_fleet import PORT, STORE, Fleet
from integration.dns_server import DnsServer, answer
from integration.lab import Lab, wait_for

ALL = range(8)
SOON = 15.0
SCHEDULES = 10
"""On each store."""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("etcd", marks=pytest.mark.requires("etcd", "etcdctl")),
        pytest.param("mariadb", marks=pytest.mark.requires("mariadbd", "mariadb-install-db")),
    ],
)
def fleet(request, tmp_path_factory):
    """With etcd they read what changed once a minute, so what is there sooner was told or hinted at."""
    settings = {} if request.param == "etcd" else {"catch_up": "2s"}
    with Lab(tmp_path_factory.mktemp(request.param)) as lab:
        fleet = Fleet(lab, request.param, size=len(ALL), **settings)
        try:
            yield fleet
        finally:
            fleet.end()


@pytest.fixture(autouse=True)
def logs(request, fleet):
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        fleet.lab.print_logs(60)


def agree(fleet, within=SOON):
    """All use the same clusters, and these are all that are stored."""

    def stored():
        return {one["name"]: one["generation"] for one in fleet.ask(0, "GET", "/api/v1/clusters")[1]["items"]}

    for at in fleet.daemons:
        wait_for(lambda at=at: fleet.knows(at) == stored(), within, f"instance {at} uses what is stored")
    return stored()


def test_what_is_created_changed_and_deleted_through_any_is_so_on_all_and_told_once(fleet):
    for sender in ALL:
        name = f"c{sender}"
        generation = fleet.create(sender, name)
        fleet.all_know(name, generation, SOON)
        fleet.all_have(name, {at: "delivered" for at in ALL if at != sender}, 5)
        for at in fleet.daemons:
            assert fleet.said(at, f"cluster {name!r} is active") == 1
            assert fleet.said(at, f"Broadcasting cluster {name} ") == (at == sender)
            assert fleet.said(at, f"Received cluster reload request for: {name}") == (at != sender)
    status, answer = fleet.ask(3, "PUT", "/api/v1/clusters/c0", {"description": "moved"})
    assert status == 200
    fleet.all_know("c0", answer["generation"], SOON)
    assert fleet.ask(5, "DELETE", "/api/v1/clusters/c1")[0] == 200
    assert all(fleet.ask(at, "GET", "/api/v1/clusters/c1")[0] == 404 for at in fleet.daemons)
    fleet.all_know("c1", fleet.create(2, "c1"), SOON)
    assert agree(fleet).keys() == {f"c{sender}" for sender in ALL}


def test_a_sender_that_is_killed_after_it_stored_and_before_it_told_loses_nothing(fleet):
    with contextlib.ExitStack() as stack:

        def hole():
            return stack.enter_context(socket.create_server(("0.0.0.0", 0))).getsockname()[1]

        fleet.store_host.add_address("10.7.0.1/24")
        holes = fleet.store_host.inside(lambda: [f"10.7.0.1:{hole()}" for _ in range(12)])
        others = [f"{fleet.address(at)}:{PORT}" for at in ALL]
        sender = fleet.start(8, {"INSTANCE_ADDRESSES": ",".join(holes + others)}, fan_out=1)
        fleet.wait_ready(8)
        generation = fleet.create(8, "orphan")
        wait_for(lambda: fleet.said(8, "Broadcasting cluster orphan creation to 20 instances"), 5, "the telling begins")
        sender.kill()
    del fleet.daemons[8]
    fleet.all_know("orphan", generation, SOON)
    assert [fleet.said(at, "reload request for: orphan") for at in ALL] == [0] * len(ALL)


def test_receivers_that_are_dead_or_stopped_delay_nobody_and_catch_up(fleet):
    expected = {at: "failed" if at in (3, 4) else "delivered" for at in ALL if at != 0}
    fleet.all_know("doomed", fleet.create(1, "doomed"), SOON)
    fleet.daemons[3].kill()
    with fleet.stopped(4):
        generation = fleet.create(0, "late")
        fleet.all_know("late", generation, SOON, but=(3, 4))
        fleet.all_have("late", expected, 20)
        assert fleet.ask(6, "DELETE", "/api/v1/clusters/doomed")[0] == 200
    fleet.start(3)
    fleet.wait_ready(3)
    fleet.all_know("late", generation, SOON)
    assert fleet.said(3, "reload request for: late") == 0
    agree(fleet)


def test_one_that_is_cut_off_from_all_has_everything_soon_after(fleet):
    for name in ("changing", "doomed"):
        fleet.all_know(name, fleet.create(1, name), SOON)
    with fleet.cut_off(5):
        made = fleet.create(0, "while-cut")
        assert fleet.ask(1, "PUT", "/api/v1/clusters/changing", {"description": "changed while one was away"})[0] == 200
        assert fleet.ask(2, "DELETE", "/api/v1/clusters/doomed")[0] == 200
        fleet.all_know("while-cut", made, SOON, but=(5,))
        status, _ = fleet.ask(5, "POST", "/api/v1/clusters", {"name": "x", "kube_config": fleet.config("x")}, 20)
        assert status == 503
    agree(fleet, 30)


def test_a_ninth_knows_everything_when_it_is_ready(fleet):
    stored = agree(fleet)
    ninth = fleet.start(8)
    fleet.wait_ready(8)
    wait_for(lambda: fleet.knows(8) == stored, 5, "the ninth uses what is stored")
    assert fleet.said(8, "reload request") == 0
    ninth.stop()
    del fleet.daemons[8]


def test_one_that_finds_the_others_by_the_dns_of_a_headless_service_tells_them(fleet):
    records = [(1, b"", socket.inet_aton(fleet.address(at))) for at in (*ALL, 8)]

    def reply(query, name):
        is_a = query[-4:-2] == b"\0\1"
        return answer(query, *(records if is_a and name == "k3net.here.svc.cluster.local" else ()))

    env = {"INSTANCE_ADDRESSES": "", "SERVICE_NAME": "k3net", "POD_NAMESPACE": "here", "POD_PORT": str(PORT)}
    with fleet.store_host.inside(lambda: DnsServer(STORE, reply)), fleet.resolver(8, STORE):
        ninth = fleet.start(8, env)
        fleet.wait_ready(8)
        status, found = fleet.ask(8, "GET", "/api/v1/instances")
        assert (status, len({item["instance"] for item in found["items"]} - {found["own"]})) == (200, len(ALL))
        generation = fleet.create(8, "by-dns")
        fleet.all_know("by-dns", generation, SOON)
        fleet.all_have("by-dns", dict.fromkeys(ALL, "delivered"), 5)
        ninth.stop()
    del fleet.daemons[8]


@pytest.mark.parametrize("seed", range(SCHEDULES))
def test_after_any_schedule_of_changes_crashes_stops_and_cuts_all_agree(fleet, seed):
    chance = random.Random(seed)
    down, acknowledged = set(), {}
    with contextlib.ExitStack() as until_the_end:
        for step in range(6):
            up = sorted(fleet.daemons.keys() - down)
            what = chance.choice(["create", "create", "update", "delete", "kill", "stop", "cut"])
            at, name = chance.choice(up), f"r{chance.randrange(3)}"
            if what in ("kill", "stop", "cut") and len(down) < 2 and at != 0:
                down.add(at)
                if what == "kill":
                    fleet.daemons[at].kill()
                    until_the_end.callback(lambda at=at: (fleet.start(at), fleet.wait_ready(at)))
                else:
                    until_the_end.enter_context(fleet.stopped(at) if what == "stop" else fleet.cut_off(at))
            elif what == "create":
                body = {"name": name, "description": str(step), "kube_config": fleet.config(name)}
                status, _ = fleet.ask(at, "POST", "/api/v1/clusters", body)
                assert status == (409 if acknowledged.get(name) else 201)
                acknowledged[name] = acknowledged.get(name) or str(step)
            elif what in ("update", "delete"):
                method, body = ("PUT", {"description": str(step)}) if what == "update" else ("DELETE", None)
                status, _ = fleet.ask(at, method, f"/api/v1/clusters/{name}", body)
                assert status == (200 if acknowledged.get(name) else 404)
                if acknowledged.get(name):
                    acknowledged[name] = str(step) if what == "update" else ""
    names = agree(fleet, 30).keys()
    for name, description in acknowledged.items():
        assert (name in names) == bool(description)
        if description:
            assert fleet.ask(7, "GET", f"/api/v1/clusters/{name}")[1]["description"] == description
            assert fleet.ask(0, "DELETE", f"/api/v1/clusters/{name}")[0] == 200
