"""Kill, freeze and restart the workers of a stream and its broker, then count what came of every alert.

    scripts/chaos                        20 000 alerts, about two minutes, with the controls
    scripts/chaos --n 1000000 --seed 7   a quarter of an hour on two idle cores
    scripts/chaos --n 5000 --no-controls --group-protocol consumer
    scripts/chaos --churn 60            and then members that join and leave every second for a minute

Three workers, each with a place of its own, read unique alerts from six partitions of Apache Kafka while they are hit
by SIGKILL, SIGTERM and SIGSTOP at random, one of them has a slow output, the broker is restarted twice (SIGTERM,
SIGKILL) and the model is swapped twice. Then readers that share no code with realbogus read everything, from the first
record to the last: every candid must be there exactly once, annotated or dead; every annotation must be, to the last
bit, what the model that it names says of the alert; one event for each forwarded alert; offsets that say that all is
done; ledgers that balance. Controls show that the audit can fail: readers of uncommitted records must see records that
were taken back; delivery that is only at least once must repeat alerts; offsets that are off by one must be noticed.
With --churn members join and leave every second, for so many: nothing may be lost or repeated, and in the seconds after
it the flow must be as it was before.

Exit codes: 0 all of it holds, 1 something is violated, 3 there is no Apache Kafka.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from alerts import simulated
from campaign import Broker, Plan, Verdict, run
from churn import Churn, churn
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rivals import registry

CONTROL = 2_000  # alerts of a negative control
FLOW = 400  # messages a second while members come and go


def main() -> int:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that workers and broker are ended too
    console = Console(stderr=True, highlight=False)
    folder = Path(tempfile.mkdtemp(prefix="realbogus-chaos-"))
    broker = Broker(folder / "kafka")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    problems: list[str] = []
    try:
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("making alerts", total=options.n)

            def say(what: str, done: int, of: int) -> None:
                bar.update(task, description=f"{plan.name}: {what}", completed=done, total=of)

            alerts, models = simulated(options.seed), registry(folder / "models")
            plan = Plan(options.n, "main", options.strike_every, options.freeze, protocol=options.group_protocol)
            main = run(plan, broker, alerts, models, folder, options.seed, say)
            problems += violations(main)
            told = [line(main)]
            if options.controls:
                quick = {"broker_restarts": False, "swaps": False, "strike_every_s": 2.0}
                plan = Plan(CONTROL, "at-least-once", delivery="at_least_once", **quick)  # type: ignore[arg-type]
                repeated = run(plan, broker, alerts, models, folder, options.seed, say)
                plan = Plan(CONTROL, "off-by-one", shift=-1, **quick)  # type: ignore[arg-type]
                shifted = run(plan, broker, alerts, models, folder, options.seed, say)
                problems += controls(main, repeated, shifted)
                told.append(
                    f"controls: {repeated.twice} twice under at_least_once ({repeated.seconds:.0f} s), "
                    f"{shifted.twice} with offsets off by one ({shifted.seconds:.0f} s)"
                )
            if options.churn:
                bar.update(task, description="churn: joining and leaving", completed=0, total=options.churn * FLOW)
                found = churned(broker, options.churn, lambda done: bar.update(task, completed=done))
                problems += flaws(found)
                told.append(
                    f"churn: {found.changes} members joined in {options.churn} s, {found.sent} copied, "
                    f"{found.missing} missing, {found.twice} twice"
                )
    finally:
        broker.stop(kill=True)
        if problems or sys.exc_info()[0]:
            console.print(f"logs are in {folder}")
            shutil.rmtree(folder / "kafka", ignore_errors=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    for problem in problems:
        console.print(f"VIOLATED: {problem}")
    print("; ".join(told) + ("" if not problems else f"; {len(problems)} VIOLATIONS"))
    return 1 if problems else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=20_000, help="alerts (default: 20000)")
    parser.add_argument("--seed", type=int, default=1, help="of the alerts and of what strikes (default: 1)")
    parser.add_argument("--strike-every", type=float, default=4.0, metavar="S", help="s between strikes (default: 4)")
    parser.add_argument(
        "--freeze", type=float, default=10.0, metavar="S", help="s of a SIGSTOP (default: 10; a transaction lasts 6)"
    )
    parser.add_argument("--group-protocol", choices=("classic", "consumer"), default="classic")
    parser.add_argument("--churn", type=int, default=0, metavar="S", help="s in which members come and go (default: 0)")
    parser.add_argument("--controls", action=argparse.BooleanOptionalAction, default=True, help="the negative controls")
    return parser.parse_args()


def violations(verdict: Verdict) -> list[str]:
    """What the promise forbids and the audit found."""
    found, problems = verdict.found, list(verdict.problems)
    for many, what in (
        (verdict.missing, "alerts are missing"),
        (verdict.twice, "alerts ended more than once"),
        (len(found.wrong), f"annotations are wrong, the first: {found.wrong[:1]}"),
        (verdict.sent - verdict.committed, "messages are not committed"),
        (found.forwarded - len(found.ivorns), "forwarded alerts have no event, or events share a name"),
        (found.ivorns.total() - len(found.ivorns), "events came more than once"),
    ):
        if many:
            problems.append(f"{many} {what}")
    if len(found.models) < 2:
        problems.append(f"the model was not swapped: {dict(found.models)}")
    strange = verdict.codes.keys() - {0, 3, 75, -9, -15}
    if strange:
        problems.append(f"workers ended with {sorted(strange)}")
    return problems


def churned(broker: Broker, seconds: int, say: Callable[[int], None]) -> Churn:
    """Members that come and go, on topics of their own."""
    for topic, partitions in (("churn", 6), ("churn-copies", 2)):
        broker.topic(topic, partitions)
    return churn(broker.bootstrap, "churn", "churn-copies", seconds, rate=FLOW, say=say)


def flaws(found: Churn) -> list[str]:
    """What members that come and go may not do."""
    calm = sum(found.per_s[-6:-1]) / 5  # the last second is cut
    counts = (
        (found.missing, "messages are missing"),
        (found.twice, "came twice"),
        (len(found.faults), "members failed"),
    )
    problems = [f"churn: {many} {what} {list(found.faults)[:1]}" for many, what in counts if many]
    return problems + ([f"churn: {calm:.0f} of {FLOW} messages a second after it"] if calm < 0.8 * FLOW else [])


def controls(main: Verdict, repeated: Verdict, shifted: Verdict) -> list[str]:
    """Whether the audit can fail, and the strikes hit what they should."""
    problems = []
    if main.found.uncommitted <= 0:
        problems.append("positive control: no open transaction was hit")
    if not repeated.twice or repeated.missing:
        problems.append(f"negative control: at_least_once gave {repeated.twice} twice, {repeated.missing} missing")
    if not shifted.twice or shifted.missing:
        problems.append(f"negative control: offsets off by one gave {shifted.twice} twice, {shifted.missing} missing")
    return problems


def line(verdict: Verdict) -> str:
    """The counts of a campaign."""
    found = verdict.found
    strikes = ", ".join(f"{times} {kind}" for kind, times in sorted(verdict.struck.items()))
    return (
        f"{verdict.sent} alerts: {len(found.annotated)} annotated, {len(found.dead)} dead, {verdict.missing} missing, "
        f"{verdict.twice} twice, {found.uncommitted} aborted records hidden, {len(found.ivorns)} events, "
        f"{verdict.recomputed} scored again; {strikes}; exits {verdict.codes}; "
        f"at most {verdict.rss_mb:.0f} MB a worker; {verdict.seconds:.0f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
