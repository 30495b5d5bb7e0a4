# The runtime and the SDK, for runtimes and for component servers: `docker build -t stepflow .`
# docs/how-to/deploy.md says how it is run; compose.yaml does it.

FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY protocol ./protocol
COPY component_sdk ./component_sdk
COPY stepflow_runtime ./stepflow_runtime
RUN python -m venv /opt/stepflow && /opt/stepflow/bin/pip install --no-cache-dir ".[mcp,otel]"

FROM python:3.13-slim
COPY --from=build /opt/stepflow /opt/stepflow
COPY deploy/stepflow-config.yml /etc/stepflow/stepflow-config.yml
COPY deploy/make_secrets.py deploy/is_alive.py /opt/stepflow/share/
# /state is the database's, /secrets what runtime and component servers share: both are made here, so that volumes of
# these names belong to the user who needs them.
RUN useradd --uid 10001 --create-home stepflow \
    && install -d -m 0700 -o stepflow -g stepflow /state \
    && install -d -m 0755 -o stepflow -g stepflow /secrets
ENV PATH=/opt/stepflow/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    STEPFLOW_LOG_FORMAT=json
USER stepflow
WORKDIR /home/stepflow
VOLUME ["/state"]
EXPOSE 7837 7838
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "/opt/stepflow/share/is_alive.py"]
ENTRYPOINT ["stepflow"]
CMD ["serve", "--config", "/etc/stepflow/stepflow-config.yml"]
