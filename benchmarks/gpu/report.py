"""The record of one GPU check: `<gpu>.json` with everything, `<gpu>.md` to be read."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from targets import TARGETS


@dataclass
class Step:
    """One command of the check and its result."""

    title: str
    command: str
    status: str  # "passed", "failed", "out of time" or "left out"
    seconds: float = 0.0
    note: str = ""
    figures: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Record:
    gpu: str
    versions: dict[str, str]
    steps: list[Step] = field(default_factory=list)

    def add(self, step: Step) -> None:
        """Takes the place of an earlier step of the same title."""
        self.steps = [one for one in self.steps if one.title != step.title] + [step]

    def with_earlier_steps(self, folder: Path) -> Record:
        """The steps on record for the same card, versions and commit; another part ran them."""
        as_json, _ = self.paths(folder)
        if as_json.exists():
            earlier = json.loads(as_json.read_text(encoding="utf-8"))
            if earlier["versions"] == self.versions:
                self.steps = [Step(**step) for step in earlier["steps"]]
        return self

    def paths(self, folder: Path) -> tuple[Path, Path]:
        name = re.sub(r"[^a-z0-9]+", "-", self.gpu.lower()).strip("-")
        return folder / f"{name}.json", folder / f"{name}.md"

    @property
    def failed(self) -> bool:
        return any(step.status in ("failed", "out of time") for step in self.steps)

    def figures(self) -> dict[str, float | None]:
        return {one["figure"]: one["value"] for step in self.steps for one in step.figures}

    def write(self, folder: Path) -> tuple[Path, Path]:
        folder.mkdir(parents=True, exist_ok=True)
        as_json, as_text = self.paths(folder)
        as_json.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        as_text.write_text(self.text(), encoding="utf-8")
        return as_json, as_text

    def text(self) -> str:
        parts = [
            f"# {self.gpu}",
            "",
            "Written by `make gpu-check`. Every figure was measured by the",
        ]
        parts += ["command above it.", "", "| | |", "|---|---|"]
        parts += [f"| {name} | {version} |" for name, version in self.versions.items()]
        parts += ["", "## Targets", "", "| target | bound | measured | |", "|---|---|---|---|"]
        parts += [self._target_row(target) for target in TARGETS]
        for step in self.steps:
            parts += ["", f"## {step.title}", "", f"    {step.command}", ""]
            parts += [f"{step.status}, {step.seconds:.0f} s. {step.note}".rstrip()]
            if step.figures:
                parts += ["", "| figure | value | | besides |", "|---|---:|---|---|"]
                parts += [_figure_row(figure) for figure in step.figures]
        return "\n".join(parts) + "\n"

    def _target_row(self, target: Any) -> str:
        value, met = target.reached(self.figures())
        bound = f">= {target.at_least}" if target.at_least is not None else f"<= {target.at_most}"
        said = {True: "met", False: "missed", None: "not measured"}[met]
        return f"| {target.text} | {bound} | {_number(value)} | {said} |"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float | int) else "-"


def _figure_row(figure: dict[str, Any]) -> str:
    rest = {k: v for k, v in figure.items() if k not in ("figure", "value", "unit")}
    besides = ", ".join(
        f"{k.replace('_', ' ')} {_number(v) if isinstance(v, float) else v}"
        for k, v in rest.items()
    )
    return f"| {figure['figure']} | {_number(figure['value'])} | {figure['unit']} | {besides} |"
