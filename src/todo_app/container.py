"""The wiring: one annotated line per port. With the annotation the type checker proves that the adapter fits."""

from todo_adapters.dateutil_recurrence import DateutilRecurrenceCalendar
from todo_adapters.jwt_identity import JwtAuthenticator, JwtPolicy
from todo_adapters.postgres.engine import Engine, create_engine
from todo_adapters.postgres.store import PostgresTaskStore
from todo_adapters.rate_limit import MemoryRateLimiter, RateLimiter
from todo_adapters.system import SystemClock, SystemIds
from todo_app.http.identification import Identification, TokenVerifier
from todo_app.http.live import Live
from todo_app.http.turns import RequestTurns
from todo_app.loading import without_packages
from todo_app.log import Log
from todo_app.metrics import Metrics
from todo_app.settings import METRICS_FOLDER, Settings, SettingsError
from todo_core import Clock, IdGenerator, RecurrenceCalendar, TaskService, TaskStore

with without_packages("pydantic", "starlette", "fastapi", "werkzeug"):  # it imports every framework that is installed
    from dependency_injector.containers import DeclarativeContainer
    from dependency_injector.providers import Dependency, Provider, Singleton


def jwt_policy(settings: Settings) -> JwtPolicy:
    """Which tokens are accepted, from the settings."""
    return JwtPolicy(
        secret=settings.secret.encode() if settings.secret else None,
        jwks_url=settings.jwks_url,
        issuer=settings.issuer,
        audience=settings.audience,
        check_hs256_issuer=settings.checks_issuer_of_hs256,
        check_hs256_audience=settings.checks_audience_of_hs256,
        hs256_off="BETTER_AUTH_SECRET is not set",
        keys_off="BETTER_AUTH_URL is not set",
        insecure_keys=settings.insecure_jwks,
    )


def rate_limiter(settings: Settings, metrics: Metrics, log: Log) -> RateLimiter:
    """The limiter of each user's requests, from the settings."""
    if settings.rate_limit_store == "memory://":
        return MemoryRateLimiter(settings.rate_limit)
    from todo_adapters.rate_limit.shared import SharedRateLimiter  # its client takes long to load

    def uncounted(cause: Exception) -> None:
        metrics.limiter_failures.inc()
        log.rate_limit_store_unavailable(cause)

    return SharedRateLimiter(
        settings.rate_limit, settings.rate_limit_store, timeout=settings.rate_limit_timeout, on_failure=uncounted
    )


def authenticator(policy: JwtPolicy, clock: Clock, metrics: Metrics, bad_tokens: MemoryRateLimiter) -> JwtAuthenticator:
    """The authenticator, which counts failed fetches of the issuer's keys.

    When the keys change, tokens that were refused before may be valid, so all counts of bad tokens are reset.
    """
    try:
        return JwtAuthenticator(
            policy, clock, on_fetch_failure=metrics.key_fetch_failures.inc, on_new_keys=bad_tokens.forget
        )
    except ValueError as error:
        raise SettingsError(str(error)) from error


def metrics_of_process() -> Metrics:
    """The metrics, which several processes share in a folder if the environment names one."""
    try:
        return Metrics()
    except OSError as error:
        raise SettingsError(
            f"{METRICS_FOLDER}: its folder cannot be used ({error}); unset the variable: workers make one themselves"
        ) from error


class Container(DeclarativeContainer):
    """Every part of the running service. Tests override providers."""

    settings: Provider[Settings] = Dependency(instance_of=Settings)

    metrics: Provider[Metrics] = Singleton(metrics_of_process)
    log: Provider[Log] = Singleton(Log, settings.provided.log_level, on_drop=metrics.provided.dropped_lines.inc)

    clock: Provider[Clock] = Singleton(SystemClock)
    ids: Provider[IdGenerator] = Singleton(SystemIds)
    engine: Provider[Engine] = Singleton(
        create_engine,
        settings.provided.database_url,
        pool_size=settings.provided.database_pool_size,
        pool_timeout=settings.provided.database_timeout,
        sharded=settings.provided.database_sharded,
    )
    store: Provider[TaskStore] = Singleton(
        PostgresTaskStore,
        engine,
        deadline=settings.provided.database_timeout,
        max_tasks=settings.provided.tasks_per_user,
        history=settings.provided.history,
        on_outage=log.provided.database_unavailable,
    )
    policy: Provider[JwtPolicy] = Singleton(jwt_policy, settings)
    bad_tokens: Provider[MemoryRateLimiter] = Singleton(MemoryRateLimiter, settings.provided.bad_token_limit)
    verifier: Provider[TokenVerifier] = Singleton(authenticator, policy, clock, metrics, bad_tokens)
    limiter: Provider[RateLimiter] = Singleton(rate_limiter, settings, metrics, log)
    identification: Provider[Identification] = Singleton(
        Identification, verifier, bad_tokens, settings.provided.trusted_proxies
    )
    turns: Provider[RequestTurns] = Singleton(
        RequestTurns,
        max_concurrent=settings.provided.concurrent_requests_per_user,
        max_waiting=settings.provided.waiting_requests_per_user,
    )
    live: Provider[Live] = Singleton(Live, store, metrics.provided.streams)
    calendar: Provider[RecurrenceCalendar] = Singleton(DateutilRecurrenceCalendar)
    tasks: Provider[TaskService] = Singleton(
        TaskService, store, clock, ids, settings.provided.history, calendar, live.provided.changed
    )
