"""The wiring: one annotated line a port. The annotation makes the type checker prove that the adapter fits."""

from dependency_injector.containers import DeclarativeContainer
from dependency_injector.providers import Dependency, Provider, Singleton
from sqlalchemy.ext.asyncio import AsyncEngine
from todo_adapters.postgres.store import PostgresTaskStore

from todo_adapters.jwt_identity import JwtAuthenticator, JwtPolicy
from todo_adapters.postgres.engine import create_engine
from todo_adapters.system import SystemClock, SystemIds
from todo_app.settings import Settings
from todo_core import Clock, IdGenerator, TaskService, TaskStore


def jwt_policy(settings: Settings) -> JwtPolicy:
    """Whom the settings trust to say who calls."""
    return JwtPolicy(
        secret=settings.secret.encode() if settings.secret else None,
        jwks_url=settings.jwks_url,
        issuer=settings.issuer,
        audience=settings.audience,
        check_hs256_issuer=settings.checks_issuer_of_hs256,
        check_hs256_audience=settings.checks_audience_of_hs256,
    )


class Container(DeclarativeContainer):
    """Every part of the running service; a test overrides what it wants to replace."""

    settings: Provider[Settings] = Dependency(instance_of=Settings)

    clock: Provider[Clock] = Singleton(SystemClock)
    ids: Provider[IdGenerator] = Singleton(SystemIds)
    engine: Provider[AsyncEngine] = Singleton(create_engine, settings.provided.database_url)
    store: Provider[TaskStore] = Singleton(PostgresTaskStore, engine)
    policy: Provider[JwtPolicy] = Singleton(jwt_policy, settings)
    authenticator: Provider[JwtAuthenticator] = Singleton(JwtAuthenticator, policy, clock)
    tasks: Provider[TaskService] = Singleton(TaskService, store, clock, ids)
