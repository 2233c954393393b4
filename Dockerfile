# lookalike on CPUs, as a service that is not root.
#   docker build -t lookalike .
#   docker run --rm -v ./photos:/photos:ro -v data:/data lookalike index /photos --collection /data/photos
#   docker run -v ./photos:/photos:ro -v data:/data -p 127.0.0.1:8000:8000 -e LOOKALIKE_TOKEN=… lookalike
FROM python:3.11-slim-bookworm AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY scripts/hatch_readme.py scripts/
# What it needs first, with an empty package: an edit of the source then installs nothing again.
RUN python -m venv /opt/lookalike && install -D /dev/null lookalike/__init__.py \
    && /opt/lookalike/bin/pip install --no-cache-dir -c constraints.txt ".[heic,milvus,postgres,text]"
COPY lookalike lookalike
RUN /opt/lookalike/bin/pip install --no-cache-dir --no-deps --force-reinstall .

FROM python:3.11-slim-bookworm
RUN useradd --create-home --uid 10001 lookalike \
    && install -d -o lookalike -g lookalike /data /cache
COPY --from=build /opt/lookalike /opt/lookalike
ENV PATH=/opt/lookalike/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HF_HOME=/cache/huggingface \
    LOOKALIKE_CACHE=/cache/lookalike
# A number, which Kubernetes' runAsNonRoot can check.
USER 10001
# Weights inside the image: --build-arg ENCODER=dinov2-base
ARG ENCODER=
RUN if [ -n "$ENCODER" ]; then lookalike encoders pull "$ENCODER"; fi
# A collection is a folder inside /data: a rebuild puts another in its place, which a mounted folder cannot be given.
VOLUME ["/data", "/cache"]
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["lookalike"]
# Beyond loopback the service wants a token: LOOKALIKE_TOKEN.
CMD ["serve", "/data/photos", "--host", "0.0.0.0", "--port", "8000"]
