"""Models to differentiate, as data; every one is compared with the slow reference."""

from tests.library.cases.convolutions import CONVOLUTIONS
from tests.library.cases.data_dependent import DECIDED
from tests.library.cases.in_place import IN_PLACE
from tests.library.cases.interfaces import INTERFACES
from tests.library.cases.layers import EMBEDDINGS, LINEARS, NORMALISATIONS
from tests.library.cases.leading_axes import LEADING_AXES
from tests.library.cases.networks import NETWORKS
from tests.library.cases.operations import OPERATIONS
from tests.library.cases.parameters import OTHERS
from tests.library.cases.sequences import SEQUENCES
from tests.library.cases.sharing import PARTIAL, SHARED
from tests.library.cases.state import HOOKS
from tests.library.cases.wrapped import WRAPPED

CASES = [
    *CONVOLUTIONS,
    *LINEARS,
    *NORMALISATIONS,
    *EMBEDDINGS,
    *SEQUENCES,
    *OTHERS,
    *OPERATIONS,
    *NETWORKS,
    *IN_PLACE,
    *SHARED,
    *PARTIAL,
    *INTERFACES,
    *LEADING_AXES,
    *DECIDED,
    *HOOKS,
    *WRAPPED,
]
