"""The one home of txaio: loggers for every room, and what twistd writes them with."""

import txaio

txaio.use_twisted()

make_logger = txaio.make_logger  # type: ignore[attr-defined]
set_level = txaio.set_global_log_level  # type: ignore[attr-defined]
