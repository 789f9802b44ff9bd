"""Weights of terms that follow from the terms alone."""

import numpy as np
import pytest

from vkdnw.search.rankings.term_weights import agreeing_weights, residual_weights

# Agreement


def first_principal_component(places):
    """Loadings of the terms, by the dense eigen-decomposition of their correlation matrix."""
    _, vectors = np.linalg.eigh(np.corrcoef(places))
    return vectors[:, -1] * np.sign(vectors[:, -1].sum())


def noisy_views(networks=400, noise=(0.3, 0.6, 1.0), seed=0):
    """Terms that see one hidden order through more and more noise, of equal variance."""
    random = np.random.default_rng(seed)
    hidden = random.normal(size=networks)
    views = np.stack([hidden + level * random.normal(size=networks) for level in noise])
    return (views - views.mean(axis=1, keepdims=True)) / views.std(axis=1, keepdims=True)


def test_weights_of_agreement_are_the_first_principal_component_where_terms_agree():
    places = noisy_views()
    found = agreeing_weights(places, np.ones(3))
    expected = first_principal_component(places)
    assert found / np.linalg.norm(found) == pytest.approx(expected, rel=1e-6)
    assert found[0] > found[1] > found[2] > 0


def test_a_term_against_the_others_and_one_that_is_constant_have_no_weight():
    places = noisy_views()
    against, constant = -places[:1], np.zeros_like(places[:1])
    weights = agreeing_weights(np.concatenate([places, against, constant]), np.ones(5))
    assert weights[:3] == pytest.approx(agreeing_weights(places, np.ones(3)), rel=1e-6)
    assert weights[3:].tolist() == [0.0, 0.0]


def test_terms_that_tell_no_networks_apart_agree_on_nothing():
    assert agreeing_weights(np.ones((2, 5)), np.ones(2)).tolist() == [0.0, 0.0]


# Residuals


def standardised(views):
    return (views - views.mean(axis=-1, keepdims=True)) / views.std(axis=-1, keepdims=True)


def written_out(size, others):
    """The sum of `residual_weights`, by least squares and the dense eigen-decomposition."""
    residuals = []
    for one in others:
        slope, intercept = np.polyfit(size, one, 1)
        residuals.append(one - slope * size - intercept)
    eigenvalues, vectors = np.linalg.eigh(np.corrcoef(residuals))
    vector = vectors[:, -1] * np.sign(vectors[:, -1].sum())
    factor = standardised(vector @ standardised(np.stack(residuals)))
    terms = len(others)
    shared = (eigenvalues[-1] - 1) / (terms - 1)
    return standardised(size) + shared * np.sqrt(vector.sum() / np.sqrt(terms)) * factor


def size_and_quality(networks=500, noise=0.5, seed=0):
    """A size; three terms that see a quality beside it; and one that sees size without quality."""
    random = np.random.default_rng(seed)
    size, quality = random.normal(size=(2, networks))
    seeing = [size + quality + noise * random.normal(size=networks) for _ in range(3)]
    against = size - quality + noise * random.normal(size=networks)
    return size, quality, np.stack(seeing), against


def test_residual_weights_make_the_size_and_the_common_factor_of_the_residuals():
    size, _, seeing, against = size_and_quality()
    places = np.stack([size, *seeing, against])
    found = residual_weights(places) @ places
    assert found - found.mean() == pytest.approx(written_out(size, places[1:]), rel=1e-10)


def test_a_term_that_repeats_the_size_and_opposes_the_others_is_subtracted():
    size, quality, seeing, against = size_and_quality()
    places = np.stack([size, *seeing, against])
    assert np.corrcoef(against, size + quality)[0, 1] == pytest.approx(0, abs=0.15)
    assert residual_weights(places)[4] < 0
    found = residual_weights(places) @ places
    better, alone = (np.corrcoef(one, size + quality)[0, 1] for one in (found, size))
    assert better > alone + 0.15


def test_terms_that_share_nothing_beyond_the_size_leave_it_as_it_is():
    random = np.random.default_rng(3)
    size = random.normal(size=2000)
    places = np.stack([size, *(size + random.normal(size=(3, 2000)))])
    found = residual_weights(places) @ places
    # The greatest eigenvalue of chance is about 1 + 2 sqrt(3 / 2000).
    assert np.corrcoef(found, size)[0, 1] > 0.999


def test_two_terms_that_contradict_each_other_leave_the_size_as_it_is():
    size, quality = np.random.default_rng(4).normal(size=(2, 300))
    places = np.stack([size, size + quality, 2 * size - quality])
    weights = residual_weights(places)
    # The sign is one rounding away from 0, and its square root 1e-8.
    assert weights @ places == pytest.approx(size / size.std(), abs=1e-6)


def test_terms_that_are_constant_or_repeat_the_size_have_no_weight():
    size, _, seeing, against = size_and_quality()
    places = np.stack([size, *seeing, against])
    more = np.concatenate([places, np.ones((1, 500)), 3 * size[None] + 1])
    assert residual_weights(more)[:5] == pytest.approx(residual_weights(places), rel=1e-12)
    assert residual_weights(more)[5:].tolist() == [0.0, 0.0]
    assert residual_weights(more[[0, 1, 5, 6]])[1:].tolist() == [0.0, 0.0, 0.0]


def test_a_size_that_is_constant_leaves_the_common_factor():
    _, _, seeing, _ = size_and_quality()
    weights = residual_weights(np.concatenate([np.ones((1, 500)), seeing]))
    assert weights[0] == 0
    assert (weights[1:] > 0).all()
