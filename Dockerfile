# rosterd in a container: slim, not root, xmlsec1 inside. The admin files are mounted at /etc/rosterd, what it keeps at
# /var/lib/rosterd. docs/deploy/container.md has the commands, from an empty folder to a healthy daemon.
FROM python:3.11-slim AS build
WORKDIR /build
RUN python -m venv /opt/rosterd
COPY requirements-run.lock pyproject.toml README.md ./
RUN /opt/rosterd/bin/pip install --no-cache-dir --require-hashes -r requirements-run.lock
COPY rosterd ./rosterd
COPY ledger ./ledger
COPY access ./access
COPY connector ./connector
COPY reporting_api ./reporting_api
RUN /opt/rosterd/bin/pip install --no-cache-dir --no-deps .

FROM python:3.11-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends xmlsec1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/rosterd --create-home rosterd \
    && install -d -o rosterd -g rosterd -m 0700 /etc/rosterd
COPY --from=build /opt/rosterd /opt/rosterd
ENV PATH=/opt/rosterd/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    ROSTERD_CONFIG=/etc/rosterd/rosterd.toml \
    ROSTERD_SERVER_LISTEN=0.0.0.0:8080 \
    ROSTERD_DATABASE_URL=sqlite:////var/lib/rosterd/ledger \
    ROSTERD_STORAGE_WAREHOUSE=file:/var/lib/rosterd/warehouse
WORKDIR /var/lib/rosterd
USER 10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=60s --timeout=30s --start-period=60s CMD ["rosterd", "check", "--live", "--daemon"]
ENTRYPOINT ["rosterd"]
CMD ["serve"]
