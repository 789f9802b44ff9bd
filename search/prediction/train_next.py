"""Rank a space with few trained networks: which to train next, and how to rank the rest.

The model is linear in a training-free ranking, with a Gaussian process over all training-free
scores for the residual of that ranking:

    y(x) = a + b p(x) + f(x) + noise,    (a, b) ~ N((0, PRIOR_SLOPE), 1 / PSEUDO_COUNT),
    f ~ GP(0, s^2 k(z(x), z(x'))),

with ``p`` the training-free ranking and ``z`` the scores, each as normal scores of ranks among all
candidates, and ``y`` accuracies as `expected_scores`. Without any accuracy the model is the
training-free ranking; with many it is a Gaussian process.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm, rankdata
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from vkdnw.search.prediction.forest import PredictionError

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Index = NDArray[np.intp]

PRIOR_SLOPE = 0.8
"""The correlation of normal scores that a good training-free ranking has with accuracy."""
PSEUDO_COUNT = 5.0
"""How many trained networks the prior of the linear part counts for."""
REFIT_GROWTH = 1.3
"""The kernel is fitted again when the trained networks have grown by this factor."""


@dataclass(frozen=True)
class Candidates:
    """The prior of networks before any is trained."""

    scores: Matrix
    """Normal scores of training-free scores, float64 ``[networks, scores]``."""
    prior: Vector
    """Normal scores of the training-free ranking, float64 ``[networks]``."""

    def __len__(self) -> int:
        return len(self.prior)

    def take(self, rows: Index) -> "Candidates":
        """Some of them. Their scores stay those among all."""
        return Candidates(self.scores[rows], self.prior[rows])


def candidates(features: pd.DataFrame, prior: pd.Series) -> Candidates:
    """The networks of a table: a row of finite ``features`` each, and ``prior``, higher is better.

    Raises:
        PredictionError: fewer than two networks, or other ones in one than in the other.
    """
    if len(features) < 2 or not features.index.equals(prior.index):
        raise PredictionError(
            f"at least two networks are needed, with features and a training-free ranking of the "
            f"same ones; got {len(features)} and {len(prior)}"
        )
    columns = [normal_scores(features[name].to_numpy(np.float64)) for name in features.columns]
    kept = [column for column in columns if column.any()]
    scores = np.stack(kept, axis=1) if kept else np.zeros((len(features), 1))
    return Candidates(scores, normal_scores(prior.to_numpy(np.float64)))


def normal_scores(values: Vector) -> Vector:
    """Quantiles of the normal distribution in the order of the values; ties share their mean rank.

    float64, as many; all 0 where the values are equal.
    """
    scores: Vector = norm.ppf((rankdata(values) - 0.5) / len(values))
    return scores


def expected_scores(accuracies: Vector, prior: Vector) -> Vector:
    """The normal scores, among all candidates, that trained networks probably have.

    Trained networks are seldom a random sample: those that the ranking chose are good ones. If
    accuracy has correlation ``PRIOR_SLOPE`` with the ranking ``p``, theirs have mean
    ``PRIOR_SLOPE mean(p)`` and variance ``PRIOR_SLOPE^2 var(p) + 1 - PRIOR_SLOPE^2``; they get this
    mean and this variance, in the order of their accuracies.

    Args:
        accuracies: of the trained networks, float64 ``[trained]``.
        prior: their normal scores under the training-free ranking, float64 ``[trained]``.
    """
    deviation = float(np.sqrt(PRIOR_SLOPE**2 * np.var(prior) + 1 - PRIOR_SLOPE**2))
    return normal_scores(accuracies) * deviation + PRIOR_SLOPE * float(np.mean(prior))


class Model:
    """The posterior of the accuracies of all candidates, given those of trained ones."""

    def __init__(self, known: Candidates) -> None:
        self._known = known
        self._kernel: object | None = None
        self._fitted_on = 0

    def predict(self, trained: Index, accuracies: Vector) -> tuple[Vector, Vector]:
        """Mean and deviation of every candidate, in the units of `expected_scores`.

        Args:
            trained: rows of the candidates.
            accuracies: theirs, in any unit, higher is better.
        """
        if len(trained) == 0:
            return PRIOR_SLOPE * self._known.prior, np.ones(len(self._known))
        prior = self._known.prior[trained]
        return self.posterior(trained, expected_scores(accuracies, prior))

    def posterior(self, trained: Index, y: Vector) -> tuple[Vector, Vector]:
        """The same of trained candidates in the units of `expected_scores`."""
        a, b = _linear_part(self._known.prior[trained], y)
        line = a + b * self._known.prior
        process = self._process(len(trained))
        with warnings.catch_warnings():
            # The bounds are part of the model: a kernel fitted to ten networks may end at one.
            warnings.simplefilter("ignore", ConvergenceWarning)
            process.fit(self._known.scores[trained], y - line[trained])
        self._kernel = process.kernel_
        mean, deviation = process.predict(self._known.scores, return_std=True)
        return line + mean, deviation

    def _process(self, count: int) -> GaussianProcessRegressor:
        refit = self._kernel is None or count >= REFIT_GROWTH * self._fitted_on
        if refit:
            self._fitted_on = count
        # Scores have variance 1, so two random networks lie sqrt(2 scores) apart. A longer reach
        # would carry a trend among good networks on to bad ones.
        width = float(np.sqrt(self._known.scores.shape[1]))
        first = ConstantKernel(0.3, (1e-3, 1.0)) * RBF(width, (0.3 * width, 2 * width))
        kernel = self._kernel or first + WhiteKernel(0.3, (5e-2, 1.0))
        return GaussianProcessRegressor(kernel, optimizer="fmin_l_bfgs_b" if refit else None)


def _linear_part(prior: Vector, y: Vector) -> tuple[float, float]:
    """Posterior mean of intercept and slope, a ridge regression towards (0, `PRIOR_SLOPE`)."""
    X = np.stack([np.ones_like(prior), prior], axis=1)
    start = np.array([0.0, PRIOR_SLOPE])
    moved = np.linalg.solve(X.T @ X + PSEUDO_COUNT * np.eye(2), X.T @ (y - X @ start))
    a, b = start + moved
    return float(a), float(b)


# ---- which networks to train -------------------------------------------------------------------


def improvement(mean: Vector, deviation: Vector, best: float) -> Vector:
    """Expected improvement upon the best (Mockus 1978; Jones, Schonlau and Welch 1998)."""
    deviation = np.maximum(deviation, 1e-9)
    z = (mean - best) / deviation
    gain: Vector = (mean - best) * norm.cdf(z) + deviation * norm.pdf(z)
    return gain


def next_to_train(known: Candidates, trained: Index, accuracies: Vector, count: int) -> Index:
    """The candidates to train next at once, best first: rows of the candidates.

    The first has the largest expected improvement upon the best trained one; the next ones suppose
    that those before them reach their predictions ("kriging believer", Ginsbourger et al. 2010).
    Before anything is trained they are the best of the training-free ranking.

    Args:
        known: the candidates.
        trained: rows of those that are trained.
        accuracies: theirs, higher is better.
        count: how many; fewer come back where fewer are left.
    """
    rest = np.setdiff1d(np.arange(len(known)), trained)
    if len(trained) == 0:
        return rest[np.argsort(-known.prior[rest], kind="stable")][:count]
    model = Model(known)
    y = expected_scores(accuracies, known.prior[trained])
    chosen: list[int] = []
    for _ in range(min(count, len(rest))):
        rows = np.concatenate([trained, np.array(chosen, np.intp)])
        mean, deviation = model.posterior(rows, y)
        gain = improvement(mean, deviation, float(y.max()))
        gain[rows] = -np.inf
        chosen.append(int(np.argmax(gain)))
        y = np.append(y, mean[chosen[-1]])
    return np.array(chosen, np.intp)


def at_random(known: Candidates, accuracies: Vector, count: int, seed: int) -> Index:
    """Networks drawn at random: the best of them is the result of random search."""
    return np.random.default_rng(seed).permutation(len(known))[:count]


def best_of_prior(known: Candidates, accuracies: Vector, count: int, seed: int) -> Index:
    """The best by the training-free ranking, equal ones in random order."""
    ties = np.random.default_rng(seed).random(len(known))
    return np.lexsort((ties, -known.prior))[:count]


def one_by_one(known: Candidates, accuracies: Vector, count: int, seed: int) -> Index:
    """The best by the training-free ranking, then by turns the largest expected improvement."""
    trained = best_of_prior(known, accuracies, 1, seed)
    model = Model(known)
    while len(trained) < min(count, len(known)):
        mean, deviation = model.predict(trained, accuracies[trained])
        best = expected_scores(accuracies[trained], known.prior[trained]).max()
        gain = improvement(mean, deviation, float(best))
        gain[trained] = -np.inf
        trained = np.append(trained, np.argmax(gain))
    return trained


Strategy = Callable[[Candidates, Vector, int, int], Index]

STRATEGIES: Mapping[str, Strategy] = {
    "random": at_random,
    "prior": best_of_prior,
    "improve": one_by_one,
}
"""How the networks to train are chosen: rows of the candidates, in the order of training, of their
number and a random seed. A strategy may read an accuracy once it has chosen its network."""
