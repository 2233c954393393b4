# lookalike on CPUs, as a service that is not root. Build: docker build -t lookalike .
FROM python:3.11-slim-bookworm AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY lookalike lookalike
RUN python -m venv /opt/lookalike \
    && /opt/lookalike/bin/pip install --no-cache-dir -c constraints.txt ".[heic,milvus,text]"

FROM python:3.11-slim-bookworm
RUN useradd --create-home --uid 10001 lookalike \
    && install -d -o lookalike -g lookalike /collection /cache
COPY --from=build /opt/lookalike /opt/lookalike
ENV PATH=/opt/lookalike/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HF_HOME=/cache/huggingface \
    LOOKALIKE_CACHE=/cache/lookalike
USER lookalike
VOLUME ["/collection", "/cache"]
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["lookalike"]
# Beyond loopback the service wants a token: LOOKALIKE_TOKEN.
CMD ["serve", "/collection", "--host", "0.0.0.0", "--port", "8000"]
