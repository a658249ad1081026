"""The tables of the settings file that say where the clusters are, and how they are spoken to: Kafka's, Cassandra's.

A `SecretStr` comes from the environment or a file that it names (stitch.settings), and prints as asterisks.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from stitch.values import Duration, Identifier, LocalPath, Port, Section, TopicName, flatten

# Settings of Kafka's clients on which exact counts rest: which records are read, and from where.
_OURS = (
    "isolation.level",
    "auto.offset.reset",
    "enable.auto.commit",
    "key.deserializer",
    "value.deserializer",
    "group.id",
)


class TlsSettings(Section):
    """TLS to a system: PEM files, the same for the clients of Python and of the JVM.

    ca_file:           the authorities that servers are checked against (default: those that the machine knows)
    certificate_file:  the client's own certificate and its chain, with key_file, where servers ask for one (mTLS)
    verify_hostname:   whether a server's certificate must name the host that was asked for
    """

    ca_file: LocalPath | None = None
    certificate_file: LocalPath | None = None
    key_file: LocalPath | None = None
    key_password: SecretStr | None = None
    verify_hostname: bool = True

    @model_validator(mode="after")
    def a_certificate_has_its_key(self) -> TlsSettings:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file belong together: set both, or neither")
        return self


class KafkaSettings(Section):
    """The cluster of the topic. One table for both clients (librdkafka in Python, the JVM's in Spark).

    security_protocol:  how brokers are spoken to; the two with SASL need sasl_mechanism, the two with SSL read tls
    username, password: of PLAIN and SCRAM; token_endpoint, client_id, client_secret, scope: of OAUTHBEARER (OIDC)
    group_prefix:       how the name of every consumer group of Stitch begins, for ACLs
    report_lag:         whether the streaming jobs commit their offsets to the group <group_prefix>-<job>, for lag tools
    librdkafka, jvm:    settings of the one client or the other as it names them; they win over Stitch's own
    """

    bootstrap_servers: str = "127.0.0.1:19092"
    topic: TopicName = "events"
    partitions: int = Field(default=8, ge=1)
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = None
    username: str | None = None
    password: SecretStr | None = None
    token_endpoint: str | None = Field(default=None, pattern=r"^https?://\S+$")
    client_id: str | None = None
    client_secret: SecretStr | None = None
    scope: str | None = None
    tls: TlsSettings = TlsSettings()
    group_prefix: str = Field(default="stitch", pattern=r"^[A-Za-z0-9._-]{1,100}$")
    report_lag: bool = True
    librdkafka: Annotated[dict[str, str], BeforeValidator(flatten)] = {}
    jvm: Annotated[dict[str, str], BeforeValidator(flatten)] = {}

    @property
    def uses_sasl(self) -> bool:
        return self.security_protocol.startswith("SASL")

    @property
    def uses_tls(self) -> bool:
        return self.security_protocol.endswith("SSL")

    @model_validator(mode="after")
    def security_is_whole(self) -> KafkaSettings:
        """Secrets and files are looked at when a client is made: the reader shares this file and has no business with
        them."""
        wrong = [*self._mistakes_of_sasl(), *self._mistakes_of_tables()]
        if not self.uses_tls and self.tls != TlsSettings():
            wrong.append(f"tls: not used with {self.security_protocol}; set security_protocol to SSL or SASL_SSL")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def _mistakes_of_sasl(self) -> list[str]:
        needed = ("token_endpoint", "client_id") if self.sasl_mechanism == "OAUTHBEARER" else ("username",)
        if not self.uses_sasl:
            given = [
                name for name in ("sasl_mechanism", "username", "token_endpoint", "client_id") if getattr(self, name)
            ]
            return [
                f"{name}: not used with {self.security_protocol}; set security_protocol to SASL_SSL" for name in given
            ]
        if self.sasl_mechanism is None:
            raw = "sasl.mechanism" in self.jvm and {"sasl.mechanism", "sasl.mechanisms"} & set(self.librdkafka)
            return [] if raw else [f"sasl_mechanism: {self.security_protocol} needs one: PLAIN, SCRAM-SHA-256, "
                                   "SCRAM-SHA-512 or OAUTHBEARER"]  # fmt: skip
        return [f"{name}: sasl_mechanism {self.sasl_mechanism} needs it" for name in needed if not getattr(self, name)]

    def _mistakes_of_tables(self) -> list[str]:
        return [
            f"{table}: {name} is Stitch's own to set, since the counts rest on it"
            for table in ("librdkafka", "jvm")
            for name in getattr(self, table)
            if name in _OURS
        ]


class ReplicationSettings(BaseModel):
    """How a keyspace is replicated, as CQL says it: `{ class = "NetworkTopologyStrategy", datacenter1 = 3 }`."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, Annotated[int, Field(ge=1, strict=True)]] = Field(init=False)

    strategy: Literal["NetworkTopologyStrategy", "SimpleStrategy"] = Field(alias="class")

    @property
    def factors(self) -> dict[str, int]:
        """Replicas by datacenter; of SimpleStrategy, under the name `replication_factor`."""
        return dict(self.__pydantic_extra__)

    @model_validator(mode="after")
    def has_the_factors_of_its_class(self) -> ReplicationSettings:
        if self.strategy == "SimpleStrategy" and set(self.factors) != {"replication_factor"}:
            raise ValueError("SimpleStrategy takes replication_factor and nothing else")
        if self.strategy == "NetworkTopologyStrategy" and (not self.factors or "replication_factor" in self.factors):
            raise ValueError("NetworkTopologyStrategy takes a number of replicas for each datacenter: datacenter1 = 3")
        return self


ConnectorOption = Annotated[str, Field(pattern=r"^spark\.cassandra\.[A-Za-z0-9_.]+$")]
ReadConsistency = Literal["LOCAL_QUORUM", "QUORUM", "ALL", "LOCAL_ONE", "ONE", "TWO", "THREE"]
WriteConsistency = Literal["LOCAL_QUORUM", "QUORUM", "EACH_QUORUM", "ALL", "LOCAL_ONE", "ONE", "TWO", "THREE"]


class CassandraSettings(Section):
    """One layer's cluster.

    replication:        what its keyspace is to have; unless said, a keyspace keeps what it has, and a new one gets one
                        replica in `datacenter`
    read_consistency:   how many replicas a read asks; with write_consistency, more than there are, or reads miss writes
    write_consistency:  how many replicas a write waits for
    bundle:             Astra's secure connect bundle, in place of hosts, port, datacenter and tls
    connector:          options of the Spark connector, as it names them; they win over Stitch's own
    """

    hosts: Annotated[list[str], Field(min_length=1)] = ["127.0.0.1"]
    port: Port = 19042
    keyspace: Identifier
    datacenter: str = "datacenter1"
    replication: ReplicationSettings | None = None
    read_consistency: ReadConsistency = "LOCAL_QUORUM"
    write_consistency: WriteConsistency = "LOCAL_QUORUM"
    username: str | None = None
    password: SecretStr | None = None
    tls: TlsSettings | None = None
    bundle: LocalPath | None = None
    connector: Annotated[dict[ConnectorOption, str], BeforeValidator(flatten)] = {}

    @model_validator(mode="after")
    def a_user_has_a_password(self) -> CassandraSettings:
        if self.username and not self.password:
            raise ValueError("username: set its password by the environment (…__PASSWORD, or …__PASSWORD_FILE)")
        if self.bundle and not self.username:
            raise ValueError('bundle: set username = "token" and the token as the password, by the environment')
        if self.bundle and self.tls:
            raise ValueError("tls: a bundle holds its own certificates; set one of the two")
        return self

    @model_validator(mode="after")
    def replicas_are_where_it_is_read(self) -> CassandraSettings:
        said = self.replication
        by_datacenter = said and said.strategy == "NetworkTopologyStrategy" and not self.bundle
        if said and by_datacenter and self.datacenter not in said.factors:
            raise ValueError(
                f"replication: no replicas in {self.datacenter!r}, the datacenter that is written and read"
            )
        return self


class RealtimeSettings(CassandraSettings):
    keyspace: Identifier = "stitch_realtime"
    retention: Duration = Field(default=timedelta(days=14), le=timedelta(days=20 * 365))  # Cassandra's longest TTL


class BatchSettings(CassandraSettings):
    """`max_difference`: the share of a counter's events by which a run may change what readers saw before it, without
    being accepted by a person; a difference of fewer than `min_difference` never stops a run."""

    keyspace: Identifier = "stitch_batch"
    max_difference: float = Field(default=0.1, ge=0)
    min_difference: int = Field(default=1000, ge=0)
