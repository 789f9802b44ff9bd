"""Doing a request from the command line: progress, interrupts, and how to go on afterwards."""

import shlex
import signal
import sys

import typer

from vkdnw.search.cli import console
from vkdnw.search.enumeration import Request, score_all
from vkdnw.search.interruption import Interruption
from vkdnw.search.progress import progress_on


def work(request: Request) -> None:
    """Score what the request asks for; exit with 128 + the signal's number when interrupted."""
    stderr = console.stderr()
    interruption = Interruption()
    try:
        with interruption, progress_on(stderr) as progress:
            score_all(request, progress, interruption)
    except KeyboardInterrupt:
        pass  # the second Ctrl-C: what was finished is on disk all the same
    if interruption.requested:
        typer.echo(
            f"stopped; what was finished is in {request.folder}. To go on, give the same command: "
            f"{shlex.join(['vkdnw', *sys.argv[1:]])}",
            err=True,
        )
        raise typer.Exit(128 + (interruption.signal or signal.SIGINT))
