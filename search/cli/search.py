"""`vkdnw search SPACE`: a subcommand for each search space, made from the space itself."""

from typing import Any

import typer
from typer.core import TyperGroup

from vkdnw.search.cli.config_files import expanded
from vkdnw.search.spaces import registry

CUSTOM = "custom"
SPACE_OPTION = "--space"


class Spaces(TyperGroup):
    """The spaces known by name, and `custom` for one that is named by where it is.

    A command is made when it is asked for, because its options are the sizes of its space.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """`--config FILE` stands for the options in the file; those beside it take their place."""
        return super().parse_args(ctx, expanded(args))

    def list_commands(self, ctx: Any) -> list[str]:
        return [*registry.names(), CUSTOM]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        from vkdnw.search.cli.space_command import custom_help, space_command

        if cmd_name == CUSTOM:
            return custom_help()
        return space_command(cmd_name) if cmd_name in registry.names() else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """`custom --space my_module:MySpace ...` has the options of that space."""
        from vkdnw.search.cli.space_command import space_command

        if args[0] == CUSTOM and (place := _space_option(args[1:])) is not None:
            return CUSTOM, space_command(place, custom=True), args[1:]
        if args[0] not in self.list_commands(ctx) and not args[0].startswith("-"):
            registry.space_class(
                args[0]
            )  # raises with the names there are; or it is a module:class
            return args[0], space_command(args[0]), args[1:]
        return super().resolve_command(ctx, args)


def _space_option(args: list[str]) -> str | None:
    """The value of `--space` among the arguments."""
    for place, word in enumerate(args):
        if word == SPACE_OPTION and place + 1 < len(args):
            return args[place + 1]
        if word.startswith(SPACE_OPTION + "="):
            return word.partition("=")[2]
    return None


app = typer.Typer(name="search", cls=Spaces)


@app.callback()
def spaces() -> None:
    """Score the architectures of a search space and rank them: all, a sample, or by evolution.

    `--config FILE` takes options from a TOML file, as `vkdnw config RUN` writes one, with the space
    as `space = ...`; options beside it take their place.
    """
