"""What only the MySQL store does: its tables, rights, locks, and figures."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from time import monotonic, perf_counter, sleep
from types import SimpleNamespace

import pytest
from contracts import node
from mariadb import PASSWORD
from store.mysql_steps import kinds, refusal

from k3net.config.settings import MysqlSettings
from k3net.model.plan import Create, Update
from k3net.store import opener
from k3net.store.interface import Conflict, Done, Found
from k3net.store.mysql import MysqlStore

pytestmark = pytest.mark.requires("mariadbd", "mariadb-install-db")


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (
            "alter table k8s_core_v1_node drop spec, drop phase",
            "table k8s_core_v1_node has no column phase, spec; it was made by another program",
        ),
        (
            "alter table k8s_core_v1_node engine = MyISAM",
            (
                "table k8s_core_v1_node has engine MyISAM, without transactions;"
                " alter table k8s_core_v1_node engine = InnoDB"
            ),
        ),
    ],
)
def test_a_table_that_cannot_be_used_is_named_and_left_alone(go, open_mysql, mariadb, database, statement, reason):
    go._do(statement)
    store = open_mysql()
    assert refusal(store) == store.check() == f"mysql store 127.0.0.1:{mariadb.port}/{database}: {reason}"


def test_many_that_open_an_empty_database_at_once_agree_and_each_name_is_created_once(mariadb):
    for turn in range(4):
        database = f"k3_at_once_{turn}"
        mariadb.sql(f"create database {database}", database="mysql")
        at_once = Barrier(8)
        long = "m" * 253  # its uid does not fit, so that only looking again keeps it single

        def first_call(worker, at_once=at_once, database=database, long=long):
            store = MysqlStore(mariadb.login(database))
            at_once.wait()
            steps = [Create(node(name, by=str(worker))) for name in ("n1", "n2", long, f"own{worker}")]
            outcomes = store.apply(steps)
            identity = store.identity()
            store.close()
            return identity, kinds(outcomes)

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(first_call, range(8)))
        assert len({identity for identity, _ in answers}) == 1
        assert [sum(outcomes[at] is Done for _, outcomes in answers) for at in range(4)] == [1, 1, 1, 8]
        assert mariadb.sql("select count(*) from k8s_core_v1_node", database=database) == [(11,)]


def test_a_check_and_a_look_make_no_tables(mariadb, database, open_mysql):
    assert (open_mysql().check(), open_mysql().look()) == ("", Found([], ""))
    assert mariadb.sql("show tables", database=database) == []


def test_a_wrong_password_is_said_without_the_password(mariadb, database, open_mysql):
    store = open_mysql(mariadb.login(database, password="h0rse-battery"))
    said = refusal(store)
    assert said == (
        f"mysql store 127.0.0.1:{mariadb.port}/{database}: "
        "access denied for user 'k3net'; check storage.mysql.user and storage.mysql.password"
    )
    assert store.check() == said
    assert "h0rse" not in repr(mariadb.login(password="h0rse-battery"))


def test_a_missing_database_is_named(mariadb, open_mysql):
    assert refusal(open_mysql(mariadb.login("k3_none"))).endswith(
        "there is no database 'k3_none'; create it, or correct storage.mysql.database"
    )


@pytest.mark.parametrize(
    ("rights", "missing"),
    [
        ("select, insert, update", "CREATE"),
        ("create", "SELECT"),
        ("create, select, update", "INSERT"),
        ("create, select, insert", "UPDATE"),
    ],
)
def test_a_right_that_is_missing_is_named_before_there_are_tables(mariadb, database, open_mysql, rights, missing):
    user = mariadb.user_with(rights, f"{database}.*")
    said = open_mysql(mariadb.login(database, user=user)).check()
    assert f"{missing} command denied to user" in said
    assert "\n" not in said


@pytest.mark.parametrize(("rights", "missing"), [("select, update", "INSERT"), ("select, insert", "UPDATE")])
def test_a_right_that_is_missing_is_named_when_there_are_tables(mariadb, database, open_mysql, rights, missing):
    owner = open_mysql()
    owner.identity()
    owner.claims()
    owner.snapshots()
    [done] = owner.apply([Create(node("n1"))])
    user = mariadb.user_with(rights, f"{database}.*")
    store = open_mysql(mariadb.login(database, user=user))
    assert f"{missing} command denied to user" in store.check()
    assert f"grant user {user!r} select, insert, update and create" in store.check()
    step = Create(node("n2")) if missing == "INSERT" else Update(node("n1", a="b"), done.version)
    assert f"{missing} command denied" in refusal(store, step)
    assert [record.name for record in store.list()] == ["n1"]


def test_three_rights_are_enough_where_the_tables_are(mariadb, database, open_mysql):
    owner = open_mysql()
    owner.identity()
    owner.claims()
    owner.snapshots()
    store = open_mysql(mariadb.login(database, user=mariadb.user_with("select, insert, update", f"{database}.*")))
    [done] = store.apply([Create(node("n1"))])
    assert kinds(store.apply([Update(node("n1", a="b"), done.version)])) == [Done]
    assert (store.check(), len(store.identity())) == ("", 36)


def test_a_check_leaves_no_row_behind(mariadb, database, open_mysql):
    store = open_mysql()
    store.list()
    assert store.check() == ""
    assert mariadb.sql("select count(*) from k8s_core_v1_node", database=database) == [(0,)]


def test_a_row_that_others_hold_locked_is_a_conflict_and_the_others_are_done(mariadb, database, open_mysql):
    store = open_mysql()
    done = store.apply([Create(node(name)) for name in ("n1", "n2", "n3")])
    holder = mariadb.root()
    holder.select_db(database)
    cursor = holder.cursor()
    cursor.execute("begin")
    cursor.execute("select * from k8s_core_v1_node where name = 'n2' for update")
    begun = monotonic()
    steps = [Update(node(each.name, a="b"), each.version) for each in done]
    assert kinds(store.apply([*steps, Create(node("n4"))])) == [Done, Conflict, Done, Done]
    assert monotonic() - begun < 6
    assert len(store.list()) == 4
    cursor.execute("rollback")
    assert kinds(store.apply(steps[1:2])) == [Done]
    holder.close()


def test_a_deadlock_is_tried_again(mariadb, database, open_mysql):
    store = open_mysql()
    done = store.apply([Create(node(name)) for name in ("n1", "n2")])
    rival = mariadb.root()
    rival.select_db(database)
    cursor = rival.cursor()
    cursor.execute("create table heavy (id int)")
    cursor.execute("begin")
    cursor.execute(f"insert into heavy values {', '.join(['(1)'] * 1000)}")  # the lighter transaction is given up
    cursor.execute("update k8s_core_v1_node set updated_at = '2026-01-01' where name = 'n2'")
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(store.apply, [Update(node(each.name, a="b"), each.version) for each in done])
        wait_for_locks(mariadb, 1)
        cursor.execute("update k8s_core_v1_node set updated_at = '2026-01-01' where name = 'n1'")
        assert deadlocks(mariadb) > 0
        cursor.execute("commit")
        assert kinds(writing.result(20)) == [Done, Done]
    rival.close()


def wait_for_locks(mariadb, waiting):
    until = monotonic() + 10
    while mariadb.sql("select count(*) from information_schema.innodb_lock_waits") != [(waiting,)]:
        assert monotonic() < until
        sleep(0.15)  # the server looks again only when it was not asked for a tenth of a second


def deadlocks(mariadb):
    return int(mariadb.sql("show global status like 'Innodb_deadlocks'")[0][1])


def test_it_is_opened_by_its_settings(mariadb, database):
    mysql = MysqlSettings(host="127.0.0.1", port=mariadb.port, user="k3net", password=PASSWORD, database=database)
    store = opener(SimpleNamespace(type="mysql", mysql=mysql))()
    assert (type(store), store.list(), store.check()) == (MysqlStore, [], "")
    store.close()


def test_ten_thousand_nodes_are_created_within_8_s_and_listed_within_one_and_a_half(open_mysql):
    store = open_mysql(patience=60.0)
    steps = [Create(node(f"n{i}", port="7946")) for i in range(10_000)]
    begun = perf_counter()
    outcomes = store.apply(steps)
    created = perf_counter() - begun
    assert set(kinds(outcomes)) == {Done}
    listed = min(timed(store.list) for _ in range(3))
    updates = [Update(node(o.name, port="7947"), o.version) for o in outcomes]
    begun = perf_counter()
    assert set(kinds(store.apply(updates))) == {Done}
    print(f"created in {created:.2f} s, listed in {listed:.2f} s, updated in {perf_counter() - begun:.2f} s")
    assert created < 8.0
    assert listed < 1.5


def timed(f):
    begun = perf_counter()
    f()
    return perf_counter() - begun
