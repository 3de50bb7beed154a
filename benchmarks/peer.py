"""The baseline: the same API as most would first write it, with FastAPI, SQLModel, psycopg2, PyJWT and slowapi.

It ships what this server ships: the same members of a task, security headers, CORS, a limit per user, an access log in
JSON, verified tokens. It keeps no log of changes and no idempotency keys.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

import jwt
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from slowapi import Limiter
from slowapi.middleware import SlowAPIMiddleware
from sqlmodel import ARRAY, Column, DateTime, Field, Session, SQLModel, String, create_engine, desc, select

SECRET = os.environ["BETTER_AUTH_SECRET"]
# A request holds a connection until one of FastAPI's 40 threads is free to close its session. Beyond so many requests,
# all threads can wait for connections that none of them is left to give back: then each request needs one of its own.
engine = create_engine(
    os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg2://"),
    pool_size=int(os.environ.get("PEER_POOL_SIZE", "10")),
    max_overflow=0,
)


def now() -> datetime:
    return datetime.now(UTC)


def moment() -> Any:
    return Field(default_factory=now, sa_column=Column(DateTime(timezone=True), nullable=False))


class Dated(SQLModel):
    priority: Literal["high", "medium", "low"] | None = None
    start_date: str | None = None
    due_date: str | None = None
    time_zone: str | None = None


class NewTask(Dated):
    title: str = Field(min_length=1, max_length=200)
    description: str | None = Field(default=None, max_length=1000)
    tags: list[str] = []


class Task(SQLModel, table=True):
    __tablename__ = "tasks"
    user_id: str = Field(primary_key=True)
    id: UUID = Field(default_factory=uuid4, primary_key=True)
    title: str = Field(max_length=200)
    description: str | None = Field(default=None, max_length=1000)
    completed: bool = False
    priority: str | None = None
    tags: list[str] = Field(default_factory=list, sa_column=Column(ARRAY(String), nullable=False))
    start_date: str | None = None
    due_date: str | None = None
    time_zone: str | None = None
    version: int = 1
    created_at: datetime = moment()
    updated_at: datetime = moment()


class TaskView(Dated):
    id: UUID
    user_id: str
    title: str
    description: str | None
    completed: bool
    tags: list[str]
    version: int
    created_at: datetime
    updated_at: datetime


class TaskList(SQLModel):
    items: list[TaskView]


SQLModel.metadata.create_all(engine)
logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
log = logging.getLogger("access")
app = FastAPI()
app.state.limiter = Limiter(
    key_func=lambda request: request.headers.get("authorization", ""), default_limits=[os.environ["TODO_RATE_LIMIT"]]
)
app.add_middleware(SlowAPIMiddleware)
app.add_middleware(CORSMiddleware, allow_origins=["http://localhost:3000"], allow_methods=["*"], allow_headers=["*"])
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Strict-Transport-Security": "max-age=31536000",
    "Cache-Control": "private, no-cache",
}


@app.middleware("http")
async def log_and_headers(request: Request, call_next: Any) -> Any:
    began, request_id = time.perf_counter(), str(uuid4())
    response = await call_next(request)
    response.headers.update({**HEADERS, "X-Request-Id": request_id})
    line = {
        "time": now().isoformat(),
        "method": request.method,
        "path": request.url.path,
        "status": response.status_code,
        "ms": (time.perf_counter() - began) * 1e3,
        "request_id": request_id,
    }
    log.info(json.dumps(line))
    return response


def session() -> Iterator[Session]:
    with Session(engine) as opened:
        yield opened


def owner(user_id: str, credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> str:
    try:
        subject = jwt.decode(credentials.credentials, SECRET, algorithms=["HS256"])["sub"]
    except (jwt.PyJWTError, KeyError):
        raise HTTPException(401) from None
    if subject != user_id:
        raise HTTPException(403)
    return user_id


Owner = Annotated[str, Depends(owner)]
Opened = Annotated[Session, Depends(session)]


def found(opened: Session, user_id: str, task_id: UUID) -> Task:
    task = opened.exec(select(Task).where(Task.user_id == user_id, Task.id == task_id)).first()
    if task is None:
        raise HTTPException(404)
    return task


def stored(opened: Session, task: Task) -> Task:
    opened.add(task)
    opened.commit()
    opened.refresh(task)
    return task


@app.post("/api/{user_id}/tasks", response_model=TaskView, status_code=201)
def create(body: NewTask, user_id: Owner, opened: Opened) -> Task:
    return stored(opened, Task(user_id=user_id, **body.model_dump()))


@app.get("/api/{user_id}/tasks", response_model=TaskList)
def page(user_id: Owner, opened: Opened, limit: int = 50) -> Any:
    newest = select(Task).where(Task.user_id == user_id).order_by(desc(Task.created_at), desc(Task.id))
    return {"items": opened.exec(newest.limit(limit)).all()}


@app.get("/api/{user_id}/tasks/{task_id}", response_model=TaskView)
def get(task_id: UUID, user_id: Owner, opened: Opened) -> Task:
    return found(opened, user_id, task_id)


@app.patch("/api/{user_id}/tasks/{task_id}/complete", response_model=TaskView)
def toggle(task_id: UUID, user_id: Owner, opened: Opened) -> Task:
    task = found(opened, user_id, task_id)
    task.completed, task.version, task.updated_at = not task.completed, task.version + 1, now()
    return stored(opened, task)
