"""Writes Nodes until it is killed; says on stdout what the store acknowledged: `python writer.py PLACE FIRST`."""

import json
import os
import sys
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from contracts import node
from store.places import store_at

from k3net.model.plan import Create, Update
from k3net.store.interface import Done

store = store_at(sys.argv[1])
versions = {record.name: record.version for record in store.list()}
for beat in count(int(sys.argv[2])):
    names = [f"n{(beat * 7 + i) % 100}" for i in range(20)]
    steps = [
        Update(node(name, beat=str(beat)), versions[name]) if name in versions else Create(node(name, beat=str(beat)))
        for name in names
    ]
    done = [outcome for outcome in store.apply(steps) if isinstance(outcome, Done)]
    versions.update({outcome.name: outcome.version for outcome in done})
    os.write(1, json.dumps([beat, [outcome.name for outcome in done]]).encode() + b"\n")
