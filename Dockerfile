# fdstream with its digits example, for the server and clients of docker-compose.yml. No broker inside.
FROM python:3.12-slim

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY fdstream fdstream
COPY kafka_cluster kafka_cluster
RUN pip install --no-cache-dir ".[digits,metrics]" && useradd --create-home fdstream

WORKDIR /home/fdstream
USER fdstream
CMD ["fdstream", "--help"]
