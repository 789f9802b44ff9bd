"""The command `vkdnw search SPACE`, made for a space: options in, a run out, a table printed."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.main import get_command

from vkdnw.search.cli import console, options, output_formats
from vkdnw.search.cli.interrupts import exit_when_interrupted
from vkdnw.search.cli.space_options import (
    SpaceOption,
    depth_bound,
    sizes,
    subset_flags,
    tells_depth,
)
from vkdnw.search.evolution.search_plan import SearchPlan
from vkdnw.search.spaces import registry
from vkdnw.search.spaces.search_space import SearchSpace
from vkdnw.search.spaces.selection import is_enumerable, subsets

PLAN = SearchPlan()
CUSTOM_HELP = "Score the architectures of a space of your own: --space my_module:MySpace."
Place = Annotated[
    str, typer.Option("--space", help="Where the space is: module:class.", show_default=False)
]


def space_command(name: str, custom: bool = False) -> Any:
    """The command of a space, with the space's sizes, subsets and budgets among its options."""
    kind = registry.space_class(name)
    space = registry.space(kind)
    defaults = getattr(space, "defaults", {})
    given: list[SpaceOption] = [SpaceOption("space", Place, ...)] if custom else []
    given += [SpaceOption("out", options.Out, ...)]
    given += [*_which(), *subset_flags(kind), *_evolution(), *depth_bound(space)]
    own = sizes(kind)
    given += [*own, *_scoring(defaults)]
    parameters = [
        inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=one.annotation,
            default=inspect.Parameter.empty if one.default is ... else one.default,
        )
        for one in given
    ]

    def command(**arguments: Any) -> None:
        arguments.pop("space", None)
        _search(name, space, arguments)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in given}
    return _made(command, name, _help(space))


def custom_help() -> Any:
    """`vkdnw search custom` without a space: its options are known once there is one."""

    def command(space: Place) -> None:
        """Never reached with a space: the group makes that space's command."""

    return _made(command, "custom", CUSTOM_HELP)


def _made(command: Callable[..., None], name: str, told: str) -> Any:
    app = typer.Typer(
        add_completion=False, context_settings={"help_option_names": ["-h", "--help"]}
    )
    app.command(name, help=told)(command)
    return get_command(app)


def _help(space: SearchSpace) -> str:
    title = (type(space).__doc__ or space.name).strip().splitlines()[0]
    which = (
        "Say which architectures with --sample, --all or --arch, or --evolve."
        if is_enumerable(space)
        else "Evolution, under budgets; or --sample or --arch for scores of given architectures."
    )
    return (
        f"Score architectures of {space.name} without training, and rank them. {title} {which}\n\n"
        "The folder --out keeps everything: the same command goes on where it was stopped, more "
        "may be asked for at any time, and a command that would score differently is refused. "
        "Equal networks are scored once."
    )


def _which() -> list[SpaceOption]:
    return [
        SpaceOption("sample", options.Sample, None),
        SpaceOption("all", options.All, False),
        SpaceOption("arch", options.Arch, None),
        SpaceOption("within", options.Within, None),
        SpaceOption("sample_seed", options.SampleSeed, 0),
        SpaceOption("seeds", options.Seeds, None),
    ]


EVOLUTION = {
    "evaluations": options.Evaluations,
    "flops": options.FlopsBudget,
    "parameters": options.ParametersBudget,
    "layers": options.LayersBudget,
    "latency": options.LatencyBudget,
    "latency_table": options.LatencyTable,
    "latency_column": options.LatencyColumn,
    "latency_fit": options.LatencyFit,
    "rank_by": options.RankBy,
    "strategy": options.Strategy,
    "pareto": options.ParetoCost,
    "population": options.Population,
    "tournament": options.Tournament,
    "in_flight": options.InFlight,
    "seed": options.BreedingSeed,
    "score_seed": options.ScoreSeed,
}
"""The options of an evolution; None where one is not given."""


def _evolution() -> list[SpaceOption]:
    evolve = SpaceOption("evolve", options.Evolve, False)
    return [evolve, *(SpaceOption(name, kind, None) for name, kind in EVOLUTION.items())]


def _scoring(defaults: Mapping[str, Any]) -> list[SpaceOption]:
    general = options.DEFAULTS
    return [
        SpaceOption("proxies", options.Proxies, None),
        SpaceOption(
            "batch_size", options.BatchSize, defaults.get("batch_size", general.batch_size)
        ),
        SpaceOption("data", options.Data, None),
        SpaceOption("images", options.Images, None),
        SpaceOption("init", options.InitialWeights, general.init),
        SpaceOption("scalars", options.Scalars, defaults.get("scalars", general.scalars)),
        SpaceOption("convention", options.FisherConvention, general.convention),
        SpaceOption("smoothing", options.Smoothing, general.smoothing),
        SpaceOption("dtype", options.Precision, general.dtype),
        SpaceOption("mode", options.DerivativeMode, general.mode),
        SpaceOption("max_memory", options.MaxMemory, None),
        SpaceOption("device", options.Device, "cpu"),
        SpaceOption("workers", options.Workers, None),
        SpaceOption("task_timeout", options.TaskTimeout, options.TASK_TIMEOUT),
        SpaceOption("ray", options.Ray, None),
        SpaceOption("mixed", options.Mixed, False),
        SpaceOption("dry_run", options.DryRun, False),
        SpaceOption("form", output_formats.Format, "table"),
        SpaceOption("as_json", output_formats.AsJson, False),
    ]


def _search(name: str, space: SearchSpace, arguments: dict[str, Any]) -> None:
    """One code path with Python: call `enumerate` or `evolve`, and print the run's results."""
    out, dry_run = arguments.pop("out"), arguments.pop("dry_run")
    form = output_formats.chosen(arguments.pop("form"), arguments.pop("as_json"))
    arguments["task_timeout"] = arguments["task_timeout"] or None
    address = arguments.pop("ray")
    if address is not None:
        arguments["executor"] = "ray" if address == "auto" else f"ray:{address}"
    seeds, proxies, evolve = (arguments.pop(word) for word in ("seeds", "proxies", "evolve"))
    told = {word: arguments.pop(word) for word in [*EVOLUTION, "depth"] if word in arguments}
    plan = {word: value for word, value in told.items() if value is not None}
    subset = {flag: True for flag in subsets(space) if arguments.pop(flag)}
    selection = {word: arguments.pop(word) for word in ("sample", "all", "within", "sample_seed")}
    selection["architectures"] = arguments.pop("arch") or ()
    evolves = _evolves(space, evolve, plan, {**selection, **subset})
    if evolves:
        plan |= {} if seeds is None else {"seeds": seeds}
    else:
        selection |= {**subset, "seeds": seeds or 1, "proxies": proxies or "vkdnw"}
    if dry_run:
        _dry_run(
            name,
            out,
            {**({"evaluations": PLAN.evaluations, **plan} if evolves else selection), **arguments},
        )
        return
    with exit_when_interrupted(out), console.usage_errors():
        if evolves:
            _evolve(name, out, plan, proxies, arguments)
        else:
            from vkdnw.search.api.entry_points import enumerate as enumerate_space

            enumerate_space(name, out, **selection, **arguments)
    show(Path(out), evolves, form)


def _evolves(
    space: SearchSpace, evolve: bool, plan: dict[str, Any], selection: dict[str, Any]
) -> bool:
    """Whether the options ask for an evolution. Raises typer.BadParameter where they contradict."""
    names = selection.keys() - {"within", "sample_seed"}
    listed = selection["sample"] is not None or any(selection[name] for name in names)
    evolves = evolve or bool(plan) or not (listed or is_enumerable(space))
    if evolves and listed:
        words = [*("--evolve",) * evolve, *(f"--{w.replace('_', '-')}" for w in plan)]
        raise typer.BadParameter(
            f"{words[0]} asks for an evolution, and --sample, --all and --arch name what to score; "
            "give one of the two"
        )
    if plan.get("layers") and tells_depth(space):
        raise typer.BadParameter(
            f"--layers counts parameter tensors; for the depth of {space.name} give --depth",
            param_hint="--layers",
        )
    return evolves


def _dry_run(name: str, out: Path, arguments: dict[str, Any]) -> None:
    from vkdnw.search.api.estimating import estimate

    with console.usage_errors():
        told = estimate(name, out, **arguments)
    for line in str(told).splitlines():
        console.print_line(console.stdout(), line)


def _evolve(
    name: str, out: Path, plan: dict[str, Any], proxies: str | None, arguments: dict[str, Any]
) -> None:
    from vkdnw.search.api.entry_points import evolve

    if proxies is not None:
        raise typer.BadParameter(
            "an evolution computes the values that it ranks by; name them with --rank-by",
            param_hint="--proxies",
        )
    evolve(name, out, **plan, **arguments)


def show(out: Path, evolved: bool, form: output_formats.Form) -> None:
    """Print a run's results; exit with 1 where networks of a list failed."""
    from vkdnw.search.cli import history, top
    from vkdnw.search.state.results import open_results

    if evolved:
        history.show(out, history.COUNT, form)
        return
    top.show(out, top.COUNT, None, form)
    with open_results(out) as results:
        failed = results.tally().failures
    if failed:
        raise typer.Exit(1)
