import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread():
    """Tensors are tiny here: threads of a busy machine wait for each other more than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
