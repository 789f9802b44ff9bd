"""`vkdnw proxies`: every training-free score there is, as data."""

from typing import TYPE_CHECKING, Any

from vkdnw.search.cli import output_formats
from vkdnw.search.cli.command_output import Column, Report, Row, Section, number, text

if TYPE_CHECKING:
    from vkdnw.proxies import Proxy


def proxies(form: output_formats.Format = "table", as_json: output_formats.AsJson = False) -> None:
    """List the training-free scores: their inputs, their passes, and their costs.

    Higher is better for all. Cost is relative to VKDNW's.
    """
    from vkdnw.proxies import PROXIES

    rows = [describe(proxy) for proxy in PROXIES.values()]
    output_formats.print_report(
        Report("proxies", Section(rows, COLUMNS), after=[TOLD]),
        output_formats.chosen(form, as_json),
    )


def describe(proxy: "Proxy") -> dict[str, Any]:
    """A proxy as plain data."""
    from vkdnw.search.proxy_costs import RELATIVE_COSTS

    return {
        "name": proxy.name,
        "title": proxy.title,
        "reference": proxy.reference,
        "input": proxy.input,
        "labels": proxy.labels,
        "batches": proxy.batches,
        "mode": proxy.mode,
        "init": proxy.init,
        "passes": proxy.cost,
        "cost": RELATIVE_COSTS.get(proxy.name),
        "undefined": proxy.undefined,
        "released": proxy.released,
    }


def _quiet(key: str) -> Column:
    """A word, or nothing where it is the usual one."""

    def cell(row: Row) -> str:
        return "" if row[key] in (None, "none", "never") else str(row[key])

    return Column(key, cell, text=True)


COLUMNS = (
    text("name"),
    number("cost", form="{:.2f}"),
    _quiet("passes"),
    _quiet("input"),
    _quiet("labels"),
    number("batches", form="{:.0f}"),
    _quiet("mode"),
    _quiet("init"),
    text("title"),
    Column("in the released code", lambda row: str(row["released"] or ""), text=True),
)
TOLD = (
    "cost: CPU time relative to VKDNW's, each alone, a mixed network of NAS-Bench-201, batch 64; "
    "those computed together share their passes."
)
