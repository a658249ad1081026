# syntax=docker/dockerfile:1
# The jobs: driver and executors of Kubernetes, and `stitch submit` in one container. After `make release`, from the
# repository's root:
#     docker build -f deploy/docker/jobs.Dockerfile -t images.example.com/stitch-jobs:0.2.0 .
FROM apache/spark:3.5.7-scala2.12-java17-ubuntu AS spark

FROM python:3.11-slim-bookworm AS build
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /build
COPY requirements.lock dist/stitch_counts-*.whl ./
RUN uv venv /opt/stitch \
  && uv pip install --no-cache --python /opt/stitch/bin/python -c requirements.lock "$(ls ./*.whl)[jobs]"
# The connectors, where `stitch submit` looks for them; and in Spark's own folder those that Spark lacks, so that no
# driver or executor on Kubernetes has to be sent any.
ENV STITCH_CACHE=/opt/stitch/cache
RUN /opt/stitch/bin/python -m stitch.jars.fetch spark \
  && spark=/opt/stitch/lib/python3.11/site-packages/pyspark/jars \
  && for jar in "$STITCH_CACHE"/jars/spark/*.jar; do \
       name=${jar##*/}; name=${name#*_}; \
       set -- "$spark/${name%-[0-9]*}"-[0-9]*.jar; \
       [ -e "$1" ] || ln -s "$jar" "$spark/$name"; \
     done

FROM python:3.11-slim-bookworm
# hadolint ignore=DL3008
RUN apt-get update \
  && apt-get install --yes --no-install-recommends openjdk-17-jre-headless procps tini \
  && rm -rf /var/lib/apt/lists/* \
  && useradd --system --uid 10001 --create-home --home-dir /var/lib/stitch stitch \
  && ln -s /opt/stitch/lib/python3.11/site-packages/pyspark /opt/spark
COPY --from=build /opt/stitch /opt/stitch
COPY --from=spark /opt/entrypoint.sh /opt/entrypoint.sh
ENV PATH=/opt/stitch/bin:$PATH \
    JAVA_HOME=/usr/lib/jvm/java-17-openjdk-amd64 \
    PYSPARK_PYTHON=/opt/stitch/bin/python \
    PYTHONUNBUFFERED=1 \
    SPARK_HOME=/opt/spark \
    STITCH_CACHE=/opt/stitch/cache \
    STITCH_CONFIG=/etc/stitch/stitch.toml
USER 10001
WORKDIR /var/lib/stitch
# A job that makes no progress ends by itself (streaming.retry_for), with a status that says whether to start it again.
HEALTHCHECK NONE
# Spark's: `driver` and `executor` are what Kubernetes asks for, anything else is a command (stitch submit …).
ENTRYPOINT ["/opt/entrypoint.sh"]
CMD ["stitch", "--help"]
