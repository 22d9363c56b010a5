"""Rows of the Go programs' table, read and written by the MySQL store."""

import pytest
from contracts import MANAGED, manifest_of, node
from store.mysql_steps import changed, kinds

from k3net.errors import CorruptRecord
from k3net.model.node import Node
from k3net.model.plan import Create, Update
from k3net.store.interface import Done, Refused
from k3net.store.mysql_rows import SELECT, Row, update

pytestmark = pytest.mark.requires("mariadbd", "mariadb-install-db")


def test_the_rows_of_the_go_programs_are_read_as_they_read_them(go, open_mysql):
    listed = {record.name: record for record in open_mysql().list()}
    assert listed.keys() == {"control-1", "lab7", "bare"}
    control, lab7, bare = listed["control-1"], listed["lab7"], listed["bare"]
    assert (control.managed, lab7.managed, bare.managed) == (False, True, False)
    assert control.manifest["metadata"]["creationTimestamp"] == "2026-11-19T08:00:00Z"
    assert (control.pod_cidrs, control.ready.reason) == (("10.244.0.0/24",), "KubeletReady")
    assert (lab7.uid, lab7.port, lab7.ready.reason) == ("node-lab7", 7946, "LANDiscovery")
    assert lab7.version.startswith("1795112148100200300-")
    assert "creationTimestamp" not in bare.manifest["metadata"]
    assert bare.manifest["metadata"]["labels"] is None


def test_an_update_leaves_every_column_of_a_go_row_that_it_does_not_change(go, open_mysql):
    store = open_mysql()
    others = [go.row(name) for name in ("control-1", "bare", "lab8")]
    [before] = go.row("lab7")
    [done] = store.apply([changed(store.get("lab7"), seen="now")])
    assert isinstance(done, Done)
    [after] = go.row("lab7")
    names = [
        "id",
        "name",
        "namespace",
        "uid",
        "rv",
        "labels",
        "annotations",
        "created",
        "updated",
        "deleted",
        "phase",
        "spec",
        "status",
    ]
    differing = {name: b for name, a, b in zip(names, before, after, strict=True) if a != b}
    assert differing.keys() == {"rv", "annotations", "updated"}
    assert (differing["rv"], differing["annotations"]) == ("1795112148100200301", '{"seen":"now"}')
    assert [go.row(name) for name in ("control-1", "bare", "lab8")] == others


def test_a_managed_row_that_was_deleted_lives_again_and_keeps_its_id_and_uid(go, open_mysql):
    store = open_mysql()
    [before] = go.row("lab8")
    assert store.get("lab8") is None
    [done] = store.apply([Create(node("lab8", port="1").stamped(1_800_000_000.0))])
    [after] = go.row("lab8")
    assert (after[0], after[3], after[9]) == (before[0], "node-lab8", None)
    stored = store.get("lab8")
    assert (stored.version, stored.annotations) == (done.version, {"port": "1"})
    assert stored.manifest["metadata"]["creationTimestamp"] == "2027-01-15T08:00:00Z"
    assert done.version.startswith("1795112100000000001-")


def test_a_deleted_row_that_is_not_ours_stays_as_it_is_and_the_new_one_has_its_own_uid(go, open_mysql, mariadb):
    store = open_mysql()
    go.edit_without_version_bump("lab7", manifest_of("lab7", managed=None))
    go.delete("lab7")
    [before] = go.row("lab7")
    [done] = store.apply([Create(node("lab7"))])
    assert isinstance(done, Done)
    dead, alive = go.row("lab7")
    assert dead == before
    assert alive[3].startswith("node-lab7.")
    assert [changed(store.get("lab7"), a="b").planned_against] == [done.version]
    assert kinds(store.apply([changed(store.get("lab7"), a="b")])) == [Done]
    assert store.get("lab7").uid == alive[3]


def test_a_uid_longer_than_its_column_is_cut_and_told_apart(open_mysql):
    store = open_mysql()
    names = ["a" * 250, "a" * 251, "a" * 252, "a" * 255]
    assert kinds(store.apply([Create(node(name)) for name in names])) == [Done] * 4
    uids = {record.name: record.uid for record in store.list()}
    assert uids["a" * 250] == "node-" + "a" * 250
    assert len(set(uids.values())) == 4
    assert max(map(len, uids.values())) == 255


def test_what_does_not_fit_is_refused_with_the_reason_and_the_others_are_done(open_mysql):
    store = open_mysql()
    more = manifest_of("n2")
    more["metadata"]["finalizers"] = ["x"]
    phase = manifest_of("n3")
    phase["status"]["phase"] = "x" * 51
    born = manifest_of("n4")
    born["metadata"]["creationTimestamp"] = "yesterday"
    odd = {**manifest_of("n5"), "spec": {}, "x": 1}
    nodes = [node("n1"), *(Node(m["metadata"]["name"], m) for m in (more, phase, born, odd)), node("m" * 256)]
    outcomes = store.apply([Create(each) for each in nodes])
    assert kinds(outcomes) == [Done, *[Refused] * 5]
    reasons = [outcome.reason for outcome in outcomes[1:]]
    assert reasons[0] == "metadata.finalizers: the table has no column for it"
    assert reasons[1] == "Data too long for column 'phase' at row 1"
    assert reasons[2] == "metadata.creationTimestamp: expected an RFC 3339 time"
    assert reasons[3] == "x: the table has no column for it"
    assert reasons[4] == "Data too long for column 'name' at row 1"
    have = store.get("n1")
    wanted = {**have.manifest, "status": {**have.manifest["status"], "phase": "x" * 51}}
    assert kinds(store.apply([Update(Node("n1", wanted), have.version)])) == [Refused]
    assert store.get("n1").version == have.version


def test_a_node_larger_than_the_server_takes_is_refused_and_the_others_are_done(mariadb, open_mysql):
    mariadb.sql("set global max_allowed_packet = 1048576")
    try:
        steps = [Create(node(f"n{i}", blob="\\" * size)) for i, size in enumerate((100, 600_000, 200_000, 200_000))]
        outcomes = open_mysql().apply(steps)
    finally:
        mariadb.sql("set global max_allowed_packet = 16777216")
    assert kinds(outcomes) == [Done, Refused, Done, Done]
    assert "more than max_allowed_packet lets through" in outcomes[1].reason


def test_rows_that_fill_many_statements_are_all_written(open_mysql):
    store = open_mysql()
    steps = [Create(node(f"n{i}", blob='"' * 700_000)) for i in range(12)]
    assert kinds(store.apply(steps)) == [Done] * 12
    assert len(store.list()) == 12


def test_two_rows_of_one_name_are_corrupt_and_left_alone(go, open_mysql):
    store = open_mysql()
    go._do("insert into k8s_core_v1_node (name, uid) values ('lab7', 'another')")
    before = go.row("lab7")
    record = next(record for record in store.list() if record.name == "lab7")
    assert isinstance(record, CorruptRecord)
    assert record.reason == "2 rows have this name, with ids 2, 5"
    assert kinds(store.apply([Create(node("lab7"))])) == [Refused]
    assert go.row("lab7") == before
    assert "'lab7' (2 rows have this name" in store.check()


def test_names_beyond_the_tables_character_set_are_absent_or_refused(go, open_mysql):
    go._do("alter table k8s_core_v1_node modify name varchar(255) character set latin1 not null")
    store = open_mysql()
    assert store.get("名前") is None
    assert kinds(store.apply([Create(node("名前")), Create(node("n1"))])) == [Refused, Done]


def test_columns_of_other_programs_are_tolerated_and_kept(go, open_mysql):
    go._do("alter table k8s_core_v1_node add rack varchar(10) default 'b2'")
    go._do("update k8s_core_v1_node set rack = 'c3' where name = 'lab7'")
    store = open_mysql()
    assert kinds(store.apply([changed(store.get("lab7"), a="b"), Create(node("n1"))])) == [Done, Done]
    assert [go.row(name)[0][-1] for name in ("lab7", "n1")] == ["c3", "b2"]


def test_a_label_may_be_spelt_with_escapes(go, open_mysql):
    go.put_columns("n1", labels='{"k3.network\\/managed":"true"}')
    store = open_mysql()
    assert kinds(store.apply([changed(store.get("n1"), a="b")])) == [Done]


def test_the_phase_column_is_believed_as_the_go_programs_do(go, open_mysql):
    go._do("update k8s_core_v1_node set phase = 'Terminated' where name = 'lab7'")
    store = open_mysql()
    have = store.get("lab7")
    assert have.manifest["status"]["phase"] == "Terminated"
    wanted = {**have.manifest, "status": {**have.manifest["status"], "phase": "Running"}}
    assert kinds(store.apply([Update(Node("lab7", wanted), have.version)])) == [Done]
    assert go.row("lab7")[0][10] == "Running"


def test_the_managed_label_is_compared_as_a_text_not_by_a_collation(go, open_mysql):
    for label in ('"True"', '"true "', '["true"]'):
        go.put_columns("n1", labels=f'{{"{MANAGED}":{label}}}')
        [before] = go.row("n1")
        record = next(record for record in open_mysql().list() if record.name == "n1")
        assert isinstance(record, CorruptRecord) or not record.managed
        assert kinds(open_mysql().apply([Update(node("n1"), getattr(record, "version", "1-0"))])) == [Refused]
        assert go.row("n1") == [before]


@pytest.mark.parametrize(
    "edit",
    [
        "name = 'other'",
        "namespace = 'x'",
        "uid = 'x'",
        "resource_version = '1'",
        f"""labels = '{{"{MANAGED}":"true","a":"1"}}'""",
        "labels = concat(labels, ' ')",
        "annotations = null",
        "created_at = created_at + interval 1 second",
        "deleted_at = now(3)",
        "phase = 'running'",
        "spec = '{}'",
        "status = '{}'",
    ],
)
def test_an_update_that_comes_after_any_other_change_finds_nothing_to_change(go, open_mysql, edit):
    with (store := open_mysql())._server.call():
        session = store._server._session()
        [row] = [Row(*row) for row in session.rows(f"{SELECT} where name = 'lab7'")]
        go._do(f"update k8s_core_v1_node set updated_at = now(3), {edit} where id = {row.id}")
        before = go._do(f"select * from k8s_core_v1_node where id = {row.id}")
        assert session.change(update(["annotations"]), ["{}", row.id, row.digest]) == 0
        assert go._do(f"select * from k8s_core_v1_node where id = {row.id}") == before


def test_an_update_changes_no_row_that_is_not_ours_even_when_nothing_changed(go, open_mysql):
    with (store := open_mysql())._server.call():
        session = store._server._session()
        for row in (Row(*row) for row in session.rows(SELECT)):
            mine = row.name in ("lab7", "lab8")
            assert session.change(update(["annotations"]), ["{}", row.id, row.digest]) == mine
