"""The space of a run, made again from the run's record."""

from collections.abc import Mapping
from dataclasses import fields

from vkdnw.search.configuration import Json
from vkdnw.search.errors import RunError
from vkdnw.search.spaces import registry
from vkdnw.search.spaces.search_space import SearchSpace


def recorded_space(settings: Mapping[str, Json]) -> SearchSpace:
    """The space at the sizes at which the run's networks were scored.

    Raises:
        RunError: the settings name no space, or one that is not to be found here.
    """
    name = settings.get("space")
    if name is None:
        raise RunError("this run has no space on record, so its networks cannot be built")
    place = settings.get("space_from") or name
    try:
        kind = registry.space_class(str(place))
    except ValueError as error:
        raise RunError(
            f"this is a run of the space {name!r}, which cannot be found here: {error}"
        ) from error
    sizes = {field.name: settings[field.name] for field in fields(kind) if field.name in settings}
    return registry.space(kind, **sizes)
