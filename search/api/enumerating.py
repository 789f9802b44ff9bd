"""From the options of `search.enumerate` to scores on disk."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from vkdnw.search.api.callbacks import OnResult, ResultCallback
from vkdnw.search.api.interruptible import interruptible
from vkdnw.search.api.options import EnumerationOptions, joined
from vkdnw.search.api.scoring_setup import Setup, set_up, split_subset
from vkdnw.search.api.up_to_date import is_up_to_date
from vkdnw.search.configuration import Settings
from vkdnw.search.enumeration import Request, score_all
from vkdnw.search.errors import argument_errors
from vkdnw.search.requested_values import check_inputs, resolve
from vkdnw.search.spaces.search_space import SearchSpace, figures
from vkdnw.search.spaces.selection import Selection, describe
from vkdnw.search.tasks import Asked


def enumerate_with(options: EnumerationOptions) -> SearchSpace:
    """Score the architectures that the options choose, and return their space.

    Raises as :func:`vkdnw.search.enumerate` does.
    """
    with argument_errors():
        setup, selection = set_up_enumeration(options)
        settings = {
            **setup.settings(),
            "architectures": str(selection),
            "seeds": options.seeds,
            "proxies": joined(options.proxies),
        }
        if is_up_to_date(options.folder, settings):
            return setup.space
        request = _request(options, setup, settings, selection)
    if options.on_result is not None:
        callback = _callback(options.on_result, setup, request.asked)
        request = replace(request, on_result=callback)
    interruptible(options.folder, partial(score_all, request), options.progress)
    return setup.space


def set_up_enumeration(options: EnumerationOptions) -> tuple[Setup, Selection]:
    """The setup of the scoring, and the architectures. Raises ArgumentError and ValueError."""
    sizes, subset = split_subset(options.space, options.sizes)
    setup = set_up(replace(options, sizes=sizes))
    selection = Selection(
        options.sample, options.sample_seed, options.all, tuple(options.architectures), subset
    )
    if options.within is not None:
        from vkdnw.search.rankings.truth import known_architectures

        known = known_architectures(options.within, setup.space)
        selection = selection.within(known, setup.space)
    if options.seeds < 1:
        raise ValueError(f"seeds must be at least 1, got {options.seeds}")
    return setup, selection


def _request(
    options: EnumerationOptions, setup: Setup, settings: Settings, selection: Selection
) -> Request:
    """The architectures and the values to compute. Raises ValueError for either."""
    names = resolve(joined(options.proxies))
    check_inputs(names, setup.configuration.images is not None)
    asked = describe(selection.architectures(setup.space), setup.space)
    session = setup.session(options.folder, settings, range(options.seeds), names)
    return Request(**vars(session), asked=asked, names=names)


def _callback(on_result: OnResult, setup: Setup, asked: Sequence[Asked]) -> ResultCallback:
    by_network: defaultdict[str, list[str]] = defaultdict(list)
    for one in asked:
        by_network[one.network].append(one.architecture)

    def counts(network: str) -> Mapping[str, float]:
        return figures(setup.space.cost(by_network[network][0]))

    return ResultCallback(on_result, counts, by_network)
