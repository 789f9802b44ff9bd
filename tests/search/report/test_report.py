"""A run's page: it opens without errors or requests, filters, selects, and shows the run's data."""

import http.client
import json
import random
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.search.report.browser import act, needs_browser
from vkdnw import search
from vkdnw.search.report.page import page, write
from vkdnw.search.report.page_data import payload
from vkdnw.search.report.serve import server
from vkdnw.search.spaces import nb201


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("report") / "run"
    return search.enumerate(
        "nb201", folder, sample=12, cells=1, resolution=8, batch_size=8,
        proxies="vkdnw,jacov", workers=0, progress=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def written(run: Any) -> Path:
    truth = {name: 90.0 + place / 10 for place, name in enumerate(run.to_pandas()["architecture"])}
    path: Path = run.report(run.folder / "report.html", truth=truth)
    return path


def large(rows: int) -> dict[str, Any]:
    """A payload of made-up numbers under real architectures."""
    draws = random.Random(0)
    names = list(nb201.enumerate()[:rows])
    return {
        "title": f"{rows} networks",
        "by": "single",
        "architectures": names,
        "columns": {name: [draws.random() for _ in names] for name in ("single", "jacov", "flops")},
        "costs": ["flops"],
        "truths": [],
        "diagrams": [[(0, 1, "conv")] for _ in names],
        "spectra": {},
        "deciles": [[draws.random() for _ in range(9)] for _ in names],
        "correlation": {},
        "agreement": [],
        "course": {},
        "settings": {},
        "versions": {},
        "command": "vkdnw",
        "tally": {"scored": rows, "tasks": rows, "failures": []},
    }


def test_the_payload_holds_every_network_best_first(run: Any) -> None:
    found = payload(run.folder)
    ranking = run.top(12)
    assert found["by"] == run.ranked_by
    assert found["architectures"] == list(ranking["architecture"])
    assert found["columns"]["jacov"] == pytest.approx(list(ranking["jacov"]), rel=1e-5)
    assert len(found["diagrams"][0]) == 6
    assert found["settings"]["space"] == "nb201"
    assert "torch" in found["versions"]
    json.dumps(found, allow_nan=False)


def test_the_page_names_no_address_of_another_machine(written: Path) -> None:
    html = written.read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=[\"']?https?:", html)
    assert "default-src 'none'" in html


def test_text_of_a_run_cannot_end_the_script_or_become_markup(tmp_path: Path) -> None:
    content = large(2)
    content["architectures"] = ["</script><script>problems.push('run')</script>", "{{ plotly }}"]
    html = page(content)
    assert "problems.push('run')</script>" not in html
    assert html.count("Plotly.react(id") == 1


@needs_browser
def test_the_page_opens_without_errors_or_requests_and_selects(written: Path) -> None:
    found = act(
        written,
        """
        document.querySelectorAll("#networks tbody tr")[3].click();
        await wait();
        return {
          rows: document.querySelectorAll("#networks tbody tr").length,
          chosen: document.querySelectorAll("#networks tr.chosen").length,
          name: document.getElementById("name").textContent,
          drawn: document.querySelectorAll("#diagram path").length,
          plots: document.querySelectorAll(".plot .main-svg").length > 0,
          agreement: document.querySelectorAll("#agreement tr").length,
          course: document.getElementById("course-section").hidden,
        };
        """,
    )
    names = payload(written.parent)["architectures"]
    assert found == {
        "rows": 12,
        "chosen": 1,
        "name": names[3],
        "drawn": 6,
        "plots": True,
        "agreement": found["agreement"],
        "course": True,
    }
    assert found["agreement"] > 3


@needs_browser
@pytest.mark.parametrize("rows", [1000, 15625])
def test_a_filter_shows_what_it_finds_in_the_table_and_in_the_plot(
    tmp_path: Path, rows: int
) -> None:
    wanted = "|avg_pool_3x3~0|+|avg_pool_3x3~0|"
    found = act(
        write(large(rows), tmp_path / "report.html"),
        f"""
        state.table.search("{wanted}").draw();
        await wait();
        return [state.table.rows({{ search: "applied" }}).count(),
                document.getElementById("scatter").data[0].x.length];
        """,
    )
    expected = sum(wanted in name for name in nb201.enumerate()[:rows])
    assert found == [expected, expected]


@needs_browser
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1400])
def test_nothing_is_wider_than_the_screen(written: Path, width: int, dark: bool) -> None:
    found = act(
        written,
        """
        const style = getComputedStyle(document.body);
        return [document.documentElement.scrollWidth <= innerWidth, style.backgroundColor];
        """,
        width=max(width, 500),  # Chromium makes no narrower window
        dark=dark,
    )
    assert found == [True, "rgb(18, 22, 27)" if dark else "rgb(255, 255, 255)"]


def test_a_run_that_goes_on_is_served_to_this_machine_alone(run: Any) -> None:
    with server(lambda: page(payload(run.folder)), 0) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        asked = http.client.HTTPConnection("127.0.0.1", serving.server_port, timeout=60)
        asked.request("GET", "/")
        answer = asked.getresponse()
        body = answer.read().decode()
        assert (answer.status, answer.getheader("Refresh")) == (200, "30")
        assert "nb201: 12 networks" in body
        asked.request("GET", "/", headers={"Host": "evil.example"})
        assert asked.getresponse().status == 403
        serving.shutdown()
