# syntax=docker/dockerfile:1
# One server per container: `docker run IMAGE` serves, `docker run IMAGE migrate` migrates. The rest: docs/deploy.md.

# Exact versions. docs/releasing.md says how a release pins this to a digest as well (…@sha256:…).
ARG PYTHON=3.13.18-slim-trixie

FROM python:${PYTHON} AS build
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
WORKDIR /app
# uv in the version and with the hashes of uv.lock, as run.py installs it.
COPY run.py pyproject.toml uv.lock ./
RUN python -c "import run; print(run.pinned_uv()[1])" > /tmp/uv.txt \
 && pip install --no-cache-dir --require-hashes --no-deps --only-binary :all: -r /tmp/uv.txt
# The dependencies that uv.lock pins, without tools and the embedded PostgreSQL, in a layer that changes of the code do not rebuild.
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --frozen --no-dev --extra server --no-install-project
COPY README.md LICENSE ./
COPY src src
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --frozen --no-dev --extra server --no-editable

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="todo-api" \
      org.opencontainers.image.description="A JWT-authenticated, per-user task API on PostgreSQL" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /app/.venv /app/.venv
ENV PATH="/app/.venv/bin:$PATH" PYTHONUNBUFFERED=1
# A number, so that Kubernetes can check that it is not root. It owns no files: only /tmp must be writable.
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
# The process only; the proxy checks /health/ready, which includes the database.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health/live', timeout=4)"]
ENTRYPOINT ["todo"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
