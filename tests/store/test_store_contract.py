from contracts import make_store_machine, make_store_tests
from hypothesis import settings
from store.makers import make_memory, make_sqlite, make_threaded_memory, make_threaded_sqlite


class MemoryStoreTests(make_store_tests(make_memory)):
    pass


class SqliteStoreTests(make_store_tests(make_sqlite)):
    pass


class ThreadedMemoryStoreTests(make_store_tests(make_threaded_memory)):
    pass


class ThreadedSqliteStoreTests(make_store_tests(make_threaded_sqlite)):
    pass


MemoryStoreMachine = make_store_machine(make_memory).TestCase
SqliteStoreMachine = make_store_machine(make_sqlite).TestCase
ThreadedSqliteStoreMachine = make_store_machine(make_threaded_sqlite).TestCase
ThreadedSqliteStoreMachine.settings = settings(max_examples=15, deadline=None)
