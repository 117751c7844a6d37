"""Kill the publisher again and again, then count what receivers have.

    scripts/chaos_publisher                          50 kills over 5 000 events, some minutes
    scripts/chaos_publisher --kills 5 --events 400   a short one
    scripts/chaos_publisher --json campaign.json     write the numbers, too

A publisher between Kafka and an archive, a Kafka topic, a VOEvent broker that knows repeats by their bytes and leaves
one submission in fifty without an answer, and a subscriber. Objects are found, seen again, judged again and withdrawn;
one draft in ten comes twice, some come with other bytes under a known name. Exit code 1 if an event is lost, has two
contents, or should not exist. The subscriber may miss events while it is disconnected: its protocol has no replay.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

from campaign import as_json, campaign
from publisher_cases import broker
from rich.console import Console
from rich.table import Table


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/chaos_publisher", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=5000, metavar="N", help="to be published (default: 5000)")
    parser.add_argument("--kills", type=int, default=50, metavar="N", help="default: 50")
    parser.add_argument("--seed", type=int, default=1, help="of the moments (default: 1)")
    parser.add_argument("--bootstrap", metavar="HOST:PORT", help="a Kafka broker (default: one of its own)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers as JSON")
    options = parser.parse_args()
    talk = Console(stderr=True)
    logging.getLogger("realbogus").setLevel(logging.ERROR)  # that the broadcaster is gone is what is meant
    with tempfile.TemporaryDirectory(prefix="realbogus-publisher-") as scratch, talk.status("starting Kafka") as status:
        folder = Path(scratch)
        with nullcontext(options.bootstrap) if options.bootstrap else broker(folder / "kafka") as bootstrap:
            report = campaign(
                bootstrap,
                folder,
                events=options.events,
                kills=options.kills,
                seed=options.seed,
                say=lambda line: status.update(line),
            )
    table = Table("receiver", "expected", "lost", "two contents", "foreign", "repeats")
    for name, one in report.found.items():
        lost = f"{report.missed} missed" if name == "subscriber" else str(one.lost)
        table.add_row(name, str(one.expected), lost, str(one.contents), str(one.foreign), str(one.repeats))
    console = Console()
    console.print(table)
    console.print(
        f"{report.kills} kills, {report.in_work} of them while events were on their way, over {report.records} records "
        f"of the outbox; {report.conflicts} conflicts set aside; {report.seconds:.0f} s",
        highlight=False,
        soft_wrap=True,
    )
    if options.json:
        options.json.write_text(as_json(report) + "\n")
    for problem in report.problems():
        talk.print(problem, style="red")
    return 1 if report.problems() else 0


if __name__ == "__main__":
    sys.exit(main())
