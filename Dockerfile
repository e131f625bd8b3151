# The page, the HTTP API and the ingest in one image, without torch. docker-compose.yml runs it. Without Compose:
#   docker build -t cbir . && docker run --rm -p 127.0.0.1:8501:8501 -v "$PWD/index:/index:ro" cbir cbir-ui \
#     --host 0.0.0.0 --public-name localhost --store edge:/index
FROM python:3.11.14-slim-bookworm AS build
ARG EXTRAS=sample,login,serve
WORKDIR /src
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY cbir cbir
COPY export export
COPY ingest ingest
COPY ui ui
COPY serve serve
COPY bench bench
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .
RUN python -m venv /opt/cbir && /opt/cbir/bin/pip install --no-cache-dir "$(ls /wheels/*.whl)[$EXTRAS]"

FROM python:3.11.14-slim-bookworm
COPY --from=build /opt/cbir /opt/cbir
# The only folder that is written: models, downloads, and the journals of ingests into servers.
RUN useradd --uid 10001 --no-create-home --home-dir /var/cache/cbir --shell /usr/sbin/nologin cbir \
    && install -d -o cbir -g cbir /var/cache/cbir
ENV PATH=/opt/cbir/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOME=/var/cache/cbir \
    CBIR_CACHE=/var/cache/cbir \
    HF_HOME=/var/cache/cbir/huggingface
USER 10001
WORKDIR /var/cache/cbir
VOLUME /var/cache/cbir
EXPOSE 8501 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen\ntry:\n    urlopen('http://127.0.0.1:8501/_stcore/health', timeout=2)\nexcept OSError:\n    urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
CMD ["cbir-ui", "--host", "0.0.0.0", "--public-name", "localhost"]
