# syntax=docker/dockerfile:1
# The reader. After `make release`, from the repository's root:
#     docker build -f deploy/docker/reader.Dockerfile -t images.example.com/stitch-reader:0.2.0 .
FROM python:3.11-slim-bookworm AS build
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /build
COPY requirements.lock dist/stitch_counts-*.whl ./
RUN uv venv /opt/stitch \
  && uv pip install --no-cache --python /opt/stitch/bin/python -c requirements.lock "$(ls ./*.whl)[serving]"

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/stitch stitch
COPY --from=build /opt/stitch /opt/stitch
ENV PATH=/opt/stitch/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    STITCH_CONFIG=/etc/stitch/stitch.toml \
    STITCH_SERVING__HOST=0.0.0.0
USER 10001
WORKDIR /var/lib/stitch
EXPOSE 18080
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:18080/healthz', timeout=2)"]
ENTRYPOINT ["stitch"]
CMD ["serve"]
