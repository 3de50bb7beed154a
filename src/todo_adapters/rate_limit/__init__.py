"""Rate limits. `shared` is imported separately: its client library takes long to load."""

from todo_adapters.rate_limit.limiter import RateLimiter, Verdict
from todo_adapters.rate_limit.memory import MemoryRateLimiter

__all__ = ["MemoryRateLimiter", "RateLimiter", "Verdict"]
