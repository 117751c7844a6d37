"""Follow published events: print, filter and save them, and draw their cutouts.

    realbogus subscribe --vtp 127.0.0.1:8099
    realbogus subscribe --vtp broker.example.org:8099 --xpath "//Param[@name='rb_score' and number(@value) > 0.9]"
    realbogus subscribe --kafka 127.0.0.1:9092 --topic realbogus.voevents --from-beginning --until-idle 5
    realbogus subscribe --vtp 127.0.0.1:8099 --min-score 0.9 --max-mag 19.5 --cone 150.1,2.2,3
    realbogus subscribe --vtp 127.0.0.1:8099 --save events/ --cutouts pictures/

Events come over the VOEvent Transport Protocol from a broadcaster such as `realbogus publish`, or from the Kafka topic
that it fills. Each is checked, told once, and printed as a line for people, or as a JSON object a line where the output
is no terminal. Retractions are shown whatever their score and magnitude: they may concern what was shown before.

A broadcaster applies XPath expressions before it sends; several mean any of them. It has no replay: a topic has, with
--from-beginning, or with --group, which goes on where the last run ended. --save keeps events as the archive does, a
file each in a tree of dates with an index a day. Ctrl-C ends it. Exit codes: 0 done, 2 the call was wrong, 3 the topic
cannot be read or, with --until-idle, nobody answers.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `realbogus subscribe`."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--vtp", metavar="HOST:PORT", help="a broadcaster of the VOEvent Transport Protocol")
    source.add_argument("--kafka", metavar="HOST:PORT", help="a Kafka cluster; with --topic")
    vtp, kafka = parser.add_argument_group("with --vtp"), parser.add_argument_group("with --kafka")
    vtp.add_argument("--xpath", action="append", default=[], metavar="EXPRESSION", help="may be repeated: any of them")
    kafka.add_argument("--topic", metavar="NAME", help="topic of the events")
    kafka.add_argument("--from-beginning", action="store_true", help="also what is in the topic already")
    kafka.add_argument("--group", default="", metavar="NAME", help="go on where the last run of this name ended")
    kafka.add_argument(
        "--property", action="append", default=[], metavar="KEY=VALUE", help="any librdkafka property; may be repeated"
    )
    wish = parser.add_argument_group("which events")
    wish.add_argument("--min-score", type=float, default=0.0, metavar="X", help="lowest score, 0 to 1")
    wish.add_argument("--max-mag", type=float, default=float("inf"), metavar="MAG", help="faintest magnitude")
    wish.add_argument("--band", action="append", default=[], metavar="NAME", help="such as g; may be repeated")
    wish.add_argument("--cone", metavar="RA,DEC,RADIUS", help="circle on the sky, degrees")
    wish.add_argument("--no-tests", action="store_true", help="leave out events of role test")
    then = parser.add_argument_group("what to do")
    then.add_argument("--format", choices=("text", "json"), help="of the output (default: text on a terminal)")
    then.add_argument("--save", type=Path, metavar="FOLDER", help="keep the events")
    then.add_argument("--cutouts", type=Path, metavar="FOLDER", help="draw the stamps of each event that links to them")
    then.add_argument("--limit", type=int, metavar="N", help="leave after so many events")
    then.add_argument("--until-idle", type=float, metavar="S", help="leave when nothing came for so many seconds")
