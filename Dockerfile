# One image for every process of ours; docker-compose.yml says which one a container runs. It has no OCR: an image built
# on it may, as docs/how-to/read-scans.md shows.
#
# What stays true: every package is the one whose hash was locked; nothing is compiled, so the image
# holds no compiler; the process is no root and can write only to /tmp and /var/lib/threadmill.

ARG PYTHON_VERSION=3.12

FROM python:${PYTHON_VERSION}-slim AS packages

RUN python -m venv /opt/venv
# Before the sources: this layer is built again only when the lock changes. A package without a wheel
# is an error here, not a reason to fetch a compiler.
COPY requirements/app.txt /tmp/app.txt
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/venv/bin/pip install --require-hashes --no-deps --only-binary=:all: --requirement /tmp/app.txt

FROM python:${PYTHON_VERSION}-slim

# The number is fixed, so that a volume's files keep their owner from one build to the next.
RUN groupadd --gid 10001 threadmill \
    && useradd --uid 10001 --gid threadmill --no-create-home --home-dir /tmp --shell /usr/sbin/nologin threadmill \
    && install --directory --owner=threadmill --group=threadmill /var/lib/threadmill

COPY --from=packages /opt/venv /opt/venv

WORKDIR /app
COPY celeryconfig.py threadmill_packages.py ./
COPY conversation ./conversation
COPY agent ./agent
COPY store ./store
COPY producers ./producers
COPY tasks ./tasks
COPY threadmill ./threadmill
# The disk is read-only later on, so the byte code is written now.
RUN python -m compileall -q /app

# Log lines leave at once. litellm: no price list from the network, no .env of its own. Celery: what `-P custom` means.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONFAULTHANDLER=1 \
    LITELLM_LOCAL_MODEL_COST_MAP=True \
    LITELLM_MODE=PRODUCTION \
    CELERY_CUSTOM_WORKER_POOL=threadmill.app:TaskPool

USER 10001:10001

# Celery's own word for "finish, then stop". It handles the signal itself as process 1: with an exec-form
# command no shell stands in between and no init is needed for that; compose adds one to reap what
# tools leave behind.
STOPSIGNAL SIGTERM
CMD ["celery", "-A", "threadmill.app", "worker", "-P", "custom", "-Q", "turns", "--loglevel", "INFO"]
