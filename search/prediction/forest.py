"""A random forest fitted to the accuracies of some networks, judged on the rest.

As in the paper of GRAF and in Table 1 of that of VKDNW: StandardScaler, then a random forest of 100
trees, fitted on 1,024 architectures drawn at random, under several seeds.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vkdnw.search.rankings.metrics import agreement
from vkdnw.search.rankings.seed_spread import SeedSpread, summarise

TREES = 100
TRAIN = 1024
FITS = 5


class PredictionError(ValueError):
    """Too few networks to fit and to judge a model."""


def predict_rest(
    features: pd.DataFrame, accuracies: pd.Series, *, train: int = TRAIN, seed: int = 0
) -> pd.Series:
    """Fit on ``train`` architectures drawn under ``seed``, and predict all others.

    Args:
        features: finite numbers, a row per architecture.
        accuracies: in percent, indexed by architecture. Architectures without features, or
            features without accuracy, are left out.

    Returns:
        Predicted accuracies in percent of the architectures that were not fitted on.

    Raises:
        PredictionError: fewer than two would be left to predict.
    """
    known = features.index.intersection(accuracies.index, sort=False)
    if not 1 <= train <= len(known) - 2:
        raise PredictionError(
            f"{len(known)} architectures have features and an accuracy; to fit on {train} and rank "
            f"at least 2 others, train must lie in 1 to {len(known) - 2}"
        )
    fitted, rest = _split(len(known), train, seed)
    X = features.loc[known].to_numpy(np.float64)
    y = accuracies.loc[known].to_numpy(np.float64)
    model = make_pipeline(StandardScaler(), RandomForestRegressor(TREES, random_state=seed))
    model.fit(X[fitted], y[fitted])
    return pd.Series(model.predict(X[rest]), index=known[rest])


def judge(
    name: str,
    features: pd.DataFrame,
    accuracies: pd.Series,
    *,
    train: int = TRAIN,
    seeds: Sequence[int] = range(FITS),
    top: int = 1000,
) -> SeedSpread:
    """How well the model ranks the networks it was not fitted to: mean and deviation over seeds.

    Raises `PredictionError` as `predict_rest` does.
    """
    found = []
    for seed in seeds:
        predicted = predict_rest(features, accuracies, train=train, seed=seed)
        true = accuracies.loc[predicted.index].to_numpy(np.float64)
        metrics = agreement(predicted.to_numpy(), true, top=top, resamples=0, seed=seed)
        found.append((len(predicted), metrics))
    return summarise(name, str(accuracies.name), found)


def _split(n: int, train: int, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    order = np.random.default_rng(seed).permutation(n)
    return np.sort(order[:train]), np.sort(order[train:])
