"""The command line, run in the process of the tests."""

from collections.abc import Callable

import pytest

from vkdnw.search.cli import app
from vkdnw.search.cli.exit_codes import run


@pytest.fixture
def vkdnw(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command here: (exit code, stdout, stderr)."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(app, [str(argument) for argument in arguments])
        return (code, *capsys.readouterr())

    return call
