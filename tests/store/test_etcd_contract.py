import pytest
from contracts import make_store_machine, make_store_tests
from etcd import end_idle, make_etcd
from hypothesis import settings

pytestmark = pytest.mark.requires("etcd", "etcdctl")


@pytest.fixture(scope="module", autouse=True)
def _servers():
    yield
    end_idle()


class EtcdStoreTests(make_store_tests(make_etcd)):
    pass


EtcdStoreMachine = make_store_machine(make_etcd).TestCase
EtcdStoreMachine.settings = settings(max_examples=30, deadline=None)
