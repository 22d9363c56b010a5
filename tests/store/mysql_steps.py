"""Short words for what the tests of the MySQL store do and expect."""

import pytest
from contracts import node

from k3net.errors import StoreUnavailable
from k3net.model.node import Node
from k3net.model.plan import Create, Update


def refusal(store, *steps):
    with pytest.raises(StoreUnavailable) as caught:
        store.apply(steps or [Create(node("n1"))])
    return str(caught.value)


def changed(have, **annotations):
    metadata = {**have.manifest["metadata"], "annotations": annotations}
    return Update(Node(have.name, {**have.manifest, "metadata": metadata}), have.version)


def kinds(outcomes):
    return [type(outcome) for outcome in outcomes]
