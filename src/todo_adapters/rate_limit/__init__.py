"""How often a key may act in a while. `shared` is imported by its own name: its client takes long to load."""

from todo_adapters.rate_limit.limiter import RateLimiter, Verdict
from todo_adapters.rate_limit.memory import MemoryRateLimiter

__all__ = ["MemoryRateLimiter", "RateLimiter", "Verdict"]
