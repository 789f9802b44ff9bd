"""Training-free ranking of networks by the spectrum of their Fisher information (VKDNW).

>>> score = vkdnw.score(model.eval(), batch)
>>> score.vkdnw, score.single
"""

from vkdnw import weights
from vkdnw.api import FallbackWarning, Score, fisher, jacobian, score
from vkdnw.initialisation import initialise
from vkdnw.native import NativeLibraryError

__all__ = [
    "FallbackWarning",
    "NativeLibraryError",
    "Score",
    "fisher",
    "initialise",
    "jacobian",
    "score",
    "weights",
]
