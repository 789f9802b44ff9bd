"""A score depends on the task and the configuration alone, not on workers, order or threads."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

import vkdnw
from tests.search.fakes import rows
from vkdnw.runtime.threads import one_thread
from vkdnw.search import scoring
from vkdnw.search.configuration import Configuration
from vkdnw.search.enumeration import Request, score_all
from vkdnw.search.errors import ConfigurationDiffers
from vkdnw.search.inputs.seeded import batch, input_digests, proxy_inputs
from vkdnw.search.progress import Lines
from vkdnw.search.scoring import Scorer, network_seed
from vkdnw.search.spaces import nb201
from vkdnw.search.spaces.nb201 import NB201
from vkdnw.search.spaces.pit import PiT
from vkdnw.search.spaces.selection import Selection, describe
from vkdnw.search.stop_signals import Interruption
from vkdnw.search.task_runner import Summary
from vkdnw.search.tasks import Scored, Task

SPACE = NB201(channels=4, cells=1, classes=3, resolution=8)
TINY = Configuration(batch_size=4)
TASKS = [Task(network, seed) for network in nb201.live()[:4] for seed in (0, 1)]


def exact(scored: Scored) -> object:
    """The parts that must be equal to the last bit; not the time."""
    return (
        {name: value.hex() for name, value in scored.values.items()},
        {name: [value.hex() for value in array] for name, array in scored.arrays.items()},
        scored.fallback,
    )


@pytest.fixture(scope="module")
def alone() -> dict[Task, object]:
    """Each task's result by a scorer that has done nothing else."""
    return {task: exact(Scorer(SPACE, TINY)(task)) for task in TASKS}


def test_the_score_is_that_of_the_library(alone: dict[Task, object]) -> None:
    task = TASKS[3]
    model = nb201.build(task.network, channels=4, cells=1, classes=3)
    vkdnw.initialise(model, "kaiming_normal", seed=network_seed(task.network, task.seed))
    expected = vkdnw.score(
        model.eval(), batch(TINY, 8, task.seed), dtype=torch.float32, max_memory=TINY.max_memory
    )
    scored = Scorer(SPACE, TINY)(task)
    assert scored.values == {"vkdnw": expected.vkdnw}
    assert scored.arrays["deciles"] == tuple(expected.deciles.tolist())
    assert scored.arrays["eigenvalues"] == tuple(expected.eigenvalues.tolist())
    assert exact(scored) == alone[task]


def test_what_was_scored_before_does_not_matter(alone: dict[Task, object]) -> None:
    scorer = Scorer(SPACE, TINY)
    for task in reversed(TASKS):
        torch.manual_seed(hash(task))
        assert exact(scorer(task)) == alone[task]


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_number_of_threads_around_it_does_not_matter(
    alone: dict[Task, object], threads: int
) -> None:
    torch.set_num_threads(threads)
    assert exact(Scorer(SPACE, TINY)(TASKS[0])) == alone[TASKS[0]]
    assert torch.get_num_threads() == threads


def test_tasks_together_have_the_bits_of_each_alone(alone: dict[Task, object]) -> None:
    """Of two seeds, whose batches differ."""
    found = Scorer(SPACE, TINY, at_once=8).together(TASKS)
    assert [exact(each) for each in found if each is not None] == [alone[task] for task in TASKS]


def test_proxies_are_computed_beside_networks_together() -> None:
    names = ("vkdnw", "naswot", "layers")
    tasks = [replace(task, names=names if task.seed else ("naswot",)) for task in TASKS]
    found = Scorer(SPACE, TINY, at_once=8).together(tasks)
    expected = [exact(Scorer(SPACE, TINY)(task)) for task in tasks]
    assert [exact(each) for each in found if each is not None] == expected


def test_of_tasks_together_those_that_fail_have_no_result(
    alone: dict[Task, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    initialise = vkdnw.initialise

    def spoilt(model: torch.nn.Module, scheme: str, seed: int) -> torch.nn.Module:
        initialise(model, scheme, seed=seed)
        if seed == network_seed(TASKS[2].network, TASKS[2].seed):
            with torch.no_grad():
                next(model.parameters()).fill_(torch.nan)
        return model

    monkeypatch.setattr(scoring.vkdnw, "initialise", spoilt)
    tasks = [*TASKS[:4], Task("no architecture", 0)]
    found = Scorer(SPACE, TINY, at_once=8).together(tasks)
    assert [place for place, each in enumerate(found) if each is None] == [2, 4]
    left = [task for place, task in enumerate(TASKS[:4]) if place != 2]
    assert [exact(each) for each in found if each is not None] == [alone[task] for task in left]


def test_weights_that_no_scheme_draws_follow_from_the_task_too() -> None:
    """Tokens and positions of a transformer keep the values that they are built with."""
    space = PiT(classes=3, resolution=32)
    scorer = Scorer(space, TINY)
    task = Task("16:2:1-6-6:2-2-2", 0, ("grad_norm",))
    torch.manual_seed(1)
    state, before = torch.get_rng_state(), exact(scorer(task))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert exact(scorer(task)) == before


def test_another_seed_is_another_score(alone: dict[Task, object]) -> None:
    assert len({str(result) for result in alone.values()}) == len(TASKS)


def run(
    folder: Path,
    count: int,
    workers: int,
    names: tuple[str, ...] = ("vkdnw",),
    configuration: Configuration = TINY,
    at_once: int = 1,
) -> Summary:
    asked = describe(Selection(sample=count, subset="live").architectures(SPACE), SPACE)
    inputs = {seed: input_digests(configuration, 8, seed) for seed in (0, 1)}
    scorer = Scorer(SPACE, configuration, at_once=at_once)
    request = Request(
        folder=folder,
        settings=configuration.settings(),
        asked=asked,
        inputs=inputs,
        scorers=[scorer] * max(1, workers),
        names=names,
        in_this_process=workers == 0,
    )
    with Interruption() as interruption, Lines(Console(stderr=True)) as progress:
        return score_all(request, progress, interruption)


@pytest.mark.slow
def test_workers_and_goes_do_not_change_a_bit_of_a_run(tmp_path: Path) -> None:
    """The guarantee of the fault tests, with real networks in real workers."""
    run(tmp_path / "one", 8, workers=0)
    for count in (3, 8):
        run(tmp_path / "two goes", count, workers=1)
    run(tmp_path / "two workers", 8, workers=2)
    for count in (3, 8):
        run(tmp_path / "together", count, workers=2, at_once=3)
    expected = rows(tmp_path / "one")
    assert len(expected) == 16
    assert rows(tmp_path / "two goes") == expected
    assert rows(tmp_path / "two workers") == expected
    assert rows(tmp_path / "together") == expected
    assert run(tmp_path / "two workers", 8, workers=2).scored == 0


def test_seeds_of_weights_are_fixed_for_good_and_differ() -> None:
    """Runs are resumed with later versions: these values may never change."""
    assert network_seed("|none~0|", 0) == 8281789670500167273
    seeds = {network_seed(network, seed) for network in nb201.live()[:500] for seed in range(4)}
    assert len(seeds) == 2000
    assert min(seeds) >= 0
    assert max(seeds) < 2**63


def batch_digest(configuration: Configuration, resolution: int, seed: int) -> str:
    return input_digests(configuration, resolution, seed)["batch"]


def test_a_batch_is_its_seeds_and_its_digest_tells_it_apart() -> None:
    digests = {
        batch_digest(TINY, 8, 0),
        batch_digest(TINY, 8, 1),
        batch_digest(TINY, 16, 0),
        batch_digest(replace(TINY, batch_size=16), 4, 0),
    }
    assert len(digests) == 4
    assert batch_digest(replace(TINY, dtype="float64"), 8, 0) == batch_digest(TINY, 8, 0)


def test_the_digest_of_data_is_that_of_its_images_not_of_its_path(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (8, 3, 8, 8), dtype=np.uint8)
    for name in ("a.npz", "b.npz"):
        np.savez(tmp_path / name, images=images)
    np.savez(tmp_path / "c.npz", images=images[::-1])
    digests = [
        batch_digest(replace(TINY, data=str(tmp_path / name)), 8, 0)
        for name in ("a.npz", "b.npz", "c.npz")
    ]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("first:16", vkdnw.weights.first(16)),
        ("spaced:4", vkdnw.weights.spaced(4)),
        ("random:50:7", vkdnw.weights.random(50, 7)),
        ("every", vkdnw.weights.every()),
    ],
)
def test_a_configuration_names_every_choice_of_scalars(text: str, choice: object) -> None:
    assert scoring.scalars(text) == choice
    scored = Scorer(SPACE, replace(TINY, scalars=text))(TASKS[0])
    assert np.isfinite(scored.values["vkdnw"])


def test_long_spectra_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "EIGENVALUES_KEPT", 3)
    assert Scorer(SPACE, TINY)(TASKS[0]).arrays.keys() == {"deciles"}


@pytest.mark.parametrize(
    ("setting", "value"),
    [("convention", "released"), ("smoothing", 0.2), ("dtype", "float64"), ("batch_size", 5)],
)
def test_every_option_of_the_score_reaches_it(setting: str, value: object) -> None:
    changed = Scorer(SPACE, replace(TINY, **{setting: value}))(TASKS[0])
    assert exact(changed) != exact(Scorer(SPACE, TINY)(TASKS[0]))


PARTS = ("vkdnw", "jacov", "expressivity", "trainability")


def test_a_value_has_the_same_bits_whatever_else_is_computed() -> None:
    network = nb201.live()[7]
    together = Scorer(SPACE, TINY)(Task(network, 0, PARTS)).values
    alone = {n: Scorer(SPACE, TINY)(Task(network, 0, (n,))).values[n] for n in PARTS}
    assert together == alone


def test_values_of_proxies_are_those_of_the_library() -> None:
    task = Task(nb201.live()[7], 1, ("naswot", "jacov"))
    model = SPACE.build(task.network)
    seed = network_seed(task.network, task.seed)
    vkdnw.initialise(model, "kaiming_normal", seed=seed)
    with one_thread():
        expected = {
            name: getattr(vkdnw.proxies, name)(model, batch(TINY, 8, task.seed)).value
            for name in task.names
        }
    assert Scorer(SPACE, TINY)(task).values == expected


def test_the_convention_reaches_every_proxy() -> None:
    task = Task(nb201.live()[7], 1, ("vkdnw", "grad_norm"))
    defined = Scorer(SPACE, TINY)(task).values
    released = Scorer(SPACE, replace(TINY, convention="released"))(task).values
    assert all(defined[name] != released[name] for name in task.names)


def test_a_run_given_more_proxies_computes_only_these(tmp_path: Path) -> None:
    run(tmp_path, 3, workers=0)
    before = rows(tmp_path)
    assert run(tmp_path, 3, workers=0, names=("vkdnw", "naswot")).scored == 6
    after = rows(tmp_path)
    assert all(set(before[key]) < set(after[key]) for key in before)
    assert run(tmp_path, 3, workers=0, names=("vkdnw", "naswot")).scored == 0


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 255, (8, 3, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "labelled.npz", images=images, labels=np.arange(8) % 3)
    return tmp_path / "labelled.npz"


def test_labelled_images_come_in_two_batches_and_have_a_digest(labelled: Path) -> None:
    given = replace(TINY, images=str(labelled))
    inputs = proxy_inputs(given, 8, 0)
    assert inputs.images is not None
    assert inputs.second_labels is not None
    assert (len(inputs.images), len(inputs.second_labels)) == (4, 4)
    assert inputs.noise is not None
    assert torch.equal(inputs.noise, batch(TINY, 8, 0))
    assert input_digests(given, 8, 0).keys() == {"batch", "labelled images"}


def test_a_run_begun_without_images_is_not_gone_on_with_on_images(
    tmp_path: Path, labelled: Path
) -> None:
    """Some proxies read images where there are any: their values would not compare."""
    run(tmp_path / "run", 2, workers=0)
    with pytest.raises(ConfigurationDiffers, match="labelled images of seed 0: stored null"):
        run(tmp_path / "run", 2, workers=0, configuration=replace(TINY, images=str(labelled)))
