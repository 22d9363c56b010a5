import json

import pytest
from contracts import MANAGED, make_store_machine, make_store_tests, node
from hypothesis import settings
from mariadb import end_shared, make_mysql, make_mysql_go

from k3net.errors import CorruptRecord
from k3net.model.node import Node
from k3net.model.plan import Create, Update
from k3net.store.interface import Done, Refused

pytestmark = pytest.mark.requires("mariadbd", "mariadb-install-db")

OURS = f'{{"{MANAGED}":"true"}}'
CORRUPT = [
    {"labels": ""},
    {"labels": "not json"},
    {"labels": "[]"},
    {"labels": '"true"'},
    {"labels": f'{{"{MANAGED}":true}}'},
    {"labels": f'{{"{MANAGED}":"true","{MANAGED}":"true"}}'},
    {"labels": OURS, "annotations": '{"a":1}'},
    {"labels": OURS, "spec": '{"x":NaN}'},
    {"labels": OURS, "spec": "[]"},
    {"labels": OURS, "spec": '{"x":"\\ud800"}'},
    {"labels": OURS, "status": '{"phase":"Running"}, "spec":{}'},
    {"labels": OURS, "status": '{"conditions":{}}'},
    {"labels": OURS, "status": '{"x":' + "[" * 5000 + "]" * 5000 + "}"},
    {"labels": OURS, "status": '{"x":"' + "x" * 1_500_000 + '"}'},
]
UNKNOWN = (
    '{"zeta":1,"alpha":[true,null,{}],"big":123456789012345678901234567890,"exact":0.1000000000000000055511151231257827,'
    '"huge":1e400,"tiny":5e-324,"whole":1.0,"text":"é\\u2028\\u0000😀 \\u003c\\/>"}'
)


@pytest.fixture(scope="module", autouse=True)
def _server():
    yield
    end_shared()


def suite(make):
    """The contract, with the two tests that spell a whole record in JSON spelt in columns."""

    class MysqlTests(make_store_tests(make)):
        def test_a_corrupt_record_is_listed_as_such_and_left_alone(self):
            for columns in CORRUPT:
                self.controller.put_columns("n1", **columns)
                before = self.controller.row("n1")
                [record] = self.store.list()
                self.assertIsInstance(record, CorruptRecord, columns)
                self.assertEqual(record.name, "n1")
                self.assertEqual(self.assertRaises(CorruptRecord, self.store.get, "n1").reason, record.reason)
                for step in (Create(node("n1")), Update(node("n1"), "1-0")):
                    [outcome] = self.store.apply([step])
                    self.assertEqual(outcome, Refused("n1", f"corrupt: {record.reason}"))
                self.assertEqual(self.controller.row("n1"), before)

        def test_unknown_fields_survive_an_update(self):
            labels = f'{{"{MANAGED}":"true","b":"2","a":"1"}}'.replace("/", "\\/")
            self.controller.put_columns("n1", labels=labels, spec=UNKNOWN, status=UNKNOWN)
            have = self.store.get("n1")
            wanted = {**have.manifest, "status": {**have.manifest["status"], "zeta": 2}}
            [done] = self.store.apply([Update(Node("n1", wanted), have.version)])
            self.assertIsInstance(done, Done)
            stored = json.loads(self.controller.raw("n1"), parse_float=str, object_pairs_hook=list)
            parts = dict(stored)
            expected = json.loads(UNKNOWN, parse_float=str, object_pairs_hook=list)
            self.assertEqual(parts["spec"], expected)
            self.assertEqual([key for key, _ in parts["status"]], [key for key, _ in expected])
            values = json.loads(self.controller.raw("n1"))["status"]
            self.assertEqual(values | {"zeta": 1}, json.loads(UNKNOWN))

    return MysqlTests


class MysqlStoreTests(suite(make_mysql)):
    pass


class MysqlStoreOnTheGoProgramsTableTests(suite(make_mysql_go)):
    pass


MysqlStoreMachine = make_store_machine(make_mysql).TestCase
MysqlStoreMachine.settings = settings(max_examples=40, deadline=None)
MysqlStoreOnTheGoProgramsTableMachine = make_store_machine(make_mysql_go).TestCase
MysqlStoreOnTheGoProgramsTableMachine.settings = settings(max_examples=40, deadline=None)
