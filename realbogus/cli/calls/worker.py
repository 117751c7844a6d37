"""Consume alerts from Kafka, score and annotate them, hand promising ones to the publisher.

    realbogus config example > worker.toml           a configuration to start from
    realbogus worker --config worker.toml            work until told to stop
    realbogus worker --config worker.toml --processes 4
    realbogus worker --config worker.toml --from 2026-11-20T02:00:00Z --until 2026-11-21 --until-idle 30
    realbogus worker --config worker.toml --replay --from 2026-11-20 --until 2026-11-21 --model mine/2

Every alert read becomes one annotation or one dead letter, and every promising one an event in the outbox, from which
`realbogus publish` takes it. Results and offsets go into one transaction a batch: whatever dies, readers of committed
records see each result once. With delivery = "at_least_once" a crash repeats alerts, with the same ids and bytes.

--from moves the group to the first alerts at or after a time, before anybody reads; --until ends each partition
before the first alert at or after a time. Times are UTC unless they say otherwise and are those of the Kafka records.

--replay scores the alerts between two times once more, beside the live workers and without touching their offsets: in a
group of its own, with one model, into topics that begin with "replay.NAME.". Its events have the role "test" unless
--role says otherwise, and no publisher reads them unless one is configured to.

SIGTERM and Ctrl-C finish the batch and leave; a second one leaves at once. The counts are printed as one JSON object at
the end. Exit codes: 0 done, 1 the work failed, 2 the configuration has problems, 3 the stream cannot go on, 4 too many
alerts were refused, 75 left without finishing the batch.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `realbogus worker`."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="configuration, such as worker.toml")
    parser.add_argument("--from", dest="start", metavar="TIME", help="begin at this time, for the whole group")
    parser.add_argument("--until", metavar="TIME", help="end at this time")
    parser.add_argument("--until-idle", type=float, metavar="SECONDS", help="leave when nothing came for so long")
    parser.add_argument("--processes", type=int, metavar="N", help="members of the group on this machine")
    parser.add_argument("--replay", action="store_true", help="score old alerts again, into topics of their own")
    parser.add_argument("--model", metavar="NAME/VERSION", help="of a replay (default: the promoted one)")
    parser.add_argument("--name", default="", metavar="NAME", help="of a replay (default: made of its times and model)")
    parser.add_argument("--role", choices=["test", "observation"], default="test", help="of a replay's events")
    parser.add_argument("--slot", type=int, help=argparse.SUPPRESS)  # which of several processes this is
