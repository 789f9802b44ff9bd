"""Evolution over any search space: the paper's steady state, ageing, random and Pareto search."""

from vkdnw.search.evolution.budget import Budget
from vkdnw.search.evolution.search_plan import SearchPlan

__all__ = ["Budget", "SearchPlan"]
