"""One worker process of a campaign: the real one, with a hook of ours around its delivery.

Between writing the results of a batch and committing it the hook sleeps, so that what strikes the process strikes in
the middle; now and then it is a very slow output. The first that comes there kills itself, so that every campaign has a
batch that was written and not committed. For the negative controls it commits offsets that are off by one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realbogus import config
from realbogus.cli.worker import report_of
from realbogus.errors import StreamError
from realbogus.stream import assembly
from realbogus.stream.protocols import Delivery, Positions
from realbogus.stream.running import run_until_told
from realbogus.telemetry import Health, Metrics, log_to_stderr

LONGEST_S = 0.1  # s of a usual pause
SLOW_EVERY, SLOW_S = 40, 4.0  # batches, s; longer than the worker's patience, shorter than the transaction


@dataclass
class Hesitant:
    """A sink with transactions that sleeps between writing and committing."""

    sink: Any
    pause: Callable[[], None]
    shift: int

    def begin(self) -> None:
        self.sink.begin()

    def send(self, record: Any) -> None:
        self.sink.send(record)

    def commit(self, positions: Positions, member: object) -> bool:
        with suppress(StreamError):  # what was refused is the sink's to tell
            self.sink.flush(2.0)  # what is written is with the broker before anything strikes
        self.pause()
        return bool(self.sink.commit({where: max(at + self.shift, 0) for where, at in positions.items()}, member))


@dataclass
class HesitantCommit:
    """The same for delivery that is at least once."""

    delivery: Delivery
    pause: Callable[[], None]

    def begin(self, records: Any, positions: Positions) -> None:
        self.delivery.begin(records, positions)

    def finish(self, wait_s: float) -> bool | None:
        self.delivery.sink.flush()  # type: ignore[attr-defined]
        self.pause()
        return self.delivery.finish(wait_s)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--slot", type=int, required=True)
    parser.add_argument("--working", type=Path)
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("--shift", type=int, default=0)
    parser.add_argument("--dies", type=Path, help="a mark: who finds it absent makes it and kills itself")
    options = parser.parse_args()
    settings = config.load(options.config, os.environ)
    log_to_stderr(settings.log.level, settings.log.format, f"worker-{options.slot}")
    scorer = assembly.scorer_for(settings)
    assembly.warm_up(scorer)
    chance = random.Random(f"{options.slot} {os.getpid()}")
    batches = 0

    def pause() -> None:
        nonlocal batches
        batches += 1
        if batches == 2 and options.working:
            options.working.write_text(str(os.getpid()))  # from now on it may be struck
        if options.dies:
            with suppress(FileExistsError):
                options.dies.touch(exist_ok=False)
                os.kill(os.getpid(), signal.SIGKILL)
        slow = options.slow and batches % SLOW_EVERY == 0
        time.sleep(SLOW_S if slow else chance.uniform(0, LONGEST_S))

    reports: list[dict[str, Any]] = [{}]

    def work(stop: Callable[[], bool]) -> None:
        with assembly.open_worker(settings, scorer, metrics=Metrics(), health=Health(), slot=options.slot) as worker:
            if settings.output.delivery == "exactly_once":
                worker.delivery.sink = Hesitant(worker.delivery.sink, pause, options.shift)  # type: ignore[attr-defined]
            else:
                worker.delivery = HesitantCommit(worker.delivery, pause)
            try:
                worker.run(stop)
            finally:
                reports[0] = report_of(worker)

    try:
        run_until_told(work, leave_s=settings.worker.leave_s)
    except StreamError as error:
        print(f"worker-{options.slot}: {error}", file=sys.stderr)
        return error.exit_code
    finally:
        print(json.dumps(reports[0]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
