"""Run Comet's twistd plugin on 127.0.0.1 only: release 3.1.0 cannot be told the interface it listens on."""

import sys

from twisted.internet import reactor

_listen = reactor.listenTCP
reactor.listenTCP = lambda port, factory, backlog=50, interface="": _listen(port, factory, backlog, "127.0.0.1")

from twisted.scripts.twistd import run  # noqa: E402 - the reactor must be changed before it is used

sys.argv[0] = "twistd"
run()
