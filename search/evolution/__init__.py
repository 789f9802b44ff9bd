"""Evolution over any search space: the paper's steady state, ageing, random and Pareto search."""

from vkdnw.search.evolution.budget import Budget
from vkdnw.search.evolution.driver import Search
from vkdnw.search.evolution.plan import Plan
from vkdnw.search.evolution.run import SearchRequest, search

__all__ = ["Budget", "Plan", "Search", "SearchRequest", "search"]
